"""Image files of a dataset: the folder they are in, their names, and their sizes without decoding."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np

from tagbox.data.dataset import Dataset
from tagbox.data.name_matching import match_names, plain, possible_files
from tagbox.data.split_names import role, role_of_path
from tagbox.data.text import some
from tagbox.errors import TagboxError
from tagbox.files import read_file, refused_folders, require_rights
from tagbox.paths import leading_outside, leads_back, leads_outside
from tagbox.text_output import unescaped

_HEIF = (".heic", ".heif")
IMAGE_SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".avif"),
        *(".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".j2k", ".tga", ".mpo"),
        *(_HEIF if find_spec("pillow_heif") else ()),
    ]
)
_OTHER_SUFFIXES = frozenset(
    [
        *(*_HEIF, ".jxl", ".svg", ".psd", ".xcf", ".exr", ".hdr"),
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
    ]
)
"""Of images that Pillow does not read by itself."""
_SAMPLE = 64


def locate_images(
    path: Path, names: Sequence[str], images: Path | None = None
) -> tuple[Path, list[str]]:
    """Find the folder of the images that an annotation file names.

    Searched are only `images` when given; else, in this order, the folder that a ``split.json`` beside
    the file names; the folder of the file; ``images/`` and ``data/`` beside it; ``../images``;
    ``../images/SPLIT``; ``../SPLIT``; ``SPLIT`` and ``images/SPLIT`` beside it, where SPLIT comes from
    the name of the file (``train2017`` of ``instances_train2017.json``), or the only folder there of its role
    (``valid`` or ``val_images`` of ``instances_val.json``). The first folder with most of
    a sample of the named files is taken; a name that is not in it means the file of another spelling, if
    there is only one (`tagbox.data.name_matching`). Where no folder has a file of any name, folders in the
    names, drives and URLs are left out: of several files of a base name the one with the most of a
    name's last folders is meant, if it is the only one.

    Parameters
    ----------
    path
        The annotation file.
    names
        File names as the annotations give them, with ``/`` or ``\\`` between folders.
    images
        The folder that the user named.

    Returns
    -------
    root : Path
        The folder; the first candidate when no image is found (evaluation needs none).
    files : list of str
        Path of each image relative to it, or its name as it is, where there is no such file; this may lead
        out of the folder (`check_relative`).

    Raises
    ------
    TagboxError
        ``images-folder-missing`` when `images` is not a folder.
    """
    require_folder(images)
    folders = [images] if images is not None else candidate_folders(path)
    files = [_with_slashes(name, folders) if "\\" in name else name for name in names]
    best = _most_files(folders, files)
    if best is not None:
        return best, _with_their_spelling(best, files)
    # Not one is where it is said to be: only base names count, first in each folder itself, then below.
    sample = _sample(names)
    own = _own_role(path, files)
    folders = [folder for folder in folders if images is not None or _may_belong(folder.name, own)]
    inside = [[name for name in _listed(folder) if is_image(name)] for folder in folders]
    hits = [len(match_names(sample, there, IMAGE_SUFFIXES, anywhere=True)) for there in inside]
    if any(hits):
        best = folders[hits.index(max(hits))]
        found = match_names(names, inside[hits.index(max(hits))], IMAGE_SUFFIXES, anywhere=True)
        return best, [found.get(name, file) for name, file in zip(names, files, strict=True)]
    for folder in folders:
        if (images is not None or folder.name == "images") and _may_list(folder):
            below = [
                f for f in list_images(folder) if own is None or role_of_path(f) in (None, own)
            ]
            found = match_names(names, below, IMAGE_SUFFIXES, anywhere=True)
            if found:
                return folder, [found.get(n, file) for n, file in zip(names, files, strict=True)]
    closed = [folder for folder in folders if not _may_list(folder)]
    return images or [*closed, *candidate_folders(path)][0], files


def _with_slashes(name: str, folders: Sequence[Path]) -> str:
    """`name` with ``/`` between folders; one with escaped bytes is the file of these bytes where only that is there."""
    file, exact = name.replace("\\", "/"), unescaped(name)
    if exact != name:
        here = [[os.path.isfile(f / n) for f in folders] for n in (name, file, exact)]
        only = any(here[2]) and not any(here[0] + here[1])
        if (only or leads_outside(file)) and not leads_outside(exact):
            return exact.replace("\\", "/")
    return file


def _own_role(path: Path, files: Sequence[str]) -> str | None:
    """The split that the names of the images, of the annotation file or of its folder say it is, if any."""
    roles = {role_of_path(name) for name in files}
    if len(roles) == 1 and None not in roles:
        return roles.pop()
    return role(split_name(path), prefixed=True) or role(path.parent.name)


def _may_belong(folder: str, own: str | None) -> bool:
    """Whether images in a folder of this name may be those of the split `own`: not if it is another split."""
    return own is None or role(folder, prefixed=True) in (None, own)


def _may_list(folder: Path) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (OSError, ValueError):
        return []


def _with_their_spelling(root: Path, files: list[str]) -> list[str]:
    """The names with those that are not in `root` replaced by the files of their folders that they mean."""
    if "/" not in "".join(files) and not set(files).difference(_listed(root)):
        return files
    wanted: dict[str, set[str]] = {}
    outside = [name for name in dict.fromkeys(files) if leads_outside(name)]
    for name in dict.fromkeys(files):
        folder, _, base = name.rpartition("/")
        if not leads_outside(folder):
            wanted.setdefault(folder, set()).add(base)
    below = [name for name in map(plain, outside) if os.path.isfile(root / name)]
    free = {*below, *filter(is_image, _listed(root) if outside else ())}.difference(files)
    found = match_names(outside, free, IMAGE_SUFFIXES, anywhere=True)
    for folder, bases in wanted.items():
        there = set(_listed(root / folder))
        missing, left = bases - there, there - bases
        if missing and left:
            pictures = [name for name in left if is_image(name)]
            prefix = f"{folder}/" if folder else ""
            for name, file in match_names(missing, pictures, IMAGE_SUFFIXES).items():
                found[prefix + name] = prefix + file
    return [found.get(name, name) for name in files] if found else files


def _most_files(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    """The first folder with most of a sample of the files; None when no folder has any."""
    sample = [name for name in _sample(names) if not leads_outside(name)]
    hits = [sum(os.path.isfile(folder / name) for name in sample) for folder in folders]
    return folders[hits.index(max(hits))] if any(hits) else None


def require_folder(images: Path | None) -> None:
    """Raise ``images-folder-missing`` when the folder that the user named does not exist."""
    if images is not None and not os.path.isdir(images):
        require_rights(images)
        raise TagboxError(
            "images-folder-missing", "no such folder", file=images, hint="check --images"
        )


def candidate_folders(path: Path) -> list[Path]:
    """The existing folders in which `locate_images` searches, in its order; the file's own where none exists."""
    beside, above, split = path.parent, path.parent.parent, split_name(path)
    folders = [beside, beside / "images", beside / "data", above / "images"]
    if os.path.isfile(beside / "split.json"):
        folders = [*_of_split(beside / "split.json"), *folders]
    if split:
        folders += [above / "images" / split, above / split]
        folders += [beside / split, beside / "images" / split]
        for base in (above / "images", above, beside, beside / "images"):
            named = [folder for folder in _folders(base) if _same_role(folder.name, split)]
            folders += named if len(named) == 1 else []
    return list(dict.fromkeys(folder for folder in folders if os.path.isdir(folder))) or [beside]


