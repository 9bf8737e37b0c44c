"""Pictures of pictures: labels, probabilities, boxes and evidence drawn for a person to look at.

Right, wrong and missed labels differ by colour and by a symbol: a check mark, a cross, an open circle.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tagbox.images.fonts import fit_text, shorten
from tagbox.images.heat import overlay_heat
from tagbox.images.verdicts import COLOURS, Outcome, Verdict, percent, verdicts

Box = tuple[str, tuple[float, float, float, float]]
"""A category name and its box: x, y, width, height in pixels of the picture."""

_BOX_COLOURS = (
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
_PAPER, _LETTERBOX, _INK, _QUIET = "#ffffff", "#d5dade", "#1c2127", "#5c6670"


def annotate(
    image: NDArray[np.uint8],
    *,
    truth: Sequence[str] | None = None,
    predicted: Sequence[tuple[str, float | None]] | None = None,
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
    caption = _Caption(width, size)
    if title:
        caption.line(title)
    labels = verdicts(truth, predicted)
    for verdict in labels:
        # Without anything to judge, a label has the colour of its boxes.
        caption.chip(verdict, colour_of(verdict.name) if boxes and predicted is None else None)
    if not labels and (truth is not None or predicted is not None):
        caption.line("no labels")
    sheet = Image.new("RGB", (width, picture.height + caption.height), _PAPER)
    sheet.paste(_LETTERBOX, (0, 0, width, picture.height))
    sheet.paste(picture, (offset, 0))
    _draw_boxes(sheet, boxes, scale, offset, picture.size, size)
    caption.draw(ImageDraw.Draw(sheet), picture.height)
    return sheet


def grid(
    pictures: Sequence[Image.Image], columns: int, *, title: str = "", legend: bool = False
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
        Say below what the symbols mean.
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
    bottom = size * 2 + gap if legend else 0
    height = top + sum(heights) + gap * len(rows) + bottom
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
    if legend:
        x = gap
        outcomes: tuple[Outcome, ...] = ("right", "wrong", "missed")
        for outcome in outcomes:
            x += _draw_chip(draw, x, y, Verdict(outcome, None, outcome), size, width) + gap
    return sheet


def colour_of(name: str) -> str:
    """The colour of a category's boxes, the same in every picture and every run."""
    return _BOX_COLOURS[zlib.crc32(name.encode()) % len(_BOX_COLOURS)]


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


class _Caption:
    """Lines of text and chips that flow from left to right below a picture."""

    def __init__(self, width: int, size: int) -> None:
        self._width, self._size, self._margin = width, size, max(4, size // 2)
        self._lines: list[tuple[int, str]] = []
        self._chips: list[tuple[int, int, Verdict, str | None]] = []
        self._x, self._y = self._margin, self._margin

    def line(self, text: str) -> None:
        self._lines.append((self._y, text))
        self._y += round(self._size * 1.5)

    def chip(self, verdict: Verdict, colour: str | None = None) -> None:
        width = _chip_width(verdict, self._size, self._width - 2 * self._margin)
        if self._x > self._margin and self._x + width > self._width - self._margin:
            self._x = self._margin
            self._y += round(self._size * 2)
        self._chips.append((self._x, self._y, verdict, colour))
        self._x += width + self._size // 3

    @property
    def height(self) -> int:
        if not self._lines and not self._chips:
            return 0
        return self._y + (round(self._size * 1.7) if self._chips else 0) + self._margin

    def draw(self, draw: ImageDraw.ImageDraw, top: int) -> None:
        room = self._width - 2 * self._margin
        for y, text in self._lines:
            text, font = shorten(text, self._size, room)
            middle = top + y + self._size * 0.6
            draw.text((self._margin, middle), text, font=font, fill=_QUIET, anchor="lm")
        for x, y, verdict, colour in self._chips:
            _draw_chip(draw, x, top + y, verdict, self._size, room, colour)


def _chip_parts(verdict: Verdict, size: int, room: float) -> tuple[str, str, int]:
    """The name cut to fit, the probability's text, and the room the symbol takes."""
    share = "" if verdict.probability is None else f" {percent(verdict.probability)}"
    symbol = 0 if verdict.outcome == "unjudged" else size
    padding = size
    share_width = fit_text(share, size)[1].getlength(share) if share else 0
    name, _ = shorten(verdict.name, size, room - share_width - symbol - padding)
    return name, share, symbol


def _chip_width(verdict: Verdict, size: int, room: float) -> int:
    name, share, symbol = _chip_parts(verdict, size, room)
    font = fit_text(name, size)[1]
    share_width = fit_text(share, size)[1].getlength(share)
    return round(float(font.getlength(name) + share_width)) + symbol + size


def _draw_chip(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    verdict: Verdict,
    size: int,
    room: float,
    colour: str | None = None,
) -> int:
    name, share, symbol = _chip_parts(verdict, size, room)
    width, height = _chip_width(verdict, size, room), round(size * 1.7)
    draw.rounded_rectangle(
        (x, y, x + width, y + height),
        radius=size * 0.35,
        fill=colour or COLOURS[verdict.outcome],
    )
    middle = y + height / 2
    text_x = x + size / 2
    if symbol:
        _draw_symbol(draw, text_x, middle, size, verdict.outcome)
        text_x += symbol
    font = fit_text(name, size)[1]
    draw.text((text_x, middle), name, font=font, fill="#ffffff", anchor="lm")
    text_x += font.getlength(name)
    draw.text((text_x, middle), share, font=fit_text(share, size)[1], fill="#ffffff", anchor="lm")
    return width


def _draw_symbol(
    draw: ImageDraw.ImageDraw, x: float, middle: float, size: int, outcome: Outcome
) -> None:
    """A check mark, a cross or an open circle, drawn so that no font needs to have it."""
    r, line = size * 0.28, max(2, size // 8)
    cx = x + r
    if outcome == "right":
        points = [(cx - r, middle), (cx - r * 0.25, middle + r * 0.8), (cx + r, middle - r * 0.8)]
        draw.line(points, fill="#ffffff", width=line, joint="curve")
    elif outcome == "wrong":
        draw.line((cx - r, middle - r, cx + r, middle + r), fill="#ffffff", width=line)
        draw.line((cx - r, middle + r, cx + r, middle - r), fill="#ffffff", width=line)
    else:
        draw.ellipse((cx - r, middle - r, cx + r, middle + r), outline="#ffffff", width=line)
