"""From a shape to pixels: scaled, turned, mirrored, outlined and painted, with an exact mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from tagbox.data.synthetic.fills import Colour, colour, distance, fill, shade
from tagbox.data.synthetic.shapes import Shape, body, smooth

_DIRECTIONS = [(math.cos(math.pi * i / 6), math.sin(math.pi * i / 6)) for i in range(12)]


@dataclass(frozen=True)
class Sprite:
    """A drawing that has its form but not yet its place and colours.

    Attributes
    ----------
    size
        Width and height of the patch in pixels.
    side
        Side in pixels of the square the shape was drawn in.
    alpha
        Cover of each pixel, 0..255.
    mask
        (height, width) bool; the pixels that count as the object: at least half covered.
    ink, second
        Cover of the outline and of the shape's marks, or None where there are none.
    """

    size: tuple[int, int]
    side: float
    alpha: Image.Image
    mask: NDArray[np.bool_]
    ink: Image.Image | None
    second: Image.Image | None

    def paint(self, rng: Generator, behind: Colour) -> Image.Image:
        """The patch in a texture and colours of any hue that stand out from `behind`."""
        base = colour(rng, (0.2, 1.0), (0.25, 1.0))
        for _ in range(8):
            if distance(base, behind) > 180:
                break
            base = colour(rng, (0.2, 1.0), (0.25, 1.0))
        patch = fill(rng, self.size, base, self.side)
        if self.second is not None:
            patch.paste(shade(base, 0.25 if sum(base) > 330 else 4.0), mask=self.second)
        if self.ink is not None:
            dark = rng.random() < 0.75
            ink = colour(rng, (0.0, 0.6), (0.02, 0.2)) if dark else colour(rng, (0, 0.1), (0.9, 1))
            patch.paste(ink, mask=self.ink)
        return patch


def blob(rng: Generator) -> Shape:
    """A shape that is no category: a bar, a rounded lump or an angular one."""
    kind = rng.random()
    if kind < 0.25:
        half = rng.uniform(0.1, 0.3)
        return Shape("bar", "", (body([(-1, -half), (1, -half), (1, half), (-1, half)]),))
    count = int(rng.integers(4, 9))
    corners = []
    for i in range(count):
        radius, turn = rng.uniform(0.55, 1.0), 2 * math.pi * i / count
        corners.append((radius * math.cos(turn), radius * math.sin(turn)))
    return Shape("lump", "", (body(smooth(corners) if kind < 0.7 else corners),))


def make_sprite(rng: Generator, shape: Shape, side: float) -> Sprite:
    """Draw `shape` at `side` pixels, turned up to 25°, stretched up to 1.2 to 1, perhaps mirrored."""
    angle, aspect = math.radians(rng.uniform(-25, 25)), 1.2 ** rng.uniform(-0.5, 0.5)
    mirror = -1 if rng.random() < 0.5 else 1
    sx, sy = mirror * side / 2 * aspect, side / 2 / aspect
    cos, sin = math.cos(angle), math.sin(angle)
    points = shape.points
    x = points[:, 0] * (sx * cos) - points[:, 1] * (sy * sin)
    y = points[:, 0] * (sx * sin) + points[:, 1] * (sy * cos)

    over = 2 if side > 64 else 4  # Drawn this much larger and reduced: smooth edges.
    line = max(1.0, side * rng.uniform(0.015, 0.035)) if rng.random() < 0.8 else 0.0
    margin = 1 + math.ceil(line)
    left, top = float(x.min()) - margin, float(y.min()) - margin
    size = math.ceil(float(x.max()) - left) + margin, math.ceil(float(y.max()) - top) + margin
    grid = np.rint(np.column_stack([x - left, y - top]) * over).astype(int)

    form, marks = _draw(shape, grid, (size[0] * over, size[1] * over))
    second = marks.reduce(over) if any(part.tone == "mark" for part in shape.parts) else None
    alpha, ink = form.reduce(over), None
    if line:
        alpha, ink = _grown(alpha, line), ImageChops.invert(alpha)
    return Sprite(size, side, alpha, np.asarray(alpha) >= 128, ink, second)


def _draw(
    shape: Shape, grid: NDArray[np.int_], size: tuple[int, int]
) -> tuple[Image.Image, Image.Image]:
    """The whole drawing and its marks alone, 0 or 255."""
    form, marks = Image.new("L", size), Image.new("L", size)
    paint_form, paint_marks = ImageDraw.Draw(form), ImageDraw.Draw(marks)
    start = 0
    for part in shape.parts:
        stop = start + len(part.points)
        corners = grid[start:stop].ravel().tolist()
        start = stop
        paint_form.polygon(corners, fill=0 if part.tone == "cut" else 255)
        paint_marks.polygon(corners, fill=255 if part.tone == "mark" else 0)
    return form, marks


def _grown(form: Image.Image, reach: float) -> Image.Image:
    """`form` and everything within about `reach` pixels of it."""
    grown = form.copy()
    for shift in dict.fromkeys((round(dx * reach), round(dy * reach)) for dx, dy in _DIRECTIONS):
        grown.paste(255, shift, form)
    return grown