def _same_role(folder: str, split: str) -> bool:
    """Whether a folder such as ``valid`` is that of a split such as ``val2017``; years do not differ."""
    years = {"".join(filter(str.isdigit, name)) for name in (folder, split)} - {""}
    wanted = role(split, prefixed=True)
    return wanted is not None and role(folder, prefixed=True) == wanted and len(years) < 2


def _folders(path: Path) -> list[Path]:
    return (
        visible_folders(path) if os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK) else []
    )


def split_name(path: Path) -> str:
    """``train2017`` of ``instances_train2017.json``; its stem when the name has no such prefix."""
    stem = path.name.partition(".")[0].lstrip("_")
    match = re.fullmatch(
        r"(?:[a-z]+_)*?(?:instances|keypoints|captions|labels|annotations|info)_(.+)", stem
    )
    return match[1] if match else stem


def require_images(dataset: Dataset) -> None:
    """Refuse a dataset of which no image file is found.

    Raises
    ------
    TagboxError
        ``file-unreadable`` where a folder of its images may not be entered; ``images-not-found``, with the folders that
        were searched; ``image-ambiguous`` where a name may mean several files.
    """
    sample = _sample(dataset.images.files.tolist())
    if not sample or any(os.path.isfile(dataset.images.root / name) for name in sample):
        return
    source = dataset.source.path
    root = dataset.images.root
    searched = [root]
    if os.path.isfile(source):
        searched += [folder for folder in candidate_folders(source) if folder != root]
    for folder in [*searched, (root / sample[0]).parent]:
        require_rights(folder, listed=True)
    hint = "name their folder with --images"
    above = source.parent if os.path.isfile(source) else source
    below = list_images(above) if os.path.isdir(above) else []
    found = possible_files(sample[0], below, IMAGE_SUFFIXES)
    base = plain(sample[0]).rpartition("/")[2]
    if len(found) > 1:
        raise TagboxError(
            "image-ambiguous",
            f"{base!r} may be any of {some(found)}",
            file=source,
            hint=f"write names with their folders, such as {found[0]!r}, or name one folder with --images",
        )
    if found:
        hint = f"name their folder with --images, which may be {(above / found[0]).parent}"
    else:
        stem = os.path.splitext(base)[0]
        found = possible_files(stem, below, IMAGE_SUFFIXES)
        if found:
            hint = f"{base!r} may be {found[0]!r}: correct the names in the file"
    raise TagboxError(
        "images-not-found",
        f"none of its pictures ({some(sample, 2)}) is in {some(searched, 12)}",
        file=source,
        hint=hint,
    )


