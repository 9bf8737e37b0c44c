"""Captions below pictures: lines of text and chips, one a label.

A chip's meaning is told by its colour and by a symbol: a check mark, a cross, an open circle, a question
mark, a line through the name.

A font for any text without fetching one: Pillow's own, else the system's, else plain letters.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import ImageDraw, ImageFont

from tagbox.images.outcomes import COLOURS, Outcome, Verdict, percent

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

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
"""Fonts of the usual systems, in the order they are tried for a text Pillow's own cannot write."""


def fit_text(text: str, size: int) -> tuple[str, FreeTypeFont]:
    """The text and a font of `size` pixels that can write it.

    Pillow's built-in font holds little more than ASCII. For other texts the fonts of the usual
    systems are tried; where none can write it, accents are dropped (``café`` becomes ``cafe``), and
    what remains unknown shows as the font's empty box. Control characters become spaces.
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
    """`fit_text`, cut with an ellipsis so that it is at most `width` pixels long."""
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
    """Whether every character has a glyph of its own, unlike the one fonts show for U+FFFF."""
    unknown = bytes(font.getmask("\uffff"))
    return all(char.isspace() or bytes(font.getmask(char)) != unknown for char in set(text))


QUIET = "#5c6670"
"""Colour of lines that are not the news."""


class Caption:
    """Lines of text and chips that flow from left to right below a picture.

    Parameters
    ----------
    width
        Pixels that they have.
    size
        Of the text, in pixels.
    margin
        Pixels left free on every side; half of `size` when not given.
    """

    def __init__(self, width: int, size: int, margin: int | None = None) -> None:
        self._width, self._size = width, size
        self._margin = max(4, size // 2) if margin is None else margin
        self._lines: list[tuple[int, str]] = []
        self._chips: list[tuple[int, int, Verdict, str | None]] = []
        self._x, self._y = self._margin, self._margin

    def line(self, text: str) -> None:
        """Add a line of text, cut to fit."""
        self._lines.append((self._y, text))
        self._y += round(self._size * 1.5)

    def chip(self, verdict: Verdict, colour: str | None = None) -> None:
        """Add a chip, in its outcome's colour when no other is given."""
        width = _chip_width(verdict, self._size, self._width - 2 * self._margin)
        if self._x > self._margin and self._x + width > self._width - self._margin:
            self._x = self._margin
            self._y += round(self._size * 2)
        self._chips.append((self._x, self._y, verdict, colour))
        self._x += width + self._size // 3

    @property
    def height(self) -> int:
        """Pixels that everything added takes; 0 for nothing."""
        if not self._lines and not self._chips:
            return 0
        return self._y + (round(self._size * 1.7) if self._chips else 0) + self._margin

    def draw(self, draw: ImageDraw.ImageDraw, top: int) -> None:
        """Draw everything, from row `top` of the sheet down."""
        room = self._width - 2 * self._margin
        for y, text in self._lines:
            text, font = shorten(text, self._size, room)
            middle = top + y + self._size * 0.6
            draw.text((self._margin, middle), text, font=font, fill=QUIET, anchor="lm")
        for x, y, verdict, colour in self._chips:
            _draw_chip(draw, x, top + y, verdict, self._size, room, colour)


def _chip_parts(verdict: Verdict, size: int, room: float) -> tuple[str, str, int]:
    """The name cut to fit, the probability's text, and the room the symbol takes."""
    share = "" if verdict.probability is None else f" {percent(verdict.probability)}"
    symbol = 0 if verdict.outcome in ("unjudged", "dropped") else size
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
    name_ends = text_x + font.getlength(name)
    if verdict.outcome == "dropped":
        draw.line((text_x, middle, name_ends, middle), fill="#ffffff", width=max(1, size // 10))
    text_x = name_ends
    draw.text((text_x, middle), share, font=fit_text(share, size)[1], fill="#ffffff", anchor="lm")
    return width


def _draw_symbol(
    draw: ImageDraw.ImageDraw, x: float, middle: float, size: int, outcome: Outcome
) -> None:
    """A check mark, a cross, an open circle or a question mark, which every font has."""
    r, line = size * 0.28, max(2, size // 8)
    cx = x + r
    if outcome == "right":
        points = [(cx - r, middle), (cx - r * 0.25, middle + r * 0.8), (cx + r, middle - r * 0.8)]
        draw.line(points, fill="#ffffff", width=line, joint="curve")
    elif outcome == "wrong":
        draw.line((cx - r, middle - r, cx + r, middle + r), fill="#ffffff", width=line)
        draw.line((cx - r, middle + r, cx + r, middle - r), fill="#ffffff", width=line)
    elif outcome == "unknown":
        font = fit_text("?", size)[1]
        draw.text((cx, middle), "?", font=font, fill="#ffffff", anchor="mm")
    else:
        draw.ellipse((cx - r, middle - r, cx + r, middle + r), outline="#ffffff", width=line)
