"""COCO instances JSON: read into columns in one pass, written with the original records untouched.

The file is memory-mapped and decoded by msgspec into small structs that leave out what is not needed
(polygons are skipped, not built), which live only until their columns are filled. Only when that strict
pass meets something unusual does `coco_lenient` go record by record, and only when a box is missing
does `coco_outlines` look for segmentations.
"""

from __future__ import annotations

import gc
import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Annotations, Categories, Dataset, Images, Source
from tagbox.data.image_files import check_relative, locate_images
from tagbox.data.text import cannot_read, syntax_error
from tagbox.errors import TagboxError

# A lookup table is faster than a binary search while ids are not absurdly large.
_TABLE_LIMIT = 20_000_000


class Box(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """xywh in pixels."""

    x: float
    y: float
    w: float
    h: float


class ImageRecord(msgspec.Struct, gc=False):
    """What is read of a record of ``images``."""

    id: int
    file_name: str
    width: int = 0
    height: int = 0


class AnnotationRecord(msgspec.Struct, gc=False):
    """What is read of a record of ``annotations``."""

    image_id: int
    category_id: int
    id: int = -1
    bbox: Box | None = None
    area: float | None = None
    iscrowd: int = 0


class CategoryRecord(msgspec.Struct, gc=False):
    """What is read of a record of ``categories``."""

    id: int
    name: str
    supercategory: str | None = None


class File(msgspec.Struct, gc=False):
    """What is read of the file; without ``annotations`` its images are unlabelled."""

    images: list[ImageRecord]
    categories: list[CategoryRecord]
    annotations: list[AnnotationRecord] | None = None


class Columns(msgspec.Struct):
    """The file's values as columns, before they are checked against each other."""

    image_ids: NDArray[np.int64]
    files: list[str]
    widths: NDArray[np.int32]
    heights: NDArray[np.int32]
    category_ids: NDArray[np.int64]
    category_names: list[str]
    supercategories: list[str]
    annotation_ids: NDArray[np.int64]
    annotation_images: NDArray[np.int64]
    annotation_categories: NDArray[np.int64]
    boxes: NDArray[np.float64]
    has_box: NDArray[np.bool_]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    labelled: bool


def read_coco(path: Path, images: Path | None = None) -> Dataset:
    """Read a COCO instances JSON file.

    Parameters
    ----------
    path
        The file. Annotations may lack ``bbox``, ``area`` and ``iscrowd``; where there is no box, it is
        that around the ``segmentation``. A file without ``annotations`` holds unlabelled images; ids
        may be whole numbers or, throughout, digits in quotes.
    images
        Folder of the pictures; searched when not given (`tagbox.data.image_files`). The dataset loads
        even when no picture is found.

    Returns
    -------
    Dataset
        Images, categories and annotations in the order of the file.

    Raises
    ------
    TagboxError
        ``file-missing``, ``json-syntax``, ``json-number``, ``not-utf8``, ``json-field``,
        ``id-type``, ``bad-box``, ``bad-polygon`` and ``bad-rle`` (of segmentations in place of a
        box), ``duplicate-image-id``, ``duplicate-category-id``, ``duplicate-category-name``, ``unknown-image-id``, ``unknown-category-id``,
        ``file-name-outside``.
    """
    with mapped(path) as content:
        columns = _decode(content, path)
        if not columns.has_box.all():
            from tagbox.data.formats.coco_outlines import fill_in_boxes

            fill_in_boxes(content, columns, path)
    _check_unique(columns, path)
    check_relative(columns.files, path, "images[{}].file_name")
    image_rows = rows_of(columns.annotation_images, columns.image_ids)
    category_rows = rows_of(columns.annotation_categories, columns.category_ids)
    _check_known(image_rows, columns.annotation_images, path, "image")
    _check_known(category_rows, columns.annotation_categories, path, "category")
    root, files = locate_images(path, columns.files, images)
    count, annotated = len(files), len(image_rows)
    return Dataset(
        images=Images(
            ids=columns.image_ids,
            files=np.array(files, dtype=np.str_),
            widths=columns.widths,
            heights=columns.heights,
            labelled=np.full(count, columns.labelled),
            root=root,
        ),
        categories=Categories(
            names=tuple(columns.category_names),
            ids=columns.category_ids,
            supercategories=tuple(columns.supercategories),
        ),
        annotations=Annotations(
            image_rows=image_rows,
            category_rows=category_rows,
            boxes=columns.boxes,
            has_box=columns.has_box,
            areas=columns.areas,
            crowd=columns.crowd,
            ids=columns.annotation_ids,
        ),
        source=Source(
            path=path,
            format="coco",
            image_positions=np.arange(count, dtype=np.int64),
            annotation_positions=np.arange(annotated, dtype=np.int64),
        ),
    )


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """The bytes of a JSON file without its byte order mark, mapped and not read.

    Raises
    ------
    TagboxError
        ``file-missing``, ``file-unreadable``, or ``json-syntax`` for an empty file.
    """
    try:
        with open(path, "rb") as opened:
            whole = _map(opened.fileno())
    except ValueError as error:
        raise TagboxError(
            "json-syntax", "the file is empty", file=path, hint="export or copy it again"
        ) from error
    except OSError as error:
        raise cannot_read(path, error) from error
    view = memoryview(whole)
    try:
        yield view[3:] if whole[:3] == b"\xef\xbb\xbf" else view
    finally:
        # The traceback of an error may still hold the view; the map then closes with it.
        with suppress(BufferError):
            view.release()
            whole.close()


def _map(file: int) -> mmap.mmap:
    """The whole file, for reading; where the system can, all pages at once and not one by one as they are met."""
    if hasattr(mmap, "MAP_POPULATE"):
        return mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
    return mmap.mmap(file, 0, access=mmap.ACCESS_READ)


def _decode(content: memoryview, path: Path) -> Columns:
    try:
        with _no_garbage_collection():
            file = msgspec.json.decode(content, type=File)
            _forget_pages(content)
            return _columns(file)
    except (msgspec.ValidationError, OverflowError):
        # Something is of another type than usual: look at each record, accept it or name it.
        from tagbox.data.formats.coco_lenient import decode_leniently

        return decode_leniently(content, path)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise syntax_error(error, content, path) from error


def _forget_pages(content: memoryview) -> None:
    """Let the file's pages go before the columns are made, so that the two never add up in memory."""
    if isinstance(content.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        content.obj.madvise(mmap.MADV_DONTNEED)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A million new objects, none of them in a cycle, would start the collector for nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _columns(file: File) -> Columns:
    images, categories, annotations = file.images, file.categories, file.annotations or []
    drawn = [a.bbox for a in annotations]
    boxed = [box for box in drawn if box is not None]
    boxes = np.column_stack([column_of(boxed, side, np.float64) for side in "xywh"])
    has_box = np.ones(len(drawn), np.bool_)
    if len(boxed) < len(drawn):
        has_box = np.array([box is not None for box in drawn], np.bool_)
        found, boxes = boxes, np.full((len(drawn), 4), np.nan)
        boxes[has_box] = found
    areas = [np.nan if a.area is None else a.area for a in annotations]
    crowd = column_of(annotations, "iscrowd", np.int64)
    widths, heights = column_of(images, "width", np.int32), column_of(images, "height", np.int32)
    if (
        np.any(boxes[:, 2:] < 0)
        or np.any((crowd < 0) | (crowd > 1))
        or np.any((widths < 0) | (heights < 0))
        or not all(image.file_name for image in images)
    ):
        raise msgspec.ValidationError("a value out of its range")
    ids = column_of(annotations, "id", np.int64)
    return Columns(
        image_ids=column_of(images, "id", np.int64),
        files=[image.file_name for image in images],
        widths=widths,
        heights=heights,
        category_ids=column_of(categories, "id", np.int64),
        category_names=[category.name for category in categories],
        supercategories=[category.supercategory or "" for category in categories],
        annotation_ids=np.where(ids == -1, np.arange(1, len(ids) + 1), ids),
        annotation_images=column_of(annotations, "image_id", np.int64),
        annotation_categories=column_of(annotations, "category_id", np.int64),
        boxes=boxes,
        has_box=has_box,
        areas=np.fromiter(areas, np.float64, len(areas)),
        crowd=crowd == 1,
        labelled=file.annotations is not None,
    )


def column_of(records: list[Any], name: str, dtype: type[np.generic]) -> NDArray[Any]:
    """One attribute of every record as an array; OverflowError when a value does not fit."""
    return np.fromiter(map(attrgetter(name), records), dtype, len(records))


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
    place = np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)
    return np.where(ids[order][place] == wanted, order[place], -1).astype(np.int32)


def _check_unique(columns: Columns, path: Path) -> None:
    for code, list_name, field, values in (
        ("duplicate-image-id", "images", "id", columns.image_ids.tolist()),
        ("duplicate-category-id", "categories", "id", columns.category_ids.tolist()),
        ("duplicate-category-name", "categories", "name", columns.category_names),
    ):
        if len(set(values)) == len(values):
            continue
        first: dict[object, int] = {}
        for position, value in enumerate(values):
            if value in first:
                raise TagboxError(
                    code,
                    f"{value!r} stands already at {list_name}[{first[value]}].{field}",
                    file=path,
                    where=f"{list_name}[{position}].{field}",
                    hint="give every record its own, or remove the one that is too many",
                )
            first[value] = position


def _check_known(rows: NDArray[np.int32], wanted: NDArray[np.int64], path: Path, what: str) -> None:
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        first = int(missing[0])
        others = f" (and {len(missing) - 1:,} more annotations like it)" if len(missing) > 1 else ""
        plural = {"image": "images", "category": "categories"}[what]
        raise TagboxError(
            f"unknown-{what}-id",
            f"there is no {what} with id {wanted[first]}{others}",
            file=path,
            where=f"annotations[{first}].{what}_id",
            hint=f"add it to {plural} or remove the annotation",
        )
