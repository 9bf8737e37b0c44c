"""Checks of a COCO file: its records one by one, then between them ids, references, boxes and file names.

`tagbox.data.formats.coco_records` decides what is accepted, repaired or refused, here as in `read_coco`,
which raises at the first fault; here every fault becomes a finding, and reading goes on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.checks.box_checks import BoxColumns, check_boxes
from tagbox.checks.findings import Findings
from tagbox.data.dataset import Dataset, rows_of
from tagbox.data.formats.coco import annotation_place, dataset_of, top_level
from tagbox.data.formats.coco_columns import NO_ID, Columns, SegmentedRecord, annotation_columns
from tagbox.data.formats.coco_records import NOT_FINITE, RecordReader
from tagbox.data.segmentation import SegmentationError, raw_segmentation_box
from tagbox.errors import TagboxError
from tagbox.images.header import picture_size
from tagbox.paths import leads_outside
from tagbox.text_files import read_json_content


@dataclass(frozen=True, kw_only=True)
class CocoRecords(Columns):
    """The readable records of a COCO file, with their segmentations.

    Attributes
    ----------
    outlines
        (M, 4) float64 xywh around the segmentations; NaN where there is none.
    segmentation_faults
        M errors of segmentations that cannot be read; None where there is none.
    """

    outlines: NDArray[np.float64]
    segmentation_faults: list[SegmentationError | None]


class _FindingReader(RecordReader):
    """A reader that adds a finding for what it refuses or repairs, and goes on."""

    def __init__(self, path: Path, findings: Findings) -> None:
        super().__init__(path)
        self.findings = findings

    def refuse(self, code: str, found: str, where: str, hint: str) -> None:
        """Add an error."""
        self.findings.add_error(TagboxError(code, found, file=self.path, where=where, hint=hint))

    def repaired(self, code: str, found: str, where: str) -> None:
        """Add a warning."""
        self.findings.add(code, self.path, found, where)

    @staticmethod
    def annotation_columns(records: list[SegmentedRecord]) -> dict[str, Any]:
        """Columns of annotations, with `outlines` and `segmentation_faults`."""
        outlines = np.full((len(records), 4), np.nan)
        faults: list[SegmentationError | None] = [None] * len(records)
        for row, record in enumerate(records):
            if len(memoryview(record.segmentation)):
                try:
                    box = raw_segmentation_box(record.segmentation)
                except SegmentationError as error:
                    faults[row] = error.with_traceback(None)
                else:
                    outlines[row] = np.nan if box is None else box
        return annotation_columns(records) | {"outlines": outlines, "segmentation_faults": faults}


def read_records(path: Path, findings: Findings) -> CocoRecords | None:
    """Read all readable records of a COCO file; the others become findings.

    Returns
    -------
    CocoRecords or None
        None when the file cannot be read, is not JSON, or is not an object.
    """
    try:
        sections, fault = _sections(read_json_content(path), path)
        known = findings.counts["json-number"]
        records = CocoRecords(**_FindingReader(path, findings).columns(sections))
        # The literal stands in a field that is not read; the file is still not JSON.
        if fault is not None and findings.counts["json-number"] == known:
            findings.add_error(fault)
        return records
    except TagboxError as error:
        findings.add_error(error)
        return None


_LITERALS = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b', re.DOTALL)


def _sections(content: memoryview, path: Path) -> tuple[dict[str, msgspec.Raw], TagboxError | None]:
    """The top-level values undecoded, and the error when the file holds NaN or an infinity.

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


def check_records(
    records: CocoRecords, path: Path, findings: Findings, located: Sequence[str]
) -> None:
    """Add a finding for every fault between the records of one file, in the order of the file.

    `located` are the files of the images, as `tagbox.data.image_files.locate_images` finds them.
    """
    _check_unique(records, path, findings)
    _check_file_names(records, path, findings, located)
    _check_references(records, path, findings)
    _check_fields(records, path, findings)
    check_boxes(_box_columns(records), path, findings)


def with_file_sizes(records: CocoRecords, root: Path, located: Sequence[str]) -> CocoRecords:
    """The records, where an image states no size with that of its file: one of `located` in `root`."""
    unsized = np.flatnonzero((records.widths <= 0) | (records.heights <= 0)).tolist()
    unsized = [row for row in unsized if not leads_outside(located[row])]
    if not unsized:
        return records
    widths, heights = records.widths.copy(), records.heights.copy()
    for row in unsized:
        widths[row], heights[row] = picture_size(root / located[row])
    return replace(records, widths=widths, heights=heights)


