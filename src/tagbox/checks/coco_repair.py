"""Records of a COCO file that are not of their type: what can be used of them, and what is wrong.

The field-by-field half of `tagbox.checks.coco_records`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from tagbox.checks.findings import Findings
from tagbox.data.formats.coco import Box

NO_ID = -(2**63)
"""Stands for an id that is not there; no file can hold it."""
UNREADABLE = Box(float("nan"), 0.0, 0.0, 0.0)
"""Stands for a box that is there and is none: its fault is noted where it is read."""
NOT_FINITE = "tagbox: not a number"
"""NaN and the infinities, which Python writes and JSON does not have, are read as this key's value."""

_Int64 = Annotated[int, msgspec.Meta(gt=NO_ID, lt=2**63 - 1)]
_Pixels = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class ImageFields(msgspec.Struct, gc=False):
    """What is checked of a record of ``images``."""

    id: _Int64
    file_name: str
    width: _Pixels = 0
    height: _Pixels = 0


class CategoryFields(msgspec.Struct, gc=False):
    """What is checked of a record of ``categories``."""

    id: _Int64
    name: str
    supercategory: str | None = None


class AnnotationFields(msgspec.Struct, gc=False):
    """What is checked of a record of ``annotations``."""

    image_id: _Int64
    category_id: _Int64
    id: _Int64 = NO_ID
    bbox: Box | None = None
    area: float | None = None
    iscrowd: Literal[0, 1] | None = None
    segmentation: msgspec.Raw = msgspec.Raw()


