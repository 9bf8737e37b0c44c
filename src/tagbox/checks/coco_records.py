"""The records of a COCO file for ``tagbox check``: every fault is noted, and reading goes on.

`tagbox.data.formats.coco_records` decides what is accepted, repaired or refused, for the check as for
`read_coco`, which stops at the first fault.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.checks.findings import Findings
from tagbox.data.formats.coco import top_level
from tagbox.data.formats.coco_records import (
    NOT_FINITE,
    Columns,
    RecordReader,
    SegmentedRecord,
    annotation_columns,
)
from tagbox.data.json_files import mapped
from tagbox.data.segmentation import SegmentationError, segmentation_box
from tagbox.errors import TagboxError


@dataclass(frozen=True, kw_only=True)
class CocoRecords(Columns):
    """The readable records of a COCO file, with what their segmentations say.

    Attributes
    ----------
    outlines, segmentation_faults
        (M, 4) float64 xywh around the segmentations, NaN where there is none; and why one cannot be
        read, None where it can.
    """

    outlines: NDArray[np.float64]
    segmentation_faults: list[SegmentationError | None]


class _NotingReader(RecordReader):
    """A reader that notes what it refuses or repairs as findings."""

    def __init__(self, path: Path, findings: Findings) -> None:
        super().__init__(path)
        self.findings = findings

    def refuse(self, code: str, found: str, where: str, hint: str) -> None:
        """Note an error."""
        self.findings.add_error(TagboxError(code, found, file=self.path, where=where, hint=hint))

    def repaired(self, code: str, found: str, where: str) -> None:
        """Note a warning."""
        self.findings.add(code, self.path, found, where)

    @staticmethod
    def annotation_columns(records: list[SegmentedRecord]) -> dict[str, Any]:
        """The columns of annotations with those of their segmentations."""
        outlines = np.full((len(records), 4), np.nan)
        faults: list[SegmentationError | None] = [None] * len(records)
        for row, record in enumerate(records):
            if len(memoryview(record.segmentation)):
                try:
                    box = segmentation_box(msgspec.json.decode(record.segmentation))
                except SegmentationError as error:
                    faults[row] = error.with_traceback(None)
                else:
                    outlines[row] = np.nan if box is None else box
        return annotation_columns(records) | {"outlines": outlines, "segmentation_faults": faults}


def read_records(path: Path, findings: Findings) -> CocoRecords | None:
    """Read every record that can be read; what cannot is noted in `findings`.

    Returns
    -------
    CocoRecords or None
        None when the file cannot be read, is not JSON, or is not an object.
    """
    try:
        with mapped(path) as content:
            sections, fault = _sections(content, path)
            known = findings.counts["json-number"]
            records = CocoRecords(**_NotingReader(path, findings).columns(sections))
            # In a field that nobody reads; the file is not JSON all the same.
            if fault is not None and findings.counts["json-number"] == known:
                findings.add_error(fault)
            return records
    except TagboxError as error:
        findings.add_error(error)
        return None


_LITERALS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b', re.DOTALL)


def _sections(content: memoryview, path: Path) -> tuple[dict[str, msgspec.Raw], TagboxError | None]:
    """The top-level values undecoded, and the fault when NaN or an infinity is among them.

    Those literals are read as an object with the key `NOT_FINITE`, so that the reader can name the
    record that holds them.
    """
    try:
        return top_level(content, path), None
    except TagboxError as fault:
        if fault.code != "json-number":
            raise
        return top_level(memoryview(_LITERALS.sub(_as_object, content)), path), fault


def _as_object(match: re.Match[bytes]) -> bytes:
    text = match.group()
    return text if text.startswith(b'"') else b'{"%s":"%s"}' % (NOT_FINITE.encode(), text)