def best_effort(records: CocoRecords, path: Path, root: Path, located: Sequence[str]) -> Dataset:
    """The dataset without the faulty records.

    Of images and categories with the same id or name the first is kept; annotations that refer to none
    are left out; where there is no box, it is that of the segmentation. The images are the files `located`
    in `root`.
    """
    image_rows = _first_of(records.image_ids)
    image_rows = image_rows[[not leads_outside(located[row]) for row in image_rows.tolist()]]
    category_rows = _first_of(records.category_ids)
    # A name that stands twice is one category: its later ids become the first.
    first_of_name: dict[str, int] = {}
    own_ids = records.category_ids[category_rows]
    merged_ids = [
        records.category_ids[first_of_name.setdefault(records.names[row], row)]
        for row in category_rows.tolist()
    ]
    # The last entry is for the -1 of an unknown category.
    category_of = np.array([*merged_ids, NO_ID])[rows_of(records.category_of, own_ids)]
    known_image = rows_of(records.image_of, records.image_ids[image_rows]) >= 0
    kept = np.flatnonzero(known_image & (category_of != NO_ID))
    category_rows = np.array([*first_of_name.values()], np.intp)
    boxes = records.boxes[kept]
    columns = Columns(
        labelled=records.labelled,
        image_ids=records.image_ids[image_rows],
        image_positions=records.image_positions[image_rows],
        files=[located[row] for row in image_rows.tolist()],
        widths=records.widths[image_rows],
        heights=records.heights[image_rows],
        category_ids=records.category_ids[category_rows],
        category_positions=records.category_positions[category_rows],
        names=[records.names[row] for row in category_rows.tolist()],
        supercategories=[records.supercategories[row] for row in category_rows.tolist()],
        annotation_ids=records.annotation_ids[kept],
        annotation_positions=records.annotation_positions[kept],
        image_of=records.image_of[kept],
        category_of=category_of[kept],
        boxes=np.where(np.isnan(boxes[:, :1]), records.outlines[kept], boxes),
        areas=records.areas[kept],
        crowd=records.crowd[kept],
        image_texts=records.image_texts,
        category_texts=records.category_texts,
    )
    return dataset_of(columns, path, root)


def _first_of(values: NDArray[Any]) -> NDArray[np.intp]:
    """Rows of the first occurrence of each value, ascending."""
    return np.sort(np.unique(values, return_index=True)[1])


def repeats(values: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows whose value occurs in an earlier row, and the first such row for each."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    earlier = first[inverse]
    rows = np.flatnonzero(earlier != np.arange(len(values)))
    return rows, earlier[rows]


def _check_unique(records: CocoRecords, path: Path, findings: Findings) -> None:
    def check(
        code: str, section: str, field: str, positions: NDArray[np.int64], values: NDArray[Any]
    ) -> None:
        rows, first = repeats(values)
        earlier = dict(zip(rows.tolist(), first.tolist(), strict=True))
        findings.add_rows(
            code,
            path,
            rows,
            lambda row: (
                f"{section}[{positions[row]}].{field}",
                f"{values[row].item()!r} stands already at {section}[{positions[earlier[row]]}]",
            ),
        )

    images, categories = records.image_positions, records.category_positions
    known = np.flatnonzero(records.annotation_ids != NO_ID)
    annotations, annotation_ids = records.annotation_positions[known], records.annotation_ids[known]
    names, files = np.array(records.names, np.str_), np.array(records.files, np.str_)
    check("duplicate-image-id", "images", "id", images, records.image_ids)
    check("duplicate-annotation-id", "annotations", "id", annotations, annotation_ids)
    check("duplicate-category-id", "categories", "id", categories, records.category_ids)
    check("duplicate-category-name", "categories", "name", categories, names)
    check("duplicate-file-name", "images", "file_name", images, files)


def _check_file_names(
    records: CocoRecords, path: Path, findings: Findings, located: Sequence[str]
) -> None:
    findings.add_rows(
        "file-name-outside",
        path,
        np.array([leads_outside(name) for name in located], bool),
        lambda row: (
            f"images[{records.image_positions[row]}] (id {records.image_ids[row]}).file_name",
            f"{records.files[row]!r} leads out of the folder of pictures",
        ),
    )


def _check_references(records: CocoRecords, path: Path, findings: Findings) -> None:
    def check(
        noun: str, wanted: NDArray[np.int64], ids: NDArray[np.int64], texts: dict[int, str]
    ) -> None:
        def describe(row: int) -> tuple[str, str]:
            found = f"there is no {noun} with id {texts.get(int(wanted[row]), wanted[row])}"
            return f"{annotation_place(records, row)}.{noun}_id", found

        unknown = rows_of(wanted, ids[_first_of(ids)]) < 0
        findings.add_rows(f"unknown-{noun}-id", path, unknown, describe)

    check("image", records.image_of, records.image_ids, records.image_texts)
    check("category", records.category_of, records.category_ids, records.category_texts)


def _check_fields(records: CocoRecords, path: Path, findings: Findings) -> None:
    for code, missing, found in (
        ("missing-annotation-id", records.annotation_ids == NO_ID, "there is no usable `id`"),
        ("annotation-id-zero", records.annotation_ids == 0, "the id is 0"),
        ("missing-area", np.isnan(records.areas), "there is no usable `area`"),
        ("missing-iscrowd", records.crowd < 0, "there is no `iscrowd`"),
    ):
        findings.add_rows(
            code,
            path,
            missing,
            lambda row, found=found: (annotation_place(records, row), found),  # type: ignore[misc]
        )


def _box_columns(records: CocoRecords) -> BoxColumns:
    first = _first_of(records.image_ids)
    image_rows = rows_of(records.image_of, records.image_ids[first])
    sizes = np.column_stack([records.widths[first], records.heights[first]]).astype(np.float64)
    return BoxColumns(
        boxes=records.boxes,
        outlines=records.outlines,
        faults=records.segmentation_faults,
        # A further row for the -1 of an unknown image: a size of 0 is not checked.
        sizes=np.vstack([sizes, np.zeros((1, 2))])[image_rows],
        image_of=records.image_of,
        category_of=records.category_of,
        crowd=records.crowd == 1,
        areas=records.areas,
        place=lambda row, field: f"{annotation_place(records, row)}.{field}",
    )
