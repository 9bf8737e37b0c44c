"""Features on disk, keyed by the image's bytes and everything else that determines them.

One SQLite file in a folder, which runs side by side read and write together; a kill loses the last
seconds at most. A cache never stops a run: a damaged file is set aside and
reported.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import cache_folder, sole_use
from tagbox.errors import visible
from tagbox.sqlite import connect

FILE_NAME = "features.sqlite"
APPLICATION_ID = 0x74616762
"""Marks the file as ours in SQLite's header (the letters "tagb")."""
SCHEMA_VERSION = 1
DEFAULT_LIMIT = 8 << 30
BATCH_ROWS = 1024
BATCH_BYTES = 16 << 20
BATCH_SECONDS = 1.0
USED_GRAIN = 3600
"""Seconds by which the time of last use may be stale; rewriting it on every hit would cost writes."""

ERRORS = (sqlite3.Error, UnicodeDecodeError, TypeError)
"""What a damaged file leads to; the latter where a value or a message that quotes a page is not what it should be."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS features (
    key BLOB PRIMARY KEY,
    value BLOB NOT NULL,
    used INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS features_used ON features (used);
"""


def feature_key(encoder_key: str, view: int, image_sha256: bytes) -> bytes:
    """The 32 bytes under which a feature is stored."""
    text = f"{encoder_key}\0{view}\0".encode()
    return hashlib.sha256(text + image_sha256).digest()


