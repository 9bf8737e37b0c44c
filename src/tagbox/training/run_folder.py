"""The folder of a run: built aside, moved into place whole, never two writers at once."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tagbox.errors import TagboxError
from tagbox.files import cannot_write, replace_folder, restore_folder, sole_use


@contextmanager
def run_folder(runs: Path, name: str, *, overwrite: bool) -> Iterator[Path]:
    """Yield the work folder ``runs/.NAME.partial``; on a clean exit it becomes ``runs/NAME``.

    What an earlier, killed run of that name left there is cleared first. On an exception the work
    folder is removed and ``runs/NAME`` is what it was.

    Raises
    ------
    TagboxError
        ``run-name`` for a name that is no plain file name; ``run-exists`` when the run is finished and
        `overwrite` is false; ``run-busy`` while another process writes it; ``cannot-write``.
    """
    if not re.fullmatch(r"[\w][\w.\- ]*", name):
        raise TagboxError(
            "run-name",
            f"{name!r} is not a plain name",
            where="--name",
            hint="use letters, digits, dots, dashes and underscores",
        )
    final, work = runs / name, runs / f".{name}.partial"
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
            _empty(work)
            try:
                yield work
                replace_folder(work, final)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except BlockingIOError as error:
        raise TagboxError(
            "run-busy",
            "another process is writing this run",
            file=final,
            hint="wait for it, or choose another --name",
        ) from error


def _refuse_finished(final: Path, overwrite: bool) -> None:
    if final.exists() and not overwrite:
        raise TagboxError(
            "run-exists",
            "there is a run of this name",
            file=final,
            hint="choose another --name, or pass --overwrite",
        )


def _empty(folder: Path) -> None:
    """Clear what an earlier, killed run left, and keep the folder, whose lock is held."""
    folder.mkdir(exist_ok=True)
    for inside in folder.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside)
        else:
            inside.unlink()
