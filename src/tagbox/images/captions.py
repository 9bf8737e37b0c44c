"""Captions below images: lines of text, and labels whose colour and symbol say whether they are right."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from PIL import ImageDraw, ImageFont

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Outcome = Literal["true positive", "false positive", "missed", "unjudged", "unknown", "dropped"]

COLOURS: dict[Outcome, str] = {
    "true positive": "#00734f",
    "false positive": "#b34700",
    "missed": "#0062a3",
    "unjudged": "#3f4954",
    "unknown": "#7a6000",
    "dropped": "#6b7178",
}
"""Okabe and Ito's colour-blind safe hues, darkened until white text on them has a contrast of 4.5."""


@dataclass(frozen=True)
class LabelOutcome:
    """A label of an image: its name, its probability if it has one, and whether it is right.

    ``unjudged`` is a label without a truth to compare with. Augmentation makes labels ``unknown`` or
    ``dropped``.
    """

    name: str
    probability: float | None
    outcome: Outcome


def label_outcomes(
    truth: Sequence[str] | None, predicted: Sequence[tuple[str, float | None]] | None
) -> list[LabelOutcome]:
    """Compare predicted labels with the true ones.

    Parameters
    ----------
    truth
        Names of the categories in the image; None when they are unknown.
    predicted
        (name, probability) of the predicted labels; the probability is None for label sets.

    Returns
    -------
    list of LabelOutcome
        The predicted labels in their order (``true positive`` or ``false positive``; ``unjudged`` without truth), then the
        ``missed`` ones. Without predictions the true labels, ``unjudged``.
    """
    if predicted is None:
        return [LabelOutcome(name, None, "unjudged") for name in truth or ()]
    if truth is None:
        return [LabelOutcome(name, probability, "unjudged") for name, probability in predicted]
    names = {name for name, _ in predicted}
    present = set(truth)
    outcomes = [
        LabelOutcome(n, p, "true positive" if n in present else "false positive")
        for n, p in predicted
    ]
    return outcomes + [LabelOutcome(name, None, "missed") for name in truth if name not in names]


def ink_on(colour: str) -> str:
    """White or black, whichever has the higher contrast (at least 4.5) with a colour ``#rrggbb``."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # WCAG 2: white has a contrast of 4.5 up to here, black a higher one from 0.179 on.
    return "#ffffff" if luminance < 0.183 else "#000000"


def percent(probability: float) -> str:
    """``42%``; one decimal below 1 and above 99, so that only 0 and 1 are written ``0%`` and ``100%``."""
    value = 100 * probability
    if 0 < value < 1 or 99 < value < 100:
        return f"{min(max(value, 0.1), 99.9):.1f}%"
    return f"{value:.0f}%"


_SYSTEM = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial Unicode.ttf",
    "segoeui.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "Hiragino Sans GB.ttc",
    "msyh.ttc",
    "malgun.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
)
"""Fonts of common systems, in the order they are tried for text that Pillow's own font lacks."""


def fit_text(text: str, size: int) -> tuple[str, FreeTypeFont]:
    """The text and a font of `size` pixels that has its characters.

    Pillow's built-in font holds little more than ASCII. For other texts the fonts of common systems are
    tried; where none has all characters, accents are dropped (``café`` becomes ``cafe``) and unknown
    characters are drawn as the font's empty box. Control characters become spaces.
    """
    text = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in text)
    fonts = [_builtin(size), *(font for name in _SYSTEM if (font := _system(name, size)))]
    for font in fonts[:1] if text.isascii() else fonts:
        if _writes(font, text):
            return text, font
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return plain, max(fonts, key=lambda font: sum(_writes(font, char) for char in plain))


def shorten(text: str, size: int, width: float) -> tuple[str, FreeTypeFont]:
    """`fit_text`, shortened with an ellipsis to at most `width` pixels."""
    text, font = fit_text(text, size)
    if font.getlength(text) <= width:
        return text, font
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle].rstrip() + "...") <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "...", font


@lru_cache(maxsize=64)
def _builtin(size: int) -> FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


@lru_cache(maxsize=256)
def _system(name: str, size: int) -> FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _writes(font: FreeTypeFont, text: str) -> bool:
    """Whether every character has a glyph of its own, other than that of U+FFFF, which no font has."""
    unknown = bytes(font.getmask("\uffff"))
    return all(char.isspace() or bytes(font.getmask(char)) != unknown for char in set(text))


_TEXT_COLOUR = "#5c6670"


