"""Folders that commands write: marked as tagbox's, whole or not at all, and replaced only where tagbox made them.

A folder is written beside its place, as ``.NAME.tagbox-tmp``, and exchanged with the former one in one step of
the file system. A mount point, and a folder whose parent may not be written, keep their place: the new
content is written inside and exchanged entry by entry, and the next command goes on where a killed one was.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tagbox.atomic_io import TEMPORARY, atomic_write, cannot_write, locked_folder, sweep
from tagbox.errors import TagboxError
from tagbox.files import read_file

MARK = ".tagbox"
"""The file in every folder that tagbox writes: a JSON object with ``format``, ``command`` and the files written."""
_FORMAT, _VERSION = "tagbox-output", 1
_DESKTOP = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
"""Files that file managers put into every folder."""
_NEW, _ASIDE, _READY = ".tagbox-new", ".tagbox-aside", ".tagbox-ready"
_NOT_CONTENT = frozenset((_NEW, _ASIDE, _READY, "lost+found"))
"""In a folder that keeps its place: what a killed command left, and what belongs to the disk."""
_SHOWN = 3
RUN_FILES = frozenset(
    [
        *("config.yaml", "split.json", "model.json", "model.safetensors", "ensemble.json"),
        *("metrics.json", "history.csv", "predictions.csv", "predictions.json", "report.html"),
        *("members", "tensorboard", "checkpoints"),
    ]
)
"""What lies in a run directory."""
Made = Callable[[Path], Callable[[str], bool] | None]
"""Says of a folder without a mark which of its files an earlier version of tagbox wrote; None of a folder of others."""


@contextmanager
def atomic_folder(
    path: Path,
    *,
    overwrite: bool = False,
    command: str | None = None,
    made: Made | None = None,
) -> Iterator[Path]:
    """Yield an empty folder that replaces `path` on a clean exit; a link at `path` stays one.

    Parameters
    ----------
    overwrite
        Replace a folder that is not empty, if tagbox made it.
    command
        What writes the folder, for its mark; None writes no mark and replaces anything.
    made
        Recognises folders that versions without a mark wrote.

    Raises
    ------
    TagboxError
        ``exists`` when `path` is not empty and `overwrite` is false; ``not-made-by-tagbox`` when it holds
        other files than tagbox wrote; ``output-busy`` while another process writes it; ``cannot-write``.
    """
    target = Path(os.path.realpath(path))
    inside = in_place(target)
    work = target / _NEW if inside else _beside(target)
    try:
        with ExitStack() as stack:
            with _errors_of(path):
                if not inside:  # What is refused leaves nothing behind, not even a parent folder.
                    _refuse(path, target, overwrite, command, made)
                target.parent.mkdir(parents=True, exist_ok=True)
                sweep(target.parent)
                stack.enter_context(locked_folder(work))
                stack.callback(shutil.rmtree, work, ignore_errors=True)
                restore_folder(target)
                _empty(work)
                _refuse(path, target, overwrite, command, made)
            yield work
            with _errors_of(path):
                if command is not None:
                    write_mark(work, command)
                replace_folder(work, target)
    except KeyboardInterrupt as interrupt:
        if command is not None:
            was = "is as it was" if target.exists() else "was not made"
            interrupt.add_note(f"{path} {was}; the same command begins anew")
        raise


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into sentences."""
    try:
        yield
    except BlockingIOError as error:
        raise TagboxError(
            "output-busy",
            "another command is writing this folder",
            file=path,
            hint="wait for it, or choose another folder",
        ) from error
    except OSError as error:
        raise cannot_write(path, error) from error


def _refuse(
    path: Path, target: Path, overwrite: bool, command: str | None, made: Made | None
) -> None:
    """Refuse what must not be replaced."""
    if not overwrite and target.exists() and (not target.is_dir() or not _is_empty(target)):
        raise TagboxError(
            "exists",
            "already exists and is not empty",
            file=path,
            hint="choose another name or pass --overwrite",
        )
    if command is not None:
        require_made(path, command, made)


