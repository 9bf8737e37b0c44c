"""What a dataset's labels look like as a whole: unused categories, empty images, ambiguous names.

Lines of label files that a reader passes over in silence and a person may want to know of.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from tagbox.checks.findings import Findings
from tagbox.data.dataset import PRESENT, Dataset
from tagbox.data.formats.challenge import challenge_root, label_folders
from tagbox.data.formats.yolo import label_file
from tagbox.data.image_files import is_image


def check_lines(format: str, path: Path, files: list[str], root: Path, findings: Findings) -> None:
    """Note blank and repeated lines of the ``.cls`` or YOLO files of a dataset.

    Parameters
    ----------
    format, path
        Of the dataset; other formats than ``cls`` and ``yolo`` have no such files.
    files, root
        The dataset's pictures, which name YOLO's label files.
    findings
        Gets ``label-line-blank``, ``label-twice``.
    """
    for label_path in _label_files(format, path, files, root):
        try:
            content = label_path.read_bytes()
        except OSError:
            continue  # the reader says so
        first: dict[bytes, int] = {}
        # A last newline ends the last line; it does not begin a blank one.
        for number, line in enumerate(content.splitlines(), 1):
            text = line.strip()
            if not text:
                findings.add("label-line-blank", label_path, "the line is blank", f"line {number}")
            elif first.setdefault(text, number) != number:
                shown = text.decode(errors="replace")
                findings.add(
                    "label-twice",
                    label_path,
                    f"{shown!r} stands already in line {first[text]}",
                    f"line {number}",
                )


def _label_files(format: str, path: Path, files: list[str], root: Path) -> Iterator[Path]:
    if format == "cls":
        for folder in label_folders(challenge_root(path)).values():
            yield from sorted(folder.glob("*.cls"))
    elif format == "yolo":
        for name in files:
            source = label_file(root, name)
            if source.is_file():
                yield source


# Formats whose labels name their pictures one by one; in the others pictures are found by looking.
_NAMES_PICTURES = ("coco", "csv", "labels")


def check_labels(dataset: Dataset, findings: Findings) -> None:
    """Note what is odd about the labels of a dataset that could be read."""
    _check_use(dataset, findings)
    _check_stems(dataset, findings)
    if dataset.source.format in _NAMES_PICTURES:
        _check_unnamed(dataset, findings)
    else:
        _check_unlabelled(dataset, findings)


def _check_use(dataset: Dataset, findings: Findings) -> None:
    present = dataset.labels == PRESENT
    source = dataset.source.path
    files, ids = dataset.images.files, dataset.images.ids
    findings.add_rows(
        "image-without-annotations",
        source,
        dataset.images.labelled & ~present.any(axis=1),
        lambda row: (f"image id {ids[row]}", f"{str(files[row])!r} has no category"),
    )
    if dataset.images.labelled.any():
        names, own = dataset.categories.names, dataset.categories.ids
        findings.add_rows(
            "category-unused",
            source,
            ~present.any(axis=0),
            lambda row: (f"category id {own[row]}", f"no image has {names[row]!r}"),
        )


def _check_stems(dataset: Dataset, findings: Findings) -> None:
    first: dict[str, int] = {}
    files = dataset.images.files
    for row, stem in enumerate(dataset.images.stems.tolist()):
        earlier = first.setdefault(stem, row)
        if earlier != row and files[earlier] != files[row]:
            findings.add(
                "file-name-ambiguous",
                dataset.source.path,
                f"{str(files[row])!r} and {str(files[earlier])!r} have the same name",
                f"image id {dataset.images.ids[row]}",
            )


def _check_unnamed(dataset: Dataset, findings: Findings) -> None:
    """Pictures that lie among the named ones and have no record."""
    named: dict[str, set[str]] = defaultdict(set)
    for file in dataset.images.files.tolist():
        folder, _, name = file.rpartition("/")
        named[folder].add(name)
    for folder, names in sorted(named.items()):
        place = dataset.images.root / folder
        if not place.is_dir():
            continue
        present = {name for name in os.listdir(place) if is_image(name)}
        # Where no named picture lies the folder is not the pictures' (they are elsewhere, or gone).
        if present & names:
            for name in sorted(present - names):
                findings.add(
                    "picture-not-named", place / name, f"no record of {_short(dataset)} names it"
                )


def _check_unlabelled(dataset: Dataset, findings: Findings) -> None:
    """Pictures without labels in a folder where others have them (a folder of test images has none)."""
    folders = np.array([str(PurePosixPath(f).parent) for f in dataset.images.files.tolist()])
    labelled = dataset.images.labelled
    mixed = np.isin(folders, np.unique(folders[labelled])) & ~labelled
    for row in np.flatnonzero(mixed).tolist():
        findings.add(
            "picture-without-labels", dataset.images.path(row), "other pictures here have labels"
        )


def _short(dataset: Dataset) -> str:
    return Path(dataset.source.path).name
