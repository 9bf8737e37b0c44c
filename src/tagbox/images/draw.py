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
    # Seven colours of the upper two thirds of the inferno colour map.
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
    """Blend an evidence map over an image.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    heat
        (h, w) float of any size, stretched over the image. Positive values are drawn, the maximum with the
        highest opacity; NaN counts as 0.

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
"""Least longer side in pixels of a drawn image; smaller ones are enlarged, so that text fits."""
_ROOMY = 6
"""Area of a box over that of its name, from which on the name stands inside."""
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
    """

    name: str
    box: tuple[float, float, float, float]
    score: float | None = None
    truth: bool = False
    named: bool = True


def colour_of(name: str) -> str:
    """The colour of a category's boxes, the same in every image and every run."""
    return BOX_COLOURS[zlib.crc32(name.encode()) % len(BOX_COLOURS)]


def image_with_boxes(image: NDArray[np.uint8], boxes: Sequence[DrawnBox]) -> Image.Image:
    """An image with boxes over it in its own size, or enlarged by an integer factor if it is small.

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
    draw_boxes(picture, boxes, scale=factor, size=size)
    return picture


def draw_boxes(picture: Image.Image, boxes: Sequence[DrawnBox], *, scale: float, size: int) -> None:
    """Draw boxes, the largest first so that small ones stay visible, then their names without overlaps.

    Parameters
    ----------
    picture
        The drawing, `scale` times as large as the image of the boxes.
    size
        Of the text, in pixels.
    """
    draw = ImageDraw.Draw(picture)
    limits = picture.size
    line = max(2, size // 7)
    drawn: list[tuple[DrawnBox, Rectangle]] = []
    for box in sorted(boxes, key=lambda box: -box.box[2] * box.box[3]):
        x, y, w, h = box.box
        if not np.isfinite((x, y, w, h)).all():
            continue
        left, right = (min(max(v * scale, 0), limits[0] - 1) for v in (x, x + max(w, 0)))
        top, bottom = (min(max(v * scale, 0), limits[1] - 1) for v in (y, y + max(h, 0)))
        drawn.append((box, (left, top, right, bottom)))
        _outline(draw, drawn[-1][1], colour_of(box.name), line, dashed=box.truth)
    taken: list[Rectangle] = []
    named: set[tuple[str, bool]] = set()
    # Names of predictions are placed first.
    for box, outline in sorted(drawn, key=lambda each: each[0].truth):
        if not box.named:
            continue
        share = "" if box.score is None else f" {percent(box.score)}"
        room = limits[0] - 6 - fit_text(share, size)[1].getlength(share)
        text, font = shorten(box.name, size, room)
        text += share
        extent = font.getlength(text) + 6, size + 5
        position = _name_position(
            outline, extent, limits, taken, must=(box.name, box.truth) not in named
        )
        if position is None:
            continue  # There is no room; the colour shows the category.
        taken.append(position)
        named.add((box.name, box.truth))
        colour = colour_of(box.name)
        fill, ink = (_LIGHT, colour) if box.truth else (colour, _LIGHT)
        draw.rectangle(position, fill=fill, outline=colour)
        draw.text(
            (position[0] + 3, (position[1] + position[3]) / 2),
            text,
            font=font,
            fill=ink,
            anchor="lm",
        )


def _name_position(
    box: Rectangle,
    extent: tuple[float, float],
    limits: tuple[int, int],
    taken: Sequence[Rectangle],
    *,
    must: bool,
) -> Rectangle | None:
    """Rectangle of a name at a corner of its box, over no other name unless it `must` be written."""
    width, height = extent
    if width > limits[0] or height > limits[1]:
        return None
    left, top, right, bottom = box
    left = min(left, limits[0] - width)
    within = [(left, top), (left, bottom - height)]
    spots = [(left, top - height), (left, bottom), (right - width, top - height)]
    spots += [(right - width, bottom), (right, top), (box[0] - width, top)]
    # A name hides what is under it, so it stands inside large boxes only.
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
    draw: ImageDraw.ImageDraw, box: Rectangle, colour: str, line: int, *, dashed: bool
) -> None:
    """Draw a rectangle with a light edge, which is visible on any background."""
    draw.rectangle(box, outline=_LIGHT, width=line + 1)
    if not dashed:
        draw.rectangle(box, outline=colour, width=line)
        return
    left, top, right, bottom = box
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
"""A category name and its box: x, y, width, height in pixels of the image."""

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
    """Draw an image with its labels below, where they are readable whatever the image shows.

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
        (h, w) float map blended over the image (`overlay_heat`).
    title
        A line above the labels, such as the file's name.
    width
        Pixels; at least 64.
    max_height
        Most pixels of the image without its labels; 1.5 times `width` when not given.

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
    drawn = [DrawnBox(name=name, box=box) for name, box in boxes]
    draw_boxes(picture, drawn, scale=scale, size=max(11, size - 3))
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
    """Arrange images in rows of `columns`.

    Parameters
    ----------
    pictures
        At least one; columns are as wide as the widest image, rows as high as their highest.
    columns
        Images per row.
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
    # The caption has a margin of its own, in addition to that of the last row.
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
