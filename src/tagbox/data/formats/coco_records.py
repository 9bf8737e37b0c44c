"""COCO records read field by field: each value is accepted, accepted with a repair, or refused with its place.

`read_coco` and ``tagbox check`` both read unusual records here, so that they never disagree. A record of the
usual types is decoded by msgspec straight into its struct (`tagbox.data.formats.coco_columns`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tagbox.data.formats.coco_columns import (
    NO_ID,
    Box,
    CategoryRecord,
    ImageRecord,
    SegmentedRecord,
    annotation_columns,
    category_columns,
    image_columns,
)
from tagbox.errors import TagboxError
from tagbox.text_files import shown

NOT_FINITE = "tagbox: not a number"
"""Key of the object that ``tagbox check`` reads in place of NaN and the infinities, which JSON lacks."""

UNREADABLE = Box(np.nan, 0.0, 0.0, 0.0)
"""Box of a record whose box was refused, for readers that go on."""

_CHUNK = 1 << 15


class _AnyRecord(msgspec.Struct):
    """The fields that are read of a record of any of the lists, of any type."""

    id: Any = None
    file_name: Any = None
    width: Any = None
    height: Any = None
    name: Any = None
    supercategory: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = None
    segmentation: msgspec.Raw = msgspec.Raw()


class RecordReader:
    """Reads the records of one file one by one, and raises for the first value that is refused.

    A subclass of ``tagbox check`` collects what is refused (`refuse`) and repaired (`repaired`), and goes
    on. For that, texts that are no numbers get made-up ids, equal for equal texts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # For each kind of id: those written as texts (place, value), and how many are numbers.
        self._texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._numbers: Counter[str] = Counter()
        self._made_up: dict[str, int] = {}

    def refuse(self, code: str, found: str, where: str, hint: str) -> None:
        """Called for each value that cannot be used."""
        raise TagboxError(code, found, file=self.path, where=where, hint=hint)

    def repaired(self, code: str, found: str, where: str) -> None:
        """Called for each value that is used otherwise than it is written."""

    def columns(self, sections: dict[str, msgspec.Raw]) -> dict[str, Any]:
        """The `Columns` of the readable records of a file whose top-level values are `sections`."""
        columns: dict[str, Any] = {"labelled": "annotations" in sections}
        for part in (
            self._section("images", "image", sections, ImageRecord),
            self._section("categories", "category", sections, CategoryRecord),
            self._section("annotations", "annotation", sections, SegmentedRecord),
        ):
            columns |= part
        self._check_text_ids()
        return columns

    def _section(
        self, section: str, kind: str, sections: dict[str, msgspec.Raw], strict: type[Any]
    ) -> dict[str, Any]:
        raws = self._raw_records(section, sections)
        decode = msgspec.json.Decoder(strict).decode
        chunks = []
        for start in range(0, max(len(raws), 1), _CHUNK):
            records, positions = [], []
            part = raws[start : start + _CHUNK]
            strictly_read = len(part)
            for position, raw in enumerate(part, start):
                try:
                    record = decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    strictly_read -= 1
                    record = self._record(section, kind, position, raw)
                    if record is None:
                        continue
                records.append(record)
                positions.append(position)
            for referred in ("image", "category") if kind == "annotation" else (kind,):
                self._numbers[referred] += strictly_read
            columns: dict[str, Any] = getattr(self, f"{kind}_columns")(records)
            chunks.append({f"{kind}_positions": np.array(positions, np.int64), **columns})
        return {name: _joined([chunk[name] for chunk in chunks]) for name in chunks[0]}

    image_columns = staticmethod(image_columns)
    category_columns = staticmethod(category_columns)
    annotation_columns = staticmethod(annotation_columns)

    def _raw_records(self, section: str, sections: dict[str, msgspec.Raw]) -> list[msgspec.Raw]:
        """The undecoded records of one list; files of unlabelled images have no ``annotations``."""
        if section not in sections:
            if section != "annotations":
                hint = "point at a COCO annotations file, which lists images, annotations and categories"
                self.refuse("json-field", f"there is no {section!r} in the file", section, hint)
            return []
        try:
            return msgspec.json.decode(sections[section], type=list[msgspec.Raw])
        except msgspec.ValidationError:
            self.refuse("json-field", "expected a list", section, "write it as a list of records")
            return []

    def _record(self, section: str, kind: str, position: int, raw: msgspec.Raw) -> Any:
        """The record read field by field, or None when it cannot be used at all."""
        where = f"{section}[{position}]"
        try:
            plain = msgspec.json.decode(raw, type=_AnyRecord)
        except UnicodeDecodeError:
            self.refuse("not-utf8", "the text is not UTF-8", where, "save the file as UTF-8")
            return None
        except msgspec.DecodeError as error:
            problem, _, place = str(error).partition(" - at `$")
            self.refuse("json-field", problem, where + place.rstrip("`"), "correct the record")
            return None
        if isinstance(plain.id, (int, str)):
            where = f"{where} (id {plain.id})"
        return getattr(self, f"_{kind}")(where, plain)

    def _image(self, where: str, plain: _AnyRecord) -> ImageRecord | None:
        identity = self._identifier(where, plain, "id", "image")
        name = self._text(where, plain, "file_name")
        width, height = self._pixels(where, plain, "width"), self._pixels(where, plain, "height")
        if identity is None or name is None:
            return None
        return ImageRecord(identity, name, width, height)

    def _category(self, where: str, plain: _AnyRecord) -> CategoryRecord | None:
        identity = self._identifier(where, plain, "id", "category")
        name = self._text(where, plain, "name")
        group = plain.supercategory
        if not isinstance(group, str | None):
            # It is used for grouping only, so the record stays usable.
            found = f"{_short(group)} is not a text and is left out"
            self.repaired("supercategory-ignored", found, f"{where}.supercategory")
            group = None
        if identity is None or name is None:
            return None
        return CategoryRecord(identity, name, group)

    def _annotation(self, where: str, plain: _AnyRecord) -> SegmentedRecord | None:
        number = self._annotation_id(where, plain.id)
        image = self._identifier(where, plain, "image_id", "image")
        category = self._identifier(where, plain, "category_id", "category")
        box = self._box(where, plain.bbox)
        area = None if plain.area is None else self._number(where, "area", plain.area)
        crowd = -1 if plain.iscrowd is None else plain.iscrowd
        if crowd not in (-1, 0, 1) or plain.iscrowd == -1:
            self._wrong(where, "iscrowd", crowd, "0 or 1")
            crowd = 0
        if image is None or category is None:
            return None
        return SegmentedRecord(image, category, number, box, area, int(crowd), plain.segmentation)

    def _annotation_id(self, where: str, value: Any) -> int:
        """The id of an annotation; one that is no number counts as missing, since nothing refers to it."""
        number = _whole(int(value) if _is_digits(value) else value)
        if number is None or abs(number) >= 2**63:
            if _is_not_finite(value):
                self._wrong(where, "id", value, "a whole number")
            return NO_ID
        if isinstance(value, str):
            self._texts["annotation"].append((f"{where}.id", value))
        return number

    def _identifier(self, where: str, plain: _AnyRecord, field: str, kind: str) -> int | None:
        """An id of an image or category as a whole number; digits in quotes are one."""
        value = getattr(plain, field)
        if value is None:
            hint = "give it a whole number"
            self.refuse("json-field", "the field is missing or null", f"{where}.{field}", hint)
            return None
        if isinstance(value, str):
            self._texts[kind].append((f"{where}.{field}", value))
            if not _is_id_text(value):
                return self._made_up.setdefault(value, -(2**62) - len(self._made_up))
            return int(value)
        self._numbers[kind] += 1
        number = _whole(value)
        if number is not None and abs(number) < 2**63:
            return number
        self._wrong(where, field, value, "a whole number", code="id-type", hint=_ID_HINT)
        return None

    def _check_text_ids(self) -> None:
        """Refuse text ids that are no numbers, or that are mixed with ids written as numbers."""
        for kind, texts in self._texts.items():
            mixed = kind != "annotation" and self._numbers[kind] > 0
            for where, value in texts:
                if mixed or not _is_id_text(value):
                    why = f"while other {kind} ids are numbers" if mixed else "not a whole number"
                    self.refuse("id-type", f"{_short(value)} is a text, {why}", where, _ID_HINT)
            if not mixed and all(_is_id_text(value) for _, value in texts):
                self.repaired("id-text", f"{kind} ids are texts", texts[0][0])

    def _text(self, where: str, plain: _AnyRecord, field: str) -> str | None:
        value = getattr(plain, field)
        if isinstance(value, str) and value:
            return value
        self._wrong(where, field, value, "a text", hint="give it a text")
        return None

    def _pixels(self, where: str, plain: _AnyRecord, field: str) -> int:
        value = getattr(plain, field)
        number = 0 if value is None else _whole(value)
        if number is not None and 0 <= number < 2**31:
            return number
        self._wrong(where, field, value, "a whole number of pixels")
        return 0

    def _number(self, where: str, field: str, value: Any, code: str = "json-field") -> float | None:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:  # A whole number of more than 308 digits.
                pass
        self._wrong(where, field, value, "a number", code=code)
        return None

    def _box(self, where: str, value: Any) -> Box | None:
        """Four numbers; None where there is no box, or an empty list for one."""
        if value is None or value == []:
            return None
        if not isinstance(value, list) or len(value) != 4:
            self._wrong(where, "bbox", value, "four numbers x, y, width, height", code="bad-box")
            return UNREADABLE
        x, y, w, h = (
            self._number(where, f"bbox[{index}]", item, code="bad-box")
            for index, item in enumerate(value)
        )
        if x is None or y is None or w is None or h is None:
            return UNREADABLE
        return Box(x, y, w, h)

    def _wrong(
        self,
        where: str,
        field: str,
        value: Any,
        wanted: str,
        *,
        code: str = "json-field",
        hint: str = "correct it or leave it out",
    ) -> None:
        """Refuse a value that is not what is `wanted`."""
        if _is_not_finite(value):
            code, wanted, hint = "json-number", "a number in JSON", "write a number or null"
        self.refuse(code, f"{_short(value)} is not {wanted}", f"{where}.{field}", hint)


_ID_HINT = "write all ids of images and categories as whole numbers, the same way everywhere"


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [value for part in parts for value in part]


def _is_digits(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 40


def _is_id_text(value: str) -> bool:
    """Whether a text is a whole number that fits an id."""
    return _is_digits(value) and int(value) < 2**63


def _whole(value: Any) -> int | None:
    """`value` when it is a whole number (3 or 3.0, not true), else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, dict) and NOT_FINITE in value


def _short(value: Any) -> str:
    if _is_not_finite(value):
        return str(value[NOT_FINITE])
    return shown(value)
