"""Recognition of the format of a dataset, from file names and first bytes without reading all of it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from tagbox.data.formats.challenge import challenge_root, label_folders
from tagbox.data.formats.labelme import is_labelme
from tagbox.data.formats.yolo import NAMES_FILES, find_names, find_yaml, label_file
from tagbox.data.image_files import list_images
from tagbox.data.json_files import mapped, syntax_error
from tagbox.data.text import cannot_read, some
from tagbox.errors import TagboxError

_HEAD = 65536
_COCO_KEY = re.compile(rb'\s*\{\s*"(images|annotations|categories|info|licenses|type)"\s*:')
_COCO_LIST = re.compile(rb'"(images|annotations)"\s*:\s*\[')
_LABELS = re.compile(rb'\s*\{\s*("(?:[^"\\]|\\.)*"\s*:\s*\[\s*(?:-?[\d.]|\])|\})')
_LAYOUT_FOLDERS = {"images", "labels", "annotations", "train", "val", "valid", "test"}


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
    """The format at a path, and the file or folder to read, such as the COCO JSON in a folder."""
    require_path(path)
    if path.is_file():
        return _of_file(path), path
    return _of_folder(path)


def require_path(path: Path) -> None:
    """Raise ``file-missing`` when there is no file or folder `path`."""
    if not path.exists():
        raise TagboxError(
            "file-missing", "no such file or folder", file=path, hint="check the path"
        )


def _of_file(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return "csv"
    if suffix in (".yaml", ".yml"):
        return "yolo"
    found = json_kind(path)
    if found in ("coco", "labels"):
        return found
    if suffix == ".json":
        keys = _top_level_keys(path)
        if {"images", "annotations"} & set(keys):
            return "coco"
        hints = {
            "labelme": f"this is one labelme file; point at its folder {path.parent}",
            "results": "this is a list of detections, not a dataset; it is read as predictions",
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
        hint="check the path, or give its --format",
    )


def json_kind(path: Path) -> str:
    """``coco``, ``labels``, ``labelme``, ``results`` (a list), or ``""`` by a file's first bytes."""
    try:
        with open(path, "rb") as opened:
            head = opened.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise cannot_read(path, error) from error
    if _COCO_KEY.match(head):
        return "coco"
    if head[:1] == b"{" and is_labelme(path):
        return "labelme"
    if _LABELS.match(head):
        return "labels"
    # Exporters may write keys of their own first.
    if head.lstrip()[:1] == b"{" and _COCO_LIST.search(head):
        return "coco"
    return "results" if head.lstrip()[:1] == b"[" else ""


def _top_level_keys(path: Path) -> list[str]:
    """Keys of a JSON object; none for another JSON value. Raises for what is not JSON."""
    with mapped(path) as content:
        try:
            return list(msgspec.json.decode(content, type=dict[str, msgspec.Raw]))
        except msgspec.ValidationError:
            return []
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise syntax_error(error, content, path) from error


def _of_folder(path: Path) -> tuple[str, Path]:
    coco = coco_files(path)
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
    if (find_yaml(path) or find_names(path)) and any(
        label_file(path, name).is_file() for name in pictures[:1000]
    ):
        return "yolo", path
    if any(is_labelme(file) for file in path.rglob("*.json")):
        return "labelme", path
    tables = sorted(path.glob("*.csv"))
    if len(tables) == 1:
        return "csv", tables[0]
    described = find_yaml(path)
    if described is not None and described.parent == path:
        return "yolo", path
    classes = {name.partition("/")[0] for name in pictures if "/" in name}
    if classes and not classes & _LAYOUT_FOLDERS:
        return "folders", path
    looked = (
        "a COCO JSON (beside or in annotations/)",
        ".cls files (beside, in labels/ or labels/train/)",
        f"a YOLO data.yaml or {NAMES_FILES[0]} with label files",
        "labelme JSON files",
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


def coco_files(folder: Path) -> list[Path]:
    """COCO JSON files in a folder, else in its ``annotations``, else those of Roboflow in its subfolders."""
    for candidate in (folder, folder / "annotations"):
        found = [file for file in sorted(candidate.glob("*.json")) if json_kind(file) == "coco"]
        if found:
            return found
    return [
        file
        for file in sorted(folder.glob("*/_annotations.coco.json"))
        if json_kind(file) == "coco"
    ]
