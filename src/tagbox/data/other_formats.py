"""Files and folders of annotations that are not read, named with the way out."""

from __future__ import annotations

import re
from pathlib import Path

from tagbox.errors import TagboxError
from tagbox.files import open_file

OTHER_JSON = {
    "results": "this is a list of detections, not a dataset; it is read as predictions",
    "label studio": "these are Label Studio's tasks; export them as COCO or YOLO",
    "createml": "this is CreateML's form; export the dataset as COCO or YOLO",
    "via": "this is a project of the VGG Image Annotator; export its annotations as COCO",
}
"""What to do with JSON of other tools, by its kind."""
CHECK_PATH = "check the path, or give its --format"
OTHER_FILES = {
    (
        ".zip",
        ".tar",
        ".gz",
        ".tgz",
        ".bz2",
        ".xz",
        ".7z",
        ".rar",
    ): "unpack it, and point at the folder",
    (".jsonl", ".ndjson", ".manifest", ".parquet", ".xlsx", ".xls", ".ods", ".feather"): (
        "write it as a CSV of image,labels"
    ),
}
"""What to do with other files, by their suffixes."""
OTHER_XML = {
    "cvat": "export it as COCO or Pascal VOC from CVAT, whose own XML this is",
    "": "export it as COCO JSON",
}
"""What to do with XML that is not Pascal VOC, by its kind."""
_YOLO_LINE = re.compile(rb"\s*\d{1,4}(?:[ \t]+-?\d*\.?\d+(?:[eE][-+]?\d+)?){4,}\s*")


def other_json_kind(head: bytes) -> str:
    """The key in `OTHER_JSON` of a file by its first bytes, or ``""``."""

    def has(*keys: str) -> bool:
        return all(re.search(rb'"%s"\s*:' % key.encode(), head) for key in keys)

    if head.lstrip()[:1] == b"[":
        if has("image_id", "score") or head.split() in ([b"[]"], [b"[", b"]"]):
            return "results"
        if has("from_name") or has("data") or has("annotator", "annotation_id"):
            return "label studio"
        if has("annotations", "coordinates") or has("image", "annotation"):
            return "createml"
    elif has("filename", "regions") or has("_via_settings") or b"__VIA_PROJECT_ID__" in head:
        return "via"
    return ""


def xml_kind(path: Path) -> str:
    """The key in `OTHER_XML` of a file by its first bytes."""
    head = _head(path)
    return "cvat" if b"<annotations" in head and b"<image " in head else ""


def looks_like_yolo(path: Path) -> bool:
    """Whether the first line of a text file is a class index and four or more numbers."""
    return _YOLO_LINE.fullmatch(_head(path).partition(b"\n")[0]) is not None


def refuse_supervisely(path: Path) -> None:
    """Raise ``format-unknown`` for a project of Supervisely: ``meta.json``, and ``ann`` beside ``img``."""
    folders = (path, path.parent, *(file.parent for file in path.glob("*/meta.json")))
    if not any((folder / "meta.json").is_file() for folder in folders):
        return
    depths = ("ann", "*/ann", "*/*/ann")
    if any((ann.parent / "img").is_dir() for depth in depths for ann in path.glob(depth)):
        raise TagboxError(
            "format-unknown",
            "this is a project of Supervisely, which is not read",
            file=path,
            hint="export it as COCO or Pascal VOC",
        )


def _head(path: Path) -> bytes:
    try:
        with open_file(path) as opened:
            return opened.read(16384)
    except OSError:
        return b""
