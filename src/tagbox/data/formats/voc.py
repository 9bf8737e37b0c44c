"""Pascal VOC: an XML file of boxes for each image, in ``Annotations`` or beside the images, and lists in ``ImageSets``.

https://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from unicodedata import normalize
from xml.etree.ElementTree import Element, SubElement, TreeBuilder, tostring
from xml.parsers.expat import ExpatError, ParserCreate

import numpy as np

from tagbox.data.dataset import Annotations, Categories, Dataset, Note
from tagbox.data.formats.common import (
    Report,
    build_dataset,
    label_without_image,
    not_listed,
    read_names,
    refuse,
    require_known_labels,
    write_small,
)
from tagbox.data.image_files import flat_names, list_images
from tagbox.data.recognise import is_voc
from tagbox.data.record_pixels import image_sizes
from tagbox.data.split_names import role, role_of_path
from tagbox.errors import TagboxError
from tagbox.files import cannot_read, find_files, read_file
from tagbox.text_files import read_text

_MOST_BYTES, _MOST_DEPTH = 1 << 26, 32
_NOT_XML = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

Xywh = tuple[float, float, float, float]


class Shape(NamedTuple):
    """An object: its category, its box if it has one, and whether it is difficult."""

    name: str
    box: Xywh | None
    difficult: bool


class File(NamedTuple):
    """What is read of an XML file."""

    filename: str
    size: tuple[int, int]
    shapes: list[Shape]


def read_voc(
    path: Path,
    images: Path | None = None,
    names: Path | None = None,
    report: Report = refuse,
    split: str | None = None,
) -> Dataset:
    """Read every VOC file below a folder.

    A difficult object becomes a crowd region: as in VOC's own evaluation it is neither to be found nor an error.
    Images without an XML file are unlabelled.

    Parameters
    ----------
    path
        The folder that holds ``Annotations`` and ``JPEGImages``, or XML files beside their images.
    images
        Folder of the images.
    names
        Category names in order; alphabetical when not given.
    report
        Called with each fault after which reading can go on; raises it unless given.
    split
        One of `voc_splits`; all images when not given.

    Raises
    ------
    TagboxError
        ``xml-syntax``, ``voc-field`` with the object, ``unknown-category``, ``label-without-image``,
        ``image-ambiguous``, ``file-missing`` for an image of a list in ``ImageSets`` without an XML file.
    """
    records: dict[Path, File] = {}
    for source in voc_files(path):
        try:
            records[source] = read_voc_file(source, report)
        except TagboxError as fault:
            report(fault)
    found = {shape.name for record in records.values() for shape in record.shapes}
    known = read_names(names) if names is not None else tuple(sorted(found))
    row_of = {name: row for row, name in enumerate(known)}
    root = images or path
    pictures = list_images(root)
    chosen = None if split is None else voc_splits(path)[split]
    index = _index(pictures)
    files: dict[str, Path] = {}
    objects: list[tuple[int, int, Xywh | None, bool]] = []
    missing = []
    for source, record in records.items():
        if chosen is not None and source not in chosen:
            continue
        try:
            name = _picture_of(source, record, path, index)
        except TagboxError as fault:
            report(fault)
            continue
        if name is None:
            missing.append(source)
            name = record.filename or f"{source.stem}.jpg"
        image = len(files)
        files[name] = source
        for shape in record.shapes:
            if shape.name not in row_of:
                report(not_listed(f"the object {shape.name!r}", shape.name, known, source))
                continue
            objects.append((image, row_of[shape.name], shape.box, shape.difficult))
    if missing and pictures:
        report(label_without_image(missing[0], [file.name for file in missing], root))
    others = [] if chosen is not None else [name for name in pictures if name not in files]
    sizes = [records[source].size for source in files.values()] + [(0, 0)] * len(others)
    difficult = np.array([is_difficult for *_, is_difficult in objects], bool)
    annotations = Annotations.from_labels(
        np.array([image for image, *_ in objects], np.int32),
        np.array([category for _, category, *_ in objects], np.int32),
        np.array([box or (np.nan,) * 4 for *_, box, _ in objects], np.float64).reshape(-1, 4),
    )
    notes = []
    if difficult.any():
        count = int(difficult.sum())
        notes.append(Note("difficult-as-crowd", f"{count:,} difficult objects are read as crowd"))
    return build_dataset(
        path=path,
        format="voc",
        root=root,
        files=[*files, *others],
        categories=Categories.from_names(known),
        annotations=replace(annotations, crowd=difficult),
        labelled=[True] * len(files) + [False] * len(others),
        sizes=np.array(sizes, np.int32).reshape(-1, 2),
        notes=notes,
    )


def voc_files(folder: Path) -> list[Path]:
    """The VOC files below `folder`, sorted."""
    return [path for path in find_files(folder, ".xml", below=True) if is_voc(path)]


def voc_splits(path: Path) -> dict[str, set[Path]]:
    """Split to its XML files: by the lists in ``ImageSets/Main``, else by folders such as ``train`` and ``val``.

    The lists are in `path` or beside the folders of XML files, such as in ``VOCdevkit/VOC2007``; those of several such folders are one
    split. Without a list ``train``, ``trainval`` is it. A list of another name, such as CVAT's ``default``, is a split
    if it has images that are in no other.
    """
    sources = voc_files(path)
    found: dict[str, set[Path]] = {}
    for folder in sorted({path, *(source.parent.parent for source in sources)}):
        for name, listed in _listed_splits(folder, sources).items():
            found[name] = found.get(name, set()) | listed
    if found:
        return found
    sides: dict[str, set[Path]] = {}
    for source in sources:
        side = role_of_path(source.relative_to(path).as_posix())
        if side is not None:
            sides.setdefault(side, set()).add(source)
    return sides if len(sides) > 1 else {}


def _listed_splits(folder: Path, sources: list[Path]) -> dict[str, set[Path]]:
    """Split to its XML files by the lists in ``ImageSets/Main`` of `folder`; no split without one named as such."""
    texts = {file: read_text(file) for file in find_files(folder / "ImageSets/Main", ".txt")}
    lists = {
        file.stem: (
            file,
            [normalize("NFC", line.strip()) for line in text.splitlines() if line.strip()],
        )
        for file, text in texts.items()
    }
    named = [name for name in lists if role(name)]
    if "trainval" in lists and not any(role(name) == "train" for name in named):
        named.append("trainval")
    if not named:
        return {}
    own = [source for source in sources if folder in source.parents]
    files = {normalize("NFC", source.stem): source for source in own}
    for source in own:
        below = source.relative_to(folder).with_suffix("").as_posix().partition("/")[2]
        files[normalize("NFC", below)] = source
    found: dict[str, set[Path]] = {}
    for name in named:
        file, lines = lists[name]
        lacking = [line for line in lines if line not in files]
        if lacking:
            raise TagboxError(
                "file-missing",
                f"there is no annotation of {lacking[0]!r} ({len(lacking):,} of {len(lines):,} are not there)",
                file=file,
                hint="restore the XML files, or correct the list",
            )
        found["train" if name == "trainval" else name] = {files[line] for line in lines}
    known = set().union(*found.values())
    for name in lists.keys() - set(named):
        # Lists of one category have a second column.
        listed = {files[line] for line in lists[name][1] if line in files}
        if listed - known and not listed & known:
            found[name] = listed
    return found


def read_voc_file(path: Path, report: Report = refuse) -> File:
    """Read one XML file.

    Boxes are taken as written, but VOC's own files count pixels from 1: theirs are moved.

    Raises
    ------
    TagboxError
        ``xml-syntax``, also for a document type, which could define entities; ``voc-field``.
    """
    root = _parse(path)
    size = root.find("size")
    width, height = (int(_number(size, side) or 0) for side in ("width", "height"))
    first = 1.0 if (root.findtext("source/database") or "").startswith("The VOC") else 0.0
    shapes = []
    for position, item in enumerate(root.findall("object")):
        place = f"object {position + 1}"
        name = (item.findtext("name") or "").strip()
        box = item.find("bndbox")
        sides = [_number(box, side) for side in ("xmin", "ymin", "xmax", "ymax")]
        fault = None
        if not name:
            fault = "it has no name"
        elif box is not None and None in sides:
            fault = "its bndbox lacks xmin, ymin, xmax or ymax as a number"
        xmin, ymin, xmax, ymax = (side or 0.0 for side in sides)
        if fault is None and box is not None and (xmax < xmin or ymax < ymin):
            fault = f"its box ends at {xmax:g}, {ymax:g} before it begins at {xmin:g}, {ymin:g}"
        if fault is not None:
            report(
                TagboxError("voc-field", fault, file=path, where=place, hint="correct the object")
            )
            continue
        corner = xmin - first, ymin - first
        whole = None if box is None else (*corner, xmax - corner[0], ymax - corner[1])
        shapes.append(Shape(name, whole, (item.findtext("difficult") or "").strip() == "1"))
    filename = (root.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    return File(filename, (max(0, width), max(0, height)), shapes)


def _number(parent: Element | None, tag: str) -> float | None:
    """The finite number in a child element, if there is one that an image may have."""
    try:
        value = float((None if parent is None else parent.findtext(tag)) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e8 else None


def _parse(path: Path) -> Element:
    """The root of an XML file without a document type, so that no entity is ever expanded or fetched."""
    builder, parser = TreeBuilder(), ParserCreate()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _MOST_DEPTH:
            raise _syntax(path, f"more than {_MOST_DEPTH} elements are inside each other")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def document_type(*_: object) -> None:
        raise _syntax(path, "it has a document type (DOCTYPE)")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = document_type
    try:
        parser.Parse(read_file(path, _MOST_BYTES), True)
    except ExpatError as error:
        raise _syntax(path, f"this is not XML: {error}") from error
    except (ValueError, LookupError) as error:
        raise _syntax(path, f"its encoding cannot be read: {error}") from error
    except OSError as error:
        raise cannot_read(path, error) from error
    return builder.close()


def _syntax(path: Path, found: str) -> TagboxError:
    return TagboxError("xml-syntax", found, file=path, hint="export the file again")


def _index(pictures: list[str]) -> dict[str, list[str]]:
    """Base name, and stem, to the images of that name, as they are and after a zero byte without case and form."""
    index: dict[str, list[str]] = {}
    for name in pictures:
        base = PurePosixPath(name)
        for key in {base.name, base.stem}:
            index.setdefault(key, []).append(name)
            index.setdefault(_folded(key), []).append(name)
    return index


def _folded(name: str) -> str:
    return "\0" + normalize("NFC", name).casefold()


def _picture_of(source: Path, record: File, path: Path, index: dict[str, list[str]]) -> str | None:
    """The image of an XML file: of the same name, else as it says; of several one of the same split or folder."""
    names = (source.stem, record.filename)
    same, said = (index.get(name) or index.get(_folded(name), []) for name in names)
    candidates = same or said
    beside = source.parent.relative_to(path).as_posix()
    if len(candidates) > 1:
        parent = [n for n in candidates if os.path.dirname(n) == ("" if beside == "." else beside)]
        side = role_of_path(f"{beside}/x")
        candidates = parent or [n for n in candidates if role_of_path(n) == side]
    if len(candidates) > 1:
        both = set(candidates) & set(said)
        candidates = list(both) if len(both) == 1 else candidates
    if len(candidates) > 1 or (said and same and not set(said) & set(same)):
        one, other = (candidates if len(candidates) > 1 else [*candidates, *said])[:2]
        raise TagboxError(
            "image-ambiguous",
            f"its picture may be {one!r} or {other!r}",
            file=source,
            where="filename",
            hint="give the file the name of its picture",
        )
    return candidates[0] if candidates else None


def write_voc(dataset: Dataset, folder: Path) -> None:
    """Write ``Annotations/*.xml`` into `folder`; the images belong in ``JPEGImages``, named by `flat_names`.

    Crowd regions are marked difficult; an annotation without a box has none.

    Raises
    ------
    TagboxError
        ``labels-unknown``; ``name-unwritable`` for a category name that XML cannot hold; ``cannot-write``.
    """
    require_known_labels(dataset, "Pascal VOC files")
    for name in dataset.categories.names:
        if _NOT_XML.search(name) or name != name.strip() or not name:
            raise TagboxError(
                "name-unwritable",
                f"the category name {name!r} cannot be written in XML",
                file=dataset.source.path,
                hint="rename it with --mapping, or choose another format",
            )
    pictures = flat_names(dataset.images.files.tolist())
    annotations, starts = dataset.annotations.by_image(len(dataset))
    labelled = np.flatnonzero(dataset.images.labelled)
    sizes = image_sizes(dataset, labelled).astype(int).tolist()
    for image in labelled.tolist():
        root = Element("annotation")
        _add(root, "filename", _NOT_XML.sub("_", pictures[image]))
        size = SubElement(root, "size")
        for tag, value in zip(("width", "height"), sizes[image], strict=True):
            _add(size, tag, value)
        _add(size, "depth", 3)
        for row in range(starts[image], starts[image + 1]):
            item = SubElement(root, "object")
            _add(item, "name", dataset.categories.names[annotations.category_rows[row]])
            _add(item, "difficult", int(annotations.crowd[row]))
            if annotations.has_box[row]:
                x, y, w, h = annotations.boxes[row].tolist()
                box = SubElement(item, "bndbox")
                for tag, value in (("xmin", x), ("ymin", y), ("xmax", x + w), ("ymax", y + h)):
                    _add(box, tag, f"{value:.10g}")
        target = folder / "Annotations" / f"{Path(pictures[image]).stem}.xml"
        write_small(target, tostring(root, encoding="utf-8"))


def _add(parent: Element, tag: str, value: Any) -> None:
    SubElement(parent, tag).text = str(value)
