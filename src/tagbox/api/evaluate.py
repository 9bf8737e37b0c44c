"""`evaluate`: a run, a file of predictions or predictions in memory against a dataset; `tagbox evaluate` calls the same."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tagbox.api.evaluation import Evaluation
from tagbox.config import DataConfig, ScoreOptions, ScoreSettings, with_settings
from tagbox.config.arguments import checked_arguments
from tagbox.data.dataset import Dataset
from tagbox.device import Device
from tagbox.errors import TagboxError
from tagbox.files import open_file
from tagbox.paths import named_run
from tagbox.progress import Progress, default_progress

if TYPE_CHECKING:
    from tagbox.api.run import Run
    from tagbox.inference.box_results import BoxResults
    from tagbox.inference.label_results import LabelResults
    from tagbox.predictions.predictions import Detections, Predictions
    from tagbox.predictions.thresholds import ScoreThresholds, Thresholds


@checked_arguments
def evaluate(
    predictions: Path | str | Run | LabelResults | BoxResults | Predictions | Detections,
    data: Path | str | Dataset,
    settings: ScoreSettings | None = None,
    *,
    source: DataConfig | None = None,
    held_out: bool = False,
    device: Device = "auto",
    progress: Progress | None = None,
    **options: Unpack[ScoreOptions],
) -> Evaluation:
    """Evaluate a run, a file of predictions, or predictions in memory on a dataset.

    Categories are matched by name and images by path, file name or id, never by position.

    Parameters
    ----------
    predictions
        A run, its folder or its name in ``runs``; a file: a CSV of probabilities, the challenge's JSON, COCO results, what
        ``tagbox predict --json`` wrote; what `predict` returned; `Predictions` or `Detections`.
    data
        The truth: a dataset of any format that `load_dataset` reads, or one in memory.
    settings
        How predictions are scored.
    source
        How `data` is read if it is a path.
    held_out
        Evaluate a run only on images that it was not trained on.
    device
        Where a run computes.
    progress
        Receives messages and progress bars; bars in a notebook, nothing elsewhere when not given.
    **options
        Fields of `ScoreSettings`, in place of those of `settings`: ``missing="empty"``.

    Returns
    -------
    Evaluation
        A mapping with the keys of ``tagbox evaluate --json``, which shows itself as a table.

    Raises
    ------
    TagboxError
        What reading, predicting and `evaluation.score.score` raise; ``run-incomplete``; ``seen-unknown`` and
        ``no-held-out-images`` with `held_out`; ``config-field`` and ``config-value`` for options.
    """
    from tagbox.data.load import adapt, describe, read

    own = ("settings", "source", "held_out", "device", "progress")
    settings = with_settings(settings or ScoreSettings(), options, own)
    source, progress = source or DataConfig(), progress or default_progress()
    original = data if isinstance(data, Dataset) else read(Path(data), source)
    dataset = original if isinstance(data, Dataset) else adapt(original, source)
    progress.say(describe(dataset))
    folder = getattr(predictions, "folder", predictions)
    if isinstance(folder, (str, Path)):
        from tagbox.models.detectors.nanodet_weights import package_or

        return evaluate_path(
            package_or(named_run(folder)),
            original,
            dataset,
            source,
            settings,
            held_out=held_out,
            device=device,
            progress=progress,
        )
    if held_out:
        raise TagboxError(
            "seen-unknown",
            "predictions in memory have no record of the images that their model was trained on",
            where="held_out",
            hint="give the run, or data that it was not trained on",
        )
    return _evaluate_in_memory(predictions, dataset, settings)


def _evaluate_in_memory(predictions: Any, dataset: Dataset, settings: ScoreSettings) -> Evaluation:
    """The evaluation of what `predict` returned, or of predictions without thresholds."""
    from tagbox.evaluation.score import score
    from tagbox.predictions.predictions import Predictions

    found, thresholds, left_out = predictions_in_memory(predictions, dataset, settings)
    if isinstance(found, Predictions):
        return _scored_labels(found, dataset, settings, thresholds)
    result = score(found, dataset, settings, thresholds=thresholds)
    return Evaluation({**result, "extra": result["extra"] + left_out})


def predictions_in_memory(
    predictions: Any, dataset: Dataset, settings: ScoreSettings
) -> tuple[Predictions | Detections, Any, int]:
    """The predictions in what `predict` returned, their thresholds, and how many keys of detections were left out."""
    from tagbox.predictions.predictions import Detections, Predictions

    if isinstance(predictions, (Predictions, Detections)):
        return predictions, None, 0
    if hasattr(predictions, "probabilities"):
        return predictions.predictions, predictions.thresholds, 0
    from tagbox.data.record_pixels import record_pixels
    from tagbox.predictions.alignment import align_detections

    # Boxes are in pixels of the files, and compared with those of the records.
    found, left_out = align_detections(predictions.detections, dataset, settings.extra)
    pixels = record_pixels(dataset)
    pixels.require()
    found = replace(found, boxes=pixels.to_record(found.boxes, found.image_rows))
    cuts = predictions.thresholds.reordered(predictions.categories, found.categories)
    return found, cuts, len(left_out)


def _scored_labels(
    predictions: Predictions,
    dataset: Dataset,
    settings: ScoreSettings,
    thresholds: Thresholds | None,
) -> Evaluation:
    """`score` of predictions of labels, with what their curves are drawn from."""
    from tagbox.evaluation.score import score
    from tagbox.predictions.alignment import align

    result = score(predictions, dataset, settings, thresholds=thresholds)
    aligned = align(predictions, dataset, missing=settings.missing, extra=settings.extra)
    return Evaluation(result, truth=aligned.truth, probabilities=aligned.probabilities)


def evaluate_path(
    path: Path,
    original: Dataset,
    whole: Dataset,
    source: DataConfig,
    settings: ScoreSettings,
    *,
    held_out: bool,
    device: Device,
    progress: Progress,
) -> Evaluation:
    """The metrics of a run or of a file of predictions.

    Parameters
    ----------
    original, whole
        The dataset as it was read, with whose ids results were written, and with the changes of `source`.
    """
    dataset = whole
    seen: dict[str, Any] = {}
    if path.is_dir() or held_out:
        dataset, seen = _seen(path, whole, held_out, progress)
    if holds_detections(path):
        boxes = _evaluate_boxes(path, original, dataset, source, settings, device, progress)
        return Evaluation(boxes | seen)
    labels = _evaluate_labels(path, dataset, source, settings, device, progress)
    return labels.with_keys(seen)


def _seen(
    path: Path, dataset: Dataset, held_out: bool, progress: Progress
) -> tuple[Dataset, dict[str, Any]]:
    """The images to evaluate a run on, and what is said of those it was trained on, in words and for the JSON."""
    import numpy as np

    from tagbox.data.seen_images import seen_images

    seen = seen_images(path, dataset) if path.is_dir() else None
    if seen is None:
        if held_out:
            raise TagboxError(
                "seen-unknown",
                "it has no record of the images it was trained on",
                file=path,
                hint="leave --held-out out, and give data that it was not trained on",
            )
        return dataset, {}
    training, validation = int(seen.training.sum()), int((seen.validation & ~seen.training).sum())
    count, counts = len(dataset), {"training": training, "validation": validation}
    if held_out and training:
        dataset = dataset.take(np.flatnonzero(~seen.training))
        if not len(dataset):
            raise TagboxError(
                "no-held-out-images",
                f"the run was trained on all {count:,} images",
                file=path,
                hint="give other data",
            )
        progress.say(f"left out: {training:,} of {count:,} images, on which {path} was trained")
    elif training:
        progress.say(
            f"warning: {path} was trained on {training:,} of these {count:,} images, so the figures are too good; "
            "--held-out evaluates the others"
        )
    if validation and training:
        progress.say(f"{validation:,} of the others chose its epoch and thresholds")
    return dataset, {"seen": {**counts, "held_out": held_out}} if training or validation else {}


def holds_detections(path: Path) -> bool:
    """Whether `path` is a results file (a JSON list) or the run of a detector."""
    if os.path.isdir(path):
        from tagbox.models.bundle import is_detector

        return is_detector(path)
    try:
        with open_file(path) as opened:
            return opened.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    except OSError:
        return False  # Reading it as predictions of labels reports what is wrong with it.


def _evaluate_labels(
    path: Path,
    dataset: Dataset,
    source: DataConfig,
    settings: ScoreSettings,
    device: Device,
    progress: Progress,
) -> Evaluation:
    """The evaluation of a classifier's run or of a file of label predictions."""
    predictions, thresholds = label_predictions(path, dataset, source, device, progress)
    labels = _scored_labels(predictions, dataset, settings, thresholds)
    transfer = predictions.transfer
    return labels if transfer is None else labels.with_keys({"transfer": transfer})


