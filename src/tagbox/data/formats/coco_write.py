"""Writing COCO JSON files; records that came from a COCO file are copied byte for byte.

Such records are copied undecoded, so that unknown fields, polygons and the spelling of numbers and
escapes are kept. Only an annotation whose category was merged gets a new ``category_id``, and records of
another size than their file are moved into its pixels. Datasets of other formats get new records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from tagbox.atomic_io import atomic_path
from tagbox.data.dataset import Dataset
from tagbox.data.formats.coco_pixels import annotation_in_file, image_in_file
from tagbox.data.formats.coco_records import raw_records
from tagbox.data.record_pixels import RecordPixels, image_sizes
from tagbox.errors import TagboxError
from tagbox.text_files import read_json_content
from tagbox.text_output import encode_json

_LISTS = ("images", "annotations", "categories")


class _Id(msgspec.Struct, gc=False):
    id: int | str | float


class _Category(msgspec.Struct, gc=False):
    id: int | str | float
    name: str


class _CategoryId(msgspec.Struct, gc=False):
    category_id: int | str | float


def write_coco(dataset: Dataset, path: Path, pixels: RecordPixels | None = None) -> None:
    """Write a COCO instances JSON file, atomically.

    From a COCO source every top-level value and every record is copied untouched; a file of
    unlabelled images has no ``annotations``.

    Parameters
    ----------
    pixels
        Of the dataset; where given, records are written in pixels of their files.

    Raises
    ------
    TagboxError
        ``source-changed`` when the COCO file is no longer the one that was read,
        ``labels-unknown`` when labels are neither present nor absent, or only some images are
        labelled, which COCO JSON cannot express; ``cannot-write``.
    """
    labelled = dataset.images.labelled
    if len(dataset.unknown) or (labelled.any() and not labelled.all()):
        raise TagboxError(
            "labels-unknown",
            "some images or labels are unlabelled, which COCO JSON cannot say",
            file=dataset.source.path,
            hint="write CSV instead, or only the labelled images",
        )
    with atomic_path(path) as temporary, open(temporary, "wb") as out:
        if dataset.source.format == "coco":
            content = read_json_content(dataset.source.path)
            _write_object(out, _copied(dataset, content, pixels))
        else:
            _write_object(out, _built(dataset if pixels is None else pixels.in_file()))


def _write_object(out: IO[bytes], values: Iterable[tuple[str, msgspec.Raw | list[Any]]]) -> None:
    """Write a JSON object, with one record of its lists a line."""
    for number, (key, value) in enumerate(values):
        out.write(b",\n" if number else b"{\n")
        out.write(encode_json(key) + b": ")
        if isinstance(value, msgspec.Raw):
            out.write(bytes(value))
            continue
        out.write(b"[")
        for position, record in enumerate(value):
            out.write(b",\n" if position else b"\n")
            out.write(bytes(record) if isinstance(record, msgspec.Raw) else record)
        out.write(b"\n]")
    out.write(b"\n}\n")


def _copied(
    dataset: Dataset, content: memoryview, pixels: RecordPixels | None
) -> Iterator[tuple[str, msgspec.Raw | list[Any]]]:
    top = _decode(content, dict[str, msgspec.Raw], dataset)
    records = {name: _records(top[name], dataset) if name in top else [] for name in _LISTS}
    images = _take(records["images"], dataset.source.image_positions, dataset)
    texts = dataset.source.image_texts
    for record, number in zip(images, dataset.images.ids.tolist(), strict=True):
        if _identity(_decode(record, _Id, dataset).id) != texts.get(number, number):
            raise _changed(dataset)
    annotations = _take(records["annotations"], dataset.source.annotation_positions, dataset)
    kept: dict[str, list[Any]] = {
        "images": [*images],
        "annotations": _annotations(annotations, dataset),
        "categories": _categories(records["categories"], dataset),
    }
    if pixels is not None:
        _move(kept, dataset, pixels)
    for key, value in top.items():
        yield key, kept.get(key, value)


def _move(kept: dict[str, list[Any]], dataset: Dataset, pixels: RecordPixels) -> None:
    """Replace the records whose size is not that of their file."""
    images, annotations = kept["images"], kept["annotations"]
    for row in pixels.kinds:
        values = _decode(images[row], dict[str, Any], dataset)
        images[row] = encode_json(image_in_file(values, pixels, row))
    image_rows = dataset.annotations.image_rows
    for number in np.flatnonzero(pixels.changed[image_rows]).tolist():
        values = _decode(annotations[number], dict[str, Any], dataset)
        values = annotation_in_file(values, pixels, int(image_rows[number]))
        annotations[number] = encode_json(values)


def _annotations(records: list[msgspec.Raw], dataset: Dataset) -> list[Any]:
    """The records; one whose category differs from the source's with its new id and no other change."""
    wanted = dataset.categories.ids[dataset.annotations.category_rows].tolist()
    result: list[Any] = []
    texts = dataset.source.category_texts
    for record, number in zip(records, wanted, strict=True):
        category = texts.get(number, number)
        if _identity(_decode(record, _CategoryId, dataset).category_id) == category:
            result.append(record)
        else:
            values = _decode(record, dict[str, msgspec.Raw], dataset)
            values["category_id"] = msgspec.Raw(encode_json(category))
            result.append(encode_json(values))
    return result


