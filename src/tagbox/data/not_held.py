"""What a dataset has and the files of a format cannot hold, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
import numpy as np

from tagbox.data.dataset import Dataset
from tagbox.data.formats.coco import top_level
from tagbox.data.formats.coco_records import raw_records
from tagbox.data.formats.yolo import image_shares
from tagbox.data.record_pixels import image_sizes
from tagbox.text_files import read_json_content

BOX_FORMATS = ("coco", "yolo", "labelme", "voc")
"""The formats that hold boxes."""

NO_CROWD = ("yolo", "labelme")
"""The formats of boxes that cannot mark a crowd region."""

_WITH_SIZES = ("coco", "labelme", "voc")
_READ = {
    "images": {"id", "file_name", "width", "height"},
    "annotations": {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "num_keypoints"},
}
_FIELDS = {"segmentation": "segmentations", "keypoints": "keypoints", "attributes": "attributes"}
_SUPERCATEGORIES, _CATEGORY_IDS = "supercategories", "ids of categories"
_ORIGIN = {"license", "coco_url", "flickr_url", "date_captured"}
_EMPTY = {b"null", b"[]", b"{}", b'""', b"0", b"false"}


def not_held(dataset: Dataset, format: str) -> dict[str, int]:
    """How many of what is lost when a dataset is written in a format, by what it is; crowd regions of boxes are.

    Raises
    ------
    TagboxError
        What reading the source again raises.
    """
    annotations, found = dataset.annotations, Counter[str]()
    if format not in BOX_FORMATS:
        found["boxes"] = int(annotations.has_box.sum())
    if format in NO_CROWD:
        found["crowd regions, which are left out"] = int(annotations.crowd.sum())
    if format == "yolo":
        found["labels without a box, which become boxes of the whole image"] = int(
            (~annotations.has_box).sum()
        )
        _, clipped, left_out = image_shares(
            annotations, image_sizes(dataset, np.flatnonzero(dataset.images.labelled))
        )
        found["boxes that leave their image, which are clipped"] = int(
            (clipped & ~annotations.crowd).sum()
        )
        found["boxes outside their image, which are left out"] = int(
            (left_out & ~annotations.crowd).sum()
        )
    for what, rows in dataset.source.reduced.items():
        found[what] = int(rows.sum())
    if format != "coco":
        found[_SUPERCATEGORIES] = sum(map(bool, dataset.categories.supercategories))
        of_boxes = annotations.boxes[:, 2] * annotations.boxes[:, 3]
        own = annotations.has_box & ~np.isclose(annotations.areas, of_boxes, equal_nan=True)
        found["areas other than those of the boxes"] = int(
            np.count_nonzero(own & ~np.isnan(annotations.areas))
        )
        if dataset.source.format == "coco":
            found.update(_fields(dataset))
            found["ids of images and annotations"] = len(dataset) + len(annotations)
            found[_CATEGORY_IDS] = len(dataset.categories)
    if format not in _WITH_SIZES:
        found["sizes of images"] = int(np.count_nonzero(dataset.images.widths))
    return {what: count for what, count in found.items() if count}


def _fields(dataset: Dataset) -> Counter[str]:
    """How many records of a dataset's COCO file have which of the fields that are not read."""
    path, source = dataset.source.path, dataset.source
    sections = top_level(read_json_content(path), path)
    found: Counter[str] = Counter()
    for section, positions in (
        ("annotations", source.annotation_positions),
        ("images", source.image_positions),
    ):
        if section not in sections:
            continue
        records = raw_records(sections[section])
        for names in _filled((records[row] for row in positions.tolist()), _READ[section]):
            if section == "images":
                origin = bool(_ORIGIN & names)
                found["licences, addresses and dates of images"] += origin
                names -= _ORIGIN
            for name in sorted(names):
                found[_FIELDS.get(name, f"fields {name[:60]!r} of {section}")] += 1
    return found


def _filled(records: Iterable[msgspec.Raw], read: set[str]) -> Iterable[set[str]]:
    """Of each record the fields that are neither `read` nor empty."""
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    for record in records:
        values = decode(record)
        yield {
            name for name in values.keys() - read if bytes(values[name])[:8].strip() not in _EMPTY
        }


def total(what: str, counts: Iterable[int]) -> int:
    """The count of all parts of a dataset, from those of each; every part has all categories."""
    return (max if what in (_SUPERCATEGORIES, _CATEGORY_IDS) else sum)(counts)
