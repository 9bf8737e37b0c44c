"""Boxes drawn over a picture: predicted ones with names and scores, true ones dashed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tagbox.images.fonts import fit_text, shorten
from tagbox.images.verdicts import percent

BOX_COLOURS = (
    "#0062a3",
    "#b34700",
    "#00734f",
    "#a3397b",
    "#6b4fbb",
    "#7a6000",
    "#00707a",
    "#b3263c",
    "#4a6b12",
    "#8a4b2a",
)
_LIGHT = "#ffffff"
_SMALLEST = 320
"""Pixels that the longer side of a drawn picture has at least; smaller ones are enlarged for the text."""
_ROOMY = 6
"""How many times larger than its tag a box is that takes it inside."""
_DASH, _GAP = 4, 3
"""Of a dashed line, in widths of the line."""

Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of what is drawn on."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A box to draw.

    Attributes
    ----------
    name
        The category.
    box
        x, y, width, height in pixels of the picture.
    score
        Shown behind the name, in per cent.
    truth
        Whether it is what somebody annotated: dashed, with a light tag.
    tagged
        Whether its name is written; its colour says it in any case.
    """

    name: str
    box: tuple[float, float, float, float]
    score: float | None = None
    truth: bool = False
    tagged: bool = True


def colour_of(name: str) -> str:
    """The colour of a category's boxes, the same in every picture and every run."""
    return BOX_COLOURS[zlib.crc32(name.encode()) % len(BOX_COLOURS)]


def mark_picture(image: NDArray[np.uint8], marks: Sequence[Mark]) -> Image.Image:
    """A picture with boxes over it, in its own size; a small one enlarged by a whole number.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    """
    picture = Image.fromarray(image)
    factor = max(1, -(-_SMALLEST // max(picture.size)))
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor))
    size = min(max(round(max(picture.size) / 45), 14), 64)
    draw_marks(picture, marks, scale=factor, size=size)
    return picture


def draw_marks(picture: Image.Image, marks: Sequence[Mark], *, scale: float, size: int) -> None:
    """Draw boxes, the largest first so that small ones stay visible, then their names clear of each other.

    Parameters
    ----------
    picture
        What is drawn on, `scale` times as large as the picture that the boxes are of.
    size
        Of the text, in pixels.
    """
    draw = ImageDraw.Draw(picture)
    limits = picture.size
    line = max(2, size // 7)
    drawn: list[tuple[Mark, Rectangle]] = []
    for mark in sorted(marks, key=lambda mark: -mark.box[2] * mark.box[3]):
        x, y, w, h = mark.box
        if not np.isfinite((x, y, w, h)).all():
            continue
        left, right = (min(max(v * scale, 0), limits[0] - 1) for v in (x, x + max(w, 0)))
        top, bottom = (min(max(v * scale, 0), limits[1] - 1) for v in (y, y + max(h, 0)))
        drawn.append((mark, (left, top, right, bottom)))
        _outline(draw, drawn[-1][1], colour_of(mark.name), line, dashed=mark.truth)
    taken: list[Rectangle] = []
    named: set[tuple[str, bool]] = set()
    # What is predicted takes its place first.
    for mark, place in sorted(drawn, key=lambda each: each[0].truth):
        if not mark.tagged:
            continue
        share = "" if mark.score is None else f" {percent(mark.score)}"
        room = limits[0] - 6 - fit_text(share, size)[1].getlength(share)
        text, font = shorten(mark.name, size, room)
        text += share
        extent = font.getlength(text) + 6, size + 5
        spot = _spot(place, extent, limits, taken, must=(mark.name, mark.truth) not in named)
        if spot is None:
            continue  # In a crowd the colour says it.
        taken.append(spot)
        named.add((mark.name, mark.truth))
        colour = colour_of(mark.name)
        fill, ink = (_LIGHT, colour) if mark.truth else (colour, _LIGHT)
        draw.rectangle(spot, fill=fill, outline=colour)
        draw.text((spot[0] + 3, (spot[1] + spot[3]) / 2), text, font=font, fill=ink, anchor="lm")


def _spot(
    box: Rectangle,
    extent: tuple[float, float],
    limits: tuple[int, int],
    taken: Sequence[Rectangle],
    *,
    must: bool,
) -> Rectangle | None:
    """Where a tag stands: at a corner of its box, inside the picture, over no other tag unless it must."""
    width, height = extent
    if width > limits[0] or height > limits[1]:
        return None
    left, top, right, bottom = box
    left = min(left, limits[0] - width)
    within = [(left, top), (left, bottom - height)]
    spots = [(left, top - height), (left, bottom), (right - width, top - height)]
    spots += [(right - width, bottom), (right, top), (box[0] - width, top)]
    # A tag hides what lies under it, so it stands inside large boxes only.
    roomy = (right - box[0]) * (bottom - top) > _ROOMY * width * height
    spots = [*spots[:1], *within, *spots[1:]] if roomy else [*spots, *within]
    inside = [
        (x, y, x + width, y + height)
        for x, y in spots
        if 0 <= x <= limits[0] - width and 0 <= y <= limits[1] - height
    ] or [(left, 0.0, left + width, float(height))]
    free = [spot for spot in inside if not any(_meet(spot, other) for other in taken)]
    chosen = free or (inside if must else [])
    return chosen[0] if chosen else None


def _outline(
    draw: ImageDraw.ImageDraw, place: Rectangle, colour: str, line: int, *, dashed: bool
) -> None:
    """A rectangle; a light line inside a dark one is seen on any background."""
    draw.rectangle(place, outline=_LIGHT, width=line + 1)
    if not dashed:
        draw.rectangle(place, outline=colour, width=line)
        return
    left, top, right, bottom = place
    step, inner = (_DASH + _GAP) * line, line - 1
    for x in np.arange(left, right, step):
        stop = min(x + _DASH * line, right)
        draw.rectangle((x, top, stop, min(top + inner, bottom)), fill=colour)
        draw.rectangle((x, max(bottom - inner, top), stop, bottom), fill=colour)
    for y in np.arange(top, bottom, step):
        stop = min(y + _DASH * line, bottom)
        draw.rectangle((left, y, min(left + inner, right), stop), fill=colour)
        draw.rectangle((max(right - inner, left), y, right, stop), fill=colour)


def _meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
