"""`tagbox check`: findings and statistics of a dataset, or of the parts of a split."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tagbox.cli.console import console, print_json, progress_bar, say
from tagbox.cli.tables import print_table, wrapped
from tagbox.config import DataConfig, require
from tagbox.errors import visible

if TYPE_CHECKING:
    from tagbox.checks.check import Checked
    from tagbox.checks.findings import Finding, Findings

_EXAMPLES = 3
_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}


def check(
    data: Path,
    /,
    *others: Path,
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    pictures: bool = True,
    strict: bool = False,
    limit: int = 1000,
    json: bool = False,
) -> int:
    """Report what is wrong with a dataset and how to fix it, and what is in it.

    Every record and every image is checked, and all findings are reported in one run. Several datasets are
    the parts of one split, and so are the splits that a dataset states itself: categories that a part lacks and images that two parts share are reported too.

    The exit code is 1 if there is an error (with --strict, also if there is a warning), else 0.

    Parameters
    ----------
    data
        Dataset: COCO JSON, challenge folder, labels JSON, CSV, YOLO, labelme or Pascal VOC folder, or one folder per class.
    others
        Further parts of the split, such as the validation dataset.
    pictures
        Read every image; --no-pictures checks only the labels.
    strict
        Count warnings as errors.
    limit
        Maximum number of findings per kind in the JSON, 0 for all; the counts are complete.
    json
        Print findings, counts and statistics as one JSON object.
    """
    from tagbox.checks.check import check_datasets
    from tagbox.data.split import saved_split

    require(limit >= 0, "limit", limit, "at least 0")
    saved, source = saved_split(source)
    report = check_datasets(
        [data, *others],
        source,
        split=saved,
        pictures=pictures,
        limit=limit or None,
        bar=progress_bar,
    )
    if json:
        print_json(report.to_dict())
    else:
        for checked in report.datasets:
            _print_statistics(checked)
        _print_findings(report.findings)
    totals = report.findings.totals
    say(
        ", ".join(
            f"{count:,} {noun}{'s' * (count != 1)}"
            for noun, count in zip(("error", "warning", "note"), totals.values(), strict=True)
        )
    )
    return int(totals["error"] > 0 or (strict and totals["warning"] > 0))


def _print_findings(findings: Findings) -> None:
    """Print one row per code: its count, the first places with what was found there, and the hint."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    groups: dict[str, list[Finding]] = {}
    for finding in findings.kept:
        groups.setdefault(finding.code, []).append(finding)
    if not groups:
        return
    screen = console(stderr=False)
    if not screen.is_terminal and "COLUMNS" not in os.environ:
        screen.width = 140
    # The column of counts, and the space around the columns.
    width = max(screen.width - max(5, *(len(f"{n:,}") for n in findings.counts.values())) - 7, 20)
    table = Table("count", "finding: where, what, how to fix it", box=SIMPLE_HEAD)
    table.columns[0].justify = "right"
    table.columns[1].overflow = "fold"
    for code, group in groups.items():
        severity = group[0].severity
        cell = Text.assemble((severity, _STYLES[severity]), f" {code}\n")
        shown = group[: 1 if severity == "info" else _EXAMPLES]
        for finding in shown:
            parts = (_short(finding.file), finding.where, finding.found)
            cell.append(wrapped(visible(": ".join(part for part in parts if part)), width) + "\n")
        more = findings.counts[code] - len(shown)
        if more:
            cell.append(f"… and {more:,} more\n", "dim")
        cell.append(wrapped(visible(f"→ {group[0].hint}"), width) + "\n", "italic")
        table.add_row(f"{findings.counts[code]:,}", cell)
    screen.print(table)


def _short(file: str) -> str:
    """The path relative to the working directory where that is shorter."""
    return min(file, os.path.relpath(file), key=len) if file else ""


def _print_statistics(checked: Checked) -> None:
    if checked.statistics is None:
        return
    counts: dict[str, Any] = checked.statistics
    say(f"{checked.path}: {checked.description}")
    rows: list[tuple[str, str]] = [
        ("images", f"{counts['images']:,}"),
        ("  decoded", f"{checked.pictures_read:,}"),
        ("  labelled", f"{counts['labelled_images']:,}"),
        ("  without a category", f"{counts['empty_images']:,}"),
        ("annotations", f"{counts['annotations']:,}"),
        ("  crowds", f"{counts['crowds']:,}"),
    ]

    def add(statistic: str, template: str, values: Mapping[str, Any] | None) -> None:
        if values:
            rows.append((statistic, template.format(**values)))

    labels = counts["labels_per_image"]
    if labels["max"] is not None:
        add("categories per image", "mean {mean:.2f}, median {median:g}, max {max}", labels)
    if counts["imbalance"] is not None:
        rows.append(("most frequent over rarest", f"{counts['imbalance']:.1f}"))
    for side in ("widths", "heights"):
        add(side, "{min} to {max}, median {median}", counts[side])
    if counts["boxes"]:
        add("boxes", "{small:,} small, {medium:,} medium, {large:,} large", counts["objects"])
    if counts["boxes_per_image"]:
        spread = "mean {mean:.2f}, median {median:g}, max {max:g}"
        add("  per image", spread, counts["boxes_per_image"])
        spread = "{p5:.0f} to {p95:.0f} pixels, median {median:.0f}"
        add("  square root of the area", spread, counts["box_sides"])
        spread = "{p5:.2f} to {p95:.2f}, median {median:.2f}"
        add("  width over height", spread, counts["aspect_ratios"])
    print_table(checked.path.name, ("statistic", "value"), rows)
    _print_categories(counts["categories"])
    if counts["co_occurrence"]:
        print_table(
            "Most often together",
            ("pair", "images", "lift"),
            [
                (f"{pair['a']} + {pair['b']}", f"{pair['images']:>6,}", f"{pair['lift']:>5.2f}")
                for pair in counts["co_occurrence"][:8]
            ],
        )


def _print_categories(categories: list[dict[str, Any]]) -> None:
    """Print the most frequent and the rarest categories; all of them up to 20."""
    ordered = sorted(categories, key=lambda category: -category["images"])
    rows = [
        (c["name"], f"{c['images']:>6,}", f"{c['annotations']:>11,}", f"{c['share']:>6.1%}")
        for c in ordered
    ]
    if len(rows) > 20:
        rows = [*rows[:10], (f"… {len(rows) - 15} more", "", "", ""), *rows[-5:]]
    print_table("Categories", ("category", "images", "annotations", "share"), rows)
