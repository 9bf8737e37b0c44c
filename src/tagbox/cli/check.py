"""`tagbox check`: findings and statistics of a dataset, or of the sides of a split."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tagbox.cli.console import console, print_json, print_table, progress_bar, say
from tagbox.config import DataConfig, require

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
    split: Path | None = None,
    pictures: bool = True,
    strict: bool = False,
    limit: int = 1000,
    json: bool = False,
) -> int:
    """Say what is wrong with a dataset, where, and how to mend it; and what is in it.

    Every record and every picture is looked at, and all faults are reported in one run. Given
    several datasets, they are the sides of a split: categories that one side lacks and pictures
    that two sides share are found too.

    The exit code is 1 when there is an error (with --strict, also when there is a warning), else 0.

    Parameters
    ----------
    data
        A dataset: COCO JSON, challenge folder, labels JSON, CSV, YOLO or labelme folder, a folder a class.
    others
        Further sides of the split, such as the validation dataset.
    split
        A saved `split.json` of DATA: its parts are compared as sides.
    pictures
        Read every picture; without, only the labels are checked.
    strict
        Let warnings count as errors.
    limit
        Findings listed of each kind in the JSON, 0 for all; the counts are complete.
    json
        Print findings, counts and statistics as one JSON object.
    """
    from tagbox.checks.check import check_datasets

    require(limit >= 0, "limit", limit, "at least 0")
    report = check_datasets(
        [data, *others],
        source,
        split=split,
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
    """One row a code: how often, the first places, the way out."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    groups: dict[str, list[Finding]] = {}
    for finding in findings.kept:
        groups.setdefault(finding.code, []).append(finding)
    if not groups:
        return
    table = Table("count", "finding: where, what, way out", box=SIMPLE_HEAD)
    table.columns[0].justify = "right"
    table.columns[1].overflow = "fold"
    for code, group in groups.items():
        severity = group[0].severity
        cell = Text.assemble((severity, _STYLES[severity]), f" {code}\n")
        for finding in group[:_EXAMPLES]:
            place = ": ".join(part for part in (_short(finding.file), finding.where) if part)
            cell.append(f"{place}: {finding.found}\n" if place else f"{finding.found}\n")
        more = findings.counts[code] - len(group[:_EXAMPLES])
        if more:
            cell.append(f"… and {more:,} more\n", "dim")
        cell.append(f"→ {group[0].hint}\n", "italic")
        table.add_row(f"{findings.counts[code]:,}", cell)
    screen = console(stderr=False)
    if not screen.is_terminal:
        screen.width = 140
    screen.print(table)


def _short(file: str) -> str:
    """A path as one would type it here, when that is shorter."""
    if not file:
        return ""
    relative = os.path.relpath(file)
    return relative if len(relative) < len(file) else file


def _print_statistics(checked: Checked) -> None:
    if checked.statistics is None:
        return
    counts: dict[str, Any] = checked.statistics
    say(f"{checked.path}: {checked.description}")
    labels, objects = counts["labels_per_image"], counts["objects"]
    rows: list[tuple[str, str]] = [
        ("images", f"{counts['images']:,}"),
        ("  pictures decoded", f"{checked.pictures_read:,}"),
        ("  labelled", f"{counts['labelled_images']:,}"),
        ("  without a category", f"{counts['empty_images']:,}"),
        ("annotations", f"{counts['annotations']:,}"),
        ("  crowds", f"{counts['crowds']:,}"),
    ]
    if labels["max"] is not None:
        said = f"mean {labels['mean']:.2f}, median {labels['median']:g}, most {labels['max']}"
        rows.append(("categories an image", said))
    if counts["imbalance"] is not None:
        rows.append(("most frequent over rarest", f"{counts['imbalance']:.1f}"))
    for side in ("widths", "heights"):
        if counts[side] is not None:
            said = "{min} to {max}, median {median}".format(**counts[side])
            rows.append((side, said))
    if counts["boxes"]:
        said = "{small:,} small, {medium:,} medium, {large:,} large".format(**objects)
        rows.append(("boxes", said))
    if counts["boxes_per_image"]:
        said = "mean {mean:.2f}, median {median:g}, most {max:g}".format(
            **counts["boxes_per_image"]
        )
        rows.append(("  an image", said))
        said = "{p5:.0f} to {p95:.0f} pixels, median {median:.0f}".format(**counts["box_sides"])
        rows.append(("  side of a square that large", said))
        said = "{p5:.2f} to {p95:.2f}, median {median:.2f}".format(**counts["aspect_ratios"])
        rows.append(("  width over height", said))
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
    """The most frequent and the rarest categories; all of them where they are few."""
    ordered = sorted(categories, key=lambda category: -category["images"])
    rows = [
        (c["name"], f"{c['images']:>6,}", f"{c['annotations']:>11,}", f"{c['share']:>6.1%}")
        for c in ordered
    ]
    if len(rows) > 20:
        rows = [*rows[:10], (f"… {len(rows) - 15} more", "", "", ""), *rows[-5:]]
    print_table("Categories", ("category", "images", "annotations", "share"), rows)
