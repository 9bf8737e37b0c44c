"""Boxes drawn on a picture: what was detected in full lines, what is there in dashed ones.

A category has one colour, whatever picture or run it is in; names stay inside the picture and clear of
each other where there is room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tagbox.images.boxes import BOX_COLOURS
from tagbox.images.fonts import fit_text, shorten
from tagbox.images.verdicts import percent

Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

_PAPER = "#ffffff"


@dataclass(frozen=True)
class BoxMark:
    """A box to draw.

    Attributes
    ----------
    box
        Left, top, right, bottom in pixels of the picture; parts outside it are cut off.
    name
        Written beside it; an empty one writes nothing.
    score
        In 0..1, written after the name; None for what is there.
    category
        Row of the category, which its colour follows from.
    """

    box: Rectangle
    name: str
    score: float | None
    category: int


def draw_boxes(
    image: NDArray[np.uint8],
    *,
    truth: Sequence[BoxMark] = (),
    predicted: Sequence[BoxMark] = (),
    width: int | None = None,
    size: int | None = None,
) -> Image.Image:
    """Draw detections as full lines with name and score, and the truth as dashed lines on top.

    The largest boxes are drawn first, so that small ones stay visible; the surest are named first. A name
    that finds no room clear of the others is left out where another box of that category bears it.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    truth, predicted
        In pixels of `image`; a box without finite corners or an area inside the picture is not drawn.
    width
        Pixels of the result, whose proportions are the picture's; the picture's own when not given.
    size
        Of the names, in pixels; a 32nd of the longer side when not given, from 12 to 40.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    sheet, scale = _scaled(image, width)
    draw = ImageDraw.Draw(sheet)
    size = size or min(max(12, round(max(sheet.size) / 32)), 40)
    line = max(2, round(size / 6))
    found = list(_placed(predicted, scale, sheet.size))
    there = list(_placed(truth, scale, sheet.size))
    for mark, box in sorted(found, key=_area, reverse=True):
        _outline(draw, box, _PAPER, line + 1)
        _outline(draw, box, category_colour(mark.category), line)
    for mark, box in sorted(there, key=_area, reverse=True):
        # Between its dashes the truth is white: it is seen on a detection of the same colour too.
        _outline(draw, box, _PAPER, line)
        for dash in _dashes(box, 3.0 * line, line):
            draw.rectangle(dash, fill=category_colour(mark.category))
    surest = sorted(found, key=lambda pair: -(pair[0].score or 0.0))
    _write_names(sheet, [*surest, *there], size)
    return sheet


def category_colour(category: int) -> str:
    """The colour of a category's boxes; those of the first ten differ, and white text is readable on all."""
    return BOX_COLOURS[category % len(BOX_COLOURS)]


def _scaled(image: NDArray[np.uint8], width: int | None) -> tuple[Image.Image, float]:
    picture = Image.fromarray(np.ascontiguousarray(image))
    if width is None or width == picture.width:
        return picture, 1.0
    scale = width / picture.width
    filter_ = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    size = (width, max(1, round(picture.height * scale)))
    return picture.resize(size, filter_, reducing_gap=3.0), scale


def _placed(
    marks: Sequence[BoxMark], scale: float, limits: tuple[int, int]
) -> Iterator[tuple[BoxMark, Rectangle]]:
    """Marks with their boxes on the sheet, cut off at its edges."""
    for mark in marks:
        if not np.isfinite(mark.box).all():
            continue
        left, right = (min(max(x * scale, 0.0), limits[0]) for x in mark.box[0::2])
        top, bottom = (min(max(y * scale, 0.0), limits[1]) for y in mark.box[1::2])
        if right > left and bottom > top:
            # The last pixel of a box is the one before its right and lower edge.
            yield mark, (left, top, max(left, right - 1), max(top, bottom - 1))


def _area(pair: tuple[BoxMark, Rectangle]) -> float:
    left, top, right, bottom = pair[1]
    return (right - left) * (bottom - top)


def _outline(draw: ImageDraw.ImageDraw, box: Rectangle, colour: str, width: int) -> None:
    draw.rectangle(box, outline=colour, width=width)


def _dashes(box: Rectangle, dash: float, line: int) -> Iterator[Rectangle]:
    """Dashes of length `dash`, as long as the gaps between them, inside the four sides of a box."""
    left, top, right, bottom = box
    thick = line - 1
    for start in np.arange(left, right, 2 * dash).tolist():
        end = min(start + dash, right)
        yield start, top, end, min(top + thick, bottom)
        yield start, max(bottom - thick, top), end, bottom
    for start in np.arange(top, bottom, 2 * dash).tolist():
        end = min(start + dash, bottom)
        yield left, start, min(left + thick, right), end
        yield max(right - thick, left), start, right, end


def _write_names(sheet: Image.Image, marks: Sequence[tuple[BoxMark, Rectangle]], size: int) -> None:
    """Names in the order given; those of detections on their colour, those of the truth in it."""
    draw = ImageDraw.Draw(sheet)
    taken: list[Rectangle] = []
    named: set[tuple[str, bool]] = set()
    pad, height = max(3, size // 4), round(size * 1.35)
    for mark, box in marks:
        kind = (mark.name, mark.score is None)
        share = "" if mark.score is None else f" {percent(mark.score)}"
        room = sheet.width - 2 * pad - fit_text(share, size)[1].getlength(share)
        if not mark.name or height > sheet.height or room < 2 * size:
            continue
        text, font = shorten(mark.name, size, room)
        name_width, (share, share_font) = font.getlength(text), fit_text(share, size)
        width = name_width + share_font.getlength(share) + 2 * pad
        spots = _spots(box, (width, height), sheet.size)
        free = [spot for spot in spots if not any(_shared(spot, other) for other in taken)]
        if not free and kind in named:
            continue
        spot = free[0] if free else min(spots, key=lambda s: sum(_shared(s, t) for t in taken))
        taken.append(spot)
        named.add(kind)
        colour = category_colour(mark.category)
        paper, ink = (_PAPER, colour) if mark.score is None else (colour, _PAPER)
        draw.rectangle(spot, fill=paper, outline=ink if mark.score is None else None)
        left, middle = spot[0] + pad, (spot[1] + spot[3]) / 2
        draw.text((left, middle), text, font=font, fill=ink, anchor="lm")
        # Apart, or a name that is read from right to left would take the score into its middle.
        draw.text((left + name_width, middle), share, font=share_font, fill=ink, anchor="lm")


def _spots(box: Rectangle, size: tuple[float, float], limits: tuple[int, int]) -> list[Rectangle]:
    """Where a name may stand, best first, all of it inside the picture."""
    left, top, right, bottom = box
    width, height = size
    corners = [
        (left, top - height),
        (left, top),
        (left, bottom - height),
        (left, bottom + 1),
        (right - width, top - height),
        (right - width, top),
        (right - width, bottom - height),
        (right - width, bottom + 1),
    ]
    inside = []
    for x, y in corners:
        x = min(max(x, 0.0), limits[0] - 1 - width)
        if 0 <= y <= limits[1] - 1 - height:
            inside.append((x, y, x + width, y + height))
    if not inside:
        x, y = min(max(left, 0.0), limits[0] - 1 - width), max(0.0, limits[1] - 1 - height)
        inside.append((x, min(max(top, 0.0), y), x + width, min(max(top, 0.0), y) + height))
    return inside


def _shared(a: Rectangle, b: Rectangle) -> float:
    """Pixels that two rectangles share."""
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return max(across, 0.0) * max(down, 0.0)
