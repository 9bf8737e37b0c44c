"""Pictures of pictures: labels, probabilities, boxes and evidence drawn for a person to look at.

Labels that differ in meaning differ by colour and by a symbol (`images.chips`).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tagbox.images.chips import Caption
from tagbox.images.fonts import shorten
from tagbox.images.heat import overlay_heat
from tagbox.images.verdicts import Verdict, verdicts

Box = tuple[str, tuple[float, float, float, float]]
"""A category name and its box: x, y, width, height in pixels of the picture."""

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
"""Colours of boxes, on which white text has a contrast of 4.5."""

_PAPER, _LETTERBOX, _INK = "#ffffff", "#d5dade", "#1c2127"


def annotate(
    image: NDArray[np.uint8],
    *,
    truth: Sequence[str] | None = None,
    predicted: Sequence[tuple[str, float | None]] | None = None,
    labels: Sequence[Verdict] | None = None,
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
        As for `verdicts`.
    labels
        Drawn in place of what `verdicts` makes of `truth` and `predicted`.
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
    chips = verdicts(truth, predicted) if labels is None else labels
    # Without anything to judge, a label has the colour of its boxes.
    as_boxes = bool(boxes) and predicted is None and labels is None
    for verdict in chips:
        caption.chip(verdict, colour_of(verdict.name) if as_boxes else None)
    if not chips and not (truth is None and predicted is None and labels is None):
        caption.line("no labels")
    sheet = Image.new("RGB", (width, picture.height + caption.height), _PAPER)
    sheet.paste(_LETTERBOX, (0, 0, width, picture.height))
    sheet.paste(picture, (offset, 0))
    _draw_boxes(sheet, boxes, scale, offset, picture.size, size)
    caption.draw(ImageDraw.Draw(sheet), picture.height)
    return sheet


def grid(
    pictures: Sequence[Image.Image],
    columns: int,
    *,
    title: str = "",
    legend: Sequence[Verdict] = (),
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
        Chips at the bottom that say what those of the pictures mean.
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
    for verdict in legend:
        meaning.chip(verdict)
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


def colour_of(name: str) -> str:
    """The colour of a category's boxes, the same in every picture and every run."""
    return BOX_COLOURS[zlib.crc32(name.encode()) % len(BOX_COLOURS)]


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


def _draw_boxes(
    sheet: Image.Image,
    boxes: Sequence[Box],
    scale: float,
    offset: int,
    limits: tuple[int, int],
    size: int,
) -> None:
    """Boxes, the largest first so that small ones stay visible, then their names clear of each other."""
    draw = ImageDraw.Draw(sheet)
    line = max(2, size // 7)
    drawn: list[tuple[str, tuple[float, float, float, float]]] = []
    for name, (x, y, w, h) in sorted(boxes, key=lambda box: -box[1][2] * box[1][3]):
        if not np.isfinite((x, y, w, h)).all():
            continue
        left, right = (min(max(v * scale, 0), limits[0] - 1) + offset for v in (x, x + max(w, 0)))
        top, bottom = (min(max(v * scale, 0), limits[1] - 1) for v in (y, y + max(h, 0)))
        drawn.append((name, (left, top, right, bottom)))
        # A light line inside a dark one is seen on any background.
        draw.rectangle((left, top, right, bottom), outline="#ffffff", width=line + 1)
        draw.rectangle((left, top, right, bottom), outline=colour_of(name), width=line)
    taken: list[tuple[float, float, float, float]] = []
    named: set[str] = set()
    small = max(11, size - 3)
    for name, (left, top, right, bottom) in drawn:
        text, font = shorten(name, small, sheet.width - 6)
        tag_width, tag_height = font.getlength(text) + 6, small + 5
        left = min(left, sheet.width - tag_width)
        spots = [(left, top - tag_height), (left, top), (left, bottom - tag_height), (left, bottom)]
        spots += [(right - tag_width, top), (right - tag_width, bottom - tag_height)]
        inside = [
            (x, y, x + tag_width, y + tag_height)
            for x, y in spots
            if x >= 0 and 0 <= y <= limits[1] - tag_height
        ] or [(left, 0.0, left + tag_width, float(tag_height))]
        free = [s for s in inside if not any(_meet(s, t) for t in taken)]
        if not free and name in named:
            continue  # In a crowd the colour says it.
        spot = (free or inside)[0]
        taken.append(spot)
        named.add(name)
        draw.rectangle(spot, fill=colour_of(name))
        draw.text(
            (spot[0] + 3, (spot[1] + spot[3]) / 2), text, font=font, fill="#ffffff", anchor="lm"
        )


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
