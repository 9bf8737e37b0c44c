"""Recognition of the format of a dataset, from file names and first bytes without reading all of it.

The layouts of folders, which the readers of the formats use as well, are at the end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from tagbox.data.folder_layouts import coco_splits, find_classes, table_splits
from tagbox.data.image_files import list_images, visible_folders
from tagbox.data.text import some
from tagbox.errors import TagboxError
from tagbox.files import (
    cannot_read,
    find_files,
    is_refused,
    not_ordinary,
    open_file,
    require_rights,
)
from tagbox.text_files import decode_json, read_json_content, read_text

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
NAMES_FILES = ("classes.txt", "obj.names", "classes.names", "predefined_classes.txt")
_HEAD = 65536
_COCO_KEY = re.compile(rb'\s*\{\s*"(images|annotations|categories|info|licenses|type)"\s*:')
_COCO_LIST = re.compile(rb'"(images|annotations)"\s*:\s*[\[{]')
_LABELS = re.compile(rb'\s*\{\s*("(?:[^"\\]|\\.)*"\s*:\s*\[\s*(?:-?[\d.]|\])|\})')


def recognise(path: Path | str) -> str:
    """The format of the dataset at a path: ``coco``, ``labels``, ``cls``, ``csv``, ``yolo``, ``labelme``, ``folders``.

    Raises
    ------
    TagboxError
        ``file-missing``; ``format-unknown`` listing what was looked for; ``format-ambiguous`` for a
        folder with several annotation files.
    """
    return find_source(Path(path))[0]


def find_source(path: Path) -> tuple[str, Path]:
    """The format at a path, and the file or folder to read, such as the COCO JSON in a folder.

    It is a folder where several files in it are splits; see `tagbox.data.stated_splits.stated_splits`.
    """
    require_path(path)
    if os.path.isfile(path):
        return _of_file(path), path
    return _of_folder(path)


def require_path(path: Path) -> None:
    """Raise ``file-missing`` when there is no file or folder `path`, ``file-unreadable`` where rights are lacking."""
    require_rights(path, listed=True)
    if not os.path.exists(path):
        raise TagboxError(
            "file-missing", "no such file or folder", file=path, hint="check the path"
        )
    if not (os.path.isfile(path) or os.path.isdir(path)):
        raise not_ordinary(path)


def _of_file(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return "csv"
    if suffix in (".yaml", ".yml"):
        return "yolo"
    if suffix == ".xml":
        one = is_voc(path)
        raise TagboxError(
            "format-unknown",
            "this is one Pascal VOC file" if one else "this XML is not Pascal VOC",
            file=path,
            hint=f"point at its folder {path.parent}" if one else "export it as COCO JSON",
        )
    found = json_kind(path)
    if found in ("coco", "labels"):
        return found
    if suffix == ".json":
        keys = _top_level_keys(path)
        if {"images", "annotations"} & set(keys):
            return "coco"
        hints = {
            "labelme": f"this is one labelme file; point at its folder {path.parent}",
            **_FOREIGN,
        }
        raise TagboxError(
            "format-unknown",
            "this JSON is neither a COCO file (images, annotations, categories) nor labels such "
            'as {"000000000139": [56, 60]}' + (f"; its keys are {some(keys)}" if keys else ""),
            file=path,
            hint=hints.get(found, "check that it is the annotations file, or give its --format"),
        )
    raise TagboxError(
        "format-unknown",
        "a dataset is a COCO JSON, a labels JSON, a CSV, a data.yaml, or a folder",
        file=path,
        hint=next((hint for ends, hint in _OTHERS.items() if suffix in ends), _CHECK_PATH),
    )


_CHECK_PATH = "check the path, or give its --format"
_OTHERS = {
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


def json_kind(path: Path) -> str:
    """``coco``, ``labels``, ``labelme``, a key of `_FOREIGN`, or ``""`` by a file's first bytes."""
    try:
        with open_file(path) as opened:
            head = opened.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise cannot_read(path, error) from error
    if _COCO_KEY.match(head) and (len(head) >= _HEAD - 3 or _COCO_LIST.search(head)):
        return "coco"
    if head[:1] == b"{" and is_labelme(path):
        return "labelme"
    if _LABELS.match(head):
        return "labels"
    # Exporters may write keys of their own first.
    if head.lstrip()[:1] == b"{" and _COCO_LIST.search(head):
        return "coco"
    return _foreign_kind(head)


