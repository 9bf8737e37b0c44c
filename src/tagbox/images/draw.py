"""Images drawn for people to look at: labels, boxes and evidence maps, and grids of them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tagbox.images.captions import (
    Caption,
    LabelOutcome,
    fit_text,
    label_outcomes,
    percent,
    shorten,
)

_HEAT = np.array(
    # Seven colours of the inferno map from a third of the way up: light grows with evidence.
    [
        [120, 28, 109],
        [165, 44, 96],
        [207, 68, 70],
        [237, 105, 37],
        [251, 155, 6],
        [247, 209, 61],
        [252, 255, 164],
    ],
    np.float32,
)


def overlay_heat(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay an evidence map over a picture.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    heat
        (h, w) float; any size, stretched over the picture. Only what is above 0 speaks for the
        label and is drawn; the strongest place is the most opaque. NaN counts as 0.

    Returns
    -------
    (H, W, 3) uint8
    """
    height, width = image.shape[:2]
    strength = heat_strength(heat)
    if not strength.any():
        return image.copy()
    layer = Image.fromarray(strength).resize((width, height), Image.Resampling.BICUBIC)
    alpha = np.clip(np.asarray(layer, np.float32), 0, 1)
    mixed = image * (1 - 0.7 * alpha[..., None]) + heat_colours(alpha) * (0.7 * alpha[..., None])
    return mixed.round().astype(np.uint8)


def heat_strength(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) float32 in [0, 1]: the positive part of an evidence map over its maximum."""
    positive = np.maximum(np.nan_to_num(np.asarray(heat, np.float32), posinf=0, neginf=0), 0)
    highest = positive.max(initial=0)
    return positive / highest if highest > 0 else positive


def heat_colours(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 3) float32 colours in [0, 255] for strengths in [0, 1]."""
    steps = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(strength, steps, _HEAT[:, i]) for i in range(3)], -1).astype(
        np.float32
    )


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


Box = tuple[str, tuple[float, float, float, float]]
"""A category name and its box: x, y, width, height in pixels of the picture."""

_PAPER, _LETTERBOX, _INK = "#ffffff", "#d5dade", "#1c2127"


def annotate(
    image: NDArray[np.uint8],
    *,
    truth: Sequence[str] | None = None,
    predicted: Sequence[tuple[str, float | None]] | None = None,
    labels: Sequence[LabelOutcome] | None = None,
    boxes: Sequence[Box] = (),
    evidence: NDArray[np.float32] | None = None,
    title: str = "",
    width: int = 480,
    max_height: int | None = None,
) -> Image.Image:
    """Draw a picture with its labels below it, so that they are readable whatever it shows.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB of any size; scaled to fit `width` and `max_height`.
    truth, predicted
        As for `label_outcomes`.
    labels
        Drawn in place of the outcomes of `truth` and `predicted`.
    boxes
        Category names and boxes in pixels of `image`.
    evidence
        (h, w) float map laid over the picture (`overlay_heat`).
    title
        A line above the labels, such as the file's name.
    width
        Pixels; at least 64.
    max_height
        Most pixels for the picture without its labels; 1.5 times `width` when not given.

    Returns
    -------
    PIL.Image.Image
        RGB, `width` pixels wide.
    """
    width = max(int(width), 64)
    size = max(12, round(width / 30))
    picture, scale = _scaled(image, evidence, width, max_height or round(1.5 * width))
    offset = (width - picture.width) // 2
    caption = Caption(width, size)
    if title:
        caption.line(title)
    # Without an outcome, a label has the colour of its boxes.
    as_boxes = bool(boxes) and predicted is None and labels is None
    known = not (truth is None and predicted is None and labels is None)
    if labels is None:
        labels = label_outcomes(truth, predicted)
    for label in labels:
        caption.label(label, colour_of(label.name) if as_boxes else None)
    if known and not labels:
        caption.line("no labels")
    sheet = Image.new("RGB", (width, picture.height + caption.height), _PAPER)
    sheet.paste(_LETTERBOX, (0, 0, width, picture.height))
    marks = [Mark(name=name, box=box) for name, box in boxes]
    draw_marks(picture, marks, scale=scale, size=max(11, size - 3))
    sheet.paste(picture, (offset, 0))
    caption.draw(ImageDraw.Draw(sheet), picture.height)
    return sheet


def grid(
    pictures: Sequence[Image.Image],
    columns: int,
    *,
    title: str = "",
    legend: Sequence[LabelOutcome] = (),
) -> Image.Image:
    """Lay pictures in rows of `columns` on one sheet.

    Parameters
    ----------
    pictures
        At least one; cells are as wide as the widest, rows as high as their highest.
    columns
        Pictures a row.
    title
        A line at the top.
    legend
        Labels at the bottom that explain those of the images.
    """
    if not pictures:
        raise ValueError("a grid needs at least one picture")
    columns = max(1, min(columns, len(pictures)))
    cell = max(picture.width for picture in pictures)
    gap = max(8, cell // 24)
    size = max(13, cell // 24)
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    width = columns * cell + (columns + 1) * gap
    top = gap + (size * 2 if title else 0)
    meaning = Caption(width, size, gap)
    for label in legend:
        meaning.label(label)
    # The caption brings a margin of its own, the last row has left one.
    height = top + sum(heights) + gap * len(rows) + max(meaning.height - gap, 0)
    sheet = Image.new("RGB", (width, height), "#e9ecef")
    draw = ImageDraw.Draw(sheet)
    if title:
        text, font = shorten(title, size, width - 2 * gap)
        draw.text((gap, gap + size // 2), text, font=font, fill=_INK, anchor="lm")
    y = top
    for row, row_height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            x = gap + column * (cell + gap)
            draw.rectangle((x, y, x + cell - 1, y + row_height - 1), fill=_PAPER)
            sheet.paste(picture, (x, y))
        y += row_height + gap
    meaning.draw(draw, y - gap)
    return sheet


def _scaled(
    image: NDArray[np.uint8], evidence: NDArray[np.float32] | None, width: int, max_height: int
) -> tuple[Image.Image, float]:
    height, original = image.shape[:2]
    scale = min(width / original, max_height / height)
    size = (max(1, round(original * scale)), max(1, round(height * scale)))
    filter_ = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    picture = Image.fromarray(image).resize(size, filter_, reducing_gap=3.0)
    if evidence is not None:
        picture = Image.fromarray(overlay_heat(np.asarray(picture), evidence))
    return picture, scale
