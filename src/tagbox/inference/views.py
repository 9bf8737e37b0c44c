"""Views of an image for a detector: the whole image or overlapping tiles, resized to the input size.

Boxes found in a view are mapped back to image coordinates, and the boxes of all tiles are merged.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import bad_value
from tagbox.images.decode import ImageInput, decode_bytes, image_source
from tagbox.images.geometry import Letterbox, letterboxed
from tagbox.images.header import picture_size

if TYPE_CHECKING:
    from tagbox.models.detectors.base import Found

SAME = 0.5
"""Intersection over union from which two boxes of a category are one object."""
COVERED = 0.5
"""Share of a truncated box that a complete one must cover to replace it."""
SCORE_SHARE = 0.5
"""Share of a truncated box's score that the complete one must have."""

Window = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of the image."""


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How a large image is divided into tiles.

    Attributes
    ----------
    side
        Of a tile, in pixels of the image.
    overlap
        Least share of a tile's side that its neighbour covers too. An object smaller than this is complete
        in at least one tile.
    """

    side: int
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if self.side < 32:
            raise bad_value(self.side, "a number of pixels from 32", "--tiles", code="option-value")
        if not 0 <= self.overlap <= 0.9:
            raise bad_value(
                self.overlap, "a share from 0 to 0.9", "--tile-overlap", code="option-value"
            )


def windows(width: int, height: int, tiles: Tiles) -> list[Window]:
    """The windows of an image's tiles, row by row, spread evenly; one as large as the image where it fits in one."""
    return [
        (left, top, min(left + tiles.side, width), min(top + tiles.side, height))
        for top in _starts(height, tiles)
        for left in _starts(width, tiles)
    ]


def _starts(length: int, tiles: Tiles) -> list[int]:
    room = length - tiles.side
    if room <= 0:
        return [0]
    # Rounded starts may stand a pixel further apart than even ones.
    step = max(1, math.floor(tiles.side * (1 - tiles.overlap)) - 1)
    return [int(start) for start in np.linspace(0, room, math.ceil(room / step) + 1).round()]


def truncated(
    boxes: NDArray[np.float64], window: Window, width: int, height: int, margin: float
) -> NDArray[np.bool_]:
    """(D,) bool: which boxes of a window touch a border of it that is not the image's.

    Parameters
    ----------
    boxes
        (D, 4) xyxy in pixels of the image.
    margin
        Pixels from the border within which a box touches it.
    """
    left, top, right, bottom = window
    touches = (
        (boxes[:, 0] <= left + margin) & (left > 0),
        (boxes[:, 1] <= top + margin) & (top > 0),
        (boxes[:, 2] >= right - margin) & (right < width),
        (boxes[:, 3] >= bottom - margin) & (bottom < height),
    )
    found: NDArray[np.bool_] = np.logical_or.reduce(touches)
    return found


