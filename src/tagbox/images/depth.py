"""8-bit levels of images with more than 8 bits a channel, by the range that the file states or its values show."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

_BITS = (8, 10, 12, 14, 16)
"""Depths at which cameras and scanners store values in 16 bits or more."""
_DARK = 16
"""An image whose levels all lie below this is nearly black."""
_LOWEST = ((280, 281), (340, 341))
"""TIFF's tags of the least and the largest value: of whole numbers, and of any type."""
_PHOTOMETRIC, _NODATA = 262, 42113
"""TIFF's tags of what the samples mean, and GDAL's of the value that stands for none."""
_NEARLY = 0.95
"""Part of an image below `_DARK` with which it is nearly black; one pixel may be as bright as any."""
_SWAPPED = {"B": "L", "L": "B", "N": "B"}
"""Byte order that makes Pillow take the lower byte of 16 bits, on a little-endian machine."""

Tell = Callable[[str], object]
"""Is told how a range was guessed."""


class ImageRangeWarning(UserWarning):
    """The range of an image's values was guessed."""


class _Once:
    """Warns of the first image in this process; processes that a run starts leave it to theirs."""

    def __init__(self) -> None:
        self.told = False

    def __call__(self, file: str, doubt: str) -> None:
        import multiprocessing

        if self.told or multiprocessing.parent_process() is not None:
            return
        self.told = True
        found = f"{file}: {doubt}; further images like it are read so too (tagbox check lists them)"
        warnings.warn(found, ImageRangeWarning, stacklevel=2)


warn_once = _Once()


def gray_levels(picture: PilImage, tell: Tell) -> NDArray[np.uint8]:
    """(H, W) uint8 levels of a loaded PIL image of mode ``I``, ``I;16`` or ``F``."""
    values, tags = np.asarray(picture), getattr(picture, "tag_v2", None) or {}
    missing = _number(tags.get(_NODATA))
    if missing is not None and (there := values != missing).any():
        values = np.where(there, values, values[there].min())
    levels = scaled(values, stated_range(picture), tell)
    # Of more than 8 bits Pillow gives the samples as they are, also where 0 is white.
    return 255 - levels if tags.get(_PHOTOMETRIC) == 0 else levels


def color_levels(
    picture: PilImage, reopen: Callable[[], PilImage] | None, tell: Tell
) -> PilImage | None:
    """An image, not yet loaded, of several channels of 16 bits whose upper bytes alone are nearly black.

    Parameters
    ----------
    reopen
        Opens the image again, for the lower bytes; without it the upper ones are scaled.

    Returns
    -------
    PIL image or None
        None where the upper 8 bits of each channel, which Pillow reads, are the image.
    """
    from PIL import Image

    mode = _deep_mode(picture)
    if mode is None:
        return None
    stated = stated_range(picture)
    picture.load()
    upper = np.asarray(picture)
    colors = slice(0, {"LA": 1, "RGBA": 3}.get(picture.mode, upper.shape[-1]))
    if stated is None and int(upper[..., colors].max(initial=0)) >= 1 << 6:
        return None
    values = upper.astype(np.int32) << 8
    base, _, order = mode.partition(";16")
    if reopen is not None and order in _SWAPPED and base in ("RGB", "RGBA", "RGBX"):
        lower = reopen()
        lower.tile = [_with_mode(tile, f"{base};16{_SWAPPED[order]}") for tile in lower.tile]
        lower.load()
        values |= np.asarray(lower)
    levels = upper.copy()
    levels[..., colors] = scaled(values[..., colors].astype(np.uint16), stated, tell)
    if picture.mode.endswith("A") and 0 < upper[..., -1].max(initial=0) < 1 << 6:
        levels[..., -1] = scaled(values[..., -1].astype(np.uint16), stated, lambda doubt: None)
    return Image.fromarray(levels, picture.mode)


def stated_range(picture: PilImage) -> tuple[float, float] | None:
    """The least and the largest value that a file states for its samples."""
    if picture.format == "PPM" and picture.mode != "F":
        return 0.0, 65535.0  # Pillow has scaled the values by their stated maximum.
    tags: Any = getattr(picture, "tag_v2", None)
    if tags is None:
        return None
    for low, high in reversed(_LOWEST):
        largest = _number(tags.get(high))
        if largest is not None:
            least = _number(tags.get(low)) or 0.0
            return (least, largest) if largest > least else None
    bits = _number(tags.get(258))
    return (0.0, 2.0**bits - 1) if bits is not None and 8 < bits < 16 else None


