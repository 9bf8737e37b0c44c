"""Every kind of finding `tagbox check` makes by itself: how bad it is, and the way out.

Faults that a reader raises (`TagboxError`) become findings under the reader's own code.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


class Rule(NamedTuple):
    """How bad a kind of finding is, and what to do about it."""

    severity: Severity
    hint: str


CODES: dict[str, Rule] = {
    # The JSON file and its records.
    "json-field": Rule("error", "correct the record, or export the file again"),
    "json-number": Rule("error", "write the real number there, or drop the annotation"),
    "id-type": Rule("error", "write all ids of one kind as whole numbers"),
    "id-text": Rule("warning", "none needed here; other COCO tools want whole numbers"),
    "bad-box": Rule("error", "draw the box again, or drop the annotation"),
    "duplicate-image-id": Rule("error", "give every image its own id"),
    "duplicate-annotation-id": Rule("error", "renumber the annotations from 1"),
    "duplicate-category-id": Rule("error", "give every category its own id"),
    "duplicate-category-name": Rule(
        "error", "rename one of them, or merge them with --mapping once ids differ"
    ),
    "unknown-image-id": Rule("error", "add the image's record, or drop the annotation"),
    "unknown-category-id": Rule("error", "add the category's record, or drop the annotation"),
    "annotation-id-zero": Rule(
        "warning", "renumber the annotations from 1: pycocotools loses the match of id 0"
    ),
    "duplicate-file-name": Rule("warning", "keep one record for each picture"),
    "missing-annotation-id": Rule("warning", "number the annotations from 1"),
    "missing-area": Rule("warning", "none needed here; other COCO tools stop without `area`"),
    "missing-iscrowd": Rule("warning", "none needed here; other COCO tools stop without `iscrowd`"),
    "box-degenerate": Rule("warning", "draw the box again, or drop the annotation"),
    "box-outside": Rule("warning", "clip the box to the image, or correct the image's size"),
    # Boxes, as a detector needs them.
    "boxes-corners": Rule("error", "write them as x, y, width, height"),
    "boxes-normalised": Rule("error", "write them in pixels: times the image's width and height"),
    "bad-area": Rule("error", "write the object's area in pixels², or leave it out"),
    "bad-polygon": Rule("error", "correct it, or give the annotation a bbox"),
    "bad-rle": Rule("error", "correct it, or give the annotation a bbox"),
    "segmentation-broken": Rule("warning", "none needed here, the bbox counts; masks need it"),
    "box-unlike-segmentation": Rule("warning", "look which of the two is right"),
    "area-unlike-box": Rule(
        "warning", "correct it: evaluation tells small, medium and large objects by it"
    ),
    "duplicate-box": Rule("warning", "keep one of them: a detector can find it only once"),
    "box-from-segmentation": Rule("info", "none needed here; other COCO tools want a bbox"),
    "annotation-without-box": Rule("info", "draw its box, if a detector is to learn from it"),
    "box-tiny": Rule("info", "none needed, if an object that small is meant"),
    "box-whole-image": Rule("info", "none needed, if the object fills the image"),
    # File names.
    "file-name-outside": Rule("error", "write file names relative to the folder of the pictures"),
    "file-name-ambiguous": Rule(
        "warning", "rename one: submissions and predictions name a picture by its stem alone"
    ),
    "picture-not-named": Rule("info", "label it, or move it away, if that was not meant"),
    # Label files of other formats.
    "label-line-blank": Rule("warning", "delete the blank line"),
    "label-twice": Rule("warning", "keep the label once"),
    "picture-without-labels": Rule(
        "warning", "add its label file; an empty one says that nothing is in the picture"
    ),
    # Labels as a whole.
    "image-without-annotations": Rule("info", "none needed: it is an image with no category"),
    "category-unused": Rule("warning", "add pictures of it, or leave it out with --categories"),
    # Pictures.
    "size-mismatch": Rule("error", "write the file's real width and height, and check the boxes"),
    "size-exif-rotated": Rule(
        "warning", "store the picture upright, or swap the sizes and draw its boxes again"
    ),
    "duplicate-picture": Rule("warning", "keep one of them"),
    "near-duplicate-picture": Rule("info", "look at both; keep one if they are the same"),
    # Two sides of a split.
    "split-same-picture": Rule("error", "remove it from one side: it makes the score too good"),
    "split-near-picture": Rule("warning", "look at both; remove one if they are the same scene"),
    "split-same-name": Rule("warning", "check that they are different pictures"),
    "split-category-missing": Rule("warning", "split again with `tagbox split`, or add pictures"),
    "split-category-unknown": Rule("warning", "use the same categories on both sides"),
}
