"""Checks of labels: blank and repeated lines of label files, unused categories, empty images, file names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tagbox.checks.findings import Findings
from tagbox.data.categories import alike, apart
from tagbox.data.dataset import PRESENT, Dataset
from tagbox.data.image_files import is_image, list_images
from tagbox.data.recognise import challenge_root, label_files, label_folders
from tagbox.data.text import some
from tagbox.files import find_files, read_file


def check_lines(format: str, path: Path, files: list[str], root: Path, findings: Findings) -> None:
    """Add findings for blank and repeated lines of the ``.cls`` or YOLO files of a dataset.

    Parameters
    ----------
    format, path
        Of the dataset; other formats than ``cls`` and ``yolo`` have no such files.
    files, root
        The images of the dataset, from whose names those of YOLO's label files follow.
    findings
        Gets ``label-line-blank``, ``label-twice``.
    """
    for label_path in _label_files(format, path, files, root):
        try:
            content = read_file(label_path)
        except OSError:
            continue  # A finding of the reader already.
        first: dict[bytes, int] = {}
        # A newline at the end of the file does not begin a blank line.
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
            yield from find_files(folder, ".cls")
    elif format == "yolo":
        yield from filter(os.path.isfile, label_files(root, files))


# Formats whose labels name each image file; in the others the files of a folder are listed.
_NAMES_PICTURES = ("coco", "csv", "labels")


def check_labels(dataset: Dataset, findings: Findings) -> None:
    """Add findings for the labels of a readable dataset as a whole, and the notes of its reader."""
    for note in dataset.source.notes:
        findings.add(note.code, dataset.source.path, note.found, note.where)
    for one, other in alike(dataset.categories.names):
        pair = " and ".join(apart(one, other))
        found = f"{pair} differ only in case, spaces or the form of Unicode"
        findings.add("category-names-alike", dataset.source.path, found)
    _check_use(dataset, findings)
    _check_stems(dataset, findings)
    if dataset.source.format not in _NAMES_PICTURES:
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


def check_unnamed(datasets: Sequence[Dataset], findings: Findings) -> None:
    """Check for image files that no record names in the folders of those with one, of any of the datasets."""
    named: dict[str, set[str]] = defaultdict(set)
    sources: dict[str, set[str]] = defaultdict(set)
    for dataset in datasets:
        if dataset.source.format not in _NAMES_PICTURES:
            continue
        for file in dataset.images.files.tolist():
            folder, name = os.path.split(os.path.abspath(dataset.images.root / file))
            named[folder].add(name)
            sources[folder].add(dataset.source.path.name)
    for folder, names in sorted(named.items()):
        path = Path(folder)
        if not os.path.isdir(path):
            continue
        if not os.access(path, os.R_OK):
            findings.add("folder-unreadable", path, "pictures in it without a record are not found")
            continue
        present = {name for name in os.listdir(path) if is_image(name)}
        # Without any named image in it, this is not the folder of the images.
        if present & names:
            for name in sorted(present - names):
                found = f"no record of {some(sorted(sources[folder]))} names it"
                findings.add("picture-not-named", path / name, found)


def check_in_no_split(path: Path, sides: Sequence[Dataset], findings: Findings) -> None:
    """Check for image files in a folder of splits that are in none of them."""
    if any(side.source.format in _NAMES_PICTURES for side in sides):
        return
    named = {os.path.realpath(side.images.path(row)) for side in sides for row in range(len(side))}
    folder = path if os.path.isdir(path) else path.parent
    for name in list_images(folder):
        if os.path.realpath(folder / name) not in named:
            findings.add("picture-in-no-split", folder / name, "it is in none of the splits")


def _check_unlabelled(dataset: Dataset, findings: Findings) -> None:
    """Check for images without labels in a folder where others have them; folders of test images have none."""
    folders = np.array([str(PurePosixPath(f).parent) for f in dataset.images.files.tolist()])
    labelled = dataset.images.labelled
    mixed = np.isin(folders, np.unique(folders[labelled])) & ~labelled
    for row in np.flatnonzero(mixed).tolist():
        findings.add(
            "picture-without-labels", dataset.images.path(row), "other pictures here have labels"
        )
