"""What `tagbox evaluate` shows a person of detections: tables, and notes on how to read them."""

from __future__ import annotations

from collections.abc import Mapping
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
        _show_categories(result["per_category"])
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
    rows = [(title, _number(result[key]), *_interval(found.get(key))) for key, title in NUMBERS]
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
    for note in notes(result):
        say(note)


def _show_categories(rows: list[dict[str, Any]]) -> None:
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


def _interval(found: Mapping[str, Any] | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    return (
        f"{found['low']:.4f} - {found['high']:.4f}",
        "" if found["reliable"] else "interval not reliable",
    )


def notes(result: Mapping[str, Any]) -> list[str]:
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


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
