"""How databases are opened: no write-ahead log where SQLite's has its fault, and writers that wait for each other."""

from __future__ import annotations

import ast
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

import tagbox
from tagbox import sqlite


@pytest.mark.parametrize(
    ("version", "sound"),
    [
        ((3, 7, 0), False),
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 44, 7), True),
        ((3, 45, 0), False),
        ((3, 49, 9), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_the_versions_with_the_fault(version: tuple[int, ...], sound: bool) -> None:
    assert sqlite.wal_is_sound(version) == sound


def mode(database: sqlite3.Connection) -> str:
    return str(database.execute("PRAGMA journal_mode").fetchone()[0])


def test_no_log_with_the_library_that_is_linked_here(tmp_path: Path) -> None:
    faulty = (3, 7, 0) <= sqlite3.sqlite_version_info < (3, 44, 6)
    with closing(sqlite.connect(tmp_path / "new.db")) as database:
        database.execute("CREATE TABLE t (x)")
        assert (mode(database) == "wal") == sqlite.wal_is_sound()
        assert not faulty or mode(database) == "truncate"
        assert database.execute("PRAGMA busy_timeout").fetchone() == (30000,)


@pytest.mark.parametrize("sound", [True, False])
def test_the_journal_follows_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: bool
) -> None:
    monkeypatch.setattr(sqlite, "wal_is_sound", lambda: sound)
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as other, other:
        # The mode that an older version of the package, or another library, left in the file.
        other.execute(f"PRAGMA journal_mode = {'delete' if sound else 'wal'}")
        other.execute("CREATE TABLE t (x)")
        other.execute("INSERT INTO t VALUES (7)")
    with closing(sqlite.connect(path)) as database:
        assert mode(database) == ("wal" if sound else "truncate")
        assert database.execute("SELECT x FROM t").fetchall() == [(7,)]


def test_a_log_that_another_process_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "wal_is_sound", lambda: False)
    path = tmp_path / "held.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = wal")
        other.execute("CREATE TABLE t (x)")
        with pytest.raises(sqlite3.OperationalError):
            sqlite.connect(path)


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    path, rounds = tmp_path / "counter.db", 40
    with closing(sqlite.connect(path)) as database, database:
        database.execute("CREATE TABLE counter (n INTEGER)")
        database.execute("INSERT INTO counter VALUES (0)")
    errors: list[Exception] = []

    def count() -> None:
        try:
            with closing(sqlite.connect(path)) as database:
                for _ in range(rounds):
                    with database:
                        database.execute("UPDATE counter SET n = n")
                        (n,) = database.execute("SELECT n FROM counter").fetchone()
                        database.execute("UPDATE counter SET n = ?", (n + 1,))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    with closing(sqlite.connect(path)) as database:
        assert database.execute("SELECT n FROM counter").fetchone() == (4 * rounds,)
        said: list[str] = []
        database.set_trace_callback(said.append)
        with database:
            database.execute("INSERT INTO counter VALUES (1)")
        assert said[0].strip() == "BEGIN IMMEDIATE"


def test_the_feature_cache_has_no_faulty_log(tmp_path: Path) -> None:
    feature_cache = pytest.importorskip("tagbox.backends.feature_cache")
    cache = feature_cache.FeatureCache(tmp_path)
    assert (mode(cache._database) == "wal") == sqlite.wal_is_sound()
    # What it is about stays: the room of removed features is given back.
    assert cache._database.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    cache.close()


def test_a_study_has_no_faulty_log(tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="needs the tune extra")
    storage = pytest.importorskip("tagbox.studies.storage")
    study = storage.StudyStorage(tmp_path, None, name="a", metric="mAP")
    study.set("about", {"kind": "classifier"})
    with study._database.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert (mode(raw) == "wal") == sqlite.wal_is_sound()
        assert raw.isolation_level == "IMMEDIATE"
    study.close()


def test_nothing_else_opens_a_database() -> None:
    folder = Path(tagbox.__file__).parent
    calls = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sqlite3.connect"
    ]
    assert calls == ["sqlite.py"]
