"""The box around a COCO segmentation: polygons, or a run-length encoding (RLE) of a mask.

The mask is not decoded: the box follows from the ends of its runs.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.text_files import shown

Xywh = tuple[float, float, float, float]

_NUMBERS = frozenset((int, float))
_LEAST_NUMBERS = 6
_LARGEST = 1e308
"""Of a polygon: three corners."""
_MOST_CHARACTERS = 12
"""Of one count: more than 60 bits are no number of pixels."""


class SegmentationError(ValueError):
    """A segmentation that cannot be read.

    Attributes
    ----------
    code
        ``bad-polygon`` or ``bad-rle``.
    place
        Place of the fault within the segmentation: ``"[2]"``, ``".counts"``, or empty.
    """

    def __init__(self, code: str, found: str, place: str = "") -> None:
        super().__init__(found)
        self.code, self.place = code, place


def segmentation_box(segmentation: Any) -> Xywh | None:
    """The box around a segmentation: x, y, width and height in pixels.

    Parameters
    ----------
    segmentation
        As decoded from JSON: a list of polygons ``[x, y, x, y, ...]`` or ``[[x, y], ...]``, one such polygon by itself, or
        ``{"size": [height, width], "counts": ...}`` with a list of counts or COCO's compressed text.

    Returns
    -------
    tuple of 4 floats or None
        None for an empty segmentation: null, an empty list, a mask without a pixel.

    Raises
    ------
    SegmentationError
        ``bad-polygon`` or ``bad-rle``.
    """
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, dict):
        return _mask_box(segmentation)
    if not isinstance(segmentation, list):
        raise SegmentationError(
            "bad-polygon", f"{shown(segmentation)} is neither a list of polygons nor an RLE"
        )
    if _are_points(segmentation):
        segmentation = [segmentation]
    flat = not isinstance(segmentation[0], list)
    xs: list[float] = []
    ys: list[float] = []
    for number, polygon in enumerate([segmentation] if flat else segmentation):
        if _are_points(polygon):
            polygon = [value for point in polygon for value in point]
        try:
            _check_polygon(polygon)
        except ValueError as error:
            place = "" if flat else f"[{number}]"
            raise SegmentationError("bad-polygon", str(error), place) from None
        xs += polygon[::2]
        ys += polygon[1::2]
    left, top = float(min(xs)), float(min(ys))
    return left, top, max(xs) - left, max(ys) - top


def raw_segmentation_box(raw: msgspec.Raw) -> Xywh | None:
    """`segmentation_box` of undecoded JSON; JSON that cannot be decoded is ``bad-polygon`` too."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        found, _, place = str(error).partition(" - at `$")
        found = found[:1].lower() + found[1:]
        raise SegmentationError("bad-polygon", found, place.rstrip("`")) from None
    return segmentation_box(value)


def _are_points(value: Any) -> bool:
    """Whether a value is a list of three or more pairs of numbers."""
    return (
        isinstance(value, list)
        and len(value) >= 3
        and all(
            isinstance(p, list) and len(p) == 2 and _NUMBERS.issuperset(map(type, p)) for p in value
        )
    )


def _check_polygon(polygon: Any) -> None:
    if not isinstance(polygon, list):
        raise ValueError(f"{shown(polygon)} is not a polygon")
    if len(polygon) < _LEAST_NUMBERS or len(polygon) % 2:
        raise ValueError(f"a polygon is an even number of numbers from 6, found {len(polygon)}")
    # The fast test first, as `tagbox check` does it for every polygon; the sum is finite if all numbers are.
    try:
        ok = _NUMBERS.issuperset(map(type, polygon)) and math.isfinite(sum(polygon))
    except OverflowError:  # A whole number of more than 308 digits.
        ok = False
    if not ok:
        odd = (v for v in polygon if type(v) not in _NUMBERS or not abs(v) < _LARGEST)
        raise ValueError(f"{shown(next(odd, polygon))} is not a coordinate")