def require_made(
    path: Path, command: str, made: Made | None = None, *, flag: str = "--overwrite"
) -> None:
    """Refuse to replace a folder with files that tagbox, or this `command` of it, did not write.

    Raises
    ------
    TagboxError
        ``not-made-by-tagbox``.
    """
    if not path.exists():
        return
    if not path.is_dir():
        found = "this is a file, not a folder that tagbox made"
    elif marked_by(path) not in (None, command):
        found = f"it was written as a {marked_by(path)}, not as a {command}"
    else:
        foreign = foreign_files(path, made)
        if not foreign:
            return
        found = f"it holds {', '.join(foreign[:_SHOWN])}"
        found += f" and {len(foreign) - _SHOWN:,} more" if len(foreign) > _SHOWN else ""
        found += ", which tagbox did not write"
    raise TagboxError(
        "not-made-by-tagbox",
        found,
        file=path,
        where=flag,
        hint="move that away, or choose another name",
    )


def foreign_files(folder: Path, made: Made | None = None) -> list[str]:
    """Files below `folder` that tagbox did not write, sorted; paths relative to it with ``/``."""
    known = marked_files(folder)
    own = known.__contains__ if known is not None else made(folder) if made is not None else None
    return [
        name
        for name in _listed(folder)
        if name.rpartition("/")[2] not in _DESKTOP and (own is None or not own(name))
    ]


def marked_files(folder: Path) -> set[str] | None:
    """The files that the mark of a folder lists; None without a mark."""
    return _read_mark(folder)[1]


def marked_by(folder: Path) -> str | None:
    """The command that marked a folder; None without a mark."""
    return _read_mark(folder)[0]