def _categories(records: list[msgspec.Raw], dataset: Dataset) -> list[Any]:
    source: dict[tuple[object, str], msgspec.Raw] = {}
    for record in records:
        category = _decode(record, _Category, dataset)
        source[_identity(category.id), category.name] = record
    return [
        source.get((record["id"], record["name"]), encode_json(record))
        for record in _category_records(dataset)
    ]


def _built(dataset: Dataset) -> Iterator[tuple[str, msgspec.Raw | list[Any]]]:
    """New records, for a dataset of another format."""
    images, annotations = dataset.images, dataset.annotations
    records = []
    sizes = image_sizes(dataset, np.arange(len(dataset))).astype(int).tolist()
    for number, name, (width, height) in zip(
        images.ids.tolist(), images.files.tolist(), sizes, strict=True
    ):
        record = {"id": number, "file_name": name}
        records.append(record | ({"width": width, "height": height} if width and height else {}))
    yield "images", [encode_json(record) for record in records]
    if images.labelled.any():
        boxes = annotations.boxes.tolist()
        areas = np.where(
            np.isnan(annotations.areas),
            annotations.boxes[:, 2] * annotations.boxes[:, 3],
            annotations.areas,
        ).tolist()
        yield (
            "annotations",
            [
                encode_json(
                    {
                        "id": int(annotations.ids[row]),
                        "image_id": int(images.ids[annotations.image_rows[row]]),
                        "category_id": int(dataset.categories.ids[annotations.category_rows[row]]),
                        **(
                            {"bbox": boxes[row], "area": areas[row]}
                            if annotations.has_box[row]
                            else {}
                        ),
                        "iscrowd": int(annotations.crowd[row]),
                    }
                )
                for row in range(len(annotations))
            ],
        )
    yield "categories", [encode_json(record) for record in _category_records(dataset)]


def _category_records(dataset: Dataset) -> list[dict[str, Any]]:
    categories, texts = dataset.categories, dataset.source.category_texts
    return [
        {"id": texts.get(number, number), "name": name, "supercategory": group}
        for number, name, group in zip(
            categories.ids.tolist(), categories.names, categories.supercategories, strict=True
        )
    ]


def _take(
    records: list[msgspec.Raw], positions: np.ndarray[Any, np.dtype[np.int64]], dataset: Dataset
) -> list[msgspec.Raw]:
    if len(positions) and int(positions.max()) >= len(records):
        raise _changed(dataset)
    return [records[position] for position in positions.tolist()]


def _decode(content: Any, kind: Any, dataset: Dataset) -> Any:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise _changed(dataset) from error


def _records(section: msgspec.Raw, dataset: Dataset) -> list[msgspec.Raw]:
    try:
        return raw_records(section)
    except msgspec.MsgspecError as error:
        raise _changed(dataset) from error


def _identity(value: float | str) -> object:
    """An id as `tagbox.data.formats.coco.read_coco` reads it: a text, or a whole number."""
    return value if isinstance(value, str) or value != value // 1 else int(value)


def _changed(dataset: Dataset) -> TagboxError:
    return TagboxError(
        "source-changed",
        "the file is no longer the one that was read",
        file=dataset.source.path,
        hint="read it again",
    )
