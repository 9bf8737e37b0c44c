"""The pixels of a dataset's records and those of its image files: one rule where they differ.

A record states a width and a height, and its boxes are in pixels of those. Where the file has another size:

- a record of the image as it is stored, which EXIF turns when it is shown, is turned like the image;
- a record of a larger or smaller copy with the same proportions is scaled;
- any other record is contradictory: `RecordPixels.require` refuses it, and its boxes have no place in the file.

`RecordPixels.in_file` moves a dataset into pixels of the upright files, in which models are trained and detect;
`RecordPixels.to_record` moves detections back, since they are compared with the records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.data.box_faults import EDGE
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.images.header import Header, picture_size, read_header

Boxes = NDArray[np.float64]
Kind = Literal["turned", "swapped", "scaled", "mismatch"]
"""How a record differs from its file: ``swapped`` has upright boxes, and only its sides are exchanged."""

SIZE_HINT = "write the file's real width and height, and check the boxes"
OVERHANG = 0.01
"""Share of a side by which boxes may leave their image before they show how an image was turned."""

# Rows a, b, c of x' = a·x + b·y + c for x and y as shares of the stored sides, by EXIF orientation.
_TURNS: dict[int, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    1: ((1, 0, 0), (0, 1, 0)),
    2: ((-1, 0, 1), (0, 1, 0)),
    3: ((-1, 0, 1), (0, -1, 1)),
    4: ((1, 0, 0), (0, -1, 1)),
    5: ((0, 1, 0), (1, 0, 0)),
    6: ((0, -1, 1), (1, 0, 0)),
    7: ((0, -1, 1), (-1, 0, 1)),
    8: ((0, 1, 0), (-1, 0, 1)),
}


_WORDS: dict[Kind, str] = {
    "turned": "turned by EXIF, with records made without turning: their boxes are turned",
    "swapped": "turned by EXIF, with the unturned size in their records: it is exchanged",
    "scaled": "of another size than in their records: their boxes are scaled",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordPixels:
    """How pixels of the records of N images become pixels of their upright files.

    Attributes
    ----------
    dataset
        Whose records they are.
    sizes
        (N, 2) float64 width and height of the upright files; as stated where a file cannot be read, 0 where
        neither is known.
    stated
        (N, 2) float64 sides that the boxes of a record refer to: those it states, exchanged where they are
        ``swapped``, and those of the file where it states none.
    orientations
        (N,) int8 EXIF orientation by which the record is still to be turned; 1 for none.
    kinds
        How records differ, by row; all others agree with their files.
    """

    dataset: Dataset
    sizes: NDArray[np.float64]
    stated: NDArray[np.float64]
    orientations: NDArray[np.int8]
    kinds: Mapping[int, Kind]

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """(N,) whether coordinates differ between record and file."""
        differ: NDArray[np.bool_] = (self.sizes != self.stated).any(axis=1)
        differ &= (self.sizes > 0).all(axis=1)
        differ |= self.orientations != 1
        return differ

    @cached_property
    def _maps(self) -> NDArray[np.float64]:
        """(N, 2, 3) the affine map of the points of each record."""
        maps = np.array([_TURNS[k] for k in self.orientations.tolist()], np.float64)
        maps = maps.reshape(-1, 2, 3)
        width, height = np.where(self.stated > 0, self.stated, 1.0).T
        maps[:, :, 0] /= width[:, None]
        maps[:, :, 1] /= height[:, None]
        return maps * np.where(self.sizes > 0, self.sizes, 1.0)[:, :, None]

    @cached_property
    def area_scales(self) -> NDArray[np.float64]:
        """(N,) pixels of the file per pixel of the record."""
        scales = np.ones(len(self.sizes))
        rows = self.changed
        scales[rows] = self.sizes[rows].prod(axis=1) / self.stated[rows].prod(axis=1)
        return scales

    def to_file(self, boxes: Boxes, image_rows: NDArray[np.integer]) -> Boxes:
        """(M, 4) xywh boxes in pixels of the records of `image_rows` (M,), in pixels of the files."""
        return _moved(boxes, image_rows, self.changed, self._maps)

    def to_record(self, boxes: Boxes, image_rows: NDArray[np.integer]) -> Boxes:
        """The inverse of `to_file`."""
        if not self.changed.any():
            return boxes
        linear, offset = self._maps[:, :, :2], self._maps[:, :, 2:]
        back = np.linalg.inv(linear)
        maps = np.concatenate([back, -back @ offset], axis=2)
        return _moved(boxes, image_rows, self.changed, maps)

    def points_to_file(self, row: int) -> Callable[[Boxes], Boxes]:
        """A function of (P, 2) points in pixels of the record of image `row`, to pixels of its file."""
        linear, offset = self._maps[row, :, :2], self._maps[row, :, 2]
        return lambda points: points @ linear.T + offset

    def in_file(self) -> Dataset:
        """The dataset in pixels of its upright files; boxes of contradictory records become annotations without.

        Sizes that records do not state remain unstated.
        """
        if not self.kinds:
            return self.dataset
        images, annotations = self.dataset.images, self.dataset.annotations
        contradictory = np.array([k for k, kind in self.kinds.items() if kind == "mismatch"], int)
        lost = np.isin(annotations.image_rows, contradictory)
        boxes = self.to_file(annotations.boxes, annotations.image_rows)
        boxes = np.where(lost[:, None], np.nan, boxes)
        rows = np.array([*self.kinds], int)
        widths, heights = images.widths.copy(), images.heights.copy()
        widths[rows], heights[rows] = self.sizes[rows].T.astype(np.int32)
        return replace(
            self.dataset,
            images=replace(images, widths=widths, heights=heights),
            annotations=replace(
                annotations,
                boxes=boxes,
                has_box=annotations.has_box & ~lost,
                areas=annotations.areas * self.area_scales[annotations.image_rows],
            ),
        )

    def take(self, rows: NDArray[np.intp]) -> RecordPixels:
        """The images at `rows`, in that order."""
        kinds = {new: self.kinds[row] for new, row in enumerate(rows.tolist()) if row in self.kinds}
        return RecordPixels(
            dataset=self.dataset.take(rows),
            sizes=self.sizes[rows],
            stated=self.stated[rows],
            orientations=self.orientations[rows],
            kinds=kinds,
        )

    @property
    def notes(self) -> list[str]:
        """What differs, a line for each kind that is no contradiction, for a person."""
        counts = Counter(self.kinds.values())
        return [
            f"{counts[kind]:,} {'picture' if counts[kind] == 1 else 'pictures'} {words}"
            for kind, words in _WORDS.items()
            if counts[kind]
        ]

    def found(self, row: int) -> str:
        """What is said of the record of image `row`, which differs from its file."""
        images = self.dataset.images
        width, height = self.sizes[row].astype(int).tolist()
        sentence = (
            f"the labels say {images.widths[row]}×{images.heights[row]}, "
            f"the file is {width}×{height}"
        )
        match self.kinds[row]:
            case "turned":
                reason = (
                    "its EXIF orientation turns it, and the labels were made without turning it"
                )
                return f"{sentence}: {reason}; the boxes are turned with it"
            case "swapped":
                reason = (
                    "its EXIF orientation turns it, and the boxes, but not the size, are turned"
                )
                return f"{sentence}: {reason}; the boxes are taken as they are"
            case "scaled":
                return f"{sentence}: the boxes are scaled"
        if (images.widths[row], images.heights[row]) == (height, width):
            return f"{sentence}: width and height are swapped, as when a rotation by EXIF got lost"
        return sentence

    def require(self) -> None:
        """Refuse a dataset with a record that contradicts its file.

        Raises
        ------
        TagboxError
            ``size-mismatch``, which names the first such image.
        """
        rows = [row for row, kind in self.kinds.items() if kind == "mismatch"]
        if rows:
            more = f" (and {len(rows) - 1:,} more like it)" if len(rows) > 1 else ""
            raise self.error(rows[0], more)

    def misplaced(self, row: int) -> bool:
        """Whether image `row` has boxes, and a record that contradicts its file."""
        annotations = self.dataset.annotations
        own = self.kinds.get(row) == "mismatch" and annotations.image_rows == row
        return bool(np.any(own & annotations.has_box))

    def error(self, row: int, more: str = "") -> TagboxError:
        """The error of a contradictory record."""
        return TagboxError(
            "size-mismatch",
            f"{self.found(row)}{more}",
            file=self.dataset.images.path(row),
            where=f"image id {self.dataset.images.ids[row]}",
            hint=SIZE_HINT,
        )


def record_pixels(dataset: Dataset) -> RecordPixels:
    """`resolve` with the headers of the dataset's files, which are read."""
    paths = (dataset.images.path(row) for row in range(len(dataset)))
    return resolve(dataset, [read_header(path) for path in paths])


