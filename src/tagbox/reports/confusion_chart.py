"""A confusion matrix as inline SVG, readable for ten categories and for eighty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from tagbox.reports.charts import coordinate, framed, shortened

MOST = 100
"""Categories that are drawn; of more, those with the most mistakes."""


@dataclass(frozen=True, kw_only=True)
class _Size:
    """Pixels a cell, font size of names, letters of a name, and font size of counts, if they have room."""

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
    things: str = "pictures",
    tell: Callable[[int, int], str] | None = None,
) -> Markup:
    """Rows are what is there, columns what was said; the diagonal is right and has a colour of its own.

    A cell is the darker, the larger its share of its row is (by the square root, so that one mistake in a
    hundred shows); empty ones are left out. Each has a tooltip.

    Parameters
    ----------
    names
        K category names.
    counts
        (K, K) int64; see `metrics.single_label.confusion_matrix`.
    things
        What is counted.
    tell
        Row and column of a cell in words; ``NAME: right`` and ``NAME: said to be OTHER`` when not given.
    """

    def right_or_said(i: int, j: int) -> str:
        return f"{all_names[i]}: said to be {all_names[j]}" if i != j else f"{all_names[i]}: right"

    title, all_names, tell = "Confusion matrix", names, tell or right_or_said
    kept: NDArray[np.intp] = np.arange(len(names))
    totals, all_hits, everything = counts.sum(axis=1), int(np.trace(counts)), int(counts.sum())
    if len(names) > MOST:
        wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
        kept = np.sort(np.argsort(-wrong, kind="stable")[:MOST])
        title += f": the {MOST} of {len(names)} categories with the most mistakes"
        names, counts = [names[k] for k in kept], counts[np.ix_(kept, kept)]
        totals = totals[kept]
    size = next(size for most, size in _SIZES if len(names) <= most)
    cell, side = size.cell, size.cell * len(names)
    # Letters are about 0.58 of their size wide; columns' names lean over by 60 degrees.
    longest = 0.58 * size.font * max(min(len(name), size.letters) for name in names)
    left, top = max(longest, 44) + 12, max(0.87 * longest, 26) + 12
    width, height = left + side + 0.5 * longest + 6, top + side + 4
    parts = [
        f'<text class="axis" x="{coordinate(left - 8)}" y="{coordinate(top - 26)}" text-anchor="end">is ↓</text>',
        f'<text class="axis" x="{coordinate(left - 8)}" y="{coordinate(top - 10)}" text-anchor="end">said →</text>',
        _paper(left, top, cell, len(names)),
    ]
    style = f'style="font-size:{size.font}px"'
    for i, name in enumerate(names):
        middle = cell * (i + 0.5)
        short = f"<title>{escape(name)}</title>{escape(shortened(name, size.letters))}"
        down, right = coordinate(top + middle + size.font / 3), coordinate(left + middle + 3)
        parts.append(
            f'<text class="tick" {style} x="{coordinate(left - 5)}" y="{down}" text-anchor="end">{short}</text>'
            f'<text class="tick" {style} transform="translate({right} {coordinate(top - 5)}) rotate(-60)">{short}</text>'
        )
    for i, j in np.argwhere(counts > 0).tolist():
        count, total = int(counts[i, j]), int(totals[i])
        x, y = left + cell * j, top + cell * i
        strength = (count / total) ** 0.5
        said = tell(int(kept[i]), int(kept[j]))
        tip = escape(f"{said}, {count:,} of {total:,} {things}")
        square = (
            f'<rect class="{"hit" if i == j else "miss"}" x="{coordinate(x)}" y="{coordinate(y)}"'
            f' width="{cell - 1}" height="{cell - 1}" fill-opacity="{0.12 + 0.88 * strength:.2f}"/>'
        )
        inside = ""
        if size.counts is not None and len(str(count)) * size.counts * 0.6 <= cell:
            loud = " loud" if strength > 0.6 else ""
            inside = (
                f'<text class="count{loud}" style="font-size:{size.counts}px" x="{coordinate(x + cell / 2 - 0.5)}"'
                f' y="{coordinate(y + cell / 2 + size.counts / 3)}" text-anchor="middle">{count}</text>'
            )
        parts.append(f"<g>{square}{inside}<title>{tip}</title></g>")
    summary = (
        f"{all_hits:,} of {everything:,} {things} are right; {len(names)} categories are shown"
    )
    # Smaller, its names could not be read.
    least = width * (1.0 if size.counts is None else 0.85)
    return framed(title, "".join(parts), summary, (), width, height, "chart confusion", least)


def _paper(left: float, top: float, cell: int, count: int) -> str:
    """The empty matrix, ruled between categories."""
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
