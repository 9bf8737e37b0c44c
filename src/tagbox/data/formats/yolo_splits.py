"""Splits of YOLO datasets: ``train:``, ``val:``, ``test:`` of a ``data.yaml`` or ``obj.data``, lists of pictures, folders."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tagbox.data.image_files import IMAGE_SUFFIXES, list_images
from tagbox.data.name_matching import match_names, spelt_path
from tagbox.data.split_names import by_role, choose, role, role_of_path
from tagbox.data.text import some
from tagbox.errors import TagboxError
from tagbox.files import find_files, open_file
from tagbox.text_files import read_text


class Pictures(NamedTuple):
    """The images of one split: their folder, and their paths relative to it."""

    root: Path
    files: list[str]


@dataclass(frozen=True)
class Layout:
    """Where a YOLO dataset has its images.

    Attributes
    ----------
    folder
        The folder of the dataset.
    described
        Its ``data.yaml``, if it has one.
    content
        The settings in that file.
    images
        The folder of images that the user named; then what the file states of splits does not count.
    """

    folder: Path
    described: Path | None
    content: Mapping[Any, Any]
    images: Path | None = None

    @property
    def root(self) -> Path:
        """The folder below which all images are: that of the dataset, or that of ``path:`` if it has none."""
        if self.images is not None:
            return self.images
        named = self.content.get("path")
        if not named or list_images(self.folder):
            return self.folder
        root = self.folder / os.path.expanduser(str(named))
        return root if os.path.isdir(root) and not _is_top(root) else self.folder

    @cached_property
    def entries(self) -> dict[str, Any]:
        """Split to what a ``data.yaml``, an ``obj.data`` or lists such as ``train.txt`` state of it."""
        if self.images is not None:
            return {}
        stated = {}
        if self.described is not None:
            stated = stated_entries(self.content, self.described)
        others = {k: v for k, v in self.content.items() if not role(str(k)) and _is_list(v)}
        if stated and others:
            found = {
                str(name): _meanings(value, self._bases)[0]
                for name, value in (stated | others).items()
                if _is_list(value) and is_there(value, self._bases)
            }
            stated |= {name: others[name] for name in _further_lists(found, stated)}
        return stated or darknet_entries(self.folder)

    @property
    def splits(self) -> tuple[str, ...]:
        """The stated splits, ``train`` first, else those of folders such as ``images/train``.

        A ``test`` that is not there is left out: exporters write it in any case.
        """
        bases = self._bases
        kept = [n for n, v in self.entries.items() if role(n) != "test" or is_there(v, bases)]
        return tuple(kept or layout_splits(self.root, list_images(self.root)))

    def pictures(self, split: str | None) -> Pictures:
        """The images of one split, or all.

        Raises
        ------
        TagboxError
            ``split-unknown``; ``split-missing``, ``image-missing``, ``image-ambiguous`` where what is stated of
            the split does not lead to its images.
        """
        if split is None:
            return Pictures(self.root, list_images(self.root))
        where = self.described or self.folder
        if self.entries:
            name = choose(split, self.entries, where)
            return pictures_of(name, self.entries[name], self._bases, where)
        found = layout_splits(self.root, list_images(self.root))
        return found[choose(split, found, where)]

    @property
    def _bases(self) -> list[Path]:
        """The folders to which stated paths may be relative: that of ``path:``, and the dataset's."""
        named = self.content.get("path")
        bases = [self.folder / os.path.expanduser(str(named))] if named else []
        return list(dict.fromkeys([base for base in bases if os.path.isdir(base)] + [self.folder]))


def stated_entries(content: Mapping[Any, Any], described: Path) -> dict[str, Any]:
    """Split to what the YAML `described` states of it: a path or a list of paths, as written.

    Raises
    ------
    TagboxError
        ``yolo-yaml`` for an entry that is neither a path nor a list of paths.
    """
    stated = {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and role(key) and value not in (None, "", [])
    }
    for key, value in stated.items():
        if not all(isinstance(entry, str) for entry in _listed(value)):
            raise TagboxError(
                "yolo-yaml",
                "expected a folder, a list of folders, or a text file of pictures",
                file=described,
                where=key,
                hint=f"write '{key}: images/{key}'",
            )
    return {name: stated[key] for name, key in by_role(list(stated)).items()}