class FeatureCache:
    """Features by key.

    Parameters
    ----------
    folder
        Where the file is; ``$TAGBOX_CACHE`` or the user's cache folder when not given.
    limit_bytes
        Above this size the features not used for longest are removed.
    """

    def __init__(self, folder: Path | None = None, limit_bytes: int = DEFAULT_LIMIT) -> None:
        self.folder = folder or cache_folder("features")
        self.path = self.folder / FILE_NAME
        self.limit_bytes = limit_bytes
        self._lock = threading.RLock()
        self._pending: dict[bytes, bytes] = {}
        self._pending_bytes = 0
        self._touched: set[bytes] = set()
        self._written = time.monotonic()
        self._database: sqlite3.Connection | None = None
        self._open()
        _caches.add(self)

    @property
    def active(self) -> bool:
        """Whether features are kept; false where the folder cannot be used."""
        return self._database is not None

    def get(self, key: bytes, length: int) -> NDArray[np.float32] | None:
        """The feature of `length` float32 values under `key`, or None."""
        with self._lock:
            stored = self._pending.get(key) or self._read(key)
        if stored is None or len(stored) != 4 + 4 * length:
            return None
        if zlib.crc32(stored[4:]).to_bytes(4, "little") != stored[:4]:
            return None
        return np.frombuffer(stored, "<f4", offset=4)

    def put(self, key: bytes, feature: NDArray[np.float32]) -> None:
        """Keep `feature` under `key`; written with others in one transaction, see `flush`."""
        if not self.active:
            return
        content = np.ascontiguousarray(feature, "<f4").tobytes()
        with self._lock:
            self._pending[key] = zlib.crc32(content).to_bytes(4, "little") + content
            self._pending_bytes += len(content)
            if (
                len(self._pending) >= BATCH_ROWS
                or self._pending_bytes >= BATCH_BYTES
                or time.monotonic() - self._written > BATCH_SECONDS
            ):
                self.flush()

    def flush(self) -> None:
        """Write what is pending, and make room."""
        with self._lock:
            if self._database is None:
                return
            try:
                self._write(self._database)
            except ERRORS as error:
                self._fail(error)
                if self._database is not None:
                    # A damaged file was set aside: what was pending goes into the new one.
                    with suppress(*ERRORS):
                        self._write(self._database)
            self._pending.clear()
            self._pending_bytes = 0
            self._touched.clear()
            self._written = time.monotonic()

    def _write(self, database: sqlite3.Connection) -> None:
        now = int(time.time())
        with database:
            database.executemany(
                "INSERT OR REPLACE INTO features VALUES (?, ?, ?)",
                [(key, value, now) for key, value in self._pending.items()],
            )
            database.executemany(
                "UPDATE features SET used = ? WHERE key = ?",
                [(now, key) for key in self._touched],
            )
        self._make_room(database)

    def size(self) -> int:
        """Bytes in use, without what is pending."""
        return self._count(_bytes_used)

    def count(self) -> int:
        """Number of features."""
        self.flush()
        return self._count(
            lambda database: database.execute("SELECT count(*) FROM features").fetchone()[0]
        )

    def _count(self, count: Callable[[sqlite3.Connection], int]) -> int:
        """What `count` finds; 0 without a sound file."""
        with self._lock:
            if self._database is None:
                return 0
            try:
                return int(count(self._database))
            except ERRORS as error:
                self._fail(error)
                return 0

    def clear(self) -> None:
        """Remove every feature and give the disk back."""
        with self._lock:
            if self._database is None:
                return
            self._pending.clear()
            self._touched.clear()
            try:
                with self._database:
                    self._database.execute("DELETE FROM features")
                with suppress(sqlite3.OperationalError):  # Another run is reading: the room stays.
                    self._database.execute("VACUUM")
                    self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except ERRORS as error:
                self._fail(error)

    def close(self) -> None:
        """Write what is pending and close the file."""
        with self._lock:
            self.flush()
            if self._database is not None:
                self._database.close()
                self._database = None

    def _read(self, key: bytes) -> bytes | None:
        if self._database is None:
            return None
        try:
            row = self._database.execute(
                "SELECT value, used FROM features WHERE key = ?", (key,)
            ).fetchone()
        except ERRORS as error:
            self._fail(error)
            return None
        if row is None or not (isinstance(row[0], bytes) and isinstance(row[1], int)):
            return None
        if row[1] < time.time() - USED_GRAIN:
            self._touched.add(key)
        return row[0]

    def _make_room(self, database: sqlite3.Connection) -> None:
        """Remove the longest unused features until a tenth of the limit is free."""
        if _bytes_used(database) <= self.limit_bytes:
            return
        rows, stored = database.execute(
            "SELECT count(*), coalesce(sum(length(value)), 0) FROM features"
        ).fetchone()
        surplus = _bytes_used(database) - self.limit_bytes * 9 // 10
        remove = min(rows, 1 + surplus * rows // max(stored, 1))
        with database:
            database.execute(
                "DELETE FROM features WHERE rowid IN "
                "(SELECT rowid FROM features ORDER BY used, rowid LIMIT ?)",
                (remove,),
            )
        database.execute("PRAGMA incremental_vacuum").fetchall()

    def _open(self, *, suspect: bool = False) -> None:
        """Connect; a file that is not a sound cache of this version is set aside first."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with sole_use(self.folder):
                try:
                    self._database = _connect(self.path, suspect=suspect)
                except _NotOursError as error:
                    aside = _set_aside(self.path)
                    _say(f"{self.path} is {error}; it was moved to {aside.name} and made anew")
                    self._database = _connect(self.path)
        except (OSError, sqlite3.Error, _NotOursError) as error:
            self._database = None
            _say(f"{self.folder} cannot hold the feature cache ({error}); going on without it")

    def _fail(self, error: Exception) -> None:
        """After an error in use: start anew where the file is damaged, else do without."""
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None
        if _is_passing(error):
            _say(f"the feature cache in {self.folder} failed ({error}); going on without it")
        else:
            self._open(suspect=True)


_caches: WeakSet[FeatureCache] = WeakSet()
_inherited: list[object] = []


def _after_fork() -> None:
    """A connection must not be used or closed by another process than its own: a fork goes on without the cache."""
    for cache in _caches:
        _inherited.append(cache._database)
        cache._lock, cache._database = threading.RLock(), None
        cache._pending.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _NotOursError(Exception):
    """The file is no intact cache of this version."""


def _connect(path: Path, *, suspect: bool = False) -> sqlite3.Connection:
    """Open or create the file; of a `suspect` one all pages are checked."""
    fresh = not path.exists() or path.stat().st_size == 0

    def prepare(database: sqlite3.Connection) -> None:
        if fresh:
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        marks = [
            database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        ]
        if marks != [APPLICATION_ID, SCHEMA_VERSION]:
            raise _NotOursError("a database of something else, or of another version")

    database = None
    try:
        database = connect(path, prepare)
        database.executescript(SCHEMA)
        if suspect and database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise _NotOursError("damaged")
    except (*ERRORS, _NotOursError) as error:
        if database is not None:
            database.close()
        if _is_passing(error) or isinstance(error, _NotOursError):
            raise
        raise _NotOursError(f"damaged ({error})") from error
    return database


def _is_passing(error: Exception) -> bool:
    """Whether the system or a lock is at fault and not the file; in a damaged one a table or column may be missing."""
    return isinstance(error, sqlite3.OperationalError) and "no such" not in str(error)


def _set_aside(path: Path) -> Path:
    """Rename the file and what SQLite keeps beside it; the new name of the former."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    os.replace(path, aside)
    for suffix in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    return aside


def _bytes_used(database: sqlite3.Connection) -> int:
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _say(message: str) -> None:
    print(f"tagbox: {visible(message)}", file=sys.stderr)
