"""The finished trials of a study on disk, each written in one transaction.

A running trial is in memory only, so a killed study continues from the finished ones. A study's folder is locked
by one process; that of a search that ends without a trial is removed. A folder with files that is no study is refused.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tagbox.atomic_io import cannot_write, sole_use
from tagbox.config.base import as_flags, described
from tagbox.errors import TagboxError, extra_missing
from tagbox.files import read_file
from tagbox.output_folder import marked_by, require_made, write_mark
from tagbox.sqlite import connect
from tagbox.training.history import metric_direction
from tagbox.training.run_dir import run_paths

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

FILE, SUMMARY, TRIALS, BEST = "study.db", "tune.json", "trials.csv", "best.yaml"
FULL = ("disk is full", "readonly", "read-only", "unable to open")


def require_optuna() -> None:
    """Refuse to search without Optuna.

    Raises
    ------
    TagboxError
        ``extra-missing``.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise extra_missing("searching", error.name, "tune") from error
    # Its log would mix with the progress.
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def has_trials(folder: Path) -> bool:
    """Whether the folder's own database holds a trial."""
    if not (folder / FILE).exists():
        return False
    try:
        connection = connect(folder / FILE)
        try:
            return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM trials)").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        return False


class StudyStorage:
    """A study in a database.

    Parameters
    ----------
    folder
        The study's folder; without `storage` the trials are in its ``study.db``.
    storage
        The address of a database that Optuna supports, such as ``postgresql://user@host/name``.
    name
        The study's name in the database.
    metric
        The metric of the trials' values.

    Raises
    ------
    TagboxError
        ``study-damaged``, ``study-storage``, ``study-version``, ``cannot-write``.
    """

    def __init__(self, folder: Path, storage: str | None, *, name: str, metric: str) -> None:
        import optuna

        self.file = folder / FILE
        self.address = str(self.file) if storage is None else _without_password(storage)
        self._own = storage is None
        if self._own:
            _require_intact(self.file)
        with self._database_errors():
            database = optuna.storages.RDBStorage(
                storage or "sqlite:///study.db",
                engine_kwargs={"creator": partial(connect, self.file)} if self._own else None,
            )
            self._database: Any = database
            if self._own:
                # The folder holds one study, even if the folder was renamed.
                name = next(iter(optuna.get_all_study_names(database)), name)
            self._study: Study = optuna.create_study(
                storage=database,
                study_name=name,
                direction=metric_direction(metric),
                load_if_exists=True,
            )

    def close(self) -> None:
        """Close the database."""
        self._database.remove_session()
        self._database.engine.dispose()

    @property
    def trials(self) -> list[FrozenTrial]:
        """Every finished trial, in order."""
        with self._database_errors():
            return [t for t in self._study.get_trials(deepcopy=False) if t.state.is_finished()]

    def add(self, trial: FrozenTrial) -> None:
        """Write a finished trial in one transaction."""
        with self._database_errors():
            self._study.add_trial(trial)

    def get(self, key: str) -> Any:
        """The value stored under `key`, or None."""
        with self._database_errors():
            return self._study.user_attrs.get(key)

    def set(self, key: str, value: Any) -> None:
        """Store plain values under `key`."""
        with self._database_errors():
            self._study.set_user_attr(key, value)

    def begin(self, about: Mapping[str, Any]) -> None:
        """Store the study's kind, data and settings; a study with trials must have the same ones.

        Parameters
        ----------
        about
            ``kind`` of model; ``data``, the fingerprints; ``settings``, with the ranges of the searched ones.

        Raises
        ------
        TagboxError
            ``study-data``, ``study-changed``, with every difference.
        """
        stored = self.get("about")
        if stored is None or not self.trials:
            self.set("about", dict(about))
            return
        # Studies that are older than detectors have no kind.
        kind = stored.get("kind", "classifier")
        if kind != about["kind"]:
            raise TagboxError(
                "study-changed",
                f"the study is of a {kind}, not of a {about['kind']}",
                file=self.address,
                hint="choose another --name",
            )
        for name, fingerprint in stored["data"].items():
            if about["data"].get(name) != fingerprint:
                raise TagboxError(
                    "study-data",
                    f"the {name} or their annotations are not those of the study "
                    f"({fingerprint[:12]} then, {about['data'].get(name, '')[:12]} now)",
                    file=self.address,
                    hint="restore the data, or choose another --name",
                )
        then, now = stored["settings"], about["settings"]
        changed = {
            name: (then.get(name), now.get(name))
            for name in dict.fromkeys([*then, *now])
            if then.get(name) != now.get(name)
        }
        if changed:
            raise TagboxError(
                "study-changed",
                f"the study was begun with other settings ({described(changed)})",
                file=self.address,
                hint=f"go on with those{as_flags(changed)}, or choose another --name",
            )

    @contextmanager
    def _database_errors(self) -> Iterator[None]:
        """Raise errors of the database as `TagboxError`."""
        import optuna
        import sqlalchemy.exc

        try:
            yield
        except (
            sqlalchemy.exc.SQLAlchemyError,
            optuna.exceptions.StorageInternalError,
            sqlite3.Error,
            ImportError,
            ValueError,
        ) as error:
            raise self._error_of(error.__cause__ or error) from error
        except RuntimeError as error:  # What Optuna raises for tables of another version.
            raise TagboxError(
                "study-version",
                f"was written by another version of Optuna ({_line(error)})",
                file=self.address,
                hint="use that version, or choose another --name",
            ) from error

    def _error_of(self, error: BaseException) -> TagboxError:
        text = _line(error)
        if not self._own:
            return TagboxError(
                "study-storage",
                f"cannot be used ({text})",
                file=self.address,
                where="--storage",
                hint="check the address and that the database and its driver are there",
            )
        if any(word in text for word in FULL):
            return TagboxError(
                "cannot-write",
                text,
                file=self.file,
                hint="check that the folder can be written and the disk has room",
            )
        return _damaged(self.file, text)


