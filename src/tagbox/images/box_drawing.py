"""Boxes over images: their colours, where their names stand, and how they are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tagbox.images.captions import Outcome, fit_text, ink_on, percent, shorten

BOX_COLOURS = (
    "#e6194b",
    "#3cb44b",
    "#ffe119",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#42d4f4",
    "#f032e6",
    "#bfef45",
    "#9a6324",
    "#469990",
    "#fabed4",
    "#800000",
    "#dcbeff",
    "#808000",
    "#000075",
    "#aaffc3",
    "#a9a9a9",
)
"""Sasha Trubetskoy, "List of 20 Simple, Distinct Colors", 2017, without two pale ones; the most distinct first."""
_LIGHT = "#ffffff"
_SMALLEST = 320
"""Least longer side in pixels of a drawn image; smaller ones are enlarged, so that text fits."""
_ROOMY = 6
"""Area of a box over that of its name, from which on the name stands inside."""
_THIN_SIDE = 8
"""Least side of a box, in widths of the line, from which on its outline lies inside."""
_DASH, _GAP = 4, 3
"""Lengths in a dashed line, in widths of the line."""

Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the drawing."""


@dataclass(frozen=True, kw_only=True)
class DrawnBox:
    """A box to draw.

    Attributes
    ----------
    name
        The category.
    box
        x, y, width, height in pixels of the image.
    score
        Written behind the name, in per cent.
    truth
        Whether it is an annotation: dashed, with its name on white.
    named
        Whether its name is written; its colour shows the category anyway.
    outcome
        Whether the detection is right, or the annotation missed, where they were compared.
    """

    name: str
    box: tuple[float, float, float, float]
    score: float | None = None
    truth: bool = False
    named: bool = True
    outcome: Outcome = "unjudged"


@dataclass(frozen=True, kw_only=True)
class PlacedBox:
    """A box in pixels of the drawing, and where its name stands.

    Attributes
    ----------
    outline
        Clipped to the drawing.
    label
        Background of the name; None where it has none.
    text
        The name, shortened to fit the drawing, and the score.
    """

    box: DrawnBox
    outline: Rectangle
    label: Rectangle | None = None
    text: str = ""


def category_colours(names: Iterable[str], images: Iterable[Iterable[str]] = ()) -> dict[str, str]:
    """A colour for each name.

    The first `BOX_COLOURS` names have different ones; so have those of one image while there are as many colours.

    Parameters
    ----------
    names
        Without repetition, the most important first.
    images
        The names in each image.
    """
    together: dict[str, set[str]] = {}
    for image in map(set, images):
        for name in image:
            together.setdefault(name, set()).update(image)
    colours: dict[str, str] = {}
    for i, name in enumerate(names):
        near = {colours[other] for other in together.get(name, ()) if other in colours}
        start = i % len(BOX_COLOURS)
        choices = BOX_COLOURS[start:] + BOX_COLOURS[:start]
        colours[name] = next((colour for colour in choices if colour not in near), choices[0])
    return colours


def image_with_boxes(
    image: NDArray[np.uint8],
    boxes: Sequence[DrawnBox],
    colours: Mapping[str, str] | None = None,
) -> Image.Image:
    """An image with boxes over it in its own size, or enlarged by an integer factor if it is small.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    colours
        As for `draw_boxes`.
    """
    picture = Image.fromarray(image)
    factor = max(1, -(-_SMALLEST // max(picture.size)))
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor))
    size = min(max(round(max(picture.size) / 45), 14), 64)
    draw_boxes(picture, boxes, colours, scale=factor, size=size)
    return picture


