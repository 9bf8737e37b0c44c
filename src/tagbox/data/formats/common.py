"""Parts that the formats other than COCO share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_write, cannot_write
from tagbox.data.dataset import Annotations, Categories, Dataset, Images, Note, Source
from tagbox.data.image_files import check_relative
from tagbox.data.text import near
from tagbox.errors import TagboxError
from tagbox.text_files import read_text
from tagbox.text_output import encode_text

NAMES_FILE = "classes.txt"
Report = Callable[[TagboxError], None]
"""What a reader calls with a fault after which it can go on: it raises the error, or a check collects it."""


def refuse(fault: TagboxError) -> None:
    """Raise `fault`; the default `Report`."""
    raise fault


def build_dataset(
    *,
    path: Path,
    format: str,
    root: Path,
    files: Sequence[str],
    categories: Categories,
    annotations: Annotations,
    labelled: Sequence[bool] | NDArray[np.bool_],
    sizes: NDArray[np.int32] | None = None,
    unknown: NDArray[np.int32] | None = None,
    notes: Sequence[Note] = (),
    reduced: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Dataset:
    """Build the dataset of a format without ids; `sizes` is (N, 2) width and height.

    Raises
    ------
    TagboxError
        ``file-name-outside``.
    """
    check_relative(files, path, "picture {} (counted from 0)")
    count = len(files)
    sizes = np.zeros((count, 2), np.int32) if sizes is None else sizes
    return Dataset(
        images=Images(
            ids=image_ids(files),
            files=np.array(files, dtype=np.str_).reshape(count),
            widths=sizes[:, 0],
            heights=sizes[:, 1],
            labelled=np.array(labelled, np.bool_).reshape(count),
            root=root,
        ),
        categories=categories,
        annotations=annotations,
        source=Source(
            path=path,
            format=format,
            image_positions=np.arange(count, dtype=np.int64),
            annotation_positions=np.arange(len(annotations), dtype=np.int64),
            notes=tuple(notes),
            reduced=reduced or {},
        ),
        unknown=np.zeros((0, 2), np.int32) if unknown is None else unknown,
    )


def from_label_lists(labels: Sequence[Sequence[int]]) -> Annotations:
    """An annotation without a box for each category of each image; ``labels[n]`` are the rows of image n."""
    counts = [len(rows) for rows in labels]
    return Annotations.from_labels(
        np.repeat(np.arange(len(labels), dtype=np.int32), counts),
        np.array([row for rows in labels for row in rows], np.int32),
    )


def image_ids(files: Sequence[str]) -> NDArray[np.int64]:
    """The file stems as numbers if all are unique numbers (``000000000139`` is 139), else 1..N."""
    stems = [PurePosixPath(name).stem for name in files]
    if all(stem.isascii() and stem.isdigit() and len(stem) <= 18 for stem in stems):
        ids = np.array([int(stem) for stem in stems], np.int64)
        if len(np.unique(ids)) == len(ids):
            return ids
    return np.arange(1, len(files) + 1, dtype=np.int64)


def read_names(path: Path) -> tuple[str, ...]:
    """Read category names, one a line; the number of the line from 0 is the index.

    Raises
    ------
    TagboxError
        ``names-file`` for a blank line between names or no name at all,
        ``duplicate-category-name``.
    """
    names = [line.strip() for line in read_text(path).rstrip().splitlines()]
    if not names or not all(names):
        where = f"line {names.index('') + 1}" if names else None
        raise TagboxError(
            "names-file",
            "expected a category name on every line",
            file=path,
            where=where,
            hint="write one name a line, in the order of the indices",
        )
    first: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if name in first:
            raise TagboxError(
                "duplicate-category-name",
                f"the category name {name!r} stands already in line {first[name]}",
                file=path,
                where=f"line {number}",
                hint="give every category its own name",
            )
        first[name] = number
    return tuple(names)


def not_listed(
    what: str, name: str, known: Sequence[str], path: Path, where: str | None = None
) -> TagboxError:
    """The error for a category `name` that the file of names lacks; `what` names it in the message."""
    return TagboxError(
        "unknown-category",
        f"the names file does not list {what}",
        file=path,
        where=where,
        hint=near(name, known),
    )


def require_known_labels(dataset: Dataset, form: str) -> None:
    """Raise ``labels-unknown`` when some labels are unknown, which files of this `form` cannot express."""
    if len(dataset.unknown):
        raise TagboxError(
            "labels-unknown",
            f"some labels are unknown, which {form} cannot say",
            file=dataset.source.path,
            hint="write CSV instead",
        )


def names_beside(path: Path) -> Path | None:
    """The ``classes.txt`` beside a file, if there is one."""
    beside = path.parent / NAMES_FILE
    return beside if os.path.isfile(beside) else None


def require_one_line(names: Iterable[str], what: str, format: str) -> None:
    """Refuse names that a file of lines would give back changed: with line breaks in them, or spaces around them.

    Raises
    ------
    TagboxError
        ``name-unwritable``.
    """
    for name in names:
        if len(name.splitlines()) != 1 or name != name.strip().strip("\ufeff") or "\0" in name:
            raise TagboxError(
                "name-unwritable",
                f"the {what} {name!r} has a line break in it or a space around it, and {format} would change it",
                hint="rename it, or choose the format coco",
            )


def write_names(dataset: Dataset, folder: Path) -> None:
    """Write the category names to ``classes.txt``, one a line, atomically.

    Raises
    ------
    TagboxError
        ``name-unwritable``, ``cannot-write``.
    """
    require_one_line(dataset.categories.names, "category", NAMES_FILE)
    atomic_write(folder / NAMES_FILE, "".join(f"{name}\n" for name in dataset.categories.names))


def write_small(path: Path, content: bytes | str) -> None:
    """Write one of many small files; its folder is made when missing.

    The file is not flushed to disk: many files are written into a temporary folder, which is renamed
    when it is complete.

    Raises
    ------
    TagboxError
        ``cannot-write``.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_text(content) if isinstance(content, str) else content)
    except OSError as error:
        raise cannot_write(path, error) from error


def by_stem(files: Sequence[str], folder: Path, report: Report = refuse) -> dict[str, str]:
    """Stem to file of the images in one folder; of several with the same stem the last.

    Raises
    ------
    TagboxError
        ``image-ambiguous`` when two images have the same stem.
    """
    index: dict[str, str] = {}
    for name in files:
        stem = PurePosixPath(name).stem
        if stem in index:
            report(
                TagboxError(
                    "image-ambiguous",
                    f"{index[stem]!r} and {name!r} differ only in their extension or folder",
                    file=folder,
                    hint="rename or remove one of the two",
                )
            )
        index[stem] = name
    return index


def label_without_image(path: Path, missing: Sequence[str], folder: Path) -> TagboxError:
    """The error for label files without an image; `path` is the first of them."""
    others = f" (and {len(missing) - 1:,} more label files like it)" if len(missing) > 1 else ""
    return TagboxError(
        "label-without-image",
        f"there is no picture of that name in {folder}{others}",
        file=path,
        hint="add the picture, remove the label file, or name the right folder with --images",
    )
