"""Paths that come from data or from users: names that stay inside a folder, outputs that are no inputs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tagbox.errors import TagboxError

LONGEST_NAME = 200
"""Characters of a run's, a study's or a part's name; file systems end at 255 bytes, and suffixes are added."""
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
# Elsewhere than on Windows "a:b.jpg" is a file like others; "C:\\a.jpg" comes from Windows.
_DRIVE = re.compile(r"[A-Za-z]:" if os.name == "nt" else r"[A-Za-z]:[/\\]")
_Identity = tuple[int, int]


def leads_outside(name: str) -> bool:
    """Whether a file name is absolute or has ``..`` among its folders, with ``/`` or ``\\`` between them."""
    if ".." not in name and name[:1] not in "/\\~" and name[1:2] != ":":
        return False
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(_DRIVE.match(name))


def leading_outside(names: Sequence[str]) -> list[int]:
    """The positions of the names that `leads_outside` finds."""
    # Nearly always there is none, which a search in all 100,000 names of a dataset at once shows.
    joined = "\n" + "\n".join(names)
    if not any(mark in joined for mark in ("..", "\n/", "\n\\", ":")):
        return []
    return [position for position, name in enumerate(names) if leads_outside(name)]


def inside(folder: Path, name: str, *, file: Path | None = None, where: str | None = None) -> Path:
    """``folder / name``, for a name that comes from data; it never leads out of the folder.

    Parameters
    ----------
    file, where
        Where the name stands, for the error.

    Raises
    ------
    TagboxError
        ``file-name-outside``.
    """
    if leads_outside(name):
        raise TagboxError(
            "file-name-outside",
            f"{name!r} leads out of its folder",
            file=file or folder,
            where=where,
            hint="write it relative to that folder, without '..'",
        )
    return folder / name


def leads_back(folder: str, top: Path) -> bool:
    """Whether `folder` below `top` is a link to a folder that it is in, or to one that holds such a folder."""
    if not os.path.islink(folder):
        return False
    target = os.path.join(os.path.realpath(folder), "")
    above = Path(folder).parent
    within = [above, *above.parents[: len(above.parts) - len(top.parts)]]
    return any(os.path.join(os.path.realpath(each), "").startswith(target) for each in within)


def is_plain_name(name: str) -> bool:
    """Whether `name` can be the name of one new file or folder on every system.

    It consists of letters, digits, dots, dashes, underscores and spaces, begins with no dot, dash or
    space, ends with no dot or space, and is no device of Windows such as ``con``.
    """
    return (
        re.fullmatch(r"[\w]([\w.\- ]*[\w\-])?", name) is not None
        and len(os.fsencode(name)) <= LONGEST_NAME
        and _DEVICES.fullmatch(name) is None
    )


def refuse_input(out: Path, inputs: Iterable[Path], *, flag: str) -> None:
    """Refuse to write the file `out` where it is one of the files that the command reads.

    Files are told apart by device and inode, so links and other spellings of a name are recognised.

    Parameters
    ----------
    out
        The file that is about to be written.
    inputs
        Files that the command reads.
    flag
        The option that names `out`.

    Raises
    ------
    TagboxError
        ``output-is-input``; ``output-is-folder`` where `out` is a folder.
    """
    refuse_inputs([out], inputs, flag=flag)


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path], *, flag: str) -> None:
    """As `refuse_input`, for many files."""
    there: dict[_Identity, Path] = {}
    for out in outputs:
        found = _identity(out)
        if found is None:
            continue
        if out.is_dir():
            raise TagboxError(
                "output-is-folder",
                "a folder stands where the file is to be written",
                file=out,
                where=flag,
                hint="name a file",
            )
        there[found] = out
    if not there:
        return
    for path in inputs:
        out_file = there.get(_identity(path) or (-1, -1))
        if out_file is not None:
            same = "" if path == out_file else f" ({path})"
            raise TagboxError(
                "output-is-input",
                f"this file is an input of the command{same} and would be replaced",
                file=out_file,
                where=flag,
                hint="choose another name or folder for the output",
            )


def refuse_inputs_below(out: Path, inputs: Iterable[Path], *, flag: str) -> None:
    """Refuse to replace the folder `out` where it is or holds a file or folder that the command reads.

    Parameters
    ----------
    out
        The folder that is about to be replaced.
    inputs
        Files and folders that are read, or that the result refers to.

    Raises
    ------
    TagboxError
        ``output-is-input``.
    """
    replaced = _identity(out)
    if replaced is None:
        return
    clear: set[str] = set()
    for path in inputs:
        # A link is a use of the file that it points at, and it stands itself in a folder.
        for place in {os.path.abspath(path), os.path.realpath(path)}:
            folders = []
            while place not in clear:
                folders.append(place)
                if _identity(place) == replaced:
                    raise TagboxError(
                        "output-is-input",
                        f"it holds {path}, which the command reads or its result refers to, and would "
                        "be replaced",
                        file=out,
                        where=flag,
                        hint="choose another folder for the output",
                    )
                above = os.path.dirname(place)
                if above == place:
                    break
                place = above
            # Files are many and their folders few.
            clear.update(folders[1:])


def paths_in(*settings: Any) -> Iterator[Path]:
    """The paths among the fields of dataclasses, such as settings, and of the dataclasses in them."""
    for each in settings:
        for field in fields(each):
            value = getattr(each, field.name)
            if isinstance(value, Path):
                yield value
            elif is_dataclass(value):
                yield from paths_in(value)


def _identity(path: Path | str) -> _Identity | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def is_run(folder: Path) -> bool:
    """Whether the folder holds a saved model or ensemble."""
    return any(os.path.isfile(folder / name) for name in ("model.json", "ensemble.json"))


def named_run(run: Path | str, runs: Path = Path("runs")) -> Path:
    """The folder of the run that is given by its path, or else by its name in `runs`; `run` where there is neither."""
    named = runs / run
    by_name = not os.path.lexists(run) and is_plain_name(str(run)) and is_run(named)
    return named if by_name else Path(run)
