"""A folder of labelme JSON files, one beside each image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from tagbox.data.dataset import Annotations, Categories, Dataset
from tagbox.data.formats.common import (
    Report,
    build_dataset,
    not_listed,
    read_names,
    refuse,
    require_known_labels,
    write_small,
)
from tagbox.data.image_files import IMAGE_SUFFIXES, check_relative, flat_names, list_images
from tagbox.data.name_matching import match_names
from tagbox.data.recognise import is_labelme
from tagbox.errors import TagboxError
from tagbox.files import find_files
from tagbox.paths import leads_outside
from tagbox.text_files import read_json_as
from tagbox.text_output import encode_json

_Coordinate = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
_Pixels = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Shape(msgspec.Struct):
    """A drawn shape, of which the box is kept."""

    label: str
    points: list[tuple[_Coordinate, _Coordinate]]
    shape_type: str = "polygon"

    def box(self) -> tuple[float, float, float, float] | None:
        """Xywh around the shape; None for a point."""
        points = np.array(self.points, np.float64).reshape(-1, 2)
        if self.shape_type == "circle" and len(points) == 2:
            radius = float(np.hypot(*(points[1] - points[0])))
            points = np.array([points[0] - radius, points[0] + radius])
        if len(points) < 2 or self.shape_type in ("point", "points"):
            return None
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        return left, top, right - left, bottom - top


class File(msgspec.Struct):
    """What is read of a file; an image embedded as ``imageData`` is ignored."""

    shapes: list[Shape]
    imagePath: str  # noqa: N815, the format's own spelling
    imageWidth: _Pixels | None = None  # noqa: N815
    imageHeight: _Pixels | None = None  # noqa: N815
    flags: dict[str, bool] | None = None


def read_labelme(
    path: Path, images: Path | None = None, names: Path | None = None, report: Report = refuse
) -> Dataset:
    """Read every ``*.json`` with ``shapes`` under a folder.

    The categories of an image are those of its shapes and of the flags that are set. Shapes become the
    boxes around them; points have no box. Images without a JSON file are unlabelled.

    Parameters
    ----------
    path
        The folder.
    images
        Folder of the images; else they are beside their JSON files, where ``imagePath`` leads to (not out
        of the parent of the folder), in ``images/``, or in ``../images``.
    names
        Category names in order; alphabetical when not given.
    report
        Called with each fault after which reading can go on; raises it unless given.

    Raises
    ------
    TagboxError
        ``json-syntax``, ``json-number``, ``labelme-field`` with the path of the value,
        ``file-name-outside``, ``unknown-category`` for a label that `names` does not list,
        ``duplicate-image`` when two files describe one image.
    """
    sources = labelme_files(path)
    if not sources:
        raise TagboxError(
            "format-unknown", "there is no labelme JSON in it", file=path, hint="check the path"
        )
    records: dict[Path, File] = {}
    for source in sources:
        try:
            records[source] = read_labelme_file(source)
        except TagboxError as fault:
            report(fault)
    root = images or _root(path, records)
    found = {label for record in records.values() for label in _labels(record)}
    known = read_names(names) if names is not None else tuple(sorted(found))
    row_of = {name: row for row, name in enumerate(known)}
    files: dict[str, Path] = {}
    image_rows: list[int] = []
    category_rows: list[int] = []
    boxes: list[tuple[float, float, float, float] | None] = []
    drawn: list[bool] = []
    there = list_images(root)
    for source, record in records.items():
        try:
            name = _image_file(source, record, path, root, there)
        except TagboxError as fault:
            report(fault)
            continue
        if name in files:
            report(
                TagboxError(
                    "duplicate-image",
                    f"{str(files[name].name)!r} describes the same picture {name!r}",
                    file=source,
                    where="imagePath",
                    hint="keep one of the two files",
                )
            )
            continue
        image = len(files)
        files[name] = source
        objects = [(s.label, s.box(), s.shape_type != "rectangle") for s in record.shapes]
        objects += [
            (label, None, False) for label, is_set in (record.flags or {}).items() if is_set
        ]
        for label, box, is_drawn in objects:
            if label not in row_of:
                report(not_listed(f"the label {label!r}", label, known, source))
                continue
            image_rows.append(image)
            category_rows.append(row_of[label])
            boxes.append(box)
            drawn.append(is_drawn)
    used = [records[source] for source in files.values()]
    sizes = [(r.imageWidth or 0, r.imageHeight or 0) for r in used]
    others = [name for name in there if name not in files]
    return build_dataset(
        path=path,
        format="labelme",
        root=root,
        files=[*files, *others],
        categories=Categories.from_names(known),
        annotations=Annotations.from_labels(
            np.array(image_rows, np.int32),
            np.array(category_rows, np.int32),
            np.array([b or (np.nan,) * 4 for b in boxes], np.float64).reshape(-1, 4),
        ),
        labelled=[True] * len(files) + [False] * len(others),
        sizes=np.array([*sizes, *[(0, 0)] * len(others)], np.int32).reshape(-1, 2),
        reduced={
            "shapes other than rectangles, of which the boxes are kept": np.array(drawn, bool)
        },
    )


def read_labelme_file(path: Path) -> File:
    """Read one file.

    Raises
    ------
    TagboxError
        ``json-syntax``, ``json-number``, ``labelme-field``.
    """
    return read_json_as(
        path, File, "labelme-field", "open the picture in labelme and save it again"
    )


def labelme_files(folder: Path) -> list[Path]:
    """The JSON files under `folder` that look like labelme's, sorted."""
    return [path for path in find_files(folder, ".json", below=True) if is_labelme(path)]