class Repair:
    """Decodes the records of one file; text ids that are no numbers get made-up ones that still match."""

    def __init__(self, path: Path, findings: Findings) -> None:
        self.path = path
        self.findings = findings
        # How the ids of each kind are written: as texts (place, value, whether digits) or numbers.
        self.texts: dict[str, list[tuple[str, str, bool]]] = defaultdict(list)
        self.numbers: Counter[str] = Counter()
        self.made_up: dict[str, int] = {}

    def record(self, section: str, position: int, raw: msgspec.Raw) -> Any:
        """The record read field by field, or None when it cannot serve at all."""
        where = f"{section}[{position}]"
        try:
            plain = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.note("json-field", f"cannot be read: {error}", where)
            return None
        if not isinstance(plain, dict) or _is_not_finite(plain):
            self.note("json-field", f"{_said(plain)} is not a JSON object", where)
            return None
        own = plain.get("id")
        named = f"{where} (id {own})" if isinstance(own, (int, str)) else where
        read: dict[str, Callable[[str, dict[str, Any]], Any]] = {
            "images": self.image,
            "categories": self.category,
            "annotations": self.annotation,
        }
        return read[section](named, plain)

    def note(self, code: str, found: str, where: str) -> None:
        """Add a finding about this file."""
        self.findings.add(code, self.path, found, where)

    def image(self, where: str, plain: dict[str, Any]) -> ImageFields | None:
        """An image record of which some field is not as it should be."""
        identity = self.identity(where, plain, "id", "image")
        name = self.text(where, plain, "file_name")
        width, height = (self.pixels(where, plain, field) for field in ("width", "height"))
        if identity is None or name is None:
            return None
        return ImageFields(identity, name, width, height)

    def category(self, where: str, plain: dict[str, Any]) -> CategoryFields | None:
        """A category record of which some field is not as it should be."""
        identity = self.identity(where, plain, "id", "category")
        name = self.text(where, plain, "name")
        above = plain.get("supercategory")
        if above is not None and not isinstance(above, str):
            self.wrong(where, "supercategory", above, "a text")
            above = None
        if identity is None or name is None:
            return None
        return CategoryFields(identity, name, above)

    def annotation(self, where: str, plain: dict[str, Any]) -> AnnotationFields | None:
        """An annotation record of which some field is not as it should be."""
        own = (
            self.identity(where, plain, "id", "annotation")
            if plain.get("id") is not None
            else NO_ID
        )
        image = self.identity(where, plain, "image_id", "image")
        category = self.identity(where, plain, "category_id", "category")
        box = self.box(where, plain.get("bbox"))
        area = self.number(where, "area", plain.get("area"))
        crowd = plain.get("iscrowd")
        if crowd not in (0, 1, None):
            self.wrong(where, "iscrowd", crowd, "0 or 1")
            crowd = 0
        if image is None or category is None:
            return None
        return AnnotationFields(
            image,
            category,
            NO_ID if own is None else own,
            box,
            area,
            None if crowd is None else (1 if crowd else 0),
            msgspec.Raw(msgspec.json.encode(plain.get("segmentation"))),
        )

    def identity(self, where: str, plain: dict[str, Any], field: str, kind: str) -> int | None:
        """An id as a whole number; a text that is none gets a made-up one that matches its like."""
        value = plain.get(field)
        if value is None:
            self.note("json-field", f"there is no `{field}`", where)
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str):
            digits = re.fullmatch(r"[0-9]{1,18}", value) is not None
            self.texts[kind].append((f"{where}.{field}", value, digits))
            if digits:
                return int(value)
            return self.made_up.setdefault(value, -(2**62) - len(self.made_up))
        self.numbers[kind] += 1
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 - 1:
            return value
        self.wrong(where, field, value, "a whole number", code="id-type")
        return None

    def report_text_ids(self) -> None:
        """Texts for ids are a fault where other ids of the same kind are numbers, or when not digits."""
        for kind, texts in self.texts.items():
            mixed = self.numbers[kind] > 0
            for where, value, digits in texts:
                if mixed or not digits:
                    reason = f"while other {kind} ids are numbers" if mixed else "not a number"
                    self.note("id-type", f"{_said(value)} is a text, {reason}", where)
            if texts and not mixed and all(digits for _, _, digits in texts):
                self.note("id-text", f"all {kind} ids are texts", texts[0][0])

    def text(self, where: str, plain: dict[str, Any], field: str) -> str | None:
        """A field that has to be a text."""
        value = plain.get(field)
        if isinstance(value, str):
            return value
        if value is None:
            self.note("json-field", f"there is no `{field}`", where)
        else:
            self.wrong(where, field, value, "a text")
        return None

    def pixels(self, where: str, plain: dict[str, Any], field: str) -> int:
        """A width or height; 0 when it is not there or no such thing."""
        value = plain.get(field)
        if value is None:
            return 0
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and value == int(value) and 0 <= value < 2**31:
            return int(value)
        self.wrong(where, field, value, "a whole number of pixels")
        return 0

    def number(
        self, where: str, field: str, value: Any, *, code: str = "json-field"
    ) -> float | None:
        """A number, or None when there is none or it cannot be read."""
        if value is None:
            return None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        self.wrong(where, field, value, "a number", code=code)
        return None

    def box(self, where: str, value: Any) -> Box | None:
        """Four numbers, None when there is no box, `UNREADABLE` when it is not four numbers."""
        if value is None or value == []:
            return None
        if not isinstance(value, list) or len(value) != 4:
            self.wrong(where, "bbox", value, "four numbers x, y, width, height", code="bad-box")
            return UNREADABLE
        read = [
            self.number(where, f"bbox[{side}]", item, code="bad-box")
            for side, item in enumerate(value)
        ]
        for side, item in enumerate(value):
            if item is None:
                self.wrong(where, f"bbox[{side}]", item, "a number", code="bad-box")
        x, y, w, h = read
        if x is None or y is None or w is None or h is None:
            return UNREADABLE
        return Box(x, y, w, h)

    def wrong(
        self, where: str, field: str, value: Any, wanted: str, *, code: str = "json-field"
    ) -> None:
        """Note a value of the wrong type."""
        if _is_not_finite(value):
            code, wanted = "json-number", "a number in JSON"
        self.note(code, f"{_said(value)} is not {wanted}", f"{where}.{field}")


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, dict) and NOT_FINITE in value


def _said(value: Any) -> str:
    if _is_not_finite(value):
        return str(value[NOT_FINITE])
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 40 else text[:37] + "..."
