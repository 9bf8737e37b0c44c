"""Recognition of the format of a dataset, from file names and first bytes without reading all of it.

The layouts of folders, which the readers of the formats use as well, are at the end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tagbox.data.folder_layouts import (
    coco_splits,
    find_classes,
    names_images,
    table_splits,
)
from tagbox.data.image_files import list_images, visible_folders
from tagbox.data.name_matching import spelt_path
from tagbox.data.other_formats import (
    CHECK_PATH,
    OTHER_FILES,
    OTHER_JSON,
    OTHER_XML,
    looks_like_yolo,
    other_json_kind,
    refuse_supervisely,
    xml_kind,
)
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
_FEW = 20
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
            hint=f"point at its folder {path.parent}" if one else OTHER_XML[xml_kind(path)],
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
            **OTHER_JSON,
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
        hint=next((hint for ends, hint in OTHER_FILES.items() if suffix in ends), CHECK_PATH),
    )


def json_kind(path: Path) -> str:
    """``coco``, ``labels``, ``labelme``, a key of `OTHER_JSON`, or ``""`` by a file's first bytes."""
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
    return other_json_kind(head)


def _top_level_keys(path: Path) -> list[str]:
    """Keys of a JSON object; none for another JSON value. Raises for what is not JSON."""
    try:
        return list(decode_json(read_json_content(path), path, dict[str, msgspec.Raw]))
    except msgspec.ValidationError:
        return []


def _of_folder(path: Path) -> tuple[str, Path]:
    coco = coco_files(path)
    if coco:
        return "coco", coco[0] if len(coco) == 1 else _coco_splits(path, coco)
    if label_folders(challenge_root(path)):
        return "cls", path
    pictures = list_images(path)
    if (find_yaml(path) or find_names(path)) and _has_label_files(path, pictures[:1000]):
        return "yolo", path
    if any(is_labelme(file) for file in find_files(path, ".json", below=True)):
        return "labelme", path
    if any(is_voc(file) for file in find_files(path, ".xml", below=True)):
        return "voc", path
    refuse_supervisely(path)
    every = find_files(path, ".csv")
    tables = [table for table in every if names_images(table, pictures)]
    if len(every) != 1 and table_splits(path):
        return "csv", path
    if len(tables) > 1:
        raise _several("tables that name pictures", path, tables)
    if tables:
        return "csv", tables[0]
    described = find_yaml(path)
    if described is not None and described.parent == path:
        return "yolo", path
    inner = visible_folders(path)
    if len(inner) == 1 and not any("/" not in name for name in pictures):
        # An archive may unpack into one folder.
        try:
            return _of_folder(inner[0])
        except TagboxError as error:
            if error.code != "format-unknown":
                raise
    below = inner_coco_files(path)
    if below:
        return "coco", below[0] if len(below) == 1 else _coco_splits(path, below)
    _refuse_datasets(path, inner)
    classes = find_classes(path, pictures)
    if classes is not None:
        _refuse_label_files(classes)
        return "folders", classes
    if len(every) == 1:
        return "csv", every[0]
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
        hint=_other_annotations(path) or "point at the annotations or give the --format",
    )


def _coco_splits(path: Path, files: Sequence[Path]) -> Path:
    """`path`, if its COCO files are splits."""
    if not coco_splits(files):
        raise _several("COCO files", path, files)
    return path


def _several(what: str, path: Path, files: Sequence[Path]) -> TagboxError:
    return TagboxError(
        "format-ambiguous",
        f"it holds {len(files)} {what}: {some([str(file.relative_to(path)) for file in files])}",
        file=path,
        hint="point at one of them",
    )


def _refuse_datasets(path: Path, inner: Sequence[Path]) -> None:
    """Raise ``format-ambiguous`` where folders in `path` are YOLO datasets, rather than categories."""
    described = [each for each in inner if _first_file(each, YAML_NAMES + NAMES_FILES)]
    found = [each for each in described if list_images(each)]
    if found:
        raise TagboxError(
            "format-ambiguous",
            f"the folders {some([each.name for each in found])} in it are datasets of their own",
            file=path,
            hint="point at one of them",
        )


def _refuse_label_files(classes: Path) -> None:
    """Raise ``format-unknown`` where pictures in what may be folders of classes have YOLO label files."""
    names = list_images(classes)
    for source in label_files(classes, names[:: max(1, len(names) // 200)]):
        if os.path.isfile(source) and looks_like_yolo(source):
            raise TagboxError(
                "format-unknown",
                f"{source} looks like the boxes of a picture, in YOLO's form",
                file=classes,
                hint=f"name their categories in {NAMES_FILES[0]} there; --format folders takes every folder for a category",
            )


def _other_annotations(path: Path) -> str | None:
    """What to do with annotations in a folder, or in the folders in it, that are of a format which is not read."""
    for folder in (path, *visible_folders(path)[:20]):
        for file in find_files(folder, ".json")[:20]:
            kind = json_kind(file)
            if kind in OTHER_JSON:
                return f"{file.relative_to(path)}: {OTHER_JSON[kind]}"
        for file in find_files(folder, ".xml")[:20]:
            if xml_kind(file):
                return f"{file.relative_to(path)}: {OTHER_XML[xml_kind(file)]}"
    return None


def _has_label_files(path: Path, pictures: Sequence[str]) -> bool:
    """Whether an image has a YOLO label file, or any is in a folder ``labels`` where one would be."""
    sources = label_files(path, pictures)
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


def inner_coco_files(folder: Path) -> list[Path]:
    """COCO JSON files in the folders in a folder, or in their ``annotations``; not among many other JSON files."""
    found = []
    for entry in visible_folders(folder):
        for candidate in (entry, entry / "annotations"):
            files = find_files(candidate, ".json")
            if len(files) <= _FEW:
                found += [file for file in files if json_kind(file) == "coco"]
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


def label_files(root: Path, names: Sequence[str]) -> list[Path]:
    """The label file of each image: its path with ``labels`` for the last folder ``images``.

    Folders that are spelt in another case are taken where there are none of this one.
    """
    folders: dict[Path, Path] = {}
    found = []
    for name in names:
        path = root / name
        if path.parent not in folders:
            folders[path.parent] = _label_folder(path.parent)
        found.append(folders[path.parent] / path.with_suffix(".txt").name)
    return found


def _label_folder(images: Path) -> Path:
    parts = images.parts
    exact = [position for position, part in enumerate(parts) if part == "images"]
    path = Path(*parts[: exact[-1]], "labels", *parts[exact[-1] + 1 :]) if exact else images
    spelt = [position for position, part in enumerate(parts) if part.lower() == "images"]
    if not spelt or (exact and os.path.isdir(path)):
        return path
    below = "/".join(("labels", *parts[spelt[-1] + 1 :]))
    found = spelt_path(Path(*parts[: spelt[-1]]), below)
    return path if found is None else found


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