def _require_intact(file: Path) -> None:
    """Refuse a database with damaged pages before anything is written to it."""
    if not file.exists():
        return
    try:
        connection = connect(file)
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise _damaged(file, str(error)) from error
    if found != "ok":
        raise _damaged(file, found)


def _damaged(file: Path, found: str) -> TagboxError:
    return TagboxError(
        "study-damaged",
        f"the study's database is damaged ({found})",
        file=file,
        hint="restore the file, or move the folder away and search anew",
    )


def _line(error: BaseException) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:200].rstrip(".")


def _without_password(url: str) -> str:
    """The address of a database without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


@contextmanager
def study_folder(studies: Path, name: str) -> Iterator[Path]:
    """The study's folder, locked by this process; a new one without a trial is removed at the end.

    Raises
    ------
    TagboxError
        ``run-name``; ``study-name`` for the folder of a run; ``not-made-by-tagbox`` for one with files that
        is no study; ``study-busy``; ``cannot-write``.
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
                if marked_by(folder) != "study" and not _is_earlier_study(folder):
                    require_made(folder, "study", flag="--name")
                write_mark(folder, "study", (FILE, SUMMARY, TRIALS, BEST))
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
            "another process is running this study",
            file=folder,
            hint="wait for it, or choose another --name",
        ) from error


def _is_earlier_study(folder: Path) -> bool:
    """Whether a folder without a mark is a study: by the notes in its database, else by its summary."""
    if not (folder / FILE).is_file():
        summary = _summary(folder / SUMMARY)
        return {"metric", "direction", "search", "trials"} <= summary.keys()
    # A copy: opening a database may change it, and this one may be the user's.
    with suppress(OSError, sqlite3.Error), tempfile.TemporaryDirectory() as copies:
        for name in (FILE, f"{FILE}-wal", f"{FILE}-journal"):
            if (folder / name).exists():
                shutil.copyfile(folder / name, Path(copies, name))
        connection = connect(Path(copies, FILE))
        try:
            query = "SELECT EXISTS (SELECT 1 FROM study_user_attributes WHERE key = 'about')"
            return bool(connection.execute(query).fetchone()[0])
        finally:
            connection.close()
    return False


def _summary(file: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(read_file(file), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, RecursionError):
        return {}
