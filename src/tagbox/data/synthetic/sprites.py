"""Sprites of generated scenes: a shape scaled, turned, outlined and painted, with an exact mask.

Colours, textures and backgrounds do not depend on the category. Images are painted by Pillow in whole
numbers, so that a seed gives the same pixels on every machine.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from tagbox.data.synthetic.shapes import Shape, body, smooth

Colour = tuple[int, int, int]


def colour(rng: Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A colour of random hue, with saturation and value drawn from the two ranges."""
    red, green, blue = colorsys.hsv_to_rgb(
        rng.random(), rng.uniform(*saturation), rng.uniform(*value)
    )
    return round(red * 255), round(green * 255), round(blue * 255)


def distance(a: Colour, b: Colour) -> int:
    """Sum of the absolute differences of the channels, 0..765."""
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def shade(base: Colour, factor: float) -> Colour:
    """`base` made darker (below 1) or lighter (above 1, towards white)."""
    if factor <= 1:
        return _rgb(channel * factor for channel in base)
    return _rgb(255 - (255 - channel) / factor for channel in base)


def _rgb(channels: Iterable[float]) -> Colour:
    red, green, blue = map(round, channels)
    return red, green, blue


def average(picture: Image.Image, frame: tuple[int, int, int, int]) -> Colour:
    """Mean colour of `picture` inside `frame` (left, top, right, bottom)."""
    patch = picture.crop(frame).resize((1, 1), Image.Resampling.BOX)
    return _rgb(patch.getpixel((0, 0)))


def fill(rng: Generator, size: tuple[int, int], base: Colour, scale: float) -> Image.Image:
    """A patch of `size` in one of six textures: solid, gradient, stripes, checks, dots or noise.

    `scale` is the side of the object in pixels, which the periods of patterns are a share of.
    """
    width, height = size
    other = shade(base, rng.uniform(0.6, 0.85) if rng.random() < 0.5 else rng.uniform(1.2, 2.0))
    texture = int(rng.integers(6))
    if texture == 0:
        return Image.new("RGB", size, base)
    if texture == 1:
        corners = Image.new("RGB", (2, 2), base)
        corners.putpixel((int(rng.integers(2)), int(rng.integers(2))), other)
        return corners.resize(size, Image.Resampling.BICUBIC)
    if texture == 2:
        cells = rng.integers(0, 256, (max(2, height // 5), max(2, width // 5)), np.uint8)
        mask = Image.fromarray(cells).resize(size, Image.Resampling.BILINEAR)
    else:
        period = max(4, round(scale * rng.uniform(0.1, 0.25)))
        mask = _pattern(rng, texture, width, height, period)
    return Image.composite(Image.new("RGB", size, other), Image.new("RGB", size, base), mask)


def _pattern(rng: Generator, texture: int, width: int, height: int, period: int) -> Image.Image:
    """Stripes (3), checks (4) or dots (5) at any angle."""
    # Drawn at twice the size and reduced: smooth edges. 2**16 is a whole period, so that the
    # overflow of 16-bit numbers does the modulo.
    turn = rng.uniform(0, math.pi)
    a, b = (round(2**15 / period * f(turn)) % 2**16 for f in (math.cos, math.sin))
    x = np.arange(2 * width, dtype=np.uint16)
    y = np.arange(2 * height, dtype=np.uint16)[:, None]
    u = x * np.uint16(a) + y * np.uint16(b)
    v = x * np.uint16(-b % 2**16) + y * np.uint16(a)
    if texture == 3:
        on = u < 2**15
    elif texture == 4:
        on = (u ^ v) < 2**15
    else:
        du, dv = (np.abs((part >> 8).astype(np.int16) - 128) for part in (u, v))
        on = du * du + dv * dv < 76 * 76
    return Image.fromarray(on.view(np.uint8) * np.uint8(255)).reduce(2)


def background(rng: Generator, width: int, height: int, unit: float) -> Image.Image:
    """Clutter of any colour: a soft gradient, flat polygons and ovals, lines, and grain."""
    rows, columns = (int(n) for n in rng.integers(2, 6, 2))
    base = colour(rng, (0.1, 0.6), (0.25, 0.95))
    cells = np.array([shade(base, rng.uniform(0.5, 1.7)) for _ in range(rows * columns)], np.uint8)
    picture = Image.fromarray(cells.reshape(rows, columns, 3)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    paint = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(2, 9))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        tint = shade(average(picture, _around(x, y, width, height)), rng.uniform(0.6, 1.5))
        corners = rng.uniform(-130, 130, (int(rng.integers(3, 7)), 2)) * unit + (x, y)
        if rng.random() < 0.6:
            paint.polygon(corners.ravel().tolist(), fill=tint)
        else:
            rx, ry = rng.uniform(15, 120, 2) * unit
            paint.ellipse((x - rx, y - ry, x + rx, y + ry), fill=tint)
    for _ in range(int(rng.integers(0, 9))):
        ends = rng.uniform(-0.1, 1.1, 4) * (width, height, width, height)
        tint = shade(base, rng.uniform(0.5, 1.8))
        paint.line(ends.tolist(), fill=tint, width=max(1, round(rng.uniform(1, 6) * unit)))
    strength = int(rng.integers(-30, 40))
    if strength > 0:
        grain = np.frombuffer(rng.bytes(width * height), np.uint8).reshape(height, width)
        speck = shade(base, rng.choice((0.2, 4.0)))
        picture.paste(speck, mask=Image.fromarray(grain % np.uint8(strength)))
    return picture


def _around(x: float, y: float, width: int, height: int) -> tuple[int, int, int, int]:
    left, top = min(int(x), width - 1), min(int(y), height - 1)
    return left, top, left + 1, top + 1


_DIRECTIONS = [(math.cos(math.pi * i / 6), math.sin(math.pi * i / 6)) for i in range(12)]


@dataclass(frozen=True)
class Sprite:
    """A drawn shape without its position and colours.

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
        """The patch in a random texture and colours that contrast with `behind`, the colour of the background."""
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
    """A shape of no category: a bar, a rounded polygon or an angular one."""
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
