"""`compare`: models, files of predictions, or recipes against each other on one dataset; `tagbox compare` calls the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from tagbox.api.compared_entries import (
    Entries,
    are_recipes,
    named_entries,
    require_entries,
    source_of,
)
from tagbox.api.comparison import Comparison
from tagbox.api.evaluate import (
    box_predictions,
    holds_detections,
    label_predictions,
    predictions_in_memory,
)
from tagbox.config import CompareOptions, CompareSettings, DataConfig, ScoreSettings, with_settings
from tagbox.config.arguments import checked_arguments
from tagbox.data.dataset import PRESENT, Dataset
from tagbox.data.text import some
from tagbox.device import Device
from tagbox.errors import TagboxError, bad_value
from tagbox.progress import Progress, default_progress

if TYPE_CHECKING:
    from tagbox.evaluation.model_outcomes import ModelOutcomes, ScoredImages
    from tagbox.evaluation.score import ScoredLabels
    from tagbox.predictions.predictions import Detections
    from tagbox.predictions.thresholds import ScoreThresholds


@checked_arguments
def compare(
    predictions: Sequence[Any] | Mapping[str, Any],
    data: Path | str | Dataset,
    settings: CompareSettings | None = None,
    *,
    metric: str | None = None,
    source: DataConfig | None = None,
    held_out: bool = False,
    device: Device = "auto",
    progress: Progress | None = None,
    **options: Unpack[CompareOptions],
) -> Comparison:
    """Compare models on a dataset: which differences are real, and which cannot be told from chance.

    Parameters
    ----------
    predictions
        At least two of what `evaluate` takes: runs, files of predictions, predictions in memory; or a mapping from names to
        them. Where the values of the mapping are lists of runs, recipes are compared: ``{"a": [run1, run2], "b": [...]}``.
    data
        The truth: a dataset of any format that `load_dataset` reads, or one in memory.
    settings
        How predictions are read and decided.
    metric
        What the models are ranked by, such as ``map`` or ``challenge_f1``; AP, accuracy, mAP or the challenge F1 when not
        given, the first that all have.
    source
        How `data` is read if it is a path.
    held_out
        Compare runs only on images that none of them was trained on.
    device
        Where a run computes.
    progress
        Receives messages and progress bars; bars in a notebook, nothing elsewhere when not given.
    **options
        Fields of `CompareSettings`, in place of those of `settings`: ``missing="empty"``.

    Returns
    -------
    Comparison
        A mapping with the keys of ``tagbox compare --json``, which shows itself as tables.

    Raises
    ------
    TagboxError
        ``too-few-models``, ``same-predictions``, ``kinds-differ``, ``metric-missing``, and what `evaluate` raises.
    """
    from tagbox.data.load import adapt, describe, read

    own = ("settings", "metric", "source", "held_out", "device", "progress")
    settings = with_settings(settings or CompareSettings(), options, own)
    source, progress = source or DataConfig(), progress or default_progress()
    entries = named_entries(predictions)
    require_entries(entries, recipes=are_recipes(predictions))
    original = data if isinstance(data, Dataset) else read(Path(data), source)
    dataset = original if isinstance(data, Dataset) else adapt(original, source)
    progress.say(describe(dataset))
    result = compare_entries(
        entries,
        original,
        dataset,
        source,
        settings,
        metric=metric,
        held_out=held_out,
        device=device,
        progress=progress,
    )
    return Comparison(result, dataset)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Loaded:
    """One run or file, read and aligned."""

    name: str
    labels: ScoredLabels | None = None
    boxes: Detections | None = None
    thresholds: ScoreThresholds | None = None
    notes: tuple[str, ...] = ()
    at_half: bool = False
    """Whether its labels are those from a probability of 0.5, for want of thresholds."""


def compare_entries(
    entries: Entries,
    original: Dataset,
    whole: Dataset,
    source: DataConfig,
    options: CompareSettings,
    *,
    metric: str | None,
    held_out: bool,
    device: Device,
    progress: Progress,
) -> dict[str, Any]:
    """The comparison as a JSON object; `original` and `whole` are as in `api.evaluate.evaluate_path`."""
    from tagbox.evaluation.compare_models import compare_models
    from tagbox.evaluation.model_outcomes import recipe_outcomes

    settings = ScoreSettings(**{f.name: getattr(options, f.name) for f in fields(CompareSettings)})
    dataset, notes = _unseen(entries, whole, held_out, progress)
    loaded: dict[str, list[_Loaded]] = {}
    for name, runs in entries.items():
        for number, given in enumerate(runs):
            shown = name if len(runs) == 1 else f"{name}, run {number + 1}"
            each = _load(shown, given, original, dataset, source, settings, device, progress)
            loaded.setdefault(name, []).append(each)
    flat = [each for runs in loaded.values() for each in runs]
    _require_one_kind(flat)
    notes += [note for each in flat for note in each.notes]
    if plain := [each.name for each in flat if each.at_half]:
        notes.append(f"Without thresholds, so at a probability of 0.5: {some(plain, 12)}.")
    outcomes, images = _outcomes(flat, dataset, settings)
    models = []
    for name, runs in loaded.items():
        own = [outcomes.pop(0) for _ in runs]
        models.append(own[0] if len(own) == 1 else recipe_outcomes(name, own))
    result = compare_models(models, images, metric=metric, seed=settings.seed)
    result["task"] = "labels" if flat[0].labels is not None else "detection"
    result["fingerprint"] = dataset.fingerprint
    for model in result["models"]:
        model["predictions"] = [source_of(given) for given in entries[model["name"]]]
    result["notes"] = list(dict.fromkeys(notes))
    return result


def _unseen(
    entries: Entries, dataset: Dataset, held_out: bool, progress: Progress
) -> tuple[Dataset, list[str]]:
    """The images to compare on, and what is said of those that runs were trained on."""
    from tagbox.data.seen_images import seen_images

    seen, notes = np.zeros(len(dataset), bool), []
    for name, runs in entries.items():
        for given in runs:
            folder = getattr(given, "folder", given)
            found = None
            if isinstance(folder, (str, os.PathLike)) and os.path.isdir(folder):
                found = seen_images(Path(folder), dataset)
            if found is None and held_out:
                raise TagboxError(
                    "seen-unknown",
                    "it has no record of the images it was trained on",
                    file=source_of(given),
                    hint="leave --held-out out, and give data that it was not trained on",
                )
            if found is not None and found.training.any():
                seen |= found.training
                notes.append(
                    f"{name} was trained on {int(found.training.sum()):,} of these {len(dataset):,} images, so its figures "
                    "are too good."
                )
    if not held_out:
        for note in notes:
            progress.say(f"warning: {note} --held-out compares on the others")
        return dataset, notes
    if seen.all():
        raise TagboxError(
            "no-held-out-images",
            f"the runs were trained on all {len(dataset):,} images",
            where="--held-out",
            hint="give other data",
        )
    if seen.any():
        left = f"{int(seen.sum()):,} of {len(dataset):,} images are left out, on which a run was trained."
        return dataset.take(np.flatnonzero(~seen)), [left]
    return dataset, []


def _load(
    name: str,
    given: Any,
    original: Dataset,
    dataset: Dataset,
    source: DataConfig,
    settings: ScoreSettings,
    device: Device,
    progress: Progress,
) -> _Loaded:
    from tagbox.evaluation.score import (
        aligned_boxes,
        detections_as_labels,
        scored_labels,
        transfer_notes,
    )
    from tagbox.predictions.predictions import Detections

    path = getattr(given, "folder", given)
    extra = 0
    found: Any
    thresholds: Any
    if not isinstance(path, (str, os.PathLike)):
        if not any(hasattr(given, each) for each in ("categories", "probabilities", "detections")):
            raise bad_value(given, "a run, a file, or predictions", "predictions")
        found, thresholds, extra = predictions_in_memory(given, dataset, settings)
    elif holds_detections(Path(path)):
        found, thresholds, settings, extra = box_predictions(
            Path(path), original, dataset, source, settings, device, progress
        )
    else:
        found, thresholds = label_predictions(Path(path), dataset, source, device, progress)
    notes = []
    if isinstance(found, Detections):
        aligned, cuts, left_out = aligned_boxes(found, dataset, settings, thresholds)
        extra += left_out
        if not settings.as_labels:
            notes += _left_out(name, 0, extra)
            if cuts is None:
                notes.append(
                    f"{name} comes without score thresholds: its errors are at those of best F1 on these very images."
                )
            return _Loaded(name=name, boxes=aligned, thresholds=cuts, notes=tuple(notes))
        scored = scored_labels(*detections_as_labels(aligned, cuts, dataset, settings))
    else:
        scored = scored_labels(found, dataset, settings, thresholds)
        notes += [f"{name}: {note}" for note in transfer_notes({"transfer": found.transfer})]
    notes += _left_out(name, len(scored.aligned.missing), extra + len(scored.aligned.extra))
    if (
        scored.kind == "multi"
        and scored.aligned.probabilities is not None
        and scored.thresholds is None
    ):
        return _Loaded(name=name, labels=scored, notes=tuple(notes), at_half=True)
    return _Loaded(name=name, labels=scored, notes=tuple(notes))


def _left_out(name: str, missing: int, extra: int) -> list[str]:
    notes = []
    if missing:
        notes.append(
            f"{name} has no prediction of {missing:,} images, which count as without a predicted category."
        )
    if extra:
        notes.append(f"{name}: {extra:,} predictions of other images or categories were left out.")
    return notes


def _require_one_kind(loaded: Sequence[_Loaded]) -> None:
    boxes = next((each for each in loaded if each.boxes is not None), None)
    labels = next((each for each in loaded if each.labels is not None), None)
    if boxes is not None and labels is not None:
        raise TagboxError(
            "kinds-differ",
            f"{boxes.name} holds detections, and {labels.name} labels of images",
            where="--as-labels",
            hint="pass --as-labels to compare detectors by the labels that they give",
        )


def _outcomes(
    loaded: Sequence[_Loaded], dataset: Dataset, settings: ScoreSettings
) -> tuple[list[ModelOutcomes], ScoredImages]:
    """What is compared of each run or file, and the images."""
    from tagbox.evaluation.coco_ground_truth import ground_truth
    from tagbox.evaluation.model_outcomes import ScoredImages, box_outcomes, label_outcomes

    names = dataset.categories.names
    if loaded[0].labels is None:
        truth = ground_truth(dataset)
        files = dataset.images.files[truth.scored].tolist()
        images = ScoredImages(names=files, categories=names, support=truth.support, unit="boxes")
        return [
            box_outcomes(each.name, dataset, each.boxes, each.thresholds, seed=settings.seed)
            for each in loaded
            if each.boxes is not None
        ], images
    scored = [each.labels for each in loaded if each.labels is not None]
    # What one file does not look like, no file is.
    exclusive = all(each.kind == "exclusive" for each in scored)
    aligned = scored[0].aligned
    files = dataset.images.files[aligned.rows].tolist()
    support = (aligned.truth == PRESENT).sum(axis=0)
    images = ScoredImages(names=files, categories=names, support=support)
    return [
        label_outcomes(
            one.name,
            each.aligned.truth,
            probabilities=each.aligned.probabilities,
            decisions=each.aligned.decisions,
            thresholds=each.thresholds,
            labels="exclusive" if exclusive else "multi",
            seed=settings.seed,
        )
        for one, each in zip(loaded, scored, strict=True)
    ], images
