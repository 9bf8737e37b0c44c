"""What is read of a COCO file: its records as structs that msgspec decodes, and all of them as columns."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

NO_ID = -(2**63)
"""Stands for a missing annotation id; it is not accepted as an id."""

_Id = Annotated[int, msgspec.Meta(gt=NO_ID, le=2**63 - 1)]
_Pixels = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class Box(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """xywh in pixels."""

    x: float
    y: float
    w: float
    h: float


NO_BOX = Box(np.nan, np.nan, np.nan, np.nan)


class ImageRecord(msgspec.Struct, gc=False):
    """What is read of a record of ``images``; a size of 0 is not stated."""

    id: _Id
    file_name: _Text
    width: _Pixels = 0
    height: _Pixels = 0


class CategoryRecord(msgspec.Struct, gc=False):
    """What is read of a record of ``categories``."""

    id: _Id
    name: _Text
    supercategory: str | None = None


class AnnotationRecord(msgspec.Struct, gc=False):
    """What is read of a record of ``annotations``; -1 stands for a missing ``iscrowd``."""

    image_id: _Id
    category_id: _Id
    id: _Id = NO_ID
    bbox: Box | None = None
    area: float | None = None
    iscrowd: Annotated[int, msgspec.Meta(ge=0, le=1)] = -1


class SegmentedRecord(AnnotationRecord, gc=False):
    """An annotation with its undecoded segmentation."""

    segmentation: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The records of a COCO file as columns, before ids and references are checked.

    Attributes
    ----------
    labelled
        Whether there is a list of annotations; without one the images are unlabelled.
    image_ids, image_positions
        (N,) int64; ids, and positions in the list of the file.
    files, widths, heights
        N names; (N,) int32 pixels, 0 where not stated.
    category_ids, category_positions, names, supercategories
        Likewise for K categories.
    annotation_ids, annotation_positions
        (M,) int64; `NO_ID` where there is no id.
    image_of, category_of
        (M,) int64; the ids that annotations refer to.
    boxes
        (M, 4) float64 xywh; all NaN where there is none, only x NaN where it was refused.
    areas, crowd
        (M,) float64, NaN where missing; (M,) int8, -1 where missing.
    image_texts, category_texts
        Ids that are texts in the file, by the numbers that stand for them here.
    """

    labelled: bool
    image_ids: NDArray[np.int64]
    image_positions: NDArray[np.int64]
    files: list[str]
    widths: NDArray[np.int32]
    heights: NDArray[np.int32]
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
    image_texts: dict[int, str] = field(default_factory=dict)
    category_texts: dict[int, str] = field(default_factory=dict)


C = TypeVar("C", bound=Columns)


def told_apart(columns: C, mapped: Collection[str]) -> C:
    """The columns in which categories of one name that a mapping names have names of their own.

    The first of them keeps its name, others are ``name (id N)``, where `mapped` holds the name; else the ones are
    that it holds so.
    """
    names: list[str] = []
    for name, number in zip(columns.names, columns.category_ids.tolist(), strict=True):
        own = f"{name} (id {columns.category_texts.get(number, number)})"
        is_mapped = own in mapped or (name in mapped and name in names)
        names.append(own if is_mapped and columns.names.count(name) > 1 else name)
    return replace(columns, names=names)


def column_of(records: list[Any], name: str, dtype: type[np.generic]) -> NDArray[Any]:
    """One attribute of every record as an array; OverflowError when a value does not fit."""
    return np.fromiter(map(attrgetter(name), records), dtype, len(records))


def image_columns(records: list[ImageRecord]) -> dict[str, Any]:
    """The columns of image records, without their positions."""
    return {
        "image_ids": column_of(records, "id", np.int64),
        "files": [r.file_name for r in records],
        "widths": column_of(records, "width", np.int32),
        "heights": column_of(records, "height", np.int32),
    }


def category_columns(records: list[CategoryRecord]) -> dict[str, Any]:
    """The columns of category records, without their positions."""
    return {
        "category_ids": column_of(records, "id", np.int64),
        "names": [r.name for r in records],
        "supercategories": [r.supercategory or "" for r in records],
    }


def annotation_columns(records: list[Any]) -> dict[str, Any]:
    """The columns of annotation records, without their positions."""
    boxes = map(msgspec.structs.astuple, (r.bbox or NO_BOX for r in records))
    sides = np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(records))
    areas = [np.nan if r.area is None else r.area for r in records]
    return {
        "annotation_ids": column_of(records, "id", np.int64),
        "image_of": column_of(records, "image_id", np.int64),
        "category_of": column_of(records, "category_id", np.int64),
        "boxes": sides.reshape(-1, 4),
        "areas": np.fromiter(areas, np.float64, len(areas)),
        "crowd": column_of(records, "iscrowd", np.int8),
    }
