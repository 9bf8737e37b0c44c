"""What `tagbox evaluate` shows a person: tables, and notes on how to read them.

What `tagbox evaluate` shows a person of detections: tables, and notes on how to read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tagbox.cli.console import print_table, say

NUMBERS = (
    ("ap", "AP (IoU 0.5 to 0.95)"),
    ("ap50", "AP50"),
    ("ap75", "AP75"),
    ("ap_small", "AP small (up to 32²)"),
    ("ap_medium", "AP medium (32² to 96²)"),
    ("ap_large", "AP large (from 96²)"),
    ("ar1", "AR, 1 detection"),
    ("ar10", "AR, 10 detections"),
    ("ar100", "AR, 100 detections"),
    ("ar_small", "AR small"),
    ("ar_medium", "AR medium"),
    ("ar_large", "AR large"),
)
ERRORS = {
    "category": "found, but called another category",
    "location": "right category, box off (IoU 0.1 to 0.5)",
    "both": "another category, and the box is off",
    "duplicate": "found already, with a higher score",
    "background": "nothing is there",
    "missed": "a box that no detection comes near",
}


def show_boxes(result: Mapping[str, Any], *, per_category: bool) -> None:
    """Tables for a person; the headline comes last, where the eye is."""
    if per_category:
        _show_category_ap(result["per_category"])
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
    found = result.get("intervals", {})
    rows = [(title, _number(result[key]), *_ap_interval(found.get(key))) for key, title in NUMBERS]
    at = result["at_cuts"]
    rows += [
        (f"{name} at the cuts", _number(at[key]), "", "")
        for key, name in (("precision", "precision"), ("recall", "recall"), ("f1", "F1"))
    ]
    print_table(
        f"{result['images']:,} images, {result['categories']} categories, {result['boxes']:,} boxes, "
        f"{result['detections']:,} detections",
        ("metric", "value", "95 % interval", ""),
        rows,
    )
    for note in detection_notes(result):
        say(note)


def _show_category_ap(rows: list[dict[str, Any]]) -> None:
    keys = ("ap", "ap50", "ap75", "ar100")
    print_table(
        "Categories",
        ("category", "boxes", "AP", "AP50", "AP75", "AR100", "precision", "recall", "F1", "cut"),
        [
            (
                row["name"],
                row["support"],
                *(_number(row[key]) for key in keys),
                *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")),
                f"{row['cut']:.3g}",
            )
            for row in sorted(rows, key=lambda row: -row["support"])
        ],
    )


def _show_confusions(confusion: Mapping[str, Any], most: int = 5) -> None:
    """The pairs of categories taken for each other most often."""
    names, matrix = confusion["names"], confusion["matrix"]
    pairs = [
        (names[true], names[said], count, f"{count / sum(matrix[true]):.0%}")
        for true, row in enumerate(matrix[:-1])
        for said, count in enumerate(row[:-1])
        if count and true != said
    ]
    if pairs:
        pairs.sort(key=lambda pair: -pair[2])
        print_table(
            "Called something else, at the cuts",
            ("category", "called", "boxes", "of its boxes"),
            pairs[:most],
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _ap_interval(found: Mapping[str, Any] | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    return (
        f"{found['low']:.4f} - {found['high']:.4f}",
        "" if found["reliable"] else "interval not reliable",
    )


def detection_notes(result: Mapping[str, Any]) -> list[str]:
    """What a person must know to read the figures; why AP is near zero comes last."""
    lines = []
    if result["extra"]:
        lines.append(f"{result['extra']:,} detections of other images or categories were left out.")
    lines += [f"{repair['sentence']}." for repair in result["repairs"]]
    if result["empty_images"]:
        lines.append(f"Images without a detection: {result['empty_images']:,}.")
    if result["no_support"]:
        lines.append(
            f"{len(result['no_support'])} categories have no box here and are left out of averages over "
            f"categories: {_some(result['no_support'])}."
        )
    unreliable = [row for row in result.get("intervals", {}).values() if not row["reliable"]]
    if unreliable:
        lines.append(f"Interval not reliable: {unreliable[0]['reason']}.")
    if result["cuts"]["source"] != "given":
        lines.append(
            "The detections bring no score cuts; precision, recall and F1 are at the cuts of best F1 on these "
            "very images, which flatters them."
        )
    for reason in dict.fromkeys(result["absent"].values()):
        named = [key for key, value in result["absent"].items() if value == reason]
        lines.append(f"No {', '.join(named)}: {reason}.")
    return lines + list(result["reasons"])


def _some_names(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


HEADLINES = (
    ("map", "mAP"),
    ("challenge_f1", "challenge F1"),
    ("challenge_precision", "challenge precision"),
    ("challenge_recall", "challenge recall"),
    ("challenge_accuracy", "challenge accuracy"),
    ("micro_f1", "micro F1 (OF1)"),
    ("macro_f1", "macro F1"),
    ("weighted_f1", "weighted F1"),
    ("samples_f1", "samples F1"),
    ("cf1", "CF1"),
    ("hamming_loss", "Hamming loss"),
    ("subset_accuracy", "subset accuracy"),
)
EXCLUSIVE_HEADLINES = (
    ("accuracy", "accuracy"),
    ("top5_accuracy", "top-5 accuracy"),
    ("macro_precision", "macro precision"),
    ("macro_recall", "macro recall"),
    ("macro_f1", "macro F1"),
    ("map", "mAP"),
    ("log_loss", "log loss"),
    ("calibration_error", "calibration error"),
)
COMPARED = (
    "challenge_f1",
    "challenge_precision",
    "challenge_recall",
    "micro_f1",
    "macro_f1",
    "cf1",
)

ROW_FIGURES = {
    "challenge_f1": "challenge F1",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "subset_accuracy": "subset accuracy",
}
CROSS_FITTED = "cross-fitted"


def show_result(result: Mapping[str, Any], *, per_category: bool) -> None:
    """Tables for a person; the headline comes last, where the eye is."""
    if per_category:
        _show_categories(result["per_category"])
    if "at_0.5" in result:
        _show_thresholds(result)
    if result["confusions"]:
        print_table(
            "Said where another was missed",
            ("missed", "said falsely", "images", "of those missing it"),
            [
                (pair["missed"], pair["said"], pair["images"], f"{pair['share']:.0%}")
                for pair in result["confusions"][:5]
            ],
        )
    found = result.get("intervals", {})
    rows = []
    exclusive = result["labels"] == "exclusive"
    for key, title in EXCLUSIVE_HEADLINES if exclusive else HEADLINES:
        if result.get(key) is not None:
            rows.append((title, f"{result[key]:.4f}", *_interval(found.get(key))))
    print_table(
        f"{result['images']:,} images, {result['categories']} categories, "
        + ("one an image" if exclusive else f"{result['positives']:,} labels"),
        ("metric", "value", "95 % interval", ""),
        rows,
    )
    for note in notes(result):
        say(note)


def show_compared(results: Sequence[Mapping[str, Any]]) -> None:
    """One row for each set of predictions, all scored on the same images."""
    rows = []
    for result in results:
        at, figures = _judged_at(result)
        values = [_figure(figures.get(key)) for key in ROW_FIGURES]
        rows.append(
            (_short_name(result["predictions"], results), at, _figure(result.get("map")), *values)
        )
    first = results[0]
    print_table(
        f"{first['images']:,} images, {first['categories']} categories, {first['positives']:,} labels",
        ("predictions", "thresholds", "mAP", *ROW_FIGURES.values()),
        rows,
    )
    for result in results:
        for note in _left_out(result):
            say(f"{result['predictions']}: {note}")
    if any(_judged_at(result)[0] == CROSS_FITTED for result in results):
        say(
            "Predictions that bring no thresholds are judged at cross-fitted ones: each image at thresholds tuned "
            "on other images."
        )


def _short_name(path: str, results: Sequence[Mapping[str, Any]]) -> str:
    """The last part of a path where that tells it from the others."""
    name = Path(path).name
    same = [result for result in results if Path(result["predictions"]).name == name]
    return name if len(same) == 1 else path


def _judged_at(result: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """What the row of `show_compared` is at, and the figures there."""
    if result["labels"] == "exclusive":
        return "most probable", result
    if "thresholds" not in result:
        return "label sets", result
    if result["thresholds"]["source"] == "given":
        return "given", result
    return CROSS_FITTED, result[f"at_{result['tuning']['kept']}"]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _interval(found: Mapping[str, Any] | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    return (
        f"{found['low']:.4f} - {found['high']:.4f}",
        "" if found["reliable"] else "interval not reliable",
    )


def _show_categories(rows: list[dict[str, Any]]) -> None:
    ranked, thresholds = (bool(rows) and key in rows[0] for key in ("ap", "threshold"))
    headers = ["category", "support", "precision", "recall", "F1", "TP", "FP", "FN"]
    if ranked:
        headers[2:2] = ["AP"]
    if thresholds:
        headers.append("threshold")
    body = []
    for row in sorted(rows, key=lambda row: -row["support"]):
        cells = [row["name"], row["support"]]
        if ranked:
            cells.append("-" if row["ap"] is None else row["ap"])
        cells += [row[key] for key in ("precision", "recall", "f1", "tp", "fp", "fn")]
        if thresholds:
            cells.append(row["threshold"])
        body.append(cells)
    print_table("Categories", headers, body)


def _show_thresholds(result: Mapping[str, Any]) -> None:
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
        [(key, *(values[key] for _, values in columns)) for key in COMPARED],
    )


def notes(result: Mapping[str, Any]) -> list[str]:
    """What a person must know to read the figures."""
    lines = _left_out(result)
    unsupported = result["no_support"]
    if unsupported:
        lines.append(
            f"{len(unsupported)} categories have no positive here and are left out of averages over "
            f"categories: {_some(unsupported)}."
        )
    if any(not found["reliable"] for found in result.get("intervals", {}).values()):
        lines.append(f"Interval not reliable: {_why_unreliable(result)}.")
    if result.get("thresholds", {}).get("source") == "default":
        lines.append(
            "The predictions bring no thresholds, so 0.5 was used; the tuned ones beside it are cross-fitted: "
            "each image is judged at thresholds tuned on other images."
        )
        lines.append(f"Tuning: {result['tuning']['reason']}.")
    # What exclusive labels do not have by their nature needs no note.
    noted = ("map", "log_loss") if result["labels"] == "exclusive" else ("map", "at_per_category")
    for key, reason in result["absent"].items():
        if key in noted:
            lines.append(f"No {key}: {reason}.")
    return lines


def _left_out(result: Mapping[str, Any]) -> list[str]:
    lines = []
    if result["missing"]:
        lines.append(f"{result['missing']:,} images had no prediction and count as nothing said.")
    if result["extra"]:
        lines.append(f"{result['extra']:,} predicted images or categories were left out.")
    return lines


def _why_unreliable(result: Mapping[str, Any]) -> str:
    from tagbox.metrics.intervals import IMAGES, THIN

    thin = result["thin_categories"]
    if thin:
        return f"{len(thin)} categories have too few positives: {_some(thin)}"
    few_images = result["images"] < IMAGES
    return "few images" if few_images else f"fewer than {THIN} pictures are wrong, or right"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