def write_labelme(dataset: Dataset, folder: Path) -> None:
    """Write a labelme file per labelled image into `folder`: boxes as rectangles, other labels as flags.

    The images belong beside them, named by `tagbox.data.image_files.flat_names`. The flags of each file
    name all categories, so that none is lost when the files are read again.

    Raises
    ------
    TagboxError
        ``labels-unknown``, ``cannot-write``.
    """
    names = dataset.categories.names
    require_known_labels(dataset, "labelme files")
    pictures = flat_names(dataset.images.files.tolist())
    annotations, starts = dataset.annotations.by_image(len(dataset))
    for image in np.flatnonzero(dataset.images.labelled).tolist():
        shapes: list[dict[str, Any]] = []
        flags = dict.fromkeys(names, False)
        for row in range(starts[image], starts[image + 1]):
            name = names[annotations.category_rows[row]]
            if not annotations.has_box[row]:
                flags[name] = True
                continue
            x, y, w, h = annotations.boxes[row].tolist()
            shapes.append(
                {
                    "label": name,
                    "points": [[x, y], [x + w, y + h]],
                    "group_id": None,
                    "shape_type": "rectangle",
                    "flags": {},
                }
            )
        record = {
            "version": "5.0.0",
            "flags": flags,
            "shapes": shapes,
            "imagePath": pictures[image],
            "imageData": None,
            "imageHeight": int(dataset.images.heights[image]) or None,
            "imageWidth": int(dataset.images.widths[image]) or None,
        }
        target = folder / f"{Path(pictures[image]).stem}.json"
        write_small(target, msgspec.json.format(encode_json(record), indent=2))


def _root(path: Path, records: dict[Path, File]) -> Path:
    """The folder of the first file's image: `path` when the image is below it or is not found.

    Searched are the folder of the file, the one that ``imagePath`` leads to from there if it is in the parent
    of `path`, ``images/`` and ``../images``.
    """
    if not records:
        return path
    source, record = next(iter(records.items()))
    name = record.imagePath.replace("\\", "/")
    base = name.rpartition("/")[2]
    if os.path.isfile(source.parent / base):
        return path
    led = Path(os.path.abspath(source.parent / name))
    if os.path.isfile(led) and led.is_relative_to(os.path.abspath(path)):
        return path
    if os.path.isfile(led) and led.is_relative_to(os.path.abspath(path / "..")):
        return led.parent
    folders = (path / "images", path.parent / "images")
    return next((folder for folder in folders if os.path.isfile(folder / base)), path)


def _labels(record: File) -> list[str]:
    return [shape.label for shape in record.shapes] + list(record.flags or {})


def _image_file(source: Path, record: File, path: Path, root: Path, files: list[str]) -> str:
    """Path of the image relative to `root`, one of the `files` there if it is found."""
    name = record.imagePath.replace("\\", "/")
    beside = source.parent.relative_to(path)
    base = name.rpartition("/")[2]
    led = os.path.normpath(beside / name)
    for candidate in ((beside / base).as_posix(), base, Path(led).as_posix()):
        if not leads_outside(candidate) and os.path.isfile(root / candidate):
            return candidate
    wanted = (beside / base).as_posix()
    found = match_names([wanted], files, IMAGE_SUFFIXES, anywhere=True)
    if wanted not in found:
        check_relative([record.imagePath], source, "imagePath")
    return found.get(wanted, (beside / name).as_posix())
