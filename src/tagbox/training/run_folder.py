"""The folder of a run: built aside, moved into place whole, never two writers at once."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tagbox.errors import TagboxError
from tagbox.files import cannot_write, replace_folder


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
    if final.exists() and not overwrite:
        raise TagboxError(
            "run-exists",
            "there is a run of this name",
            file=final,
            hint="choose another --name, or pass --overwrite",
        )
    try:
        runs.mkdir(parents=True, exist_ok=True)
        # The lock file stays: removing it would let a third process lock a new one of the same name.
        lock = FileLock(runs / f".{name}.lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise TagboxError(
            "run-busy",
            "another process is writing this run",
            file=final,
            hint="wait for it, or choose another --name",
        ) from error
    except OSError as error:
        raise cannot_write(runs, error) from error
    with lock:
        try:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            yield work
            replace_folder(work, final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
