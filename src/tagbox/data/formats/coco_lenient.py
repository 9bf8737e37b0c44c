"""COCO JSON that is not written as usual: each record is accepted, or named with its place.

Slower than `coco` and used only when that meets something unexpected: ids in quotes, whole numbers
written as 3.0, ``null`` widths, ``true`` for 1, empty boxes; or a fault that must be named exactly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tagbox.data.formats.coco import Columns
from tagbox.data.text import syntax_error
from tagbox.errors import TagboxError

_INT64 = 2**63


class _AnyImage(msgspec.Struct):
    id: Any = None
    file_name: Any = None
    width: Any = None
    height: Any = None


class _AnyAnnotation(msgspec.Struct):
    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = None


class _AnyCategory(msgspec.Struct):
    id: Any = None
    name: Any = None
    supercategory: Any = None


class _Reader:
    """Takes values out of records and names the place of those that cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Which way image and category ids are written, and where that was first seen.
        self.spelling: dict[str, tuple[bool, str]] = {}

    def fault(self, code: str, found: str, where: str, hint: str) -> TagboxError:
        return TagboxError(code, found, file=self.path, where=where, hint=hint)

    def identifier(self, value: Any, where: str, kind: str) -> int:
        """An id as int; the ids of one kind must all be numbers or all be texts."""
        number = _whole(value)
        is_text = isinstance(value, str)
        if is_text and value.isascii() and value.isdigit():
            number = int(value)
        if number is None or abs(number) >= _INT64:
            if value is None:
                raise self.fault(
                    "json-field", "the field is missing or null", where, "give it a whole number"
                )
            raise self.fault(
                "id-type", f"the id {_short(value)} is not a whole number", where, _ID_HINT
            )
        known, first = self.spelling.setdefault(kind, (is_text, where))
        if known is not is_text:
            words = {True: "a text", False: "a number"}
            raise self.fault(
                "id-type",
                f"the {kind} id {_short(value)} is {words[is_text]} here and {words[known]} at {first}",
                where,
                _ID_HINT,
            )
        return number

    def annotation_id(self, value: Any) -> int | None:
        """An annotation's id, or None when it has none that is a whole number."""
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        number = _whole(value)
        return number if number is not None and abs(number) < _INT64 else None

    def text(self, value: Any, where: str) -> str:
        if not isinstance(value, str) or not value:
            raise self.fault(
                "json-field", f"expected a text, found {_short(value)}", where, "give it a text"
            )
        return value

    def pixels(self, value: Any, where: str) -> int:
        number = 0 if value is None else _whole(value)
        if number is None or not 0 <= number < 2**31:
            raise self.fault(
                "json-field",
                f"expected a whole number of pixels, found {_short(value)}",
                where,
                "correct it or leave it out",
            )
        return number

    def box(self, value: Any, where: str) -> list[float] | None:
        if value is None or value == []:
            return None
        numbers = isinstance(value, list) and all(_is_number(item) for item in value)
        if not numbers or len(value) != 4:
            raise self.fault(
                "bad-box",
                f"a box is 4 numbers (x, y, width, height), found {_short(value)}",
                where,
                "correct it or leave it out",
            )
        if value[2] < 0 or value[3] < 0:
            raise self.fault(
                "bad-box",
                f"the box {_short(value)} has a negative width or height",
                where,
                "write it as x, y, width, height with the corner top left",
            )
        return [float(item) for item in value]

    def area(self, value: Any, where: str) -> float:
        if value is None:
            return float("nan")
        if not _is_number(value):
            raise self.fault(
                "json-field",
                f"expected a number, found {_short(value)}",
                where,
                "correct it or leave it out",
            )
        return float(value)

    def crowd(self, value: Any, where: str) -> bool:
        number = int(value) if isinstance(value, bool) else 0 if value is None else _whole(value)
        if number not in (0, 1):
            raise self.fault(
                "json-field", f"expected 0 or 1, found {_short(value)}", where, "correct it"
            )
        return number == 1


_ID_HINT = "write all ids of images and categories as whole numbers, the same way everywhere"