def scaled(
    values: NDArray[Any], stated: tuple[float, float] | None, tell: Tell
) -> NDArray[np.uint8]:
    """`_scaled`; `tell` is also told of an image that is nearly black, where it was told of nothing else."""
    told = False

    def once(doubt: str) -> None:
        nonlocal told
        told = True
        tell(doubt)

    levels = _scaled(values, stated, once)
    if not told and levels.any() and (levels < _DARK).mean() >= _NEARLY:
        low = f"{100 * _NEARLY:g} % of its values are below {100 * _DARK / 256:g} % of their range"
        tell(f"{low}, up to {float(np.nanmax(values)):g}: it is nearly black")
    return levels


def _scaled(
    values: NDArray[Any], stated: tuple[float, float] | None, tell: Tell
) -> NDArray[np.uint8]:
    """Values of more than 8 bits as uint8 levels.

    - With a stated range that holds all values, linearly by it.
    - Whole numbers that use the upper half of 8 bits stay, and those of at least 15 bits in 16 keep the upper 8.
    - Floats are taken as parts of 1, or above it as levels to 255.
    - Other ranges are guessed, and `tell` is told: the least of the usual depths that holds the largest value, and
      from the least to the largest value where one is negative, or where all parts of 1 are nearly black.
    """
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f":
        # The largest number of its type stands for none, too.
        finite = values[np.abs(values) < 0.99 * float(np.finfo(values.dtype).max)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        values = np.clip(np.nan_to_num(values, nan=0.0), low, high)
    name = "float" if values.dtype.kind == "f" else f"{8 * values.dtype.itemsize}-bit"
    if stated is not None and stated[0] <= low and high <= stated[1]:
        levels = _linear(values, *stated)
        if levels.max(initial=0) < _DARK and high > stated[0]:
            tell(f"its {name} values end at {high:g} of a stated {stated[1]:g}: it is nearly black")
        return levels
    if low < 0:
        tell(f"the range of its {name} values is guessed as {low:g} to {high:g}")
        return _linear(values, low, high)
    if values.dtype.kind == "f" and high <= 255:
        dark = high < _DARK / (255 if high <= 1 else 1)
        if dark and high > 0:
            tell(f"the range of its float values is guessed as 0 to {high:g}")
            return _linear(values, 0.0, high)
        shown: NDArray[np.uint8] = np.clip(values * (255 if high <= 1 else 1), 0, 255).astype("u1")
        return shown
    largest = int(high)
    bits = next((b for b in _BITS if largest < 1 << b), largest.bit_length())
    plain = 128 <= largest < 256 or (bits == 16 and values.dtype.itemsize == 2)
    if largest and not plain:
        tell(f"the range of its {name} values, up to {high:g}, is guessed as {bits} bit")
    if values.dtype.kind == "f":
        return np.clip(values / 2.0 ** (bits - 8), 0, 255).astype(np.uint8)
    return (values.astype(np.int64) >> (bits - 8)).astype(np.uint8)


def _linear(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    share = (values.astype(np.float64) - low) / max(high - low, np.finfo(np.float64).tiny)
    levels: NDArray[np.uint8] = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    return levels


def _deep_mode(picture: PilImage) -> str | None:
    """Pillow's raw mode of an image of several channels of 16 bits, such as ``RGB;16B``."""
    if picture.mode not in ("RGB", "RGBA", "LA"):
        return None
    for tile in getattr(picture, "tile", ()):
        args = tile[3]
        mode = args if isinstance(args, str) else args[0] if isinstance(args, tuple) else ""
        if isinstance(mode, str) and ";16" in mode:
            return mode
    return None


def _with_mode(tile: Any, mode: str) -> Any:
    args = mode if isinstance(tile[3], str) else (mode, *tile[3][1:])
    return tile._replace(args=args)


def _number(value: Any) -> float | None:
    """A TIFF tag of one number, or of equal ones a channel."""
    values = value if isinstance(value, tuple) else (value,)
    try:
        return float(values[0]) if values and len({*values}) == 1 else None
    except (TypeError, ValueError, ZeroDivisionError):
        return None
