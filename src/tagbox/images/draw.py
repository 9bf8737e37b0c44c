"""Images drawn for people to look at: with their labels and evidence maps, and grids of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tagbox.images.box_drawing import DrawnBox, category_colours, draw_boxes
from tagbox.images.captions import Caption, LabelOutcome, label_outcomes, shorten

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

HEAT_OPACITY = 0.85
"""Opacity of the colours where an evidence map has its maximum."""
_GREY_SHARE = 0.6


def overlay_heat(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Blend an evidence map over an image in dark grey, on which its colours are visible whatever the image shows.

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
    grey = _GREY_SHARE * np.asarray(Image.fromarray(image).convert("L"), np.float32)[..., None]
    opacity = HEAT_OPACITY * alpha[..., None]
    mixed = grey * (1 - opacity) + heat_colours(alpha) * opacity
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
    colours: Mapping[str, str] | None = None,
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
    colours
        Category name to colour of the boxes; `category_colours` of the image's own when not given.
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
    drawn = [DrawnBox(name=name, box=box) for name, box in boxes]
    if colours is None:
        names = [*(box.name for box in drawn), *(label.name for label in labels)]
        colours = category_colours(dict.fromkeys(names))
    for label in labels:
        caption.label(label, colours[label.name] if as_boxes else None)
    if known and not labels:
        caption.line("no labels")
    sheet = Image.new("RGB", (width, picture.height + caption.height), _PAPER)
    sheet.paste(_LETTERBOX, (0, 0, width, picture.height))
    # The labels below name the colours, so that a name may be left out where it would hide a box.
    every = not (as_boxes and known)
    draw_boxes(picture, drawn, colours, scale=scale, size=max(11, size - 3), every_category=every)
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
