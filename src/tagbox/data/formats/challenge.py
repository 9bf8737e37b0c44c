"""The two formats of the challenge: a folder of images with ``.cls`` files, and a JSON file of labels.

A ``.cls`` file has one category index a line; the JSON form is that of `tagbox.data.submission`.
"""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

from tagbox.data import categories as coco80
from tagbox.data.dataset import Categories, Dataset
from tagbox.data.formats.common import (
    NAMES_FILE,
    Report,
    build_dataset,
    by_stem,
    from_label_lists,
    label_without_image,
    names_beside,
    read_names,
    refuse,
    require_known_labels,
    write_names,
    write_small,
)
from tagbox.data.image_files import (
    IMAGE_SUFFIXES,
    candidate_folders,
    check_relative,
    flat_names,
    list_images,
    require_folder,
)
from tagbox.data.name_matching import match_names
from tagbox.data.recognise import challenge_root, label_folders
from tagbox.data.submission import read_submission, write_submission
from tagbox.errors import TagboxError
from tagbox.files import cannot_read, read_file
from tagbox.text_files import not_utf8
from tagbox.text_output import unescaped


def read_cls(
    path: Path,
    images: Path | None = None,
    names: Path | None = None,
    report: Report = refuse,
    split: str | None = None,
) -> Dataset:
    """Read a challenge folder.

    Layouts: ``labels/train/*.cls`` with ``images/train-resized`` or ``images/train`` (and unlabelled
    images in ``images/test-resized`` or ``images/test``); ``labels/*.cls`` with ``images/``; images and
    ``.cls`` files in one folder. An image without a ``.cls`` file is unlabelled; an empty ``.cls`` file
    means that no category is present.

    Parameters
    ----------
    path
        The folder, or its parent if that holds nothing else.
    images
        Folder of the images (itself, or with the subfolders of the layout).
    names
        Category names in the order of the indices; else ``classes.txt`` in the folder, else
        COCO's 80.
    report
        Called with each fault after which reading can go on; raises it unless given.
    split
        A folder in ``labels``: then its images only; else those of all.

    Returns
    -------
    Dataset
        Labelled splits first, then unlabelled ones; file names relative to `path` or `images`.

    Raises
    ------
    TagboxError
        ``cls-line`` with file and line, ``label-without-image``, ``image-ambiguous``,
        ``images-folder-missing``, ``format-unknown`` when there is no ``.cls`` file.
    """
    require_folder(images)
    folder = challenge_root(path)
    if names is None and os.path.isfile(folder / NAMES_FILE):
        names = folder / NAMES_FILE
    categories = coco80.categories() if names is None else Categories.from_names(read_names(names))
    root = images or folder
    files: list[str] = []
    labels: list[list[int]] = []
    labelled: list[bool] = []
    labelled_splits = label_folders(folder)
    splits = {split: labelled_splits[split]} if split else labelled_splits
    if not splits:
        raise TagboxError(
            "format-unknown",
            "there is no .cls file in it, in labels/ or in labels/train/",
            file=folder,
            hint="point at the folder that holds images/ and labels/",
        )
    for name, label_folder in splits.items():
        image_folder = _image_folder(folder, images, name, label_folder)
        index = by_stem(list_images(image_folder, recursive=False), image_folder, report)
        prefix = _prefix(image_folder, root)
        stems = sorted(entry[:-4] for entry in os.listdir(label_folder) if entry.endswith(".cls"))
        missing = [stem for stem in stems if stem not in index]
        for stem, file in match_names(missing, index.values(), IMAGE_SUFFIXES).items():
            index = {stem: file} | {key: name for key, name in index.items() if name != file}
        missing = [stem for stem in missing if stem not in index]
        if missing and index:
            report(label_without_image(label_folder / f"{missing[0]}.cls", missing, image_folder))
        for stem in stems:
            files.append(prefix + index.pop(stem, f"{stem}.jpg"))
            labels.append(read_cls_file(label_folder / f"{stem}.cls", len(categories), report))
            labelled.append(True)
        # The images left over have no labels.
        files += [prefix + name for name in sorted(index.values())]
        labels += [[]] * len(index)
        labelled += [False] * len(index)
    whole = images is None and (split is None or len(labelled_splits) == 1)
    for image_folder in _unlabelled_folders(folder, splits) if whole else []:
        names_in_it = list_images(image_folder, recursive=False)
        files += [_prefix(image_folder, root) + name for name in names_in_it]
        labels += [[]] * len(names_in_it)
        labelled += [False] * len(names_in_it)
    return build_dataset(
        path=path,
        format="cls",
        root=root,
        files=files,
        categories=categories,
        annotations=from_label_lists(labels),
        labelled=labelled,
    )


