"""Colours, textures and backgrounds of generated scenes; none of them knows a category.

Pictures are painted by Pillow in whole numbers, so the same seed gives the same pixels everywhere.
"""

from __future__ import annotations

import colorsys
import math

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]


def colour(rng: Generator, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A colour of any hue, with saturation and value drawn from the two ranges."""
    red, green, blue = colorsys.hsv_to_rgb(
        rng.random(), rng.uniform(*saturation), rng.uniform(*value)
    )
    return round(red * 255), round(green * 255), round(blue * 255)


def distance(a: Colour, b: Colour) -> int:
    """How far two colours are apart: the sum of the channels' differences, 0..765."""
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def shade(base: Colour, factor: float) -> Colour:
    """`base` made darker (below 1) or lighter (above 1, towards white)."""
    if factor <= 1:
        return _rgb(channel * factor for channel in base)
    return _rgb(255 - (255 - channel) / factor for channel in base)


def _rgb(channels: object) -> Colour:
    red, green, blue = (round(channel) for channel in channels)  # type: ignore[attr-defined]
    return red, green, blue


def average(picture: Image.Image, frame: tuple[int, int, int, int]) -> Colour:
    """Mean colour of `picture` inside `frame` (left, top, right, bottom)."""
    patch = picture.crop(frame).resize((1, 1), Image.Resampling.BOX)
    return _rgb(patch.getpixel((0, 0)))


def fill(rng: Generator, size: tuple[int, int], base: Colour, scale: float) -> Image.Image:
    """A patch of `size` in one of six textures: solid, gradient, stripes, checks, dots or noise.

    `scale` is the side in pixels of the object that wears it: periods follow it.
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
