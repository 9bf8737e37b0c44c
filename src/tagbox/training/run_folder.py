"""The folder of a run: built aside, moved into place whole, never two writers at once."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tagbox.errors import TagboxError
from tagbox.files import cannot_write, replace_folder, restore_folder, sole_use

CHECKPOINTS = "checkpoints"


@contextmanager
def run_folder(runs: Path, name: str, *, overwrite: bool, resume: bool = False) -> Iterator[Path]:
    """Yield the work folder ``runs/.NAME.partial``; on a clean exit it becomes ``runs/NAME``.

    What an earlier, killed run of that name left there is cleared first, but with `resume` it stays. On
    an exception ``runs/NAME`` is what it was, and the work folder is removed unless it holds checkpoints.

    Raises
    ------
    TagboxError
        ``run-name`` for a name that is no plain file name; ``run-exists`` when the run is finished and
        `overwrite` is false; ``run-unfinished`` when there are checkpoints, and neither `overwrite` nor
        `resume`; ``run-busy`` while another process writes it; ``cannot-write``.
    """
    final, work = run_paths(runs, name)
    restore_folder(final)
    _refuse_finished(final, overwrite)
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(work, error) from error
    try:
        with sole_use(work, wait=False):
            # Its last owner may have finished, and moved it, since it was looked for.
            _refuse_finished(final, overwrite)
            work.mkdir(exist_ok=True)
            if not resume:
                if _has_checkpoints(work) and not overwrite:
                    raise TagboxError(
                        "run-unfinished",
                        "there is an unfinished run of this name, with checkpoints",
                        file=final,
                        hint="go on with it by --resume, or start anew with --overwrite",
                    )
                empty_folder(work)
            try:
                yield work
                replace_folder(work, final)
            finally:
                if not _has_checkpoints(work):
                    shutil.rmtree(work, ignore_errors=True)
    except BlockingIOError as error:
        raise TagboxError(
            "run-busy",
            "another process is writing this run",
            file=final,
            hint="wait for it, or choose another --name",
        ) from error


def run_paths(runs: Path, name: str) -> tuple[Path, Path]:
    """The folder of the finished run, and the one that it is written in.

    Raises
    ------
    TagboxError
        ``run-name``.
    """
    if not re.fullmatch(r"[\w][\w.\- ]*", name):
        raise TagboxError(
            "run-name",
            f"{name!r} is not a plain name",
            where="--name",
            hint="use letters, digits, dots, dashes and underscores",
        )
    return runs / name, runs / f".{name}.partial"


def _has_checkpoints(work: Path) -> bool:
    folder = work / CHECKPOINTS
    return folder.is_dir() and any(path.name.isdecimal() for path in folder.iterdir())


def _refuse_finished(final: Path, overwrite: bool) -> None:
    if final.exists() and not overwrite:
        raise TagboxError(
            "run-exists",
            "there is a run of this name",
            file=final,
            hint="choose another --name, or pass --overwrite",
        )


def empty_folder(folder: Path) -> None:
    """Clear what an earlier, killed run left, and keep the folder, whose lock is held."""
    for inside in folder.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside)
        else:
            inside.unlink()
