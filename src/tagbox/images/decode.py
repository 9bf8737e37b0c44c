"""Decode any image to upright 8-bit RGB, or raise an error that names it.

JPEGs are decoded by simplejpeg; what that does not support, and every other format, by Pillow:

- orientation: turned upright by EXIF;
- grayscale and palette: RGB;
- alpha: composited on white, as a page shows it;
- CMYK: Pillow's conversion;
- more than 8 bits a channel: scaled by `images.depth`;
- several frames: the first.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.files import is_refused, read_file
from tagbox.images.depth import Tell, color_levels, gray_levels, warn_once
from tagbox.images.geometry import turned_upright
from tagbox.images.header import open_image, orientation_of, require_pixels

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

PIXELS_VERSION = 3
"""Raised whenever decoding or geometry change a pixel; caches of features are keyed by it."""

REPLACE = "replace the file or remove its record"

ImageInput: TypeAlias = "Path | str | bytes | PilImage | NDArray[np.uint8]"
"""A path, an encoded file's bytes, a PIL image, or an (H, W, 3) uint8 RGB array, taken as upright."""

# A PIL image that was opened lazily reads its file when it is first used, which no two threads may do at once.
_PILLOW_LOCK = threading.Lock()


def image_name(image: ImageInput, number: int) -> str:
    """What an image is called in errors and results: its path, or ``image 3`` where it has none."""
    return str(image) if isinstance(image, (str, Path)) else f"image {number}"


def image_source(image: ImageInput, name: str) -> bytes | NDArray[np.uint8]:
    """The bytes of an encoded image, or the pixels of a decoded one: (H, W, 3) uint8 RGB, upright.

    Raises
    ------
    TagboxError
        The codes of `read_bytes`; those of `decode_bytes` for a PIL image; ``image-unreadable`` for any other array
        or object.
    """
    if isinstance(image, (str, Path)):
        return read_bytes(Path(image))
    if isinstance(image, bytes):
        return image
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return image
        found = f"an array of shape {image.shape} and type {image.dtype}"
        raise TagboxError(
            "image-unreadable", found, file=name, hint="give (H, W, 3) uint8, in the order RGB"
        )
    from PIL import Image

    if isinstance(image, Image.Image):
        with _PILLOW_LOCK, _pillow_errors(name):
            return _upright_rgb(image, partial(warn_once, name))
    raise TagboxError(
        "image-unreadable",
        f"an object of type {type(image).__name__} is no image",
        file=name,
        hint="give a path, bytes, a PIL image or an array",
    )


def decode_source(
    source: bytes | NDArray[np.uint8], *, file: Path | str | None, min_size: int | None = None
) -> NDArray[np.uint8]:
    """The pixels of what `image_source` returned; see `decode_bytes`."""
    if isinstance(source, np.ndarray):
        return source
    return decode_bytes(source, file=file, min_size=min_size)


def read_image(path: Path, min_size: int | None = None) -> NDArray[np.uint8]:
    """The image in file `path`; see `decode_bytes`.

    Raises
    ------
    TagboxError
        ``image-missing`` or ``image-unreadable``, and the codes of `decode_bytes`.
    """
    return decode_bytes(read_bytes(path), file=path, min_size=min_size)


def read_bytes(path: Path) -> bytes:
    """The file's bytes; ``image-missing``, ``image-unreadable`` or ``image-empty`` otherwise."""
    try:
        content = read_file(path)
    except FileNotFoundError as error:
        raise TagboxError(
            "image-missing", "no such image", file=path, hint="check the images folder (--images)"
        ) from error
    except OSError as error:
        hint = "check its permissions" if is_refused(error) else REPLACE
        raise TagboxError(
            "image-unreadable", error.strerror or str(error), file=path, hint=hint
        ) from error
    if not content:
        raise TagboxError("image-empty", "the image has 0 bytes", file=path, hint=REPLACE)
    return content


