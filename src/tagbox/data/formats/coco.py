"""Reading COCO instances JSON files into columns, in one pass.

The file is decoded by msgspec into small structs without the fields that are not needed
(polygons are skipped), which live only until the columns are filled. Only when that strict pass fails is
the file read record by record (`tagbox.data.formats.coco_records`), and only when a box is missing are
segmentations read.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Annotations, Categories, Dataset, Images, Note, Source, rows_of
from tagbox.data.formats.coco_columns import (
    NO_ID,
    AnnotationRecord,
    CategoryRecord,
    Columns,
    ImageRecord,
    annotation_columns,
    category_columns,
    image_columns,
    told_apart,
)
from tagbox.data.image_files import check_relative, locate_images
from tagbox.errors import TagboxError
from tagbox.text_files import decode_json, decode_object, may_repeat_keys, read_json_content


class _File(msgspec.Struct, gc=False):
    """What is read of a file; without ``annotations`` its images are unlabelled."""

    images: list[ImageRecord]
    categories: list[CategoryRecord]
    annotations: list[AnnotationRecord] | None = None


class _Segmentation(msgspec.Struct, gc=False):
    segmentation: msgspec.Raw = msgspec.Raw()


class _Segmentations(msgspec.Struct, gc=False):
    annotations: list[_Segmentation] = []


def read_coco(
    path: Path, images: Path | None = None, mapped: Collection[str] = frozenset()
) -> Dataset:
    """Read a COCO instances JSON file.

    Parameters
    ----------
    path
        The file. Annotations may lack ``bbox``, ``area`` and ``iscrowd``; where there is no box, the one
        around the ``segmentation`` is taken. The images of a file without ``annotations`` are unlabelled.
        Ids are whole numbers, or all of one kind texts, for which numbers stand in the dataset.
    images
        Folder of the images; searched when not given (`tagbox.data.image_files.locate_images`). Reading
        succeeds also when no image is found.
    mapped
        The categories that a mapping names: those of one name are told apart (`told_apart`).

    Returns
    -------
    Dataset
        Images, categories and annotations in the order of the file.

    Raises
    ------
    TagboxError
        ``file-missing``, ``file-unreadable``, ``json-syntax``, ``json-number``, ``not-utf8``, ``json-field``,
        ``id-type``, ``bad-box``, ``duplicate-image-id``, ``duplicate-category-id``, ``duplicate-category-name``, ``unknown-image-id``, ``unknown-category-id``,
        ``file-name-outside``.
    """
    content = read_json_content(path)
    with _no_garbage_collection():
        read = _decode(content, path)
        if isinstance(read, _File):
            if None not in map(attrgetter("bbox"), read.annotations or []):
                content = memoryview(b"")  # It was larger than the records, and no longer needed.
            read = _columns(read)
    columns = told_apart(read, mapped)
    _check_boxes(columns, path)
    notes: tuple[Note, ...] = ()
    if np.isnan(columns.boxes[:, 0]).any():
        notes = _fill_in_boxes(content, columns, path)
    _check_unique(columns, path)
    root, files = locate_images(path, columns.files, images)
    check_relative(files, path, "images[{}].file_name")
    return dataset_of(replace(columns, files=files), path, root, notes)


def dataset_of(columns: Columns, path: Path, root: Path, notes: tuple[Note, ...] = ()) -> Dataset:
    """The dataset of columns with unique ids and names, and with files relative to `root`.

    Raises
    ------
    TagboxError
        ``unknown-image-id``, ``unknown-category-id``.
    """
    image_rows = rows_of(columns.image_of, columns.image_ids)
    category_rows = rows_of(columns.category_of, columns.category_ids)
    _check_known(image_rows, columns.image_of, columns.image_texts, path, "image")
    _check_known(category_rows, columns.category_of, columns.category_texts, path, "category")
    ids = columns.annotation_ids
    return Dataset(
        images=Images(
            ids=columns.image_ids,
            files=np.array(columns.files, dtype=np.str_),
            widths=columns.widths,
            heights=columns.heights,
            labelled=np.full(len(columns.files), columns.labelled),
            root=root,
        ),
        categories=Categories(
            names=tuple(columns.names),
            ids=columns.category_ids,
            supercategories=tuple(columns.supercategories),
        ),
        annotations=Annotations(
            image_rows=image_rows,
            category_rows=category_rows,
            boxes=columns.boxes,
            has_box=~np.isnan(columns.boxes[:, 0]),
            areas=columns.areas,
            crowd=columns.crowd == 1,
            ids=np.where(ids == NO_ID, columns.annotation_positions + 1, ids),
        ),
        source=Source(
            path=path,
            format="coco",
            image_positions=columns.image_positions,
            annotation_positions=columns.annotation_positions,
            notes=notes,
            image_texts=columns.image_texts,
            category_texts=columns.category_texts,
        ),
    )


def top_level(content: memoryview, path: Path) -> dict[str, msgspec.Raw]:
    """The values of the outermost object, undecoded.

    Raises
    ------
    TagboxError
        ``json-field``, ``json-syntax``, ``json-number`` or ``not-utf8``.
    """
    try:
        return decode_object(content, path)
    except msgspec.ValidationError as error:
        raise TagboxError(
            "json-field",
            "a COCO file is an object with images, annotations and categories",
            file=path,
            where="the outermost value",
            hint="point at the annotations file",
        ) from error


def _decode(content: memoryview, path: Path) -> _File | Columns:
    """The records; as columns where they had to be read one by one."""
    repeats = may_repeat_keys(content)
    if not repeats:
        try:
            file: _File = decode_json(content, path, _File)
            return file
        except msgspec.ValidationError:
            pass
    # A value of an unusual type, or a key that stands twice: to accept it or to name its place.
    from tagbox.data.formats.coco_records import RecordReader

    reader = RecordReader(path, repeats=repeats)
    return Columns(**reader.columns(top_level(content, path)))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Stop the garbage collector, which a million new objects without cycles would start in vain."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _columns(file: _File) -> Columns:
    annotations = file.annotations or []
    return Columns(
        labelled=file.annotations is not None,
        image_positions=np.arange(len(file.images), dtype=np.int64),
        category_positions=np.arange(len(file.categories), dtype=np.int64),
        annotation_positions=np.arange(len(annotations), dtype=np.int64),
        **image_columns(file.images),
        **category_columns(file.categories),
        **annotation_columns(annotations),
    )


def _check_boxes(columns: Columns, path: Path) -> None:
    negative = np.flatnonzero((columns.boxes[:, 2:] < 0).any(axis=1))
    if len(negative):
        box = ", ".join(f"{value:g}" for value in columns.boxes[negative[0]])
        raise TagboxError(
            "bad-box",
            f"the box [{box}] has a negative width or height",
            file=path,
            where=f"{annotation_place(columns, negative[0])}.bbox",
            hint="write it as x, y, width, height with the corner top left",
        )


def _fill_in_boxes(content: memoryview, columns: Columns, path: Path) -> tuple[Note, ...]:
    """Give annotations without a box the one around their segmentation, if they have one.

    A segmentation that cannot be read gives no box: a classifier needs none, and a detector is not trained
    on annotations without a box. Returned is a note on the first.
    """
    file: Any = content.obj
    if file.find(b"segmentation") < 0:
        return ()
    from tagbox.data.segmentation import SegmentationError, raw_segmentation_box

    try:
        raws = [r.segmentation for r in decode_json(content, path, _Segmentations).annotations]
    except msgspec.ValidationError:
        from tagbox.data.formats.coco_records import raw_records

        decoder = msgspec.json.Decoder(_Segmentation)
        listed = raw_records(top_level(content, path)["annotations"])
        raws = [decoder.decode(raw).segmentation for raw in listed]
    faults: list[tuple[int, SegmentationError]] = []
    for row in np.flatnonzero(np.isnan(columns.boxes[:, 0])).tolist():
        if not len(memoryview(raws[row])):
            continue
        try:
            box = raw_segmentation_box(raws[row])
        except SegmentationError as error:
            faults.append((row, error.with_traceback(None)))
            continue
        if box is not None:
            columns.boxes[row] = box
    if not faults:
        return ()
    row, first = faults[0]
    others = f" (and {len(faults) - 1:,} more like it)" if len(faults) > 1 else ""
    where = f"{annotation_place(columns, row)}.segmentation{first.place}"
    return (Note(first.code, f"{first}, so the annotation has no box{others}", where),)


def annotation_place(columns: Columns, row: int) -> str:
    """The place of an annotation in the file: ``"annotations[3] (id 17)"``."""
    number = columns.annotation_ids[row]
    place = f"annotations[{columns.annotation_positions[row]}]"
    return place if number == NO_ID else f"{place} (id {number})"


_HINTS = {
    "duplicate-image-id": "give every record its own, or remove the one that is too many",
    "duplicate-category-id": "give every record its own, or remove the one that is too many",
    "duplicate-category-name": "merge them by a line 'name: name' of a --mapping file, or rename one by 'name (id N): new name'",
}


def _check_unique(columns: Columns, path: Path) -> None:
    for code, list_name, field, values in (
        ("duplicate-image-id", "images", "id", columns.image_ids.tolist()),
        ("duplicate-category-id", "categories", "id", columns.category_ids.tolist()),
        ("duplicate-category-name", "categories", "name", columns.names),
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
                    hint=_HINTS[code],
                )
            first[value] = position


def _check_known(
    rows: NDArray[np.int32],
    wanted: NDArray[np.int64],
    texts: Mapping[int, str],
    path: Path,
    what: str,
) -> None:
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        first = int(missing[0])
        others = f" (and {len(missing) - 1:,} more annotations like it)" if len(missing) > 1 else ""
        plural = {"image": "images", "category": "categories"}[what]
        raise TagboxError(
            f"unknown-{what}-id",
            f"there is no {what} with id {texts.get(int(wanted[first]), wanted[first])}{others}",
            file=path,
            where=f"annotations[{first}].{what}_id",
            hint=f"add it to {plural} or remove the annotation",
        )