def resolve(dataset: Dataset, headers: Sequence[Header]) -> RecordPixels:
    """How each record differs from its file.

    Parameters
    ----------
    headers
        Of the N files.

    Notes
    -----
    A record of the size of the stored image may still have boxes of the upright one. Boxes that leave one of
    the two show which; where those of an image do not, the other images of the dataset decide, and where these
    show nothing either, the size that is stated. A size does not show mirrored and square images; they are
    turned like the others, unless a record has the size of an upright image.
    """
    images = dataset.images
    count = len(images)
    stated = np.column_stack([images.widths, images.heights]).astype(np.float64).reshape(-1, 2)
    sizes = np.array([h.upright for h in headers], np.float64).reshape(-1, 2)
    orientations = np.ones(count, np.int8)
    readable, full = (sizes > 0).all(axis=1), (stated > 0).all(axis=1)
    stated[readable & ~full] = sizes[readable & ~full]
    sizes[~readable] = stated[~readable]
    kinds: dict[int, Kind] = {}
    turnable: list[int] = []
    for row in np.flatnonzero((stated != sizes).any(axis=1)).tolist():
        header = headers[row]
        own, real = tuple(stated[row].tolist()), header.upright
        if header.sideways and own == real[::-1]:
            turnable.append(row)
        elif own != real[::-1] and _proportional(own, real):
            kinds[row] = "scaled"
        elif header.sideways and _proportional(own, real[::-1]):
            turnable.append(row)
        else:
            kinds[row] = "mismatch"
    if turnable:
        for row, kind in _turned(dataset, turnable, stated).items():
            kinds[row] = kind
            if kind == "turned":
                orientations[row] = headers[row].orientation
            elif kind == "swapped":
                stated[row] = stated[row, ::-1]
        silent = [row for row, h in enumerate(headers) if h.orientation != 1 and row not in kinds]
        shown = any(headers[row].sideways and sizes[row, 0] != sizes[row, 1] for row in silent)
        if not shown and "turned" in kinds.values() and "swapped" not in kinds.values():
            for row in silent:
                kinds[row], orientations[row] = "turned", headers[row].orientation
    return RecordPixels(
        dataset=dataset,
        sizes=sizes,
        stated=stated,
        orientations=orientations,
        kinds=dict(sorted(kinds.items())),
    )


