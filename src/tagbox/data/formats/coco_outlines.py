"""Boxes around the segmentations of a COCO file, for annotations that have none of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tagbox.data.formats.coco import Columns
from tagbox.data.segmentation import SegmentationError, segmentation_box
from tagbox.errors import TagboxError


class Outline(msgspec.Struct, gc=False):
    """What is read of a record of ``annotations``: its segmentation, undecoded."""

    segmentation: msgspec.Raw = msgspec.Raw()


class Outlines(msgspec.Struct, gc=False):
    """What is read of the file."""

    annotations: list[Outline] = []


def fill_in_boxes(content: memoryview, columns: Columns, path: Path) -> None:
    """Fill in the boxes of `columns` that are missing and can be told from a segmentation.

    Parameters
    ----------
    content
        The file, mapped; what `columns` were read from.

    Raises
    ------
    TagboxError
        ``bad-polygon`` or ``bad-rle``, with the path of the value.
    """
    mapped: Any = content.obj
    if mapped.find(b"segmentation") < 0:
        return
    outlines = msgspec.json.decode(content, type=Outlines).annotations
    for row in np.flatnonzero(~columns.has_box).tolist():
        raw = outlines[row].segmentation
        if not len(memoryview(raw)):
            continue
        try:
            box = segmentation_box(msgspec.json.decode(raw))
        except SegmentationError as error:
            place = f"annotations[{row}] (id {columns.annotation_ids[row]})"
            raise TagboxError(
                error.code,
                str(error),
                file=path,
                where=f"{place}.segmentation{error.place}",
                hint="correct it, or give the annotation a bbox",
            ) from error
        if box is not None:
            columns.boxes[row], columns.has_box[row] = box, True
