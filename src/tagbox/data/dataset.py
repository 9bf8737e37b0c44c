"""`Dataset`: images, categories and annotations in NumPy columns.

There is no Python object per annotation, so that memory stays small and worker processes share it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tagbox.data.records import Records
from tagbox.errors import TagboxError

PRESENT, ABSENT, UNKNOWN = 1, 0, -1
ONLY_CROWDS_HINT = "set iscrowd to 0 wherever an annotation is of one object"
"""What to do where all boxes are of crowd regions; reading and checking advise it."""
LABEL_SUFFIXES = frozenset((".txt", ".cls", ".json", ".xml", ".csv", ".yaml", ".yml"))
"""What the names of label files in a dataset's folder end in."""
# Up to this largest id a lookup table is used, which is faster than a binary search.
_TABLE_LIMIT = 20_000_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Images:
    """N images, one per row.

    Attributes
    ----------
    ids
        (N,) int64, unique; the original ids, or 1..N where the format has none.
    files
        (N,) str; path of each image file relative to `root` (or absolute).
    widths, heights
        (N,) int32 pixels as the source states them; 0 where it does not.
    labelled
        (N,) bool; False for an image without labels, which is not the same as one without objects.
    root
        The folder that `files` are relative to.
    """

    ids: NDArray[np.int64]
    files: NDArray[np.str_]
    widths: NDArray[np.int32]
    heights: NDArray[np.int32]
    labelled: NDArray[np.bool_]
    root: Path

    def __post_init__(self) -> None:
        _same_length(self, "ids", "files", "widths", "heights", "labelled")

    def __len__(self) -> int:
        return len(self.ids)

    def path(self, row: int) -> Path:
        """The file of image `row`."""
        return self.root / str(self.files[row])

    @cached_property
    def stems(self) -> NDArray[np.str_]:
        """(N,) str; file names without folder and extension, by which submissions name images."""
        return np.array([Path(name).stem for name in self.files.tolist()], dtype=np.str_)