def _turned(dataset: Dataset, rows: Sequence[int], stated: NDArray[np.float64]) -> dict[int, Kind]:
    """Whether the boxes of records that have the size of the stored image are of that or of the upright one."""
    annotations = dataset.annotations
    boxed = np.isin(annotations.image_rows, rows) & annotations.has_box
    image_rows, boxes = annotations.image_rows[boxed], annotations.boxes[boxed]
    far = boxes[:, :2] + boxes[:, 2:]
    own = stated[image_rows]
    leaves_stored, leaves_upright = (
        np.bincount(
            image_rows[(far > sides * (1 + OVERHANG) + EDGE).any(axis=1)], minlength=len(dataset)
        )
        for sides in (own, own[:, ::-1])
    )
    result: dict[int, Kind] = {}
    undecided = []
    for row in rows:
        match bool(leaves_stored[row]), bool(leaves_upright[row]):
            case False, True:
                result[row] = "turned"
            case True, False:
                result[row] = "swapped"
            case True, True:
                result[row] = "mismatch"
            case _:
                undecided.append(row)
    seen = {kind for kind in result.values() if kind != "mismatch"}
    for row in undecided:
        result[row] = "mismatch" if len(seen) > 1 else next(iter(seen), "turned")
    return result


def _proportional(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether one size is the other, scaled and rounded to whole pixels."""
    low = max((b - 1) / a for a, b in zip(one, other, strict=True))
    high = min((b + 1) / a for a, b in zip(one, other, strict=True))
    larger = max((a - 1) / b for a, b in zip(one, other, strict=True))
    smaller = min((a + 1) / b for a, b in zip(one, other, strict=True))
    return low <= high or larger <= smaller


def _moved(
    boxes: Boxes,
    image_rows: NDArray[np.integer],
    changed: NDArray[np.bool_],
    maps: NDArray[np.float64],
) -> Boxes:
    """xywh boxes of changed images after the map of their image; the others unchanged, to the bit."""
    rows = np.flatnonzero(changed[image_rows]) if len(changed) else np.zeros(0, np.intp)
    if not len(rows):
        return boxes
    moved = boxes.copy()
    own = maps[image_rows[rows]]
    near, far = boxes[rows, :2], boxes[rows, :2] + boxes[rows, 2:]
    one, two = (
        np.einsum("mij,mj->mi", own[:, :, :2], points) + own[:, :, 2] for points in (near, far)
    )
    moved[rows] = np.hstack([np.minimum(one, two), np.abs(two - one)])
    return moved


def image_sizes(dataset: Dataset, rows: NDArray[np.integer] | None = None) -> NDArray[np.float64]:
    """(N, 2) width and height of every image as the dataset states them, 0 where it does not.

    For the images `rows`, sizes that are not stated are read from the files; 0 where that fails.
    """
    images = dataset.images
    sizes = np.column_stack([images.widths, images.heights]).astype(np.float64)
    if rows is not None:
        for row in rows[(sizes[rows] == 0).any(axis=1)].tolist():
            sizes[row] = picture_size(images.path(row))
    return sizes