def check_relative(names: Sequence[str], path: Path, where: str) -> None:
    """Refuse file names that lead out of the folder of images.

    `where` is the place of a name in the file `path`, with ``{}`` for its position.

    Raises
    ------
    TagboxError
        ``file-name-outside``.
    """
    for position in leading_outside(names):
        raise TagboxError(
            "file-name-outside",
            f"{names[position]!r} leads out of the folder of pictures",
            file=path,
            where=where.format(position),
            hint="name the folder of the pictures with --images, or write names relative to it",
        )


def list_images(folder: Path, *, recursive: bool = True) -> list[str]:
    """Relative paths (``/`` between folders) of the images in a folder, sorted, without hidden ones.

    Folders that may not be listed are left out (`refused_folders`).
    Links to folders are followed, but for those that lead back to a folder they are in.
    """
    found: list[str] = []
    for current, folders, files in os.walk(folder, followlinks=True):
        kept = [f for f in folders if is_visible(f)] if recursive else []
        folders[:] = sorted(f for f in kept if not leads_back(os.path.join(current, f), folder))
        prefix = os.path.relpath(current, folder).replace(os.sep, "/")
        prefix = "" if prefix == "." else f"{prefix}/"
        found += [prefix + name for name in files if is_image(name)]
    return sorted(found)


def is_visible(folder: str) -> bool:
    """Whether a folder of this name may hold data: it is not hidden, nor what macOS adds to archives."""
    return not folder.startswith(".") and folder != "__MACOSX"