@dataclass(frozen=True, eq=False, kw_only=True)
class Categories:
    """K categories, one per row; models and label files use the row as index.

    Attributes
    ----------
    names
        K unique names.
    ids
        (K,) int64; the original category ids.
    supercategories
        K names; empty strings where the source has none.
    """

    names: tuple[str, ...]
    ids: NDArray[np.int64]
    supercategories: tuple[str, ...]

    def __post_init__(self) -> None:
        _same_length(self, "names", "ids", "supercategories")
        if len(set(self.names)) != len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise TagboxError(
                "duplicate-category-name",
                f"the category name {twice!r} stands twice",
                hint="give every category its own name",
            )

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_names(cls, names: Sequence[str]) -> Categories:
        """Categories with these names, the ids 0..K-1 and no supercategories."""
        return cls(
            names=tuple(names),
            ids=np.arange(len(names), dtype=np.int64),
            supercategories=("",) * len(names),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Annotations:
    """M annotations, one per row.

    Attributes
    ----------
    image_rows, category_rows
        (M,) int32; rows of `Images` and `Categories`.
    boxes
        (M, 4) float64 xywh in pixels as read; NaN where there is none.
    has_box
        (M,) bool.
    areas
        (M,) float64 pixels²; NaN where the source has none.
    crowd
        (M,) bool; COCO's ``iscrowd``.
    ids
        (M,) int64; the original ids, or 1..M.
    """

    image_rows: NDArray[np.int32]
    category_rows: NDArray[np.int32]
    boxes: NDArray[np.float64]
    has_box: NDArray[np.bool_]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    ids: NDArray[np.int64]

    def __post_init__(self) -> None:
        _same_length(
            self, "image_rows", "category_rows", "boxes", "has_box", "areas", "crowd", "ids"
        )
        if self.boxes.shape[1:] != (4,):
            raise ValueError(f"boxes must be (M, 4), got {self.boxes.shape}")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.intp]) -> Annotations:
        """The annotations at `rows`, in that order."""
        return Annotations(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def by_image(self, images: int) -> tuple[Annotations, list[int]]:
        """The annotations sorted by image, and where those of each of N images start.

        Those of image `row` are ``starts[row]`` to ``starts[row + 1]``, in their original order.
        """
        grouped = self.take(np.argsort(self.image_rows, kind="stable"))
        return grouped, np.searchsorted(grouped.image_rows, np.arange(images + 1)).tolist()

    @classmethod
    def from_labels(
        cls,
        image_rows: NDArray[np.int32],
        category_rows: NDArray[np.int32],
        boxes: NDArray[np.float64] | None = None,
    ) -> Annotations:
        """Annotations with ids 1..M, and with boxes (M, 4) where the rows of `boxes` are not NaN."""
        count = len(image_rows)
        boxes = np.full((count, 4), np.nan) if boxes is None else boxes
        return cls(
            image_rows=np.asarray(image_rows, np.int32),
            category_rows=np.asarray(category_rows, np.int32),
            boxes=boxes,
            has_box=~np.isnan(boxes[:, 0]),
            areas=np.full(count, np.nan),
            crowd=np.zeros(count, bool),
            ids=np.arange(1, count + 1, dtype=np.int64),
        )


class Note(NamedTuple):
    """What a reader understood in a way that may not be meant; a finding of ``tagbox check``."""

    code: str
    found: str
    where: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.found}" if self.where else self.found


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """The origin of the records, from which writers copy original records unchanged.

    Attributes
    ----------
    path
        The file or folder that was read.
    format
        ``coco``, ``cls``, ``csv``, ``yolo``, ``labelme``, ``voc``, ``folders``, or ``memory``.
    image_positions
        (N,) int64; position of each image's record in the source's own list.
    annotation_positions
        (M,) int64; likewise for annotations.
    notes
        What the reader understood in a way that may not be meant.
    image_texts, category_texts
        Ids that are texts in the source, by the numbers that stand for them in the dataset.
    reduced
        (M,) bool: which annotations were more in the source than they are here (a polygon of which the box
        is kept), by what they were, in the plural; not of COCO, whose records are copied.
    """

    path: Path
    format: str
    image_positions: NDArray[np.int64]
    annotation_positions: NDArray[np.int64]
    notes: tuple[Note, ...] = ()
    image_texts: Mapping[int, str] = field(default_factory=dict)
    category_texts: Mapping[int, str] = field(default_factory=dict)
    reduced: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def take_annotations(self, kept: NDArray[np.intp]) -> Source:
        """The source of the annotations at the rows `kept`."""
        return replace(
            self,
            annotation_positions=self.annotation_positions[kept],
            reduced={what: rows[kept] for what, rows in self.reduced.items()},
        )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Dataset(Records):
    """Images, categories, annotations and their source; immutable.

    It is a sequence of its images' records: ``len(dataset)``, ``dataset[3]``, ``for record in dataset``;
    ``dataset[:100]`` is a dataset again.

    Attributes
    ----------
    images, categories, annotations, source
        Its columns: `Images`, `Categories`, `Annotations`, `Source`.
    unknown
        (U, 2) int32 pairs (image row, category row) whose label is neither present nor absent.
    crowd_is_present
        Whether a crowd region makes its category present in the image.
    """

    images: Images
    categories: Categories
    annotations: Annotations
    source: Source
    unknown: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    crowd_is_present: bool = True

    def __post_init__(self) -> None:
        for column, limit in (
            (self.annotations.image_rows, len(self.images)),
            (self.annotations.category_rows, len(self.categories)),
        ):
            if len(column) and not (int(column.min()) >= 0 and int(column.max()) < limit):
                raise ValueError("an annotation row points outside the images or categories")

    @cached_property
    def labels(self) -> NDArray[np.int8]:
        """(N, K) int8: 1 present, 0 absent, -1 unknown (every category of an unlabelled image)."""
        table = np.zeros((len(self.images), len(self.categories)), np.int8)
        table[~self.images.labelled] = UNKNOWN
        table[self.unknown[:, 0], self.unknown[:, 1]] = UNKNOWN
        kept = slice(None) if self.crowd_is_present else ~self.annotations.crowd
        table[self.annotations.image_rows[kept], self.annotations.category_rows[kept]] = PRESENT
        table.flags.writeable = False
        return table

    def take(self, rows: NDArray[np.intp] | Sequence[int]) -> Dataset:
        """The images at `rows`, in that order, with their annotations; all categories are kept."""
        rows = np.asarray(rows, np.intp)
        new_row = np.full(len(self.images), -1, np.int32)
        new_row[rows] = np.arange(len(rows), dtype=np.int32)
        kept = np.flatnonzero(new_row[self.annotations.image_rows] >= 0)
        annotations = self.annotations.take(kept)
        unknown = self.unknown[new_row[self.unknown[:, 0]] >= 0]
        images = replace(
            self.images,
            **{
                name: getattr(self.images, name)[rows]
                for name in ("ids", "files", "widths", "heights", "labelled")
            },
        )
        return replace(
            self,
            images=images,
            annotations=replace(annotations, image_rows=new_row[annotations.image_rows]),
            unknown=np.column_stack([new_row[unknown[:, 0]], unknown[:, 1]]).astype(np.int32),
            source=replace(
                self.source.take_annotations(kept),
                image_positions=self.source.image_positions[rows],
            ),
        )

    def input_files(self) -> Iterator[Path]:
        """The files that the dataset was read from: annotations, or a folder's label files, then the images."""
        path = self.source.path
        if not os.path.isdir(path):
            yield path
        else:
            for folder, _, names in os.walk(path):
                yield from (
                    Path(folder, name)
                    for name in names
                    if os.path.splitext(name)[1].lower() in LABEL_SUFFIXES
                )
        yield from (self.images.path(row) for row in range(len(self)))

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the ids, files, categories and labels."""
        digest = hashlib.sha256()
        digest.update("\0".join(self.categories.names).encode())
        digest.update("\0".join(self.images.files.tolist()).encode(errors="surrogatepass"))
        digest.update(self.images.ids.tobytes())
        digest.update(np.ascontiguousarray(self.labels).tobytes())
        return digest.hexdigest()


def spells_number(text: str, number: int) -> bool:
    """Whether the text of an id is the number that stands for it in the dataset, leading zeros apart."""
    return text.isascii() and text.isdigit() and text.lstrip("0") == str(number).lstrip("0")


def memory_source(images: int, annotations: int, path: Path = Path("memory")) -> Source:
    """The source of a dataset that was not read from files."""
    return Source(
        path=path,
        format="memory",
        image_positions=np.arange(images, dtype=np.int64),
        annotation_positions=np.arange(annotations, dtype=np.int64),
    )


def _same_length(value: object, *names: str) -> None:
    lengths = {name: len(getattr(value, name)) for name in names}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of {type(value).__name__} differ in length: {lengths}")


def exclusive(dataset: Dataset) -> bool:
    """Whether labels exclude each other: exactly one category in every image, and no boxes.

    Boxes are annotations of objects; where each image has one of them, that may be chance.
    """
    one_each = len(_not_single(dataset)) == 0 and len(dataset) > 0
    boxes = bool(dataset.annotations.has_box.any())
    return one_each and not boxes and len(dataset.categories) > 1


def require_single_label(dataset: Dataset) -> None:
    """Refuse data in which an image has no category, several, or unknown ones.

    Raises
    ------
    TagboxError
        ``labels-not-exclusive``, which names the first such image.
    """
    wrong = _not_single(dataset)
    if len(wrong):
        row = int(wrong[0])
        count = int((dataset.labels[row] == PRESENT).sum())
        raise TagboxError(
            "labels-not-exclusive",
            f"{len(wrong):,} of {len(dataset):,} images do not have exactly one category, "
            f"such as {dataset.images.files[row]} with {count if count != 1 else 'unknown ones'}",
            file=dataset.source.path,
            hint="give every image one category, or pass --labels multi",
        )


def _not_single(dataset: Dataset) -> NDArray[np.intp]:
    """Rows of the images without exactly one present category and all others absent."""
    labels = dataset.labels
    one = ((labels == PRESENT).sum(axis=1) == 1) & (labels >= 0).all(axis=1)
    return np.flatnonzero(~one)


def rows_of(wanted: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int32]:
    """For each id in `wanted` its row in `ids` (unique), or -1."""
    if not len(ids) or not len(wanted):
        return np.full(len(wanted), -1, np.int32)
    low, high = int(ids.min()), int(ids.max())
    if low >= 0 and high < _TABLE_LIMIT:
        table = np.full(high + 2, -1, np.int32)
        table[ids] = np.arange(len(ids), dtype=np.int32)
        return table[np.where((wanted < 0) | (wanted > high), high + 1, wanted)]
    order = np.argsort(ids)
    nearest = order[np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)]
    return np.where(ids[nearest] == wanted, nearest, -1).astype(np.int32)