class Caption:
    """Lines of text and labels that flow from left to right below an image.

    Parameters
    ----------
    width
        Of the caption in pixels.
    size
        Of the text in pixels.
    margin
        Pixels left free on every side; half of `size` when not given.
    """

    def __init__(self, width: int, size: int, margin: int | None = None) -> None:
        self._width, self._size = width, size
        self._margin = max(4, size // 2) if margin is None else margin
        self._lines: list[tuple[int, str]] = []
        self._labels: list[tuple[int, int, LabelOutcome, str | None]] = []
        self._x, self._y = self._margin, self._margin

    def line(self, text: str) -> None:
        """Add a line of text, shortened to fit."""
        self._lines.append((self._y, text))
        self._y += round(self._size * 1.5)

    def label(self, label: LabelOutcome, colour: str | None = None) -> None:
        """Add a label, in the colour of its outcome when no other is given."""
        width = _label_width(label, self._size, self._width - 2 * self._margin)
        if self._x > self._margin and self._x + width > self._width - self._margin:
            self._x = self._margin
            self._y += round(self._size * 2)
        self._labels.append((self._x, self._y, label, colour))
        self._x += width + self._size // 3

    @property
    def height(self) -> int:
        """Pixels of everything added; 0 for nothing."""
        if not self._lines and not self._labels:
            return 0
        return self._y + (round(self._size * 1.7) if self._labels else 0) + self._margin

    def draw(self, draw: ImageDraw.ImageDraw, top: int) -> None:
        """Draw everything, from row `top` of the drawing down."""
        room = self._width - 2 * self._margin
        for y, text in self._lines:
            text, font = shorten(text, self._size, room)
            middle = top + y + self._size * 0.6
            draw.text((self._margin, middle), text, font=font, fill=_TEXT_COLOUR, anchor="lm")
        for x, y, label, colour in self._labels:
            _draw_label(draw, x, top + y, label, self._size, room, colour)


def _label_parts(label: LabelOutcome, size: int, room: float) -> tuple[str, str, int]:
    """The shortened name, the probability's text, and the width of the symbol in pixels."""
    share = "" if label.probability is None else f" {percent(label.probability)}"
    symbol = 0 if label.outcome in ("unjudged", "dropped") else size
    padding = size
    share_width = fit_text(share, size)[1].getlength(share) if share else 0
    name, _ = shorten(label.name, size, room - share_width - symbol - padding)
    return name, share, symbol


def _label_width(label: LabelOutcome, size: int, room: float) -> int:
    name, share, symbol = _label_parts(label, size, room)
    font = fit_text(name, size)[1]
    share_width = fit_text(share, size)[1].getlength(share)
    return round(float(font.getlength(name) + share_width)) + symbol + size


def _draw_label(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    label: LabelOutcome,
    size: int,
    room: float,
    colour: str | None,
) -> None:
    name, share, symbol = _label_parts(label, size, room)
    width, height = _label_width(label, size, room), round(size * 1.7)
    fill = colour or COLOURS[label.outcome]
    ink = ink_on(fill)
    draw.rounded_rectangle((x, y, x + width, y + height), radius=size * 0.35, fill=fill)
    middle = y + height / 2
    text_x = x + size / 2
    if symbol:
        _draw_symbol(draw, text_x, middle, size, label.outcome)
        text_x += symbol
    font = fit_text(name, size)[1]
    draw.text((text_x, middle), name, font=font, fill=ink, anchor="lm")
    name_ends = text_x + font.getlength(name)
    if label.outcome == "dropped":
        draw.line((text_x, middle, name_ends, middle), fill=ink, width=max(1, size // 10))
    font = fit_text(share, size)[1]
    draw.text((name_ends, middle), share, font=font, fill=ink, anchor="lm")


def _draw_symbol(
    draw: ImageDraw.ImageDraw, x: float, middle: float, size: int, outcome: Outcome
) -> None:
    """A check mark, a cross, an open circle or a question mark, which every font has."""
    r, line = size * 0.28, max(2, size // 8)
    cx = x + r
    if outcome == "true positive":
        points = [(cx - r, middle), (cx - r * 0.25, middle + r * 0.8), (cx + r, middle - r * 0.8)]
        draw.line(points, fill="#ffffff", width=line, joint="curve")
    elif outcome == "false positive":
        draw.line((cx - r, middle - r, cx + r, middle + r), fill="#ffffff", width=line)
        draw.line((cx - r, middle + r, cx + r, middle - r), fill="#ffffff", width=line)
    elif outcome == "unknown":
        font = fit_text("?", size)[1]
        draw.text((cx, middle), "?", font=font, fill="#ffffff", anchor="mm")
    else:
        draw.ellipse((cx - r, middle - r, cx + r, middle + r), outline="#ffffff", width=line)