def read_cls_file(path: Path, categories: int, report: Report = refuse) -> list[int]:
    """Read the distinct indices of one ``.cls`` file, ascending; blank lines are ignored.

    Raises
    ------
    TagboxError
        ``cls-line`` for a line that is not one index from 0 to `categories` - 1.
    """
    try:
        content = read_file(path)
    except OSError as error:
        report(cannot_read(path, error))
        return []
    found = set()
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        text = line.strip()
        if not text:
            continue
        # isdigit of bytes accepts ASCII digits only, while int accepts "1_0" and "+1" too.
        index = int(text) if text.isdigit() and len(text) < 10 else -1
        if not 0 <= index < categories:
            try:
                shown = text.decode()
            except UnicodeDecodeError:
                report(not_utf8(path, f"line {number}"))
                continue
            report(
                TagboxError(
                    "cls-line",
                    f"{shown!r} is not a category index",
                    file=path,
                    where=f"line {number}",
                    hint=f"write one whole number from 0 to {categories - 1} a line",
                )
            )
            continue
        found.add(index)
    return sorted(found)


def _image_folder(folder: Path, images: Path | None, split: str, labels: Path) -> Path:
    """The folder of the images of a split: the first candidate with images, else the first that exists."""
    above = images or folder / "images"
    choices = [above / f"{split}-resized", above / split] if split else []
    choices += [above] if images is not None else [above, labels, folder]
    folders = [choice for choice in choices if os.path.isdir(choice)]
    return next((choice for choice in folders if list_images(choice, recursive=False)), folders[0])


def _unlabelled_folders(folder: Path, splits: dict[str, Path]) -> list[Path]:
    """Folders in ``images/`` of splits without labels; ``test-resized`` is preferred to ``test``."""
    images = folder / "images"
    if not os.path.isdir(images):
        return []
    names = sorted(entry.name for entry in images.iterdir() if entry.is_dir())
    kept = [
        name
        for name in names
        if name.removesuffix("-resized") not in splits and f"{name}-resized" not in names
    ]
    return [images / name for name in kept]


def _prefix(folder: Path, root: Path) -> str:
    relative = folder.relative_to(root).as_posix()
    return "" if relative == "." else f"{relative}/"


def write_cls(dataset: Dataset, folder: Path, split: str = "train") -> None:
    """Write the label files ``folder/labels/SPLIT/*.cls`` of the labelled images.

    Categories other than COCO's 80 are written to ``folder/classes.txt``. The images belong in
    ``folder/images/SPLIT``, named by `tagbox.data.image_files.flat_names`.

    Raises
    ------
    TagboxError
        ``labels-unknown`` when some labels are neither present nor absent, ``cannot-write``.
    """
    require_known_labels(dataset, ".cls files")
    if dataset.categories.names != coco80.NAMES:
        write_names(dataset, folder)
    names, present = flat_names(dataset.images.files.tolist()), dataset.labels == 1
    for row in dataset.images.labelled.nonzero()[0].tolist():
        lines = "".join(f"{index}\n" for index in present[row].nonzero()[0].tolist())
        target = folder / "labels" / split / names[row]
        write_small(target.with_name(f"{target.stem}.cls"), lines)


def read_labels(path: Path, images: Path | None = None, names: Path | None = None) -> Dataset:
    """Read ``{"000000000139": [56, 60], …}``.

    Parameters
    ----------
    path
        The file; see `tagbox.data.submission` for its strict form.
    images
        Folder of the images. Where no image is found the files are ``KEY.jpg``.
    names
        Category names; else ``classes.txt`` beside the file, else COCO's 80.

    Raises
    ------
    TagboxError
        The codes of `tagbox.data.submission.read_submission`, ``images-folder-missing``.
    """
    names = names or names_beside(path)
    categories = coco80.categories() if names is None else Categories.from_names(read_names(names))
    labels = read_submission(path, len(categories))
    require_folder(images)
    folders = [images] if images is not None else candidate_folders(path)
    root, index = path.parent, dict[str, str]()
    # Folders below, as those of classes, are searched only where pictures are missing.
    for recursive, folder in product((False, True), folders):
        there = list_images(folder, recursive=recursive)
        if recursive:
            found = match_names(labels, there, IMAGE_SUFFIXES, anywhere=True)
        else:
            found = by_stem(there, folder)
            found |= match_names(labels.keys() - found.keys(), there, IMAGE_SUFFIXES)
        if labels.keys() <= found.keys() or (labels.keys() & found.keys() and not index):
            root, index = folder, found
        if labels.keys() <= index.keys():
            break
    files = [index.get(key, f"{unescaped(key)}.jpg") for key in labels]
    check_relative(files, path, "key {} (counted from 0)")
    return build_dataset(
        path=path,
        format="labels",
        root=root,
        files=files,
        categories=categories,
        annotations=from_label_lists(list(labels.values())),
        labelled=[True] * len(labels),
    )


def write_labels(dataset: Dataset, path: Path) -> None:
    """Write the categories of the labelled images in the JSON form of the challenge.

    Categories other than COCO's 80 are written to ``classes.txt`` beside it.

    Raises
    ------
    TagboxError
        ``image-ambiguous`` when two images have the same stem, ``labels-unknown`` when some labels
        are neither present nor absent.
    """
    stems = dataset.images.stems.tolist()
    by_stem(dataset.images.files.tolist(), dataset.images.root)
    require_known_labels(dataset, "labels JSON files")
    if dataset.categories.names != coco80.NAMES:
        write_names(dataset, path.parent)
    labels = dataset.labels == 1
    write_submission(
        path,
        {
            stems[row]: labels[row].nonzero()[0].tolist()
            for row in dataset.images.labelled.nonzero()[0].tolist()
        },
    )
