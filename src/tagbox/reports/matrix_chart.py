"""Square matrices of category pairs as inline SVG, readable for ten categories and for eighty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import escape
from numpy.typing import NDArray

from tagbox.reports.charts import Chart, coordinate, framed, shortened

MOST = 100
"""Categories of a confusion matrix; of more, those with the most errors."""
_MOST_TOGETHER = 14
"""Categories of a matrix of co-occurrence: those with the largest counts."""


@dataclass(frozen=True, kw_only=True)
class _Size:
    """Pixels of a cell, font size and characters of a name, and font size of the counts, if there is room."""

    cell: int
    font: float
    letters: int
    counts: float | None


_SIZES = (
    (16, _Size(cell=30, font=12, letters=16, counts=12)),
    (32, _Size(cell=22, font=11, letters=17, counts=10)),
    (MOST, _Size(cell=12, font=9.5, letters=20, counts=None)),
)


def confusion_chart(
    names: Sequence[str],
    counts: NDArray[np.int64],
    *,
    unit: str = "images",
    describe: Callable[[int, int], str] | None = None,
) -> Chart:
    """A confusion matrix: rows are true, columns predicted categories; the diagonal has a colour of its own.

    Cells are shaded by the square root of their share of the row, so that one error in a hundred is visible.

    Parameters
    ----------
    names
        K category names.
    counts
        (K, K) int64; see `metrics.single_label.confusion_matrix`.
    unit
        What is counted, in the plural.
    describe
        Tooltip of row and column off the diagonal; ``NAME predicted as OTHER`` when not given.
    """
    title, totals = "Confusion matrix", counts.sum(axis=1)
    kept: NDArray[np.intp] = np.arange(len(names))
    if len(names) > MOST:
        errors = counts.sum(axis=0) + totals - 2 * np.diag(counts)
        kept = np.sort(np.argsort(-errors, kind="stable")[:MOST])
        title += f": the {MOST} of {len(names)} categories with the most errors"

    def tooltip(i: int, j: int) -> str:
        i, j = int(kept[i]), int(kept[j])
        if i == j:
            words = f"{names[i]} correct"
        elif describe is None:
            words = f"{names[i]} predicted as {names[j]}"
        else:
            words = describe(i, j)
        return f"{words}: {counts[i, j]:,} of {totals[i]:,} {unit}"

    return matrix_chart(
        title,
        [names[k] for k in kept],
        counts[np.ix_(kept, kept)],
        np.sqrt(counts / np.maximum(totals, 1)[:, None])[np.ix_(kept, kept)],
        row="true",
        column="predicted",
        tooltip=tooltip,
        summary=f"{np.trace(counts):,} of {counts.sum():,} {unit} are correct; {len(kept)} categories",
    )


def co_occurrence_chart(
    title: str,
    names: Sequence[str],
    counts: NDArray[np.int64],
    *,
    row: str,
    column: str,
    describe: Callable[[str, str], str],
) -> Chart:
    """A matrix of the categories with the largest counts; empty for fewer than three, or without a count.

    Parameters
    ----------
    counts
        (K, K) int64 with an empty diagonal.
    row, column
        What rows and columns are.
    describe
        Tooltip of the names of row and column.
    """
    weights = counts.sum(axis=0) + counts.sum(axis=1)
    kept = np.argsort(-weights, kind="stable")[:_MOST_TOGETHER]
    kept = kept[weights[kept] > 0]
    if len(names) < 3 or not len(kept):
        return Chart()
    shown, shown_names = counts[np.ix_(kept, kept)], [names[k] for k in kept]
    return matrix_chart(
        title,
        shown_names,
        shown,
        shown / shown.max(),
        row=row,
        column=column,
        tooltip=lambda i, j: f"{describe(shown_names[i], shown_names[j])}: {shown[i, j]:,} images",
        summary=f"{len(kept)} categories, highest {shown.max():,}",
        diagonal=False,
    )


def matrix_chart(
    title: str,
    names: Sequence[str],
    counts: NDArray[np.int64],
    strengths: NDArray[np.float64],
    *,
    row: str,
    column: str,
    tooltip: Callable[[int, int], str],
    summary: str,
    diagonal: bool = True,
) -> Chart:
    """A square table of counts as shaded cells with tooltips; zeros stay empty.

    Parameters
    ----------
    names
        n names, of rows and columns alike.
    counts, strengths
        (n, n) counts, and how dark their cells are, from 0 to 1.
    row, column
        What rows and columns are.
    tooltip
        Of row and column.
    diagonal
        Whether the diagonal has a meaning, and then a colour of its own.
    """
    size = next(size for most, size in _SIZES if len(names) <= most)
    cell, side = size.cell, size.cell * len(names)
    # Characters are about 0.58 of their size wide; the names of columns are rotated by 60 degrees.
    longest = 0.58 * size.font * max(min(len(name), size.letters) for name in names)
    # Characters of the names of the axes, which are followed by an arrow, are about 7 pixels wide.
    named = 7 * (max(len(row), len(column)) + 2)
    left, top = max(longest, named) + 12, max(0.87 * longest, 26) + 12
    width, height = left + side + 0.5 * longest + 6, top + side + 4
    parts = [
        f'<text class="axis" x="{coordinate(left - 8)}" y="{coordinate(top - 26)}" text-anchor="end">{escape(row)} ↓</text>',
        f'<text class="axis" x="{coordinate(left - 8)}" y="{coordinate(top - 10)}" text-anchor="end">{escape(column)} →</text>',
        _grid(left, top, cell, len(names)),
    ]
    font = f'style="font-size:{size.font}px"'
    for i, name in enumerate(names):
        middle = cell * (i + 0.5)
        text = f"<title>{escape(name)}</title>{escape(shortened(name, size.letters))}"
        down, right = coordinate(top + middle + size.font / 3), coordinate(left + middle + 3)
        parts.append(
            f'<text class="tick" {font} x="{coordinate(left - 5)}" y="{down}" text-anchor="end">{text}</text>'
            f'<text class="tick" {font} transform="translate({right} {coordinate(top - 5)}) rotate(-60)">{text}</text>'
        )
        if not diagonal:
            parts.append(
                f'<rect class="cell none" x="{coordinate(left + cell * i)}" y="{coordinate(top + cell * i)}"'
                f' width="{cell - 1}" height="{cell - 1}"/>'
            )
    for i, j in np.argwhere(counts > 0).tolist():
        count, strength = int(counts[i, j]), float(strengths[i, j])
        x, y = left + cell * j, top + cell * i
        style = "shade" if not diagonal else "hit" if i == j else "miss"
        square = (
            f'<rect class="{style}" x="{coordinate(x)}" y="{coordinate(y)}"'
            f' width="{cell - 1}" height="{cell - 1}" fill-opacity="{0.12 + 0.88 * strength:.2f}"/>'
        )
        inside = ""
        if size.counts is not None and len(str(count)) * size.counts * 0.6 <= cell:
            inverted = " inverted" if strength > 0.6 else ""
            inside = (
                f'<text class="count{inverted}" style="font-size:{size.counts}px" x="{coordinate(x + cell / 2 - 0.5)}"'
                f' y="{coordinate(y + cell / 2 + size.counts / 3)}" text-anchor="middle">{count}</text>'
            )
        parts.append(f"<g>{square}{inside}<title>{escape(tooltip(i, j))}</title></g>")
    # Narrower, the names could not be read.
    min_width = width * (1.0 if size.counts is None else 0.85)
    return framed(
        title,
        "".join(parts),
        summary,
        width=width,
        height=height,
        style="chart matrix",
        min_width=min_width,
    )


def _grid(left: float, top: float, cell: int, count: int) -> str:
    """The empty matrix with lines between the categories."""
    side = cell * count
    lines = "".join(
        f"M{coordinate(left)} {coordinate(top + cell * i - 0.5)}h{side}"
        f"M{coordinate(left + cell * i - 0.5)} {coordinate(top)}v{side}"
        for i in range(1, count)
    )
    return (
        f'<rect class="cell" x="{coordinate(left)}" y="{coordinate(top)}" width="{side - 1}" height="{side - 1}"/>'
        f'<path class="ruled" d="{lines}"/>'
    )
