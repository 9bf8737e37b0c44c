"""A font for any text without fetching one: Pillow's own, else the system's, else plain letters."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import ImageFont

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
