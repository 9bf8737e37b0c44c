"""The folder of a study: one process at a time, and nothing left of a search that did not begin."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tagbox.errors import TagboxError
from tagbox.files import cannot_write, sole_use
from tagbox.studies.ledger import has_trials
from tagbox.studies.results import SUMMARY
from tagbox.training.run_folder import run_paths


@contextmanager
def study_folder(studies: Path, name: str) -> Iterator[Path]:
    """The study's folder, held by this process; a new one is removed again where no trial came of it.

    Raises
    ------
    TagboxError
        ``run-name``; ``study-name`` for the folder of a run; ``study-busy``; ``cannot-write``.
    """
    folder = run_paths(studies, name)[0]
    if any((folder / file).exists() for file in ("model.json", "metrics.json")):
        raise TagboxError(
            "study-name",
            "this folder holds a run",
            file=folder,
            hint="choose another --name or --studies",
        )
    new = [path for path in (folder, studies) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        with sole_use(folder, wait=False):
            try:
                yield folder
            finally:
                if new and not (has_trials(folder) or (folder / SUMMARY).exists()):
                    shutil.rmtree(folder, ignore_errors=True)
                    for above in new[1:]:
                        with suppress(OSError):  # Another study may be in there by now.
                            above.rmdir()
    except BlockingIOError as error:
        raise TagboxError(
            "study-busy",
            "another process is searching here",
            file=folder,
            hint="wait for it, or choose another --name",
        ) from error