def visible_folders(path: Path) -> list[Path]:
    """The folders in `path` that may hold data, sorted by name."""
    return sorted(e for e in path.iterdir() if is_visible(e.name) and e.is_dir())


def collect_images(arguments: Sequence[Path | str]) -> list[Path]:
    """The images that files, folders (with those below them) and glob patterns name, each once.

    Files come in the order given, those of a folder or pattern sorted. A file counts as an image whatever its
    suffix.

    Raises
    ------
    TagboxError
        ``image-missing`` for a path that is not there; ``file-unreadable`` for one in a folder that may not be
        entered; ``no-images`` for a folder or pattern without
        images.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if os.path.isdir(path):
            inside = [path / name for name in list_images(path)]
            # Reading such a folder fails as a damaged image does: it is said, and the others are kept.
            refused = [Path(error.filename) for error in refused_folders(path, is_visible)]
            inside += [folder for folder in refused if not os.access(folder, os.R_OK)]
        elif os.path.exists(path):
            inside = [path]
        elif glob.has_magic(str(argument)):
            matches = sorted(glob.glob(str(argument), recursive=True))
            inside = [Path(match) for match in matches if os.path.isfile(Path(match))]
        else:
            require_rights(path)
            raise TagboxError(
                "image-missing",
                "no such file or folder",
                file=path,
                hint="give images, folders of images, or a pattern such as 'photos/*.jpg'",
            )
        if not inside:
            raise TagboxError(
                "no-images",
                "it holds no images",
                file=path,
                hint="give a folder or pattern with JPEG, PNG or other images",
            )
        found |= dict.fromkeys(inside)
    return list(found)


def is_image(name: str) -> bool:
    """Whether a file name has the extension of an image, and is not hidden."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")


def passed_over(folders: Iterable[Path]) -> str | None:
    """What is said of the images in and below folders that are of a kind that is not read; None without any."""
    kinds: Counter[str] = Counter()
    for folder in folders:
        for _, inside, files in os.walk(folder):
            inside[:] = [each for each in inside if is_visible(each)]
            kinds.update(os.path.splitext(f)[1].lower() for f in files if not f.startswith("."))
    counts = [(kinds[suffix], suffix) for suffix in sorted(_OTHER_SUFFIXES - IMAGE_SUFFIXES)]
    listed = [f"{count:,} {suffix}" for count, suffix in counts if count]
    if not listed:
        return None
    heif = any(kinds[suffix] for suffix in _HEIF)
    way = "install the package pillow-heif, or convert them" if heif else "convert them"
    return f"images passed over: {', '.join(listed)}; {way} to JPEG or PNG to have them read"


def _of_split(path: Path) -> list[Path]:
    """The folder of images that a saved split names, if any."""
    try:
        named = msgspec.json.decode(read_file(path), type=_SavedSplit).images
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    return [] if named is None else [Path(os.path.normpath(path.parent / named))]


class _SavedSplit(msgspec.Struct):
    images: str | None = None


def _sample(names: Sequence[str]) -> list[str]:
    """At most `_SAMPLE` evenly spaced names, the first and the last among them."""
    rows = np.linspace(0, len(names) - 1, min(_SAMPLE, len(names))).astype(int)
    return [names[row] for row in dict.fromkeys(rows.tolist())]


def flat_names(files: list[str]) -> list[str]:
    """A file name without folders for each image, with a unique stem.

    These are the base names if their stems are unique; else the paths with ``__`` for ``/``, with a
    number where a stem is still taken.
    """
    names = [name.rpartition("/")[2] for name in files]
    if len({Path(name).stem for name in names}) < len(names):
        names = [name.replace("/", "__") for name in files]
    taken: set[str] = set()
    for row, name in enumerate(names):
        stem, suffix = os.path.splitext(name)
        number = 1
        while stem in taken:
            number += 1
            stem = f"{os.path.splitext(name)[0]}__{number}"
        taken.add(stem)
        names[row] = stem + suffix
    return names
