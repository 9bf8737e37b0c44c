"""Size and EXIF orientation of an image, read from its header without decoding it."""

from __future__ import annotations

from pathlib import Path
from typing import IO, NamedTuple

ORIENTATION_TAG = 0x0112


class Header(NamedTuple):
    """Width and height in pixels as stored, and the EXIF orientation 1 to 8 that turns them upright."""

    width: int
    height: int
    orientation: int

    @property
    def sideways(self) -> bool:
        """Whether the orientation turns the image by a quarter."""
        return self.orientation in (5, 6, 7, 8)

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of the upright image."""
        return (self.height, self.width) if self.sideways else (self.width, self.height)


UNKNOWN = Header(0, 0, 1)
"""Of a file that cannot be read."""


def read_header(image: Path | IO[bytes]) -> Header:
    """The header of an image; `UNKNOWN` where it cannot be read."""
    from PIL import Image

    try:
        with Image.open(image) as opened:
            width, height = opened.size
            return Header(width, height, orientation_of(opened))
    except Exception:  # Pillow's plug-ins raise nearly anything on damaged files.
        return UNKNOWN


def orientation_of(picture: object) -> int:
    """The EXIF orientation of a PIL image; 1 where it has none or its EXIF is broken."""
    try:
        value = int(picture.getexif().get(ORIENTATION_TAG, 1))  # type: ignore[attr-defined]
    except Exception:  # Broken EXIF never spoils an intact image, whatever the parser raises on it.
        return 1
    return value if 1 <= value <= 8 else 1