def _read_mark(folder: Path) -> tuple[str | None, set[str] | None]:
    try:
        mark = json.loads(read_file(folder / MARK))
        if mark["format"] != _FORMAT:
            return None, None
        return str(mark["command"]), {
            f"{inside}/{name}" if inside else name
            for inside, names in mark["files"].items()
            for name in names
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, None


def write_mark(folder: Path, command: str, names: Iterable[str] | None = None) -> None:
    """Mark a folder, and all files that are in it now, as written by tagbox.

    Parameters
    ----------
    names
        The files that are written there, in place of all; they are added to those of a mark that is there.

    Raises
    ------
    TagboxError
        ``cannot-write``.
    """
    if names is not None:
        earlier, files = _read_mark(folder)
        command, names = earlier or command, sorted({*names, *(files or ())})
    by_folder: dict[str, list[str]] = {}
    for name in _listed(folder) if names is None else names:
        above, _, base = name.rpartition("/")
        by_folder.setdefault(above, []).append(base)
    mark = {"format": _FORMAT, "version": _VERSION, "command": command, "files": by_folder}
    atomic_write(folder / MARK, json.dumps(mark, indent=1) + "\n")


def made_by_run(folder: Path) -> Callable[[str], bool] | None:
    """A `Made` for run directories: they hold a bundle, its settings and its metrics."""
    bundle = any((folder / name).is_file() for name in ("model.json", "ensemble.json"))
    if not (bundle and all((folder / name).is_file() for name in ("config.yaml", "metrics.json"))):
        return None
    return lambda name: name.partition("/")[0] in RUN_FILES


def run_inputs(run: Path) -> list[Path]:
    """The files of a run, which a command that reads it must not replace; others in its folder are not its."""
    marked = marked_files(run)
    if marked is None:
        marked = {name for name in _listed(run) if name.partition("/")[0] in RUN_FILES}
    return [run / name for name in marked]


def _listed(folder: Path) -> list[str]:
    """All files and links below `folder` but its mark, sorted."""
    found = []
    for current, folders, files in os.walk(folder):
        prefix = os.path.relpath(current, folder).replace(os.sep, "/")
        prefix = "" if prefix == "." else f"{prefix}/"
        links = [name for name in folders if os.path.islink(os.path.join(current, name))]
        if not prefix:
            folders[:] = [name for name in folders if name not in _NOT_CONTENT]
        found += [prefix + name for name in (*files, *links)]
    return sorted(name for name in found if name != MARK)


def in_place(target: Path) -> bool:
    """Whether a folder must keep its place: it is a mount point, or its parent may not be written."""
    if not target.is_dir():
        return False
    return (
        os.path.ismount(target)
        or str(target) in _mounts()
        or not os.access(target.parent, os.W_OK | os.X_OK)
    )


def _mounts() -> set[str]:
    """Linux's mount points, also of folders of the same disk, which `os.path.ismount` does not know."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as opened:
            fields = [line.split(" ")[4] for line in opened]
    except (OSError, IndexError):
        return set()
    return {re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), field) for field in fields}


def _beside(target: Path) -> Path:
    name = target.name
    if len(os.fsencode(name)) > 200:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return target.with_name(f".{name}{TEMPORARY}")


def _is_empty(folder: Path) -> bool:
    """Whether a folder has no content of its own."""
    return all(entry.name in _NOT_CONTENT for entry in folder.iterdir())


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def replace_folder(new: Path, path: Path) -> None:
    """Move the folder `new` to `path`, also through a link; the former folder is removed after that."""
    target = Path(os.path.realpath(path))
    restore_folder(target)
    if target.is_dir():
        shutil.copymode(target, new)
    if in_place(target) or (target.is_dir() and target.stat().st_dev != new.stat().st_dev):
        if new.parent != target:
            shutil.copytree(new, target / _NEW, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(new)
        _replace_entries(target)
        return
    aside = target.with_name(f".{target.name}.old{TEMPORARY}")
    shutil.rmtree(aside, ignore_errors=True)
    if not target.exists():
        os.rename(new, target)
    elif _exchange(new, target):
        os.rename(new, aside)
    else:
        os.rename(target, _kept(target))
        os.rename(new, target)
        os.rename(_kept(target), aside)
    shutil.rmtree(aside, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Undo or finish what `replace_folder` was killed in."""
    target = Path(os.path.realpath(path))
    kept = _kept(target)
    if kept.exists() and not target.exists():
        os.rename(kept, target)
    elif kept.exists():
        shutil.rmtree(kept, ignore_errors=True)
    if (target / _READY).exists():
        _move_up(target)
    elif (target / _ASIDE).exists():
        for entry in (target / _ASIDE).iterdir():
            os.rename(entry, target / entry.name)
        (target / _ASIDE).rmdir()


def _kept(target: Path) -> Path:
    """Where the former folder is between two renames, on systems that cannot exchange two folders."""
    return target.with_name(f".{target.name}.old.tmp")


def _replace_entries(target: Path) -> None:
    """Exchange the content of `target` with that of the finished folder in it."""
    (target / _ASIDE).mkdir()
    for entry in list(target.iterdir()):
        if entry.name not in _NOT_CONTENT:
            os.rename(entry, target / _ASIDE / entry.name)
    os.rename(target / _ASIDE, target / _READY)
    _move_up(target)


def _move_up(target: Path) -> None:
    """The second half of `_replace_entries`: everything former is in ``_READY``, the rest of the new in ``_NEW``."""
    if (target / _NEW).exists():
        for entry in list((target / _NEW).iterdir()):
            os.rename(entry, target / entry.name)
    shutil.rmtree(target / _READY, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two paths in one step; False where the system or the disk cannot."""
    if not sys.platform.startswith("linux"):
        return False
    with suppress(OSError, AttributeError):
        call = ctypes.CDLL(None, use_errno=True).renameat2
        here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of Linux's fcntl.h.
        return bool(call(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)
    return False
