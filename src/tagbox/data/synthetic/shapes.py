"""The categories of scenes spec v1 as shapes without colour.

A shape is a list of polygons in a square of coordinates -1..1 (y points down), painted in order. Colour
and texture come from `tagbox.data.synthetic.sprites` and do not depend on the category.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Tone = Literal["body", "mark", "cut"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """A closed polygon: `body` takes the object's fill, `mark` a second colour, `cut` is a hole."""

    tone: Tone
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Shape:
    """A category: its name, the group it belongs to, and its drawing."""

    name: str
    supercategory: str
    parts: tuple[Part, ...]

    @property
    def points(self) -> NDArray[np.float64]:
        """(P, 2) float64; the points of all parts one after the other."""
        return np.array([point for part in self.parts for point in part.points], np.float64)


def oval(x: float, y: float, rx: float, ry: float | None = None, steps: int = 24) -> list[Point]:
    """An ellipse around (x, y); a circle without `ry`."""
    return arc(x, y, rx, rx if ry is None else ry, 0, 360 * (1 - 1 / steps), steps)


def arc(
    x: float, y: float, rx: float, ry: float, start: float, stop: float, steps: int = 16
) -> list[Point]:
    """Points on an ellipse from `start` to `stop` degrees; 0 is right, 90 is down."""
    angles = [math.radians(start + (stop - start) * i / (steps - 1)) for i in range(steps)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


def box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """An upright rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def smooth(points: Sequence[Point], steps: int = 6) -> list[Point]:
    """A closed Catmull-Rom curve through `points`."""
    result = []
    count = len(points)
    for i in range(count):
        p = [points[(i + k) % count] for k in (-1, 0, 1, 2)]
        for j in range(steps):
            t = j / steps
            result.append(
                (_catmull_rom(t, *[q[0] for q in p]), _catmull_rom(t, *[q[1] for q in p]))
            )
    return result


def _catmull_rom(t: float, a: float, b: float, c: float, d: float) -> float:
    return 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3
    )


def stroke(points: Sequence[Point], width: float) -> list[Point]:
    """A line of `width` along `points` as one polygon, ends cut square."""
    left, right = [], []
    last = len(points) - 1
    for i, (x, y) in enumerate(points):
        (ax, ay), (bx, by) = points[max(i - 1, 0)], points[min(i + 1, last)]
        dx, dy = bx - ax, by - ay
        length = math.hypot(dx, dy)
        nx, ny = -dy / length * width / 2, dx / length * width / 2
        left.append((x + nx, y + ny))
        right.append((x - nx, y - ny))
    return left + right[::-1]


def mirrored(points: Sequence[Point]) -> list[Point]:
    """`points` seen in a mirror on the vertical axis."""
    return [(-x, y) for x, y in points]


def body(points: Sequence[Point]) -> Part:
    """A polygon in the object's fill."""
    return Part("body", tuple(points))


def mark(points: Sequence[Point]) -> Part:
    """A polygon in the object's second colour."""
    return Part("mark", tuple(points))


def cut(points: Sequence[Point]) -> Part:
    """A hole through the object."""
    return Part("cut", tuple(points))


def _cup() -> list[Part]:
    return [
        body(oval(0.62, 0.1, 0.38, 0.42)),
        cut(oval(0.62, 0.1, 0.2, 0.24)),
        body([(-0.8, -0.6), (0.6, -0.6), (0.55, 0.35), *arc(-0.1, 0.35, 0.65, 0.5, 0, 180, 14)]),
        body(oval(-0.1, -0.6, 0.7, 0.18)),
        mark(oval(-0.1, -0.6, 0.56, 0.11)),
        *(body(_steam(x)) for x in (-0.45, -0.1, 0.25)),
    ]


def _steam(x: float) -> list[Point]:
    rise = [i / 8 for i in range(9)]
    return stroke([(x + 0.06 * math.sin(2 * math.pi * t), -0.84 - 0.4 * t) for t in rise], 0.09)


def _tree() -> list[Part]:
    return [
        body([(-0.14, 0.5), (0.14, 0.5), (0.2, 1), (-0.2, 1)]),
        body([(0, -0.1), (0.8, 0.68), (-0.8, 0.68)]),
        body([(0, -0.6), (0.62, 0.2), (-0.62, 0.2)]),
        body([(0, -1), (0.44, -0.3), (-0.44, -0.3)]),
        mark(box(-0.14, 0.68, 0.14, 1)),
        mark(stroke([(-0.6, 0.22), (0, 0.12), (0.6, 0.22)], 0.07)),
        mark(stroke([(-0.42, -0.28), (0, -0.36), (0.42, -0.28)], 0.07)),
    ]


def _house() -> list[Part]:
    return [
        body(box(0.35, -0.9, 0.58, -0.3)),
        body(box(-0.7, -0.15, 0.7, 0.9)),
        body([(0, -0.95), (0.95, -0.1), (-0.95, -0.1)]),
        mark(stroke([(-0.95, -0.1), (0.95, -0.1)], 0.09)),
        mark(box(-0.15, 0.35, 0.2, 0.9)),
        mark(box(-0.55, 0.1, -0.27, 0.42)),
        mark(box(0.32, 0.1, 0.58, 0.42)),
        mark(oval(0, -0.45, 0.14)),
    ]


def _umbrella() -> list[Part]:
    canopy = arc(0, 0.05, 1, 0.95, 180, 360, 20)
    scallops: list[Point] = []
    for centre in (0.75, 0.25, -0.25, -0.75):
        scallops += arc(centre, 0.05, 0.25, 0.17, 0, -180, 7)
    hook = [(0, -0.1), (0, 0.4), (0, 0.75), *arc(0.2, 0.75, 0.2, 0.22, 180, 0, 8)]
    return [
        body(stroke(hook, 0.13)),
        body(box(-0.05, -1.05, 0.05, -0.85)),
        body(canopy + scallops),
        mark(stroke([(0, -0.9), (-0.28, -0.5), (-0.5, 0.02)], 0.05)),
        mark(stroke([(0, -0.9), (0, -0.5), (0, 0.02)], 0.05)),
        mark(stroke([(0, -0.9), (0.28, -0.5), (0.5, 0.02)], 0.05)),
    ]


def _bottle() -> list[Part]:
    side: list[Point] = [(0.16, -0.95), (0.16, -0.5), (0.22, -0.36), (0.4, -0.15), (0.42, 0)]
    side += [(0.42, 0.85), (0.36, 0.98)]
    return [
        body(side + mirrored(side)[::-1]),
        mark(box(-0.2, -1.02, 0.2, -0.82)),
        mark(box(-0.42, 0.12, 0.42, 0.6)),
        body(oval(0, 0.36, 0.16)),
    ]


def _mushroom() -> list[Part]:
    return [
        body(
            smooth(
                [(-0.2, 0.1), (0.2, 0.1), (0.24, 0.6), (0.36, 0.95), (-0.36, 0.95), (-0.24, 0.6)]
            )
        ),
        body([*arc(0, 0.1, 0.98, 1.0, 180, 360, 20), *arc(0, 0.1, 0.98, 0.2, 0, 180, 14)]),
        mark(oval(-0.45, -0.25, 0.17)),
        mark(oval(0.1, -0.55, 0.2)),
        mark(oval(0.5, -0.12, 0.15)),
        mark(oval(-0.02, -0.08, 0.1)),
    ]


def _butterfly() -> list[Part]:
    upper = smooth([(0.05, -0.1), (0.35, -0.7), (0.85, -0.85), (0.98, -0.4), (0.6, 0.02)])
    lower = smooth([(0.05, 0.05), (0.6, 0.05), (0.8, 0.4), (0.6, 0.8), (0.25, 0.6)])
    feeler = stroke([(0.02, -0.45), (0.14, -0.75), (0.3, -0.95)], 0.06)
    wings = [upper, mirrored(upper), lower, mirrored(lower), feeler, mirrored(feeler)]
    spots = [oval(0.65, -0.5, 0.16), oval(0.5, 0.42, 0.13)]
    return [
        *map(body, wings),
        *map(mark, spots),
        *map(mark, map(mirrored, spots)),
        mark(oval(0, 0.05, 0.1, 0.6)),
    ]


def _chair() -> list[Part]:
    return [
        body([(-0.62, -1), (-0.44, -1), (-0.4, 0.1), (-0.58, 0.1)]),
        body([(0.44, -1), (0.62, -1), (0.58, 0.1), (0.4, 0.1)]),
        body(box(-0.56, -0.95, 0.56, -0.72)),
        body(box(-0.52, -0.56, 0.52, -0.36)),
        body(box(-0.52, 0.25, -0.38, 0.72)),
        body(box(0.38, 0.25, 0.52, 0.72)),
        body([(-0.55, -0.05), (0.55, -0.05), (0.78, 0.28), (-0.78, 0.28)]),
        body(box(-0.78, 0.28, 0.78, 0.42)),
        body([(-0.78, 0.4), (-0.6, 0.4), (-0.66, 1.05), (-0.8, 1.05)]),
        body([(0.78, 0.4), (0.6, 0.4), (0.66, 1.05), (0.8, 1.05)]),
        mark([(-0.46, 0.02), (0.46, 0.02), (0.6, 0.22), (-0.6, 0.22)]),
    ]


def _sailboat() -> list[Part]:
    return [
        body(box(-0.04, -1, 0.06, 0.5)),
        body([(0.1, -0.95), (0.8, 0.3), (0.1, 0.3)]),
        body([(-0.08, -0.75), (-0.08, 0.3), (-0.6, 0.3)]),
        body([(-0.95, 0.42), (0.95, 0.42), (0.65, 0.88), (-0.65, 0.88)]),
        mark(stroke([(-0.85, 0.56), (0.85, 0.56)], 0.09)),
        mark(stroke([(0.14, -0.3), (0.42, -0.3)], 0.06)),
        mark(stroke([(0.14, 0), (0.6, 0)], 0.06)),
    ]


def _snail() -> list[Part]:
    turns = [i / 40 for i in range(41)]
    spiral = [
        (-0.15 + (0.08 + 0.4 * t) * math.cos(13 * t), 0.05 + (0.08 + 0.4 * t) * math.sin(13 * t))
        for t in turns
    ]
    foot = [(-1, 0.85), (-0.85, 0.62), (-0.55, 0.55), (0.3, 0.6), (0.55, 0.2), (0.6, -0.1)]
    head = [(0.85, -0.15), (0.98, 0.1), (0.85, 0.6), (0.55, 0.85)]
    return [
        body(smooth(foot + head)),
        body(stroke([(0.68, -0.05), (0.6, -0.42)], 0.06)),
        body(stroke([(0.86, -0.05), (0.95, -0.42)], 0.06)),
        body(oval(0.6, -0.45, 0.07)),
        body(oval(0.95, -0.45, 0.07)),
        body(oval(-0.15, 0.05, 0.6)),
        mark(stroke(spiral, 0.09)),
    ]


def _scissors() -> list[Part]:
    blade = stroke([(-0.15, -1), (0.08, 0.1), (0.3, 0.5)], 0.16)
    return [
        body(blade),
        body(mirrored(blade)),
        *(body(oval(x, 0.7, 0.32)) for x in (0.4, -0.4)),
        *(cut(oval(x, 0.7, 0.19)) for x in (0.4, -0.4)),
        mark(oval(0, -0.02, 0.07)),
    ]


def _spider() -> list[Part]:
    knees = [(0.55, -0.75), (0.75, -0.35), (0.75, 0.15), (0.55, 0.45)]
    feet = [(0.75, -1), (1, -0.3), (1, 0.4), (0.75, 0.95)]
    legs = [stroke([(0, -0.1), *leg], 0.08) for leg in zip(knees, feet, strict=True)]
    return [
        *map(body, legs),
        *map(body, map(mirrored, legs)),
        body(oval(0, 0.3, 0.36, 0.46)),
        body(oval(0, -0.28, 0.25)),
        mark(oval(-0.1, -0.36, 0.07)),
        mark(oval(0.1, -0.36, 0.07)),
        mark(smooth([(0, 0.05), (0.16, 0.3), (0, 0.6), (-0.16, 0.3)])),
    ]


def _clock() -> list[Part]:
    hours = [math.radians(30 * i) for i in range(12)]
    ticks = [[(r * math.cos(a), r * math.sin(a)) for r in (0.5, 0.63)] for a in hours]
    return [
        body(oval(-0.6, -0.78, 0.25)),
        body(oval(0.6, -0.78, 0.25)),
        body(stroke([(-0.4, 0.6), (-0.7, 1.02)], 0.16)),
        body(stroke([(0.4, 0.6), (0.7, 1.02)], 0.16)),
        body(oval(0, 0, 0.85)),
        mark(oval(0, 0, 0.68)),
        *(body(stroke(tick, 0.07)) for tick in ticks),
        body(stroke([(0, 0), (0, -0.5)], 0.08)),
        body(stroke([(0, 0), (0.33, 0.18)], 0.1)),
        body(oval(0, 0, 0.09)),
    ]


def _ladder() -> list[Part]:
    rail = [(0.36, -1.0), (0.5, -1.0), (0.58, 1.0), (0.42, 1.0)]
    rungs = [box(-0.46, y, 0.46, y + 0.12) for y in (-0.85, -0.52, -0.19, 0.14, 0.47, 0.78)]
    return [body(rail), body(mirrored(rail)), *map(body, rungs)]


@cache
def shapes() -> tuple[Shape, ...]:
    """The 14 categories, the most frequent first."""
    drawn = (
        ("house", "building", _house()),
        ("tree", "nature", _tree()),
        ("cup", "household", _cup()),
        ("bottle", "household", _bottle()),
        ("butterfly", "animal", _butterfly()),
        ("sailboat", "vehicle", _sailboat()),
        ("snail", "animal", _snail()),
        ("mushroom", "nature", _mushroom()),
        ("chair", "household", _chair()),
        ("scissors", "tool", _scissors()),
        ("umbrella", "household", _umbrella()),
        ("spider", "animal", _spider()),
        ("clock", "household", _clock()),
        ("ladder", "tool", _ladder()),
    )
    return tuple(Shape(name, group, tuple(parts)) for name, group, parts in drawn)