def _mask_box(rle: dict[str, Any]) -> Xywh | None:
    return runs_box(mask_runs(rle), rle["size"][0])


def mask_runs(rle: dict[str, Any]) -> NDArray[np.int64]:
    """(R,) int64 runs of an RLE, which cover its size.

    Raises
    ------
    SegmentationError
        ``bad-rle``.
    """
    size, counts = rle.get("size"), rle.get("counts")
    sides = size if isinstance(size, list) and len(size) == 2 else [0, 0]
    if not all(type(side) is int and 0 < side < 1 << 31 for side in sides):
        raise SegmentationError("bad-rle", f"{shown(size)} is not a height and a width", ".size")
    if isinstance(counts, str):
        runs = decode_counts(counts)
    elif isinstance(counts, list) and all(
        type(run) is int and 0 <= run < 1 << 62 for run in counts
    ):
        runs = np.array(counts, np.int64)
    else:
        raise SegmentationError(
            "bad-rle", f"{shown(counts)} is neither a text nor a list of counts", ".counts"
        )
    height, width = sides
    covered = sum(runs.tolist())  # Python's integers do not overflow.
    if covered != height * width:
        raise SegmentationError(
            "bad-rle",
            f"the runs cover {covered:,} pixels, the mask has {height * width:,}",
            ".counts",
        )
    return runs


def decode_counts(text: str) -> NDArray[np.int64]:
    """The runs of COCO's compressed RLE text: (R,) int64, alternately of background and object.

    A number takes one or more characters, lowest bits first. The code of a character, counted from
    ``"0"``, has 5 bits of the number and a sixth that is set when the number goes on. Numbers are signed;
    from the fourth on, each is the difference to the one two before it (``rleFrString`` in COCO's
    ``maskApi.c``).

    Raises
    ------
    SegmentationError
        ``bad-rle``.
    """
    try:
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        codes = np.array([-1], np.int64)
    if np.any((codes < 0) | (codes > 63)):
        raise SegmentationError("bad-rle", "a character is not one of an RLE", ".counts")
    if not len(codes):
        return codes
    goes_on = (codes & 32) > 0
    starts = np.concatenate([[0], np.flatnonzero(~goes_on[:-1]) + 1])
    lengths = np.diff(np.append(starts, len(codes)))
    if goes_on[-1] or int(lengths.max()) > _MOST_CHARACTERS:
        raise SegmentationError("bad-rle", "the text breaks off within a number", ".counts")
    digit = np.arange(len(codes)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & 31) << (5 * digit), starts)
    # Two's complement: the highest bit of the last character is the sign.
    negative = (codes[starts + lengths - 1] & 16) > 0
    numbers -= np.where(negative, np.int64(1) << (5 * lengths), 0)
    # Undo the differences, which begin with the fourth number: of the odd and of the even runs.
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    if np.any(numbers < 0):
        raise SegmentationError("bad-rle", "a run has less than 0 pixels", ".counts")
    return numbers


def runs_box(runs: NDArray[np.int64], height: int) -> Xywh | None:
    """The box around the object of a mask; None without a pixel.

    COCO's runs go down the columns of `height` pixels, from left to right: pixel p is in column
    ``p // height`` and row ``p % height``.
    """
    ends = np.cumsum(runs)
    first, last = (ends - runs)[1::2], ends[1::2] - 1
    not_empty = last >= first
    if not not_empty.any():
        return None
    first, last = first[not_empty], last[not_empty]
    left, right = int(first[0]) // height, int(last[-1]) // height
    # A run that continues in the next column has the last row of one column and the first of the next.
    if np.any(first // height < last // height):
        top, bottom = 0, height - 1
    else:
        top, bottom = int((first % height).min()), int((last % height).max())
    return float(left), float(top), float(right - left + 1), float(bottom - top + 1)
