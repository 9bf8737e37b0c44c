"""A COCO instances JSON read without giving up: what can be read becomes columns, the rest findings.

The dataset's own reader (`tagbox.data.formats.coco`) stops at the first fault, as it must. Here each
record is decoded by itself: first by its strict type, which costs nothing extra on a sound file,
and only when that fails field by field.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.checks.coco_repair import (
    NOT_FINITE,
    AnnotationFields,
    CategoryFields,
    ImageFields,
    Repair,
)
from tagbox.checks.findings import Findings
from tagbox.data.formats.coco import Box, column_of, mapped
from tagbox.data.segmentation import SegmentationError, segmentation_box
from tagbox.data.text import syntax_error
from tagbox.errors import TagboxError

_CHUNK = 1 << 15


@dataclass(frozen=True)
class CocoRecords:
    """The readable records of a COCO file, in columns.

    Attributes
    ----------
    labelled
        Whether there is a list of annotations at all; without one the images are unlabelled.
    image_ids, image_positions
        (N,) int64; ids, and positions in the file's own list.
    files, widths, heights
        N names; (N,) int64 pixels, 0 where not stated.
    category_ids, category_positions, names, supercategories
        Likewise for K categories.
    annotation_ids, annotation_positions
        (M,) int64; `NO_ID` where there is no id.
    image_of, category_of
        (M,) int64; the ids that annotations refer to.
    boxes
        (M, 4) float64 xywh; all NaN where there is none, x alone NaN where it cannot be read.
    areas, crowd
        (M,) float64, NaN where missing; (M,) int8, -1 where missing.
    outlines, segmentation_faults
        (M, 4) float64 xywh around the segmentations, NaN where there is none; and why one cannot be
        read, None where it can.
    """

    labelled: bool
    image_ids: NDArray[np.int64]
    image_positions: NDArray[np.int64]
    files: list[str]
    widths: NDArray[np.int64]
    heights: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    category_positions: NDArray[np.int64]
    names: list[str]
    supercategories: list[str]
    annotation_ids: NDArray[np.int64]
    annotation_positions: NDArray[np.int64]
    image_of: NDArray[np.int64]
    category_of: NDArray[np.int64]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.int8]
    outlines: NDArray[np.float64]
    segmentation_faults: list[SegmentationError | None]


def read_records(path: Path, findings: Findings) -> CocoRecords | None:
    """Read every record that can be read; what cannot is noted in `findings`.

    Returns
    -------
    CocoRecords or None
        None when the file cannot be read, is not JSON, or is not an object.
    """
    try:
        with mapped(path) as content:
            sections, fault = _sections(content, path, findings)
            seen = findings.counts["json-number"]
            records = _read(sections, path, findings)
            # In a field that nobody reads; the file is not JSON all the same.
            if fault is not None and findings.counts["json-number"] == seen:
                findings.add_error(fault)
            return records
    except TagboxError as error:
        findings.add_error(error)
        return None


def _read(sections: dict[str, msgspec.Raw], path: Path, findings: Findings) -> CocoRecords:
    repair = Repair(path, findings)
    images = _read_section("images", sections, ImageFields, repair, _image_columns)
    categories = _read_section("categories", sections, CategoryFields, repair, _category_columns)
    annotations = _read_section(
        "annotations", sections, AnnotationFields, repair, _annotation_columns
    )
    repair.report_text_ids()
    return CocoRecords(
        labelled="annotations" in sections,
        image_positions=images.pop("positions"),
        category_positions=categories.pop("positions"),
        annotation_positions=annotations.pop("positions"),
        **images,
        **categories,
        **annotations,
    )


_LITERALS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b', re.DOTALL)


def _sections(
    content: memoryview, path: Path, findings: Findings
) -> tuple[dict[str, msgspec.Raw], TagboxError | None]:
    """The top-level values by name, undecoded, and the fault of its numbers; a syntax error is raised.

    NaN and Infinity are not JSON, but Python writes them. They become objects, which no field allows:
    so they reach the check of their field, which can say which record holds them.
    """
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    try:
        try:
            return decode(content), None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if isinstance(error, msgspec.ValidationError):
                raise
            fault = syntax_error(error, content, path)
            if fault.code != "json-number":
                raise fault from error
            return decode(_LITERALS.sub(_as_object, content)), fault
    except msgspec.ValidationError:
        findings.add("json-field", path, "the file is not a JSON object", "the outermost value")
        return {}, None
    except msgspec.DecodeError as error:
        raise syntax_error(error, content, path) from error


def _as_object(match: re.Match[bytes]) -> bytes:
    text = match.group()
    return text if text.startswith(b'"') else b'{"%s":"%s"}' % (NOT_FINITE.encode(), text)


# Records


_KINDS = {
    "images": ("image",),
    "categories": ("category",),
    "annotations": ("image", "category"),
}
"""Whose ids a record of a section holds (annotations' own ids refer to nothing)."""


def _image_columns(records: list[ImageFields]) -> dict[str, Any]:
    return {
        "image_ids": column_of(records, "id", np.int64),
        "files": [r.file_name for r in records],
        "widths": column_of(records, "width", np.int64),
        "heights": column_of(records, "height", np.int64),
    }


def _category_columns(records: list[CategoryFields]) -> dict[str, Any]:
    return {
        "category_ids": column_of(records, "id", np.int64),
        "names": [r.name for r in records],
        "supercategories": [r.supercategory or "" for r in records],
    }


_NO_BOX = Box(np.nan, np.nan, np.nan, np.nan)


def _annotation_columns(records: list[AnnotationFields]) -> dict[str, Any]:
    boxes = [r.bbox or _NO_BOX for r in records]
    outlines = np.full((len(records), 4), np.nan)
    faults: list[SegmentationError | None] = [None] * len(records)
    for row, record in enumerate(records):
        raw = record.segmentation
        if len(memoryview(raw)):
            try:
                box = segmentation_box(msgspec.json.decode(raw))
            except SegmentationError as error:
                faults[row] = error.with_traceback(None)
            else:
                outlines[row] = np.nan if box is None else box
    return {
        "annotation_ids": column_of(records, "id", np.int64),
        "image_of": column_of(records, "image_id", np.int64),
        "category_of": column_of(records, "category_id", np.int64),
        "boxes": np.column_stack([column_of(boxes, side, np.float64) for side in "xywh"]),
        "areas": np.array([np.nan if r.area is None else r.area for r in records], np.float64),
        "crowd": np.array([-1 if r.iscrowd is None else r.iscrowd for r in records], np.int8),
        "outlines": outlines,
        "segmentation_faults": faults,
    }


def _read_section(
    section: str,
    sections: dict[str, msgspec.Raw],
    strict: type[Any],
    repair: Repair,
    columns: Callable[[list[Any]], dict[str, Any]],
) -> dict[str, Any]:
    """The columns of one section, and the `positions` of its readable records."""
    raws = _raw_records(section, sections, repair)
    decode = msgspec.json.Decoder(strict).decode
    chunks = []
    for start in range(0, max(len(raws), 1), _CHUNK):
        records, positions = [], []
        part = raws[start : start + _CHUNK]
        sound = len(part)
        for position, raw in enumerate(part, start):
            try:
                record = decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError):
                sound -= 1
                record = repair.record(section, position, raw)
                if record is None:
                    continue
            records.append(record)
            positions.append(position)
        for kind in _KINDS[section]:
            repair.numbers[kind] += sound
        chunks.append({"positions": np.array(positions, np.int64), **columns(records)})
    return {name: _joined([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _raw_records(
    section: str, sections: dict[str, msgspec.Raw], repair: Repair
) -> list[msgspec.Raw]:
    """The undecoded records of one section; none, and a finding, when it is no list."""
    if section not in sections:
        # A file without annotations is legal: test images. No section at all is a fault noted.
        if section != "annotations" and sections:
            repair.note("json-field", f"there is no list `{section}`", section)
        return []
    try:
        return msgspec.json.decode(sections[section], type=list[msgspec.Raw])
    except msgspec.ValidationError:
        repair.note("json-field", f"`{section}` is not a list", section)
        return []


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [value for part in parts for value in part]