def merge(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    at_border: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """Rows of the boxes that remain of all windows, by descending score.

    A truncated box is removed where a complete one of its category, with nearly its score, covers most of it; of
    boxes of one object that with the highest score remains (non-maximum suppression within each category).

    Parameters
    ----------
    boxes
        (D, 4) xyxy in pixels of the image.
    scores, labels
        (D,) scores in 0..1 and category rows.
    at_border
        (D,) bool: which boxes are truncated by their window; see `truncated`.
    """
    import torch
    from torchvision.ops import batched_nms

    kept = np.flatnonzero(~_replaced(boxes, scores, labels, at_border))
    rows = batched_nms(
        torch.from_numpy(boxes[kept]),
        torch.from_numpy(scores[kept]),
        torch.from_numpy(labels[kept]),
        SAME,
    )
    best: NDArray[np.intp] = kept[rows.numpy()]
    return best


def _replaced(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    at_border: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """(D,) bool: the truncated boxes that a complete one replaces."""
    gone = np.zeros(len(boxes), np.bool_)
    for row in np.flatnonzero(at_border):
        others = np.flatnonzero(
            ~at_border & (labels == labels[row]) & (scores >= SCORE_SHARE * scores[row])
        )
        corner = np.maximum(boxes[others, :2], boxes[row, :2])
        sides = np.maximum(np.minimum(boxes[others, 2:], boxes[row, 2:]) - corner, 0)
        area = (boxes[row, 2:] - boxes[row, :2]).prod()
        gone[row] = bool((sides.prod(axis=1) >= COVERED * area).any())
    return gone


MARGIN = 2.0
"""Pixels of the network's input within which a box touches the border of its window."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageBoxes:
    """The boxes of one image, by descending score; of equal scores in the order of categories and boxes.

    Attributes
    ----------
    width, height
        Of the upright image, in pixels.
    boxes
        (D, 4) float64 xywh in pixels of the image, inside it and each with an area.
    scores
        (D,) float64 in 0..1.
    labels
        (D,) int64 category rows.
    """

    width: int
    height: int
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> ImageBoxes:
        """The detections at `rows`, in that order."""
        return replace(
            self, boxes=self.boxes[rows], scores=self.scores[rows], labels=self.labels[rows]
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """An image, or a window of it, as input of the network.

    Attributes
    ----------
    letterbox
        (H, W, 3) uint8.
    inner
        Width and height of the resized window in the letterbox.
    window
        The part of the image.
    """

    letterbox: NDArray[np.uint8]
    inner: tuple[int, int]
    window: Window


@dataclass(frozen=True, eq=False, kw_only=True)
class Prepared:
    """The views of an image for a detector.

    Attributes
    ----------
    width, height
        Of the upright image, in pixels.
    overview
        The whole image.
    windows
        Its tiles, where it is larger than one.
    image
        (height, width, 3) uint8 that they are cut from; None without windows.
    overlap
        Pixels that neighbouring windows share.
    """

    width: int
    height: int
    overview: View
    windows: tuple[Window, ...] = ()
    image: NDArray[np.uint8] | None = None
    overlap: float = 0.0

    def view(self, number: int, fit: Letterbox) -> View:
        """View 0 is the whole image, the others are the windows, cropped on demand."""
        if number == 0 or self.image is None:
            return self.overview
        window = self.windows[number - 1]
        left, top, right, bottom = window
        return _view(self.image[top:bottom, left:right], window, fit)


def read_prepared(
    image: ImageInput, name: str, fit: Letterbox, tiles: Tiles | None = None
) -> Prepared:
    """Decode an image, upright, and prepare it; `name` stands for it in errors.

    Raises
    ------
    TagboxError
        The codes of `images.decode.image_source` and `decode_bytes`.
    """
    source = image_source(image, name)
    if isinstance(source, np.ndarray):
        return prepare(source, fit, tiles)
    least = None
    width, height = picture_size(io.BytesIO(source))
    if tiles is None and width and height:
        # A JPEG much larger than the network's input need not be decoded at full size.
        least = min(fit.inner(width, height))
    pixels = decode_bytes(source, file=name, min_size=least)
    return prepare(pixels, fit, tiles, size=None if least is None else (width, height))


def prepare(
    image: NDArray[np.uint8],
    fit: Letterbox,
    tiles: Tiles | None = None,
    *,
    size: tuple[int, int] | None = None,
) -> Prepared:
    """An (H, W, 3) uint8 RGB image prepared; `size` is its own where it was decoded at a smaller scale."""
    width, height = size or (image.shape[1], image.shape[0])
    overview = _view(image, (0, 0, width, height), fit)
    parts = () if tiles is None else tuple(windows(width, height, tiles))
    if tiles is None or len(parts) < 2:
        return Prepared(width=width, height=height, overview=overview)
    return Prepared(
        width=width,
        height=height,
        overview=overview,
        windows=parts,
        image=image,
        overlap=tiles.side * tiles.overlap,
    )


def boxes_of(prepared: Prepared, found: Sequence[Found], fit: Letterbox) -> ImageBoxes:
    """The boxes of an image from the detections in each of its views.

    Where there are windows, only boxes larger than their overlap are kept of the whole image: a smaller object is
    complete in a window, and larger there.
    """
    whole = (0, 0, prepared.width, prepared.height)
    boxes, at_border = [], []
    for window, each in zip((whole, *prepared.windows), found, strict=True):
        width, height = window[2] - window[0], window[3] - window[1]
        inner = fit.inner(width, height)
        scale = np.array([width / inner[0], height / inner[1]] * 2)
        corners = each.boxes.cpu().numpy().astype(np.float64).reshape(-1, 4) * scale
        corners = np.clip(corners, 0, [width, height] * 2) + np.array(window[:2] * 2)
        boxes.append(corners)
        margin = MARGIN * float(scale.max())
        at_border.append(truncated(corners, window, prepared.width, prepared.height, margin))
    corners, borders = np.concatenate(boxes), np.concatenate(at_border)
    scores = np.concatenate([each.scores.cpu().numpy() for each in found]).astype(np.float64)
    labels = np.concatenate([each.labels.cpu().numpy() for each in found]).astype(np.int64)
    sides = corners[:, 2:] - corners[:, :2]
    fine = (sides > 0).all(axis=1)
    if prepared.windows:
        # The whole image is scaled down: a pixel of the input at either end is no evidence of size.
        coarse = 2 * max(prepared.width, prepared.height) / max(prepared.overview.inner)
        count = len(boxes[0])
        fine[:count] &= (sides[:count] > prepared.overlap + coarse).any(axis=1)
    kept = np.flatnonzero(fine)
    kept = kept[np.lexsort((*corners[kept].T[::-1], labels[kept], -scores[kept]))]
    if prepared.windows:
        kept = kept[merge(corners[kept], scores[kept], labels[kept], borders[kept])]
    return ImageBoxes(
        width=prepared.width,
        height=prepared.height,
        boxes=np.column_stack([corners[kept, :2], sides[kept]]),
        scores=scores[kept],
        labels=labels[kept],
    )


def _view(image: NDArray[np.uint8], window: Window, fit: Letterbox) -> View:
    inner = fit.inner(window[2] - window[0], window[3] - window[1])
    return View(letterbox=letterboxed(image, inner, fit.outer(*inner)), inner=inner, window=window)
