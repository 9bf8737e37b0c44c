"""Size and EXIF orientation of an image, read from its header without decoding it."""

from __future__ import annotations

import os
import threading
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from tagbox.errors import TagboxError, bad_value

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

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


MAX_PIXELS = "TAGBOX_MAX_PIXELS"
"""Variable of the environment: images of more pixels are refused."""
_MAX_PIXELS = 250_000_000
_OPENING = threading.Lock()

UNKNOWN = Header(0, 0, 1)
"""Of a file that cannot be read."""


def read_header(image: Path | IO[bytes]) -> Header:
    """The header of an image; `UNKNOWN` where it cannot be read."""
    try:
        with open_image(image) as opened:
            width, height = opened.size
            return Header(width, height, orientation_of(opened))
    except Exception:  # Pillow's plug-ins raise nearly anything on damaged files.
        return UNKNOWN


def open_image(image: Path | IO[bytes]) -> PilImage:
    """Pillow's `Image.open` of an image of any size; the pixels are not read. `require_pixels` limits them."""
    from PIL import Image

    _register_heif()
    with _OPENING:
        # Pillow warns of images at half of its own limit, and refuses them whatever is done with them.
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(image)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@cache
def _register_heif() -> None:
    """Let Pillow read HEIC where the package for it is installed."""
    if find_spec("pillow_heif") is not None:
        import_module("pillow_heif").register_heif_opener()


def require_pixels(width: int, height: int, file: Path | str | None) -> None:
    """Refuse an image of more pixels than the environment allows, 250 million where it says nothing.

    Raises
    ------
    TagboxError
        ``image-too-large``; ``config-value`` where the variable `MAX_PIXELS` is no number.
    """
    stated = os.environ.get(MAX_PIXELS, "")
    if stated and not (stated.isascii() and stated.isdigit()):
        raise bad_value(stated, "a number of pixels", MAX_PIXELS)
    limit = int(stated) if stated else _MAX_PIXELS
    if width * height > limit:
        raise TagboxError(
            "image-too-large",
            f"{width:,}×{height:,} are {width * height:,} pixels, and at most {limit:,} are decoded",
            file=file,
            hint=f"set {MAX_PIXELS} to a larger number if there is memory for it, or save fewer pixels",
        )


def orientation_of(picture: object) -> int:
    """The EXIF orientation of a PIL image; 1 where it has none or its EXIF is broken."""
    try:
        value = int(picture.getexif().get(ORIENTATION_TAG, 1))  # type: ignore[attr-defined]
    except Exception:  # Broken EXIF never spoils an intact image, whatever the parser raises on it.
        return 1
    return value if 1 <= value <= 8 else 1


def picture_size(image: Path | IO[bytes]) -> tuple[int, int]:
    """Upright width and height in pixels, read from the header; (0, 0) when it cannot be read."""
    return read_header(image).upright