def decode_bytes(
    data: bytes,
    *,
    file: Path | str | None,
    min_size: int | None = None,
    tell: Tell | None = None,
) -> NDArray[np.uint8]:
    """The image as (H, W, 3) uint8 RGB, upright.

    Parameters
    ----------
    file
        Named in errors.
    min_size
        A JPEG may come out at a half of its size or less (scaled in the DCT, which is fast and
        hardly visible) as long as both sides keep this many pixels.
    tell
        Is told how the range of an image of more than 8 bits was guessed; without it an
        `images.depth.ImageRangeWarning` is given for the first such image.

    Raises
    ------
    TagboxError
        ``image-empty``, ``image-truncated`` (also an image that lacks only its last rows),
        ``image-too-large`` (`images.header.require_pixels`), ``image-corrupt``.
    """
    if not data:
        raise TagboxError("image-empty", "the image has 0 bytes", file=file, hint=REPLACE)
    if data[:2] == b"\xff\xd8":
        image = _fast_jpeg(data, min_size, file)
        if image is not None:
            return image
    return _with_pillow(data, file, tell or partial(warn_once, str(file or "an image")))


def pixels_version() -> str:
    """Names everything that decides a pixel's value: our own rules and both libraries."""
    import PIL
    import simplejpeg

    return f"{PIXELS_VERSION}-pillow{PIL.__version__}-simplejpeg{simplejpeg.__version__}"


def _fast_jpeg(
    data: bytes, min_size: int | None, file: Path | str | None
) -> NDArray[np.uint8] | None:
    """A sound JPEG in gray or YCbCr; None left to Pillow (CMYK, warnings, damage)."""
    import simplejpeg

    least = min_size or 0
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        require_pixels(width, height, file)
        # Scales above a half cost more than they save and blur more, hence min_factor; strict makes
        # libjpeg's warnings errors, where others return an image whose lower half is grey.
        image = simplejpeg.decode_jpeg(
            data, "RGB", min_height=least, min_width=least, min_factor=2, strict=True
        )
    except ValueError:
        return None
    # Most JPEGs have no EXIF; asking Pillow for it only where the marker stands saves its parsing.
    if data.find(b"Exif\0\0", 0, 1 << 17) >= 0:
        image = turned_upright(image, _orientation(data))
    return image  # type: ignore[no-any-return]


def _orientation(data: bytes) -> int:
    try:
        with open_image(io.BytesIO(data)) as picture:
            return orientation_of(picture)
    except Exception:  # What Pillow cannot open has no EXIF.
        return 1


def _with_pillow(data: bytes, file: Path | str | None, tell: Tell) -> NDArray[np.uint8]:
    with _pillow_errors(file), open_image(io.BytesIO(data)) as picture:
        require_pixels(picture.width, picture.height, file)
        return _upright_rgb(picture, tell, lambda: open_image(io.BytesIO(data)))


def _upright_rgb(
    picture: PilImage, tell: Tell, reopen: Callable[[], PilImage] | None = None
) -> NDArray[np.uint8]:
    levels = color_levels(picture, reopen, tell)
    picture.load()
    orientation = orientation_of(picture)
    return turned_upright(np.array(_to_rgb(levels or picture, tell)), orientation)


@contextmanager
def _pillow_errors(file: Path | str | None) -> Iterator[None]:
    from PIL import UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError as error:
        raise TagboxError(
            "image-corrupt", "not an image in a known format", file=file, hint=REPLACE
        ) from error
    except TagboxError:
        raise
    except Exception as error:  # Pillow's format plug-ins raise nearly anything on damaged bytes.
        text = _plain(error)
        truncated = "truncated" in text.lower() or isinstance(error, EOFError)
        raise TagboxError(
            "image-truncated" if truncated else "image-corrupt",
            f"the image cannot be decoded ({text})",
            file=file,
            hint=REPLACE,
        ) from error


def _plain(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _to_rgb(picture: PilImage, tell: Tell) -> PilImage:
    """8-bit RGB from any mode of Pillow's."""
    from PIL import Image

    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(gray_levels(picture, tell)).convert("RGB")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        page = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(page, layer).convert("RGB")
    return picture.convert("RGB")


def default_threads() -> int:
    """Threads that decode in parallel: one a core this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
