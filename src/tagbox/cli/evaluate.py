"""`tagbox evaluate`: metrics of runs, or of anybody's predictions or detections, on a dataset."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tagbox.cli.console import print_json, progress_bar, say
from tagbox.cli.result_tables import show_boxes, show_compared, show_labels
from tagbox.config import DataConfig, ScoreSettings
from tagbox.device import Device
from tagbox.errors import TagboxError
from tagbox.files import open_file

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset


def evaluate(
    predictions: list[Path],
    data: Path,
    /,
    *,
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    settings: Annotated[ScoreSettings, Parameter(name="*")] = ScoreSettings(),
    held_out: bool = False,
    per_category: bool = True,
    device: Device = "auto",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Evaluate a run, or any file of predictions or detections, on a dataset.

    Labels: categories are matched by name and images by path, file name or id, never by position. The
    headline metrics are at the run's saved thresholds, or at 0.5 for probabilities that come without.

    Detections: COCO's twelve numbers, errors, and precision, recall and F1 at the detector's score thresholds, or
    at the best ones for results that come without. A results file uses the dataset's original ids.

    Parameters
    ----------
    predictions
        Folder of a run; or a file: the challenge's JSON ({"000000000139": [56, 60]}), a CSV of
        probabilities (image,person,bicycle,...), what `tagbox predict --json` wrote, or COCO results
        ([{"image_id": 139, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}]). Several with
        --as-labels.
    data
        Any dataset, or a labels file in the challenge's JSON form.
    held_out
        Evaluate a run only on images that it was not trained on.
    per_category
        Show the table of categories.
    device
        Where a run computes.
    out
        Write the JSON to this file.
    json
        Print the result as one JSON object.
    """
    from tagbox.data.load import adapt, describe, read

    if len(predictions) > 1 and not settings.as_labels:
        raise TagboxError(
            "several-predictions",
            f"{len(predictions)} predictions are given, and only --as-labels compares several",
            file=predictions[1],
            hint="pass --as-labels, or evaluate them one by one",
        )
    original = read(data, source)
    whole = adapt(original, source)
    say(describe(whole))
    if out is not None:
        from tagbox.output_folder import run_inputs
        from tagbox.paths import paths_in, refuse_input

        read_files = [file for p in predictions for file in (run_inputs(p) if p.is_dir() else [p])]
        read_files += [data, *paths_in(source, settings)]
        refuse_input(out, [*read_files, *original.input_files()], flag="--out")
    results = []
    for path in predictions:
        seen: dict[str, Any] = {}
        dataset = whole
        if path.is_dir() or held_out:
            dataset, seen = _seen(path, whole, held_out)
        if _holds_detections(path):
            result = _evaluate_boxes(path, original, dataset, source, settings, device)
        else:
            result = _evaluate_labels(path, dataset, source, settings, device)
        result |= seen
        results.append({"predictions": str(path), "data": str(data), **result})
    printed = results[0] if len(results) == 1 else {"data": str(data), "compared": results}
    if out is not None:
        import msgspec

        from tagbox.atomic_io import atomic_write
        from tagbox.text_output import encode_json

        atomic_write(out, msgspec.json.format(encode_json(printed), indent=2) + b"\n")
    if json:
        print_json(printed)
    elif len(results) > 1:
        show_compared(results)
    elif printed.get("task") == "detection":
        show_boxes(printed, per_category=per_category)
    else:
        show_labels(printed, per_category=per_category)


def _seen(path: Path, dataset: Dataset, held_out: bool) -> tuple[Dataset, dict[str, Any]]:
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
        say(f"left out: {training:,} of {count:,} images, on which {path} was trained")
    elif training:
        say(
            f"warning: {path} was trained on {training:,} of these {count:,} images, so the figures are too good; "
            "--held-out evaluates the others"
        )
    if validation and training:
        say(f"{validation:,} of the others chose its epoch and thresholds")
    return dataset, {"seen": {**counts, "held_out": held_out}} if training or validation else {}


def _holds_detections(path: Path) -> bool:
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
) -> dict[str, Any]:
    """`score` of a classifier's run or of a file of label predictions; only a run needs torch."""
    from tagbox.evaluation.score import score
    from tagbox.predictions.alignment import index_names, restrict
    from tagbox.predictions.files import read_predictions_and_thresholds

    if not os.path.isdir(path):
        predictions, thresholds = read_predictions_and_thresholds(path, index_names(dataset))
    elif any(os.path.isfile(path / name) for name in ("model.json", "ensemble.json")):
        from tagbox.inference.load import predict_dataset

        with progress_bar("predicting", len(dataset)) as advance:
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
    return score(predictions, dataset, settings, thresholds=thresholds)


def _evaluate_boxes(
    path: Path,
    original: Dataset,
    dataset: Dataset,
    source: DataConfig,
    settings: ScoreSettings,
    device: Device,
) -> dict[str, Any]:
    """`score` of a detector's run or of a results file, whose ids are those of `original`."""
    from tagbox.evaluation.coco_ground_truth import ground_truth
    from tagbox.evaluation.score import refuse_label_settings, score
    from tagbox.predictions.alignment import adapt_detections
    from tagbox.predictions.coco_results import read_known_results, read_results

    if not settings.as_labels:
        # Before a detector runs for minutes.
        refuse_label_settings(settings, str(path))
        ground_truth(dataset)
    if os.path.isdir(path):
        from tagbox.inference.detector import detect_dataset

        with progress_bar("detecting", len(dataset)) as advance:
            found, thresholds = detect_dataset(
                path, dataset, device=device, progress=advance, say=say
            )
        if source.categories:
            # A detector may know more categories than were chosen.
            settings = replace(settings, extra="ignore")
        return score(found, dataset, settings, thresholds=thresholds)
    from tagbox.data.record_pixels import record_pixels

    differing = len(record_pixels(dataset).kinds)
    if differing and not settings.as_labels:
        say(
            f"{differing:,} of {len(dataset):,} pictures have another size than their record says; "
            "the results are read in pixels of the records"
        )
    unknown = 0
    if settings.extra == "ignore":
        found, unknown = read_known_results(path, original)
    else:
        found = read_results(path, original)
    result = score(adapt_detections(found, original, dataset, source), dataset, settings)
    if not settings.as_labels:
        result["extra"] += unknown
    return result