def draw_boxes(
    picture: Image.Image,
    boxes: Sequence[DrawnBox],
    colours: Mapping[str, str] | None = None,
    *,
    scale: float,
    size: int,
    every_category: bool = True,
) -> None:
    """Draw boxes and their names, where `place_boxes` places them.

    Parameters
    ----------
    picture
        The drawing, `scale` times as large as the image of the boxes.
    colours
        Category name to colour; `category_colours` of the boxes' names when not given.
    size, every_category
        As for `place_boxes`.
    """
    draw = ImageDraw.Draw(picture)
    line = max(2, size // 7)
    if colours is None:
        colours = category_colours(dict.fromkeys(box.name for box in boxes))
    placed = place_boxes(boxes, picture.size, scale=scale, size=size, every_category=every_category)
    for one in placed:
        _outline(draw, one.outline, colours[one.box.name], line, dashed=one.box.truth)
    for one in placed:
        if one.label is None:
            continue
        colour = colours[one.box.name]
        fill, ink = (_LIGHT, "#000000") if one.box.truth else (colour, ink_on(colour))
        draw.rectangle(one.label, fill=fill, outline=colour)
        draw.text(
            (one.label[0] + 3, (one.label[1] + one.label[3]) / 2),
            one.text,
            font=fit_text(one.text, size)[1],
            fill=ink,
            anchor="lm",
        )


def place_boxes(
    boxes: Sequence[DrawnBox],
    limits: tuple[int, int],
    *,
    scale: float,
    size: int,
    every_category: bool = True,
) -> list[PlacedBox]:
    """Where boxes and their names lie: the largest box first, so that small ones are drawn over it.

    A name stands at its box, over no other name and over no small box. Where there is no such place it is
    left out.

    Parameters
    ----------
    limits
        Width and height of the drawing, which is `scale` times as large as the image of the boxes.
    size
        Of the text, in pixels.
    every_category
        Whether one name of each category is placed where it covers least, though no place is free.
    """
    placed: list[PlacedBox] = []
    for box in sorted(boxes, key=lambda box: -box.box[2] * box.box[3]):
        x, y, w, h = box.box
        if np.isfinite((x, y, w, h)).all():
            left, right = (min(max(v * scale, 0), limits[0] - 1) for v in (x, x + max(w, 0)))
            top, bottom = (min(max(v * scale, 0), limits[1] - 1) for v in (y, y + max(h, 0)))
            placed.append(PlacedBox(box=box, outline=(left, top, right, bottom)))
    outlines = [one.outline for one in placed]
    table = np.array(outlines, np.float64).reshape(-1, 4)
    areas = (table[:, 2] - table[:, 0]) * (table[:, 3] - table[:, 1])
    taken: list[Rectangle] = []
    named: set[tuple[str, bool]] = set()
    # Names of predictions are placed first.
    for i in sorted(range(len(placed)), key=lambda i: placed[i].box.truth):
        box = placed[i].box
        if not box.named:
            continue
        share = "" if box.score is None else f" {percent(box.score)}"
        room = limits[0] - 6 - fit_text(share, size)[1].getlength(share)
        text, font = shorten(box.name, size, room)
        text += share
        extent = (font.getlength(text) + 6, size + 5)
        label = _label_position(
            outlines[i],
            extent,
            limits,
            np.array(taken, np.float64).reshape(-1, 4),
            table[areas <= _ROOMY * extent[0] * extent[1]],
            must=every_category and (box.name, box.truth) not in named,
        )
        if label is not None:
            taken.append(label)
            named.add((box.name, box.truth))
            placed[i] = PlacedBox(box=box, outline=outlines[i], label=label, text=text)
    return placed


def _label_position(
    box: Rectangle,
    extent: tuple[float, float],
    limits: tuple[int, int],
    taken: NDArray[np.float64],
    small: NDArray[np.float64],
    *,
    must: bool,
) -> Rectangle | None:
    """Rectangle of a name at an edge of its box that covers nothing, or least if it `must` be written.

    Parameters
    ----------
    extent
        Width and height of the name.
    taken, small
        (N, 4) and (M, 4): the names that are placed, and the boxes that a name would hide.
    """
    width, height = extent
    if width > limits[0] or height > limits[1]:
        return None
    left, top, right, bottom = box
    start, middle = min(left, limits[0] - width), (left + right - width) / 2
    within = [(start, top), (start, bottom - height)]
    spots = [(start, top - height), (start, bottom), (right - width, top - height)]
    spots += [(right - width, bottom), (right, top), (left - width, top)]
    spots += [(middle, top - height), (middle, bottom)]
    # A name hides what is under it, so it stands inside large boxes only.
    roomy = (right - left) * (bottom - top) > _ROOMY * width * height
    spots = [*spots[:1], *within, *spots[1:]] if roomy else [*spots, *within]
    inside = [
        (x, y, x + width, y + height)
        for x, y in spots
        if 0 <= x <= limits[0] - width and 0 <= y <= limits[1] - height
    ] or [(start, 0.0, start + width, float(height))]
    table = np.array(inside, np.float64)
    # A name counts more than a box.
    covered = 4 * _shared(table, taken) + _shared(table, small)
    best = int(covered.argmin())
    return inside[best] if must or covered[best] == 0 else None


def _outline(
    draw: ImageDraw.ImageDraw, box: Rectangle, colour: str, line: int, *, dashed: bool
) -> None:
    """Draw a rectangle with a second edge, light or dark, so that it is visible on any background.

    That of a small box lies around what is in it.
    """
    left, top, right, bottom = box
    if min(right - left, bottom - top) < _THIN_SIDE * line:
        left, top, right, bottom = left - line, top - line, right + line, bottom + line
    draw.rectangle((left, top, right, bottom), outline=ink_on(colour), width=line + 1)
    if not dashed:
        draw.rectangle((left, top, right, bottom), outline=colour, width=line)
        return
    step, inner = (_DASH + _GAP) * line, line - 1
    for x in np.arange(left, right, step):
        stop = min(x + _DASH * line, right)
        draw.rectangle((x, top, stop, min(top + inner, bottom)), fill=colour)
        draw.rectangle((x, max(bottom - inner, top), stop, bottom), fill=colour)
    for y in np.arange(top, bottom, step):
        stop = min(y + _DASH * line, bottom)
        draw.rectangle((left, y, min(left + inner, right), stop), fill=colour)
        draw.rectangle((max(right - inner, left), y, right, stop), fill=colour)


def _shared(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(A,) area of each of the (A, 4) rectangles that the (B, 4) others cover, summed over these."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    area: NDArray[np.float64] = np.maximum(high - low, 0.0).prod(axis=2).sum(axis=1)
    return area