_FOREIGN = {
    "results": "this is a list of detections, not a dataset; it is read as predictions",
    "label studio": "these are Label Studio's tasks; export them as COCO or YOLO",
    "createml": "this is CreateML's form; export the dataset as COCO or YOLO",
    "via": "this is a project of the VGG Image Annotator; export its annotations as COCO",
}
"""What to do with JSON of other tools, by its kind."""


def _foreign_kind(head: bytes) -> str:
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


def _top_level_keys(path: Path) -> list[str]:
    """Keys of a JSON object; none for another JSON value. Raises for what is not JSON."""
    try:
        return list(decode_json(read_json_content(path), path, dict[str, msgspec.Raw]))
    except msgspec.ValidationError:
        return []


def _of_folder(path: Path) -> tuple[str, Path]:
    coco = coco_files(path)
    if len(coco) > 1 and coco_splits(coco):
        return "coco", path
    if len(coco) > 1:
        raise TagboxError(
            "format-ambiguous",
            f"it holds {len(coco)} COCO files: {some([str(f.relative_to(path)) for f in coco])}",
            file=path,
            hint="point at one of them",
        )
    if coco:
        return "coco", coco[0]
    if label_folders(challenge_root(path)):
        return "cls", path
    pictures = list_images(path)
    if (find_yaml(path) or find_names(path)) and _has_label_files(path, pictures[:1000]):
        return "yolo", path
    if any(is_labelme(file) for file in find_files(path, ".json", below=True)):
        return "labelme", path
    if any(is_voc(file) for file in find_files(path, ".xml", below=True)):
        return "voc", path
    _refuse_supervisely(path)
    tables = find_files(path, ".csv")
    if len(tables) == 1:
        return "csv", tables[0]
    if table_splits(path):
        return "csv", path
    described = find_yaml(path)
    if described is not None and described.parent == path:
        return "yolo", path
    inner = visible_folders(path)
    if len(inner) == 1 and not any("/" not in name for name in pictures):
        # An archive may unpack into one folder.
        with suppress(TagboxError):
            return _of_folder(inner[0])
    classes = find_classes(path, pictures)
    if classes is not None:
        return "folders", classes
    for entry in inner:
        require_rights(entry, listed=True)
    for file in find_files(path, ".xml"):
        _of_file(file)
    looked = (
        "a COCO JSON (beside or in annotations/)",
        ".cls files (beside, in labels/ or labels/train/)",
        f"a YOLO data.yaml or {NAMES_FILES[0]} with label files",
        "labelme JSON files",
        "Pascal VOC XML files",
        "one CSV",
        "a folder a class",
    )
    found = f"{len(pictures):,} pictures" if pictures else "no pictures"
    raise TagboxError(
        "format-unknown",
        f"no dataset recognised in it ({found}); looked for {', '.join(looked)}",
        file=path,
        hint="point at the annotations or give the --format",
    )


def _has_label_files(path: Path, pictures: Sequence[str]) -> bool:
    """Whether an image has a YOLO label file, or any is in a folder ``labels`` where one would be."""
    sources = [label_file(path, name) for name in pictures]
    folders = dict.fromkeys(source.parent for source in sources if "labels" in source.parent.parts)
    return any(os.path.isfile(source) for source in sources) or any(
        name.lower().endswith(".txt") and name not in NAMES_FILES
        for folder in folders
        if os.path.isdir(folder)
        for name in os.listdir(folder)
    )