def label_predictions(
    path: Path, dataset: Dataset, source: DataConfig, device: Device, progress: Progress
) -> tuple[Predictions, Thresholds | None]:
    """The predictions of a classifier's run on the dataset, or of a file, with their thresholds; only a run needs torch."""
    from tagbox.predictions.alignment import index_names, restrict
    from tagbox.predictions.files import read_predictions_and_thresholds

    if not os.path.isdir(path):
        predictions, thresholds = read_predictions_and_thresholds(path, index_names(dataset))
    elif any(os.path.isfile(path / name) for name in ("model.json", "ensemble.json")):
        from tagbox.inference.load import predict_dataset

        with progress.bar("predicting", len(dataset), "images") as advance:
            predictions, thresholds = predict_dataset(
                path, dataset, device=device, progress=advance
            )
    else:
        raise TagboxError(
            "run-incomplete",
            "this folder holds no model.json and no ensemble.json, so it is not a finished run",
            file=path,
            hint="give the folder of a run (runs/NAME) or a file of predictions",
        )
    if source.categories:
        chosen = restrict(predictions, dataset.categories.names)
        if thresholds is not None:
            thresholds = thresholds.reordered(predictions.categories, chosen.categories)
        predictions = chosen
    return predictions, thresholds


def _evaluate_boxes(
    path: Path,
    original: Dataset,
    dataset: Dataset,
    source: DataConfig,
    settings: ScoreSettings,
    device: Device,
    progress: Progress,
) -> dict[str, Any]:
    """`score` of a detector's run or of a results file, whose ids are those of `original`."""
    from tagbox.evaluation.score import score

    found, thresholds, settings, unknown = box_predictions(
        path, original, dataset, source, settings, device, progress
    )
    result = score(found, dataset, settings, thresholds=thresholds)
    if not settings.as_labels:
        result["extra"] += unknown
    return result