def darknet_entries(folder: Path) -> dict[str, Any]:
    """Split to its list of pictures: as an ``*.data`` file in `folder` names it, or ``train.txt`` in `folder`."""
    found: dict[str, str] = {}
    for settings in find_files(folder, ".data"):
        for line in read_text(settings).splitlines():
            key, _, value = (part.strip() for part in line.partition("="))
            if _is_list(value):
                # Darknet's paths are relative to where it was started.
                base = PurePosixPath(value.replace("\\", "/")).name
                if os.path.isfile(folder / base):
                    found[key] = base
    if not any(map(role, found)):
        found = {
            path.stem: path.name for path in find_files(folder, ".txt") if _lists_pictures(path)
        }
    named = [key for key in found if role(key)]
    if not named:
        return {}
    named += _further_lists({key: folder / base for key, base in found.items()}, named)
    return {name: found[key] for name, key in by_role(named).items()}


def pictures_of(name: str, value: Any, bases: list[Path], described: Path) -> Pictures:
    """The images that the entries of one split name.

    Parameters
    ----------
    name
        The split, for messages.
    value
        A folder or a ``.txt`` of pictures, or a list of them.
    bases
        The folders to which they may be relative, in order of preference.
    described
        The file that states them.

    Raises
    ------
    TagboxError
        ``split-missing`` for an entry that is not there, ``image-missing`` for pictures of a list that are
        not there, ``image-ambiguous`` for an entry with two meanings.
    """
    files: dict[str, None] = {}
    folders = []
    for entry in _listed(value):
        path = _find(entry, bases, name, described)
        if os.path.isdir(path):
            folders.append(path)
            files |= dict.fromkeys(os.path.join(path, inside) for inside in list_images(path))
        else:
            files |= dict.fromkeys(_of_list(path, bases))
            folders = [*folders, path]
    root = folders[0]
    if len(folders) > 1 or not os.path.isdir(root):
        parents = {os.path.dirname(file) for file in files} or {str(f) for f in folders}
        if len({os.path.isabs(parent) for parent in parents}) > 1:
            files = dict.fromkeys(os.path.abspath(file) for file in files)
            parents = {os.path.abspath(parent) for parent in parents}
        root = Path(os.path.commonpath(parents))
    relative = [os.path.relpath(file, root).replace(os.sep, "/") for file in files]
    return Pictures(root, sorted(relative))


def is_there(value: Any, bases: list[Path]) -> bool:
    """Whether every entry of a split is found."""
    return all(_meanings(entry, bases) for entry in _listed(value))


def layout_splits(root: Path, files: Iterable[str]) -> dict[str, Pictures]:
    """The images by the first folder that is named as a split; empty where there are fewer than two splits.

    Images outside such folders belong to none.
    """
    groups: dict[str, list[str]] = {}
    for name in files:
        parts = PurePosixPath(name).parts[:-1]
        first = next((part for part in parts if role(part, prefixed=True)), None)
        if first is not None:
            groups.setdefault(first, []).append(name)
    if len(groups) < 2 or len({role_of_path(f"{first}/x") for first in groups}) < 2:
        return {}
    found = {}
    for key, first in by_role(list(groups)).items():
        inner = os.path.commonpath([os.path.dirname(name) for name in groups[first]])
        names = [os.path.relpath(name, inner).replace(os.sep, "/") for name in groups[first]]
        found[key] = Pictures(root / inner, names)
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _find(entry: str, bases: list[Path], name: str, described: Path) -> Path:
    found = _meanings(entry, bases)
    if not found or _is_top(found[0]):
        raise TagboxError(
            "split-missing",
            f"{entry!r} is the whole file system"
            if found
            else f"{entry!r} is not there (looked in {some(bases, 3)})",
            file=described,
            where=name,
            hint="write the folder, or a list of folders, without * and ?"
            if glob.has_magic(entry)
            else f"correct the path, or leave {name} out of the file",
        )
    if len(found) > 1:
        raise TagboxError(
            "image-ambiguous",
            f"{entry!r} may be {found[0]} or {found[1]}",
            file=described,
            where=name,
            hint="write the path relative to this file, without '..'",
        )
    return found[0]


