"""`tagbox evaluate`: how good a run, or anybody's predictions or detections, are on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from tagbox.cli.console import print_json, say
from tagbox.cli.detections import box_result, holds_detections, refuse_label_settings
from tagbox.cli.label_results import LabelSettings, label_result
from tagbox.cli.result_tables import show_boxes, show_compared, show_result
from tagbox.config import DataConfig, Objective
from tagbox.errors import TagboxError


def evaluate(
    predictions: list[Path],
    data: Path,
    /,
    *,
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    thresholds: str | None = None,
    objective: Objective = "challenge_f1",
    at_least_one: bool = False,
    top_k: int | None = None,
    labels: Literal["auto", "multi", "exclusive"] = "auto",
    missing: Literal["error", "empty"] = "error",
    extra: Literal["error", "ignore"] = "error",
    as_labels: bool = False,
    per_category: bool = True,
    intervals: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Score a run, or any file of predictions or detections, against a dataset.

    Labels: categories are matched by name and images by path, file name or id, never by position. The
    headline figures are at the run's saved thresholds, or at 0.5 for probabilities that come without.

    Detections: COCO's twelve numbers, errors, and precision, recall and F1 at the detector's score cuts, or
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
    as_labels
        Score detectors as taggers: an image has a category as surely as its best box says. Several predictions, of
        detectors and classifiers, are then compared in one table.
    thresholds
        A number for all categories, or a JSON file of thresholds (of detections: score cuts), in place of the
        saved ones.
    objective
        What thresholds are tuned for where predictions of labels bring none.
    at_least_one
        Give every image at least the category nearest to its threshold (labels).
    top_k
        Say at most this many categories of an image (labels).
    labels
        Whether an image has any number of categories or exactly one; auto: what the run says, or else what the
        data and the predictions look like.
    missing
        Images without predicted labels: refuse, or count them as images of which nothing is said. Images
        without a detection are always the latter.
    extra
        Predicted images and categories that the dataset does not have: refuse, or leave them out.
    per_category
        Show the table of categories.
    intervals
        Say intervals of the figures.
    resamples
        Bootstrap resamples for those of labels; fewer are drawn for large datasets.
    seed
        Seed of resamples and of cross-fitting.
    device
        Where a run computes.
    out
        Write the JSON to this file.
    json
        Print the result as one JSON object.
    """
    from tagbox.data.load import adapt, describe, read

    if resamples < 1:
        raise TagboxError(
            "config-value",
            f"{resamples} is not above 0",
            where="resamples",
            hint="change the value or pass --no-intervals",
        )
    if len(predictions) > 1 and not as_labels:
        raise TagboxError(
            "several-predictions",
            f"{len(predictions)} predictions are given, and only --as-labels compares several",
            file=predictions[1],
            hint="pass --as-labels, or evaluate them one by one",
        )
    original = read(data, source)
    dataset = adapt(original, source)
    say(describe(dataset))
    common: dict[str, Any] = {"extra": extra, "intervals": intervals, "seed": seed}
    common["device"] = device
    boxes = not as_labels and holds_detections(predictions[0])
    if boxes:
        refuse_label_settings(
            predictions[0],
            at_least_one=at_least_one,
            top_k=top_k is not None,
            labels=labels != "auto",
        )
        results = [
            box_result(predictions[0], original, dataset, source, thresholds=thresholds, **common)
        ]
    else:
        settings = LabelSettings(
            thresholds=thresholds,
            objective=objective,
            at_least_one=at_least_one,
            top_k=top_k,
            labels=labels,
            missing=missing,
            resamples=resamples,
            **common,
        )
        results = [label_result(path, original, dataset, source, settings) for path in predictions]
    results = [
        {"predictions": str(path), "data": str(data), **result}
        for path, result in zip(predictions, results, strict=True)
    ]
    whole = results[0] if len(results) == 1 else {"data": str(data), "compared": results}
    if out is not None:
        import msgspec

        from tagbox.atomic_io import atomic_write

        atomic_write(out, msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")
    if json:
        print_json(whole)
    elif boxes:
        show_boxes(whole, per_category=per_category)
    elif len(results) > 1:
        show_compared(results)
    else:
        show_result(whole, per_category=per_category)
