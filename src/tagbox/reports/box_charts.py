"""Sizes and shapes of boxes as histograms over doublings: twice as wide is one step, whatever the size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from tagbox.reports.charts import HEIGHT, WIDTH, coordinate, framed, ticks

Array = NDArray[np.float64]

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 40, 40
_BINS = 3
"""Bars a doubling."""
_MOST_TICKS = 9


@dataclass(frozen=True)
class Zone:
    """A part of the axis from the border before up to `end`, with a name above it."""

    end: float
    name: str


def size_chart(sides: Array) -> Markup | None:
    """How large the boxes are, beside COCO's small, medium and large.

    Parameters
    ----------
    sides
        (M, 2) float64; width and height in pixels of the picture. Boxes without an area are left out.

    Returns
    -------
    Markup or None
        None where there is no box.
    """
    sides = _with_area(sides)
    if not len(sides):
        return None
    sizes = np.sqrt(sides.prod(axis=1))
    shares = _zone_shares(sizes, (32.0, 96.0))
    zones = [
        Zone(end, f"{name} {share:.0%}")
        for end, name, share in zip(
            (32.0, 96.0, np.inf), ("small", "medium", "large"), shares, strict=True
        )
    ]
    return doublings("Size of boxes", sizes, x="√(width × height), px", zones=zones)


def aspect_chart(sides: Array) -> Markup | None:
    """How much wider than high the boxes are; parameters as for `size_chart`."""
    sides = _with_area(sides)
    if not len(sides):
        return None
    aspects = sides[:, 0] / sides[:, 1]
    upright, lying = float((aspects < 1).mean()), float((aspects > 1).mean())
    zones = [Zone(1.0, f"upright {upright:.0%}"), Zone(np.inf, f"lying {lying:.0%}")]
    return doublings("Shape of boxes", aspects, x="width : height", zones=zones, ratio=True)


def doublings(
    title: str, values: Array, *, x: str, zones: Sequence[Zone] = (), ratio: bool = False
) -> Markup:
    """A histogram whose axis is a step a doubling, as a ``<figure>``; every bar has a tooltip.

    Parameters
    ----------
    values
        (M,) positive numbers, at least one.
    x
        What they are.
    zones
        Parts of the axis from left to right; the last one's end is infinity.
    ratio
        Whether the values are shares of two sides, written as 1:2 and 2:1.
    """
    logs = np.log2(values)
    low, high = (
        int(np.floor(logs.min())),
        max(int(np.ceil(logs.max())), int(np.floor(logs.min())) + 1),
    )
    if ratio:
        low, high = min(low, -2), max(high, 2)
    edges = np.linspace(low, high, (high - low) * _BINS + 1)
    counts = np.histogram(logs, edges)[0]
    top = ticks(0, int(counts.max()), 5, whole=True)
    step = top[1] - top[0] if len(top) > 1 else 1.0
    ceiling = float(np.ceil(counts.max() / step) * step)
    bottom = HEIGHT - _BOTTOM

    def across(log: float) -> float:
        return _LEFT + (log - low) / (high - low) * (WIDTH - _RIGHT - _LEFT)

    def up(count: float) -> float:
        return bottom - count / ceiling * (bottom - _TOP)

    parts = []
    for tick in np.arange(0, ceiling + step / 2, step).tolist():
        text = f"{tick / 1000:g}k" if step >= 1000 else f"{tick:.0f}"
        parts.append(
            f'<path class="rule" d="M{_LEFT} {coordinate(up(tick))}H{WIDTH - _RIGHT}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{coordinate(up(tick) + 4)}" text-anchor="end">{text}</text>'
        )
    for count, start, end in zip(
        counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True
    ):
        if count:
            said = f"{_words(start, ratio)} to {_words(end, ratio)}: {count:,} boxes"
            parts.append(
                f'<rect class="bar" x="{coordinate(across(start) + 0.5)}" y="{coordinate(up(count))}"'
                f' width="{coordinate(across(end) - across(start) - 1)}" height="{coordinate(bottom - up(count))}">'
                f"<title>{escape(said)}</title></rect>"
            )
    every = -(-(high - low) // (_MOST_TICKS - 1))
    for log in range(low + (-low) % every, high + 1, every):
        parts.append(
            f'<path class="mark" d="M{coordinate(across(log))} {bottom}v4"/><text class="tick"'
            f' x="{coordinate(across(log))}" y="{bottom + 16}" text-anchor="middle">{_words(log, ratio)}</text>'
        )
    parts += _zones(zones, low, high, across(low), across(high))
    parts.append(
        f'<path class="base" d="M{_LEFT} {bottom}H{WIDTH - _RIGHT}"/>'
        f'<text class="axis" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>'
        f'<text class="axis" transform="translate(11 {coordinate((_TOP + bottom) / 2)}) rotate(-90)"'
        ' text-anchor="middle">boxes</text>'
    )
    summary = f"{len(values):,} boxes; {', '.join(zone.name for zone in zones)}"
    return framed(title, "".join(parts), summary, ())


def _zones(zones: Sequence[Zone], low: float, high: float, left: float, right: float) -> list[str]:
    """Borders between the zones and their names; one that is wider than its zone stands above the others."""
    parts, start = [], left
    for zone in zones:
        log = min(max(float(np.log2(zone.end)), low), high)
        end = left + (log - low) / (high - low) * (right - left)
        if left < end < right:
            border = f"M{coordinate(end)} {_TOP - 4}V{HEIGHT - _BOTTOM}"
            parts.append(f'<path class="chosen" d="{border}"/>')
        if end > start:
            # Letters are about 6.4 pixels wide.
            wide = 6.4 * len(zone.name)
            middle = min(max((start + end) / 2, left + wide / 2), right - wide / 2)
            line = _TOP - 8 if wide <= end - start else _TOP - 24
            parts.append(
                f'<text class="tick" x="{coordinate(middle)}" y="{line}" text-anchor="middle">'
                f"{escape(zone.name)}</text>"
            )
        start = end
    return parts


def _zone_shares(sizes: Array, ends: tuple[float, float]) -> tuple[float, float, float]:
    """Shares of small, medium and large boxes; those on a border are medium, as in COCO."""
    small, large = float((sizes < ends[0]).mean()), float((sizes > ends[1]).mean())
    return small, 1.0 - small - large, large


def _words(log: float, ratio: bool) -> str:
    value = 2.0**log
    if not ratio:
        return f"{value:,.0f}" if value >= 8 or value == round(value) else f"{value:.2g}"
    longer = max(value, 1 / value)
    text = f"{longer:.0f}" if longer >= 10 else f"{longer:.2g}"
    return f"{text}:1" if value >= 1 else f"1:{text}"


def _with_area(sides: Array) -> Array:
    kept: Array = sides[np.isfinite(sides).all(axis=1) & (sides > 0).all(axis=1)]
    return kept