def _is_top(folder: Path) -> bool:
    """Whether a folder is that of the whole file system, which no dataset means and no search ends in."""
    return os.path.dirname(real := os.path.realpath(folder)) == real


def _meanings(entry: str, bases: list[Path], *, spelt_otherwise: bool = True) -> list[Path]:
    """The existing paths that an entry may mean, usually one, where there is none of its spelling also one of another.

    Roboflow writes ``../train/images`` for ``train/images`` beside the file. An absolute path of another
    machine means its longest end that is found.
    """
    text = entry.strip().replace("\\", "/")
    plain = PurePosixPath(text)
    if not plain.is_absolute() and text[1:3] != ":/":
        literal = [Path(os.path.normpath(base / text)) for base in bases]
        inside = [
            Path(os.path.normpath(base / text[3:])) for base in bases if text.startswith("../")
        ]
        found = [next((p for p in paths if os.path.exists(p)), None) for paths in (literal, inside)]
        if not any(found) and spelt_otherwise:
            found = [spelt_path(base, text.removeprefix("../")) for base in bases]
        return list(dict.fromkeys(path for path in found if path is not None))
    if os.path.exists(text):
        return [Path(text)]
    parts = plain.parts[1:]
    ends = [base.joinpath(*parts[start:]) for start in range(len(parts)) for base in bases]
    return (
        [next(path for path in ends if os.path.exists(path))]
        if any(map(os.path.exists, ends))
        else []
    )


def _of_list(path: Path, bases: list[Path]) -> list[str]:
    """The pictures that a text file lists, one a line."""
    found, missing = [], []
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    for line in lines:
        meant = _meanings(line, [path.parent, *bases], spelt_otherwise=False)
        meanings = [meaning for meaning in meant if not os.path.isdir(meaning)]
        if not meanings:
            # Darknet's paths begin in the folder where it was started.
            parts = PurePosixPath(line.replace("\\", "/")).parts
            ends = (path.parent.joinpath(*parts[start:]) for start in range(1, len(parts)))
            meanings = [end for end in ends if os.path.isfile(end)][:1]
        found += [str(meaning) for meaning in meanings[:1]]
        missing += [] if meanings else [line]
    spelt = _spelt_otherwise(missing, [path.parent, *bases])
    found += spelt.values()
    missing = [line for line in missing if line not in spelt]
    if missing or not lines:
        raise TagboxError(
            "image-missing",
            f"{len(missing):,} of the {len(lines):,} pictures that it lists are not there: {some(missing, 3)}"
            if lines
            else "it lists no pictures",
            file=path,
            hint="correct the list, or put the pictures there",
        )
    return found


def _spelt_otherwise(lines: list[str], bases: list[Path]) -> dict[str, str]:
    """Lines of a list to the only file of another spelling that each may mean."""
    by_folder: dict[str, dict[str, str]] = {}
    for line in lines:
        folder, _, base = line.replace("\\", "/").rpartition("/")
        by_folder.setdefault(folder, {})[base] = line
    found: dict[str, str] = {}
    for folder, names in by_folder.items():
        meant = _meanings(folder or ".", bases)
        if meant and os.path.isdir(meant[0]):
            matches = match_names(names, list_images(meant[0], recursive=False))
            found |= {names[base]: str(meant[0] / file) for base, file in matches.items()}
    return found


def _further_lists(lists: Mapping[str, Path], named: Collection[str]) -> list[str]:
    """Of lists of pictures those beside the `named` splits that share none with them: CVAT's subset ``default``."""
    lines = {name: set(read_text(path).split("\n")) - {""} for name, path in lists.items()}
    known = {line for name in named for line in lines.get(name, ())}
    # Splits that are folders may hold what a list names.
    others = lines.keys() - set(named) if known and set(named) <= lines.keys() else ()
    return sorted(name for name in others if not lines[name] & known)


def _is_list(value: Any) -> bool:
    return isinstance(value, str) and value.endswith(".txt")


def _lists_pictures(path: Path) -> bool:
    with open_file(path) as opened:
        first = opened.read(4096).decode("utf-8", "replace").strip().partition("\n")[0]
    return os.path.splitext(first.strip())[1].lower() in IMAGE_SUFFIXES