def decode_leniently(content: memoryview, path: Path) -> Columns:
    """The file's columns, record by record.

    Raises
    ------
    TagboxError
        ``json-syntax``, ``json-number``, ``json-field``, ``id-type`` or ``bad-box`` with the
        path of the value.
    """
    reader = _Reader(path)
    lists = _top_level(content, reader)
    labelled = "annotations" in lists
    images = [
        _record(raw, _AnyImage, f"images[{i}]", reader) for i, raw in enumerate(lists["images"])
    ]
    image_ids = [
        reader.identifier(image.id, f"images[{i}].id", "image") for i, image in enumerate(images)
    ]
    categories = [
        _record(raw, _AnyCategory, f"categories[{i}]", reader)
        for i, raw in enumerate(lists["categories"])
    ]
    category_ids = [
        reader.identifier(category.id, f"categories[{i}].id", "category")
        for i, category in enumerate(categories)
    ]
    count = len(lists.get("annotations", ()))
    ids: list[int | None] = []
    annotation_images = np.zeros(count, np.int64)
    annotation_categories = np.zeros(count, np.int64)
    boxes = np.full((count, 4), np.nan)
    areas = np.full(count, np.nan)
    crowd = np.zeros(count, bool)
    for i, raw in enumerate(lists.get("annotations", ())):
        where = f"annotations[{i}]"
        record = _record(raw, _AnyAnnotation, where, reader)
        ids.append(reader.annotation_id(record.id))
        annotation_images[i] = reader.identifier(record.image_id, f"{where}.image_id", "image")
        annotation_categories[i] = reader.identifier(
            record.category_id, f"{where}.category_id", "category"
        )
        box = reader.box(record.bbox, f"{where}.bbox")
        if box is not None:
            boxes[i] = box
        areas[i] = reader.area(record.area, f"{where}.area")
        crowd[i] = reader.crowd(record.iscrowd, f"{where}.iscrowd")
    own = [number for number in ids if number is not None]
    return Columns(
        image_ids=np.array(image_ids, np.int64),
        files=[
            reader.text(image.file_name, f"images[{i}].file_name") for i, image in enumerate(images)
        ],
        widths=np.array(
            [reader.pixels(image.width, f"images[{i}].width") for i, image in enumerate(images)],
            np.int32,
        ),
        heights=np.array(
            [reader.pixels(image.height, f"images[{i}].height") for i, image in enumerate(images)],
            np.int32,
        ),
        category_ids=np.array(category_ids, np.int64),
        category_names=[
            reader.text(category.name, f"categories[{i}].name")
            for i, category in enumerate(categories)
        ],
        supercategories=[
            category.supercategory if isinstance(category.supercategory, str) else ""
            for category in categories
        ],
        annotation_ids=np.array(own if len(own) == count else range(1, count + 1), np.int64),
        annotation_images=annotation_images,
        annotation_categories=annotation_categories,
        boxes=boxes,
        has_box=~np.isnan(boxes[:, 0]),
        areas=areas,
        crowd=crowd,
        labelled=labelled,
    )


def _top_level(content: memoryview, reader: _Reader) -> dict[str, list[msgspec.Raw]]:
    """The lists of the file as undecoded records."""
    try:
        top = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise reader.fault(
            "json-field",
            "a COCO file is an object with images, annotations and categories",
            "the outermost value",
            "point at the annotations file",
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise syntax_error(error, content, reader.path) from error
    lists: dict[str, list[msgspec.Raw]] = {}
    for name in ("images", "categories", "annotations"):
        if name not in top:
            if name == "annotations":
                continue
            raise reader.fault(
                "json-field",
                f"there is no {name!r} in the file",
                name,
                "point at a COCO annotations file, which lists images, annotations and categories",
            )
        try:
            lists[name] = msgspec.json.decode(top[name], type=list[msgspec.Raw])
        except msgspec.ValidationError as error:
            raise reader.fault(
                "json-field", "expected a list", name, "write it as a list of records"
            ) from error
    return lists


def _record(raw: msgspec.Raw, kind: type[Any], where: str, reader: _Reader) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        where += place.rstrip("`")
        raise reader.fault("json-field", problem, where, "correct the record") from error


def _whole(value: Any) -> int | None:
    """`value` when it is a whole number (3 or 3.0, not true), else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
