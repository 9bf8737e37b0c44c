"""What is wrong between the records of a COCO file: ids, references, boxes, file names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.checks.box_checks import BoxColumns, check_boxes
from tagbox.checks.coco_records import CocoRecords
from tagbox.checks.findings import Findings
from tagbox.data.dataset import Annotations, Categories, Dataset, Images, Source
from tagbox.data.formats.coco import annotation_place, rows_of
from tagbox.data.formats.coco_records import NO_ID
from tagbox.data.image_files import check_relative, locate_images
from tagbox.errors import TagboxError

_NOWHERE = Path()


def check_records(records: CocoRecords, path: Path, findings: Findings) -> None:
    """Note every fault between the records of one file; all of them, in the order of the file."""
    _check_unique(records, path, findings)
    _check_file_names(records, path, findings)
    _check_references(records, path, findings)
    _check_fields(records, path, findings)
    check_boxes(_box_columns(records), path, findings)


def best_effort(records: CocoRecords, path: Path, images: Path | None = None) -> Dataset:
    """The dataset that is left when faulty records are passed over.

    Of records with the same id or name the first stays; annotations that refer to nothing go;
    boxes are those of segmentations where there are none; pictures are searched as the reader does (`images` is the folder the user named).
    """
    kept_images = _first_of(records.image_ids)
    outside = _outside(records.files)
    kept_images = kept_images[~np.isin(kept_images, list(outside))]
    kept_categories = _first_of(records.category_ids)
    names = [records.names[row] for row in kept_categories.tolist()]
    unique = _first_of(np.array(names, dtype=object)) if names else np.zeros(0, np.intp)
    image_ids, category_ids = records.image_ids[kept_images], records.category_ids[kept_categories]
    # A name that stands twice is one category: later ids point at the first row of that name.
    row_of_name = {names[row]: index for index, row in enumerate(unique.tolist())}
    merged = np.array([row_of_name[name] for name in names] + [-1], np.int32)
    image_rows = rows_of(records.image_of, image_ids)
    category_rows = merged[rows_of(records.category_of, category_ids)]
    kept = np.flatnonzero((image_rows >= 0) & (category_rows >= 0))
    boxes = records.boxes[kept]
    boxes = np.where(np.isnan(boxes[:, :1]), records.outlines[kept], boxes)
    has_box = ~np.isnan(boxes[:, 0])
    own = records.annotation_ids[kept]
    root, files = locate_images(path, [records.files[row] for row in kept_images.tolist()], images)
    return Dataset(
        images=Images(
            ids=image_ids,
            files=np.array(files, dtype=np.str_),
            widths=records.widths[kept_images],
            heights=records.heights[kept_images],
            labelled=np.full(len(files), records.labelled),
            root=root,
        ),
        categories=Categories(
            names=tuple(row_of_name),
            ids=category_ids[unique],
            supercategories=tuple(
                records.supercategories[row] for row in kept_categories[unique].tolist()
            ),
        ),
        annotations=Annotations(
            image_rows=image_rows[kept],
            category_rows=category_rows[kept],
            boxes=boxes,
            has_box=has_box,
            areas=records.areas[kept],
            crowd=records.crowd[kept] == 1,
            ids=np.where(own == NO_ID, kept + 1, own),
        ),
        source=Source(
            path=path,
            format="coco",
            image_positions=records.image_positions[kept_images],
            annotation_positions=records.annotation_positions[kept],
        ),
    )


def _first_of(values: NDArray[Any]) -> NDArray[np.intp]:
    """Rows of the first occurrence of each value, in order."""
    return np.sort(np.unique(values, return_index=True)[1])


def repeats(values: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows whose value stood in an earlier row, and that first row of each."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    earlier = first[inverse]
    rows = np.flatnonzero(earlier != np.arange(len(values)))
    return rows, earlier[rows]


# What is checked


def _check_unique(records: CocoRecords, path: Path, findings: Findings) -> None:
    known = np.flatnonzero(records.annotation_ids != NO_ID)
    for code, section, field, positions, values in (
        ("duplicate-image-id", "images", "id", records.image_positions, records.image_ids),
        (
            "duplicate-annotation-id",
            "annotations",
            "id",
            records.annotation_positions[known],
            records.annotation_ids[known],
        ),
        (
            "duplicate-category-id",
            "categories",
            "id",
            records.category_positions,
            records.category_ids,
        ),
        (
            "duplicate-category-name",
            "categories",
            "name",
            records.category_positions,
            np.array(records.names, dtype=np.str_),
        ),
        (
            "duplicate-file-name",
            "images",
            "file_name",
            records.image_positions,
            np.array(records.files, dtype=np.str_),
        ),
    ):
        rows, first = repeats(values)
        earlier = dict(zip(rows.tolist(), first.tolist(), strict=True))

        def describe(
            row: int,
            section: str = section,
            field: str = field,
            positions: NDArray[np.int64] = positions,
            values: NDArray[Any] = values,
            earlier: dict[int, int] = earlier,
        ) -> tuple[str, str]:
            return (
                f"{section}[{positions[row]}].{field}",
                f"{values[row].item()!r} stands already at {section}[{positions[earlier[row]]}]",
            )

        findings.add_rows(code, path, rows, describe)


def _check_file_names(records: CocoRecords, path: Path, findings: Findings) -> None:
    def where(row: int) -> str:
        return f"images[{records.image_positions[row]}] (id {records.image_ids[row]}).file_name"

    outside = _outside(records.files)
    for row, name in enumerate(records.files):
        if row in outside:
            findings.add(
                "file-name-outside",
                path,
                f"{name!r} leads out of the folder of pictures",
                where(row),
            )


def _check_references(records: CocoRecords, path: Path, findings: Findings) -> None:
    for code, noun, wanted, ids in (
        ("unknown-image-id", "image", records.image_of, records.image_ids),
        ("unknown-category-id", "category", records.category_of, records.category_ids),
    ):
        known = ids[_first_of(ids)] if len(ids) else ids

        def describe(
            row: int, noun: str = noun, wanted: NDArray[np.int64] = wanted
        ) -> tuple[str, str]:
            value = wanted[row]
            said = f"with id {value}" if value > -(2**61) else "with this text id"
            return f"{annotation_place(records, row)}.{noun}_id", f"there is no {noun} {said}"

        findings.add_rows(code, path, rows_of(wanted, known) < 0, describe)


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
        # One row more, so that the -1 of an unknown image finds a size of 0: not stated, not checked.
        sizes=np.vstack([sizes, np.zeros((1, 2))])[image_rows],
        image_of=records.image_of,
        category_of=records.category_of,
        crowd=records.crowd == 1,
        areas=records.areas,
        place=lambda row, field: f"{annotation_place(records, row)}.{field}",
    )


def _outside(files: list[str]) -> set[int]:
    """Rows of the names that lead out of the folder of pictures."""
    if not _leads_outside(files):
        return set()
    return {row for row, name in enumerate(files) if _leads_outside([name])}


def _leads_outside(files: list[str]) -> bool:
    try:
        check_relative(files, _NOWHERE, "")
    except TagboxError:
        return True
    return False
