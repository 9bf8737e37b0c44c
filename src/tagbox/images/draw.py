"""Pictures of pictures: labels, probabilities, boxes and evidence drawn for a person to look at.

Labels that differ in meaning differ by colour and by a symbol (`images.chips`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tagbox.images.boxes import Mark, colour_of, draw_marks
from tagbox.images.chips import Caption
from tagbox.images.fonts import shorten
from tagbox.images.heat import overlay_heat
from tagbox.images.verdicts import Verdict, verdicts

Box = tuple[str, tuple[float, float, float, float]]
"""A category name and its box: x, y, width, height in pixels of the picture."""

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
