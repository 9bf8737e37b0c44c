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
from tagbox.text_files import repeated_key, shown

NOT_FINITE = "tagbox: not a number"
"""Key of the object that ``tagbox check`` reads in place of NaN and the infinities, which JSON lacks."""

UNREADABLE = Box(np.nan, 0.0, 0.0, 0.0)
"""Box of a record whose box was refused, for readers that go on."""

_CHUNK = 1 << 15
_FIRST_STAND_IN = -(2**62)


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
    coco_url: Any = None
    segments_info: Any = None
    caption: Any = None


class RecordReader:
    """Reads the records of one file one by one, and raises for the first value that is refused.

    A subclass of ``tagbox check`` collects what is refused (`refuse`) and repaired (`repaired`), and goes
    on. Ids that are texts get numbers: their own where all texts of a kind are whole numbers, else those of
    their order from 1.

    Parameters
    ----------
    repeats
        Whether each record is searched for keys that stand twice.
    """

    def __init__(self, path: Path, *, repeats: bool = True) -> None:
        self.path = path
        self._repeats = repeats
        # For each kind of id: those written as texts (place, value), and how many are numbers.
        self._texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._numbers: Counter[str] = Counter()
        # For each kind, the negative number that stands for each text until all are known.
        self._stand_ins: dict[str, dict[str, int]] = defaultdict(dict)

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
        self._number_texts(columns, "image", ("image_ids", "image_of"))
        self._number_texts(columns, "category", ("category_ids", "category_of"))
        return columns

    def _number_texts(self, columns: dict[str, Any], kind: str, names: tuple[str, str]) -> None:
        """Replace the stand-ins of text ids by the numbers that the dataset has for them."""
        texts = list(self._stand_ins[kind])
        if not texts:
            return
        numbers = list(range(1, len(texts) + 1))
        if all(map(_is_id_text, texts)):
            numbers = list(map(int, texts))
        elif self._numbers[kind]:
            # They are refused; another number of the file must not mean the same.
            stand_ins = self._stand_ins[kind]
            numbers = [int(t) if _is_id_text(t) else stand_ins[t] for t in texts]
        spelt = dict(zip(reversed(numbers), reversed(texts), strict=True))
        columns[f"{kind}_texts"] = spelt  # Of several spellings the first, which is a record's own.
        table = np.array(numbers, np.int64)
        for name in names:
            ids = columns[name]
            stands_in = ids <= _FIRST_STAND_IN
            ids[stands_in] = table[_FIRST_STAND_IN - ids[stands_in]]

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
                twice = repeated_key(raw) if self._repeats else None
                if twice is not None:
                    found = f"the key {twice!r} stands twice in one object"
                    where = f"{section}[{position}]"
                    self.refuse("json-syntax", found, where, "keep one of the two")
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
                captions = b'"caption"' in bytes(sections.get("annotations", b""))[:4096]
                kind = " of captions" if captions else ""
                self.refuse(
                    "json-field", f"there is no {section!r} in the file{kind}", section, hint
                )
            return []
        try:
            return raw_records(sections[section])
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
        if plain.file_name is None and isinstance(plain.coco_url, str):
            # LVIS names its pictures only so, by their folder and name.
            plain.file_name = "/".join(plain.coco_url.split("/")[-2:])
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
        for field, kind in (("segments_info", "panoptic"), ("caption", "captions")):
            if plain.category_id is None and getattr(plain, field) is not None:
                found = f"this is a {kind} file, whose annotations have no category_id"
                hint = "give the file of instances, such as instances_val2017.json"
                self.refuse("json-field", found, f"{where}.{field}", hint)
                return None
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
            stand_ins = self._stand_ins[kind]
            return stand_ins.setdefault(value, _FIRST_STAND_IN - len(stand_ins))
        self._numbers[kind] += 1
        number = _whole(value)
        if number is not None and abs(number) < 2**63:
            return number
        self._wrong(where, field, value, "a whole number", code="id-type", hint=_ID_HINT)
        return None

    def _check_text_ids(self) -> None:
        """Refuse text ids that are blank, or that are mixed with ids written as numbers."""
        for kind, texts in self._texts.items():
            mixed = kind != "annotation" and self._numbers[kind] > 0
            for where, value in texts:
                if mixed or not value.strip():
                    why = f"while other {kind} ids are numbers" if mixed else "a blank one"
                    self.refuse("id-type", f"{_short(value)} is a text, {why}", where, _ID_HINT)
            if not mixed:
                self.repaired("id-text", f"{kind} ids are texts", texts[0][0])

    def _text(self, where: str, plain: _AnyRecord, field: str) -> str | None:
        value = getattr(plain, field)
        if isinstance(value, str) and value:
            return value
        self._wrong(where, field, value, "a text", hint="give it a text")
        return None

    def _pixels(self, where: str, plain: _AnyRecord, field: str) -> int:
        value = getattr(plain, field)
        # VIA writes -1 where it does not know the size.
        number = 0 if value is None or value == -1 else _whole(value)
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


def raw_records(section: msgspec.Raw) -> list[msgspec.Raw]:
    """The undecoded records of a list, or of an object that holds them by their ids.

    Raises
    ------
    msgspec.ValidationError
        For another value, or an object of other values than objects.
    """
    try:
        return msgspec.json.decode(section, type=list[msgspec.Raw])
    except msgspec.ValidationError:
        records = msgspec.json.decode(section, type=dict[str, msgspec.Raw])
        if not records or any(bytes(raw)[:1] != b"{" for raw in records.values()):
            raise
        return list(records.values())


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