def coco_files(folder: Path) -> list[Path]:
    """COCO JSON files in a folder, else in its ``annotations``, else those of Roboflow in its subfolders."""
    for candidate in (folder, folder / "annotations"):
        found = [file for file in find_files(candidate, ".json") if json_kind(file) == "coco"]
        if found:
            return found
    inner = visible_folders(folder)
    files = [entry / "_annotations.coco.json" for entry in inner]
    found = [file for file in files if os.path.isfile(file) and json_kind(file) == "coco"]
    for entry in inner if found else ():
        require_rights(entry)
    return found


def challenge_root(path: Path) -> Path:
    """`path`, or the only folder in it, which an unpacked archive may consist of."""
    if label_folders(path):
        return path
    inner = [entry for entry in path.iterdir() if not entry.name.startswith((".", "__"))]
    return inner[0] if len(inner) == 1 and inner[0].is_dir() else path


def label_folders(folder: Path) -> dict[str, Path]:
    """Split name (``""`` without splits) to the folder of its ``.cls`` files."""
    labels = folder / "labels"
    if os.path.isdir(labels):
        splits = {
            entry.name: entry
            for entry in sorted(labels.iterdir())
            if entry.is_dir() and _has_cls(entry)
        }
        if splits:
            return splits
        if _has_cls(labels):
            return {"": labels}
    return {"": folder} if _has_cls(folder) else {}


def _has_cls(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(".cls") for entry in entries)


def find_yaml(folder: Path) -> Path | None:
    """The ``data.yaml`` in a folder or up to two above it, or the only other YAML with names in the folder."""
    for candidate in (folder, folder.parent, folder.parent.parent):
        found = _first_file(candidate, YAML_NAMES)
        if found is not None:
            return found
        others = sorted(candidate.glob("*.y*ml")) if candidate == folder else []
        others = [other for other in others if "names:" in read_text(other)]
        if len(others) == 1:
            return others[0]
    return None


def find_names(folder: Path) -> Path | None:
    """The ``classes.txt`` in a folder, in its ``labels``, or up to two above it."""
    folders = (folder, folder / "labels", folder.parent, folder.parent.parent)
    found = (_first_file(candidate, NAMES_FILES) for candidate in folders)
    return next((file for file in found if file is not None), None)


def _first_file(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if os.path.isfile(folder / name)), None)


def label_file(root: Path, name: str) -> Path:
    """The label file of an image: its path with ``labels`` for the last folder ``images``."""
    parts = list((root / name).with_suffix(".txt").parts)
    positions = [position for position, part in enumerate(parts[:-1]) if part == "images"]
    if positions:
        parts[positions[-1]] = "labels"
    return Path(*parts)


def is_labelme(path: Path) -> bool:
    """Whether a JSON file has the keys of labelme in its first or last 4 kB, or may have: it cannot be opened."""
    try:
        with open_file(path) as opened:
            head = opened.read(4096)
            opened.seek(max(0, opened.seek(0, os.SEEK_END) - 4096))
            tail = opened.read(4096)
    except OSError as error:
        return is_refused(error)
    return b'"shapes"' in head or (b'"imagePath"' in tail and b'"imageData"' in head + tail)


def is_voc(path: Path) -> bool:
    """Whether a file begins as Pascal VOC's XML, or may: it cannot be opened; CVAT's own begins with ``annotations``."""
    try:
        with open_file(path) as opened:
            head = opened.read(4096)
    except OSError as error:
        if is_refused(error):
            return True
        raise cannot_read(path, error) from error
    return bool(re.search(rb"<annotation[\s>]", head.replace(b"\0", b"")))


def _refuse_supervisely(path: Path) -> None:
    """Raise ``format-unknown`` for a project of Supervisely: ``meta.json``, and ``ann`` beside ``img``."""
    if not (path / "meta.json").is_file() and not (path.parent / "meta.json").is_file():
        return
    if any((ann.parent / "img").is_dir() for depth in ("ann", "*/ann") for ann in path.glob(depth)):
        raise TagboxError(
            "format-unknown",
            "this is a project of Supervisely, which is not read",
            file=path,
            hint="export it as COCO or Pascal VOC",
        )