def box_predictions(
    path: Path,
    original: Dataset,
    dataset: Dataset,
    source: DataConfig,
    settings: ScoreSettings,
    device: Device,
    progress: Progress,
) -> tuple[Detections, ScoreThresholds | None, ScoreSettings, int]:
    """The detections of a run on the dataset, or of a results file, whose ids are those of `original`.

    Returns
    -------
    tuple
        The detections, their score thresholds, the settings to score them with, and how many were left out on reading.
    """
    from tagbox.evaluation.coco_ground_truth import ground_truth
    from tagbox.evaluation.score import refuse_label_settings
    from tagbox.predictions.alignment import adapt_detections
    from tagbox.predictions.coco_results import read_known_results, read_results

    if not settings.as_labels:
        # Before a detector runs for minutes.
        refuse_label_settings(settings, str(path))
        ground_truth(dataset)
    if os.path.isdir(path):
        from tagbox.inference.detector import detect_dataset

        with progress.bar("detecting", len(dataset), "images") as advance:
            found, thresholds = detect_dataset(
                path, dataset, device=device, progress=advance, say=progress.say
            )
        if source.categories:
            # A detector may know more categories than were chosen.
            settings = replace(settings, extra="ignore")
        return found, thresholds, settings, 0
    from tagbox.data.record_pixels import record_pixels

    differing = len(record_pixels(dataset).kinds)
    if differing and not settings.as_labels:
        progress.say(
            f"{differing:,} of {len(dataset):,} pictures have another size than their record says; "
            "the results are read in pixels of the records"
        )
    unknown = 0
    if settings.extra == "ignore":
        found, unknown = read_known_results(path, original)
    else:
        found = read_results(path, original)
    return adapt_detections(found, original, dataset, source), None, settings, unknown
