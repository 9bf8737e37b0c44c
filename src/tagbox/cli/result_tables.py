"""Tables of what `tagbox evaluate` found, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tagbox.cli.console import say
from tagbox.cli.tables import print_table

BOX_METRICS = {
    "ap": "AP (IoU 0.5 to 0.95)",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP small (up to 32²)",
    "ap_medium": "AP medium (32² to 96²)",
    "ap_large": "AP large (from 96²)",
    "ar1": "AR, 1 detection",
    "ar10": "AR, 10 detections",
    "ar100": "AR, 100 detections",
    "ar_small": "AR small",
    "ar_medium": "AR medium",
    "ar_large": "AR large",
}
ERRORS = {
    "category": "found, but predicted as another category",
    "location": "right category, box off (IoU 0.1 to 0.5)",
    "both": "another category, and the box is off",
    "duplicate": "found already, with a higher score",
    "background": "nothing is there",
    "missed": "a box that no detection comes near",
}
LABEL_METRICS = {
    "map": "mAP",
    "challenge_f1": "challenge F1",
    "challenge_precision": "challenge precision",
    "challenge_recall": "challenge recall",
    "challenge_accuracy": "challenge accuracy",
    "micro_f1": "micro F1 (OF1)",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "samples_f1": "samples F1",
    "cf1": "CF1",
    "hamming_loss": "Hamming loss",
    "subset_accuracy": "subset accuracy",
}
EXCLUSIVE_METRICS = {
    "accuracy": "accuracy",
    "top5_accuracy": "top-5 accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "map": "mAP",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
}
RATES = {"precision": "precision", "recall": "recall", "f1": "F1"}
BOX_COLUMNS = {
    "name": "category",
    "support": "boxes",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ar100": "AR100",
    **RATES,
    "cut": "threshold",
}
LABEL_COLUMNS = {
    "name": "category",
    "support": "support",
    "ap": "AP",
    **RATES,
    "tp": "TP",
    "fp": "FP",
    "fn": "FN",
    "threshold": "threshold",
}
AT_THRESHOLDS = (
    "challenge_f1",
    "challenge_precision",
    "challenge_recall",
    "micro_f1",
    "macro_f1",
    "cf1",
)
COMPARED = {
    "challenge_f1": "challenge F1",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "subset_accuracy": "subset accuracy",
}
CROSS_FITTED = "cross-fitted"


def show_boxes(result: Mapping[str, Any], *, per_category: bool) -> None:
    """Print the evaluation of a detector; the headline comes last, where the eye is."""
    if per_category:
        _show_categories(result["per_category"], BOX_COLUMNS)
    _show_confusions(result["confusion"])
    print_table(
        "Errors at an IoU of 0.5, the costliest first",
        ("error", "what it is", "count", "AP50 without it"),
        [
            (name, ERRORS[name], row["count"], f"+{row['ap50']:.4f}")
            for name, row in result["errors"].items()
            if name in ERRORS
        ],
    )
    at = result["at_cuts"]
    _show_metrics(
        f"{result['images']:,} images, {result['categories']} categories, {result['boxes']:,} boxes, "
        f"{result['detections']:,} detections{_trained_on(result)}",
        result,
        BOX_METRICS,
        [
            (f"{name} at the score thresholds", _number(at[key]), "", "")
            for key, name in RATES.items()
        ],
    )


def show_labels(result: Mapping[str, Any], *, per_category: bool) -> None:
    """Print the evaluation of predicted labels; the headline comes last, where the eye is."""
    if per_category:
        _show_categories(result["per_category"], LABEL_COLUMNS)
    if "at_0.5" in result:
        _show_thresholds(result)
    if result["confusions"]:
        print_table(
            "Predicted where another was missed",
            ("missed", "falsely predicted", "images", "of those missing it"),
            [
                (pair["missed"], pair["said"], pair["images"], f"{pair['share']:.0%}")
                for pair in result["confusions"][:5]
            ],
        )
    exclusive = result["labels"] == "exclusive"
    metrics = EXCLUSIVE_METRICS if exclusive else LABEL_METRICS
    _show_metrics(
        f"{result['images']:,} images, {result['categories']} categories, "
        + ("one an image" if exclusive else f"{result['positives']:,} labels")
        + _trained_on(result),
        result,
        {key: title for key, title in metrics.items() if result.get(key) is not None},
    )


def _trained_on(result: Mapping[str, Any]) -> str:
    """The end of a headline for a run that was trained on images that it is evaluated on."""
    seen = result.get("seen")
    if not seen or seen["held_out"] or not seen["training"]:
        return ""
    return f"; the run was trained on {seen['training']:,} of the images"


def _show_metrics(
    title: str,
    result: Mapping[str, Any],
    metrics: Mapping[str, str],
    more: Sequence[tuple[str, ...]] = (),
) -> None:
    """Metrics with their intervals, then what a person must know to read them."""
    from tagbox.evaluation.score import notes

    intervals = result.get("intervals", {})
    rows = [
        (name, _number(result[key]), *_interval(intervals.get(key)))
        for key, name in metrics.items()
    ]
    print_table(title, ("metric", "value", "95 % interval", ""), [*rows, *more])
    for note in notes(result):
        say(note)


def _show_categories(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """One row for each category, those with the most support first; columns without values are left out."""
    columns = {key: title for key, title in columns.items() if rows and key in rows[0]}
    print_table(
        "Categories",
        columns.values(),
        [
            ["-" if row[key] is None else row[key] for key in columns]
            for row in sorted(rows, key=lambda row: -row["support"])
        ],
    )


def _show_confusions(confusion: Mapping[str, Any], most: int = 5) -> None:
    """The pairs of categories taken for each other most often."""
    names, matrix = confusion["names"], confusion["matrix"]
    pairs = [
        (names[true], names[predicted], count, f"{count / sum(matrix[true]):.0%}")
        for true, row in enumerate(matrix[:-1])
        for predicted, count in enumerate(row[:-1])
        if count and true != predicted
    ]
    if pairs:
        pairs.sort(key=lambda pair: -pair[2])
        print_table(
            "Predicted as another category, at the score thresholds",
            ("category", "predicted as", "boxes", "of its boxes"),
            pairs[:most],
        )


def _show_thresholds(result: Mapping[str, Any]) -> None:
    """The metrics at the thresholds used, at 0.5, at the global one and at the per-category ones."""
    columns = [("saved" if result["thresholds"]["source"] != "default" else "0.5", result)]
    for key, title in (
        ("at_0.5", "0.5"),
        ("at_global", "global"),
        ("at_per_category", "per category"),
    ):
        if key in result and title not in (name for name, _ in columns):
            title += " (cross-fitted)" if result[key].get("cross_fitted") else ""
            columns.append((title, result[key]))
    print_table(
        "At thresholds",
        ("metric", *(name for name, _ in columns)),
        [(key, *(values[key] for _, values in columns)) for key in AT_THRESHOLDS],
    )


def show_compared(results: Sequence[Mapping[str, Any]]) -> None:
    """One row for each set of predictions, all scored on the same images."""
    from tagbox.evaluation.score import left_out_notes, transfer_notes

    rows = []
    for result in results:
        at, metrics = _metrics_at(result)
        values = [_number(metrics.get(key)) for key in COMPARED]
        rows.append(
            (_short_name(result["predictions"], results), at, _number(result.get("map")), *values)
        )
    first = results[0]
    print_table(
        f"{first['images']:,} images, {first['categories']} categories, {first['positives']:,} labels",
        ("predictions", "thresholds", "mAP", *COMPARED.values()),
        rows,
    )
    for result in results:
        for note in [*left_out_notes(result), *transfer_notes(result)]:
            say(f"{result['predictions']}: {note}")
    if any(_metrics_at(result)[0] == CROSS_FITTED for result in results):
        say(
            "Predictions without thresholds are scored at cross-fitted ones: each image at thresholds tuned on "
            "other images."
        )


def _short_name(path: str, results: Sequence[Mapping[str, Any]]) -> str:
    """The last part of a path where that tells it from the others."""
    name = Path(path).name
    same = [result for result in results if Path(result["predictions"]).name == name]
    return name if len(same) == 1 else path


def _metrics_at(result: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The thresholds that a row of `show_compared` is at, and the metrics at them."""
    if result["labels"] == "exclusive":
        return "most probable", result
    if "thresholds" not in result:
        return "label sets", result
    if result["thresholds"]["source"] == "given":
        return "given", result
    return CROSS_FITTED, result[f"at_{result['tuning']['kept']}"]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _interval(found: Mapping[str, Any] | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    return (
        f"{found['low']:.4f} - {found['high']:.4f}",
        "" if found["reliable"] else "interval not reliable",
    )
