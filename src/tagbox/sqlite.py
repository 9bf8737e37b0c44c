"""Opens every SQLite database of the package.

SQLite's write-ahead log can corrupt a database that two connections write and checkpoint at once, in versions 3.7.0 to
3.51.2 except 3.50.7 and 3.44.6 and what follows them in their lines ("The WAL-Reset Bug", sqlite.org/wal.html). With
such a library a rollback journal is used instead.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

BUSY_SECONDS = 30.0
"""How long a connection waits for another one's lock."""


FIXED: dict[tuple[int, ...], tuple[int, ...]] = {(3, 50): (3, 50, 7), (3, 44): (3, 44, 6)}
"""The first versions without the fault in older lines that were mended."""


def wal_is_sound(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Whether that version's write-ahead log is free of the fault."""
    return version >= (3, 51, 3) or (version[:2] in FIXED and version >= FIXED[version[:2]])


def connect(
    path: Path, prepare: Callable[[sqlite3.Connection], object] = lambda _: None
) -> sqlite3.Connection:
    """Open or create a database, which any thread may use; one at a time.

    Parameters
    ----------
    path
        The file.
    prepare
        Called before the journal is chosen: what must be first in a new file, or refuses one of something else.

    Returns
    -------
    sqlite3.Connection
        Transactions that write begin with ``BEGIN IMMEDIATE``, so that two writers wait for each other instead of
        failing halfway. A database that has a write-ahead log is given a rollback journal where the library has the
        fault.

    Raises
    ------
    sqlite3.OperationalError
        Where the file cannot be opened; where another process holds a database open with a write-ahead log, and the
        library has the fault.
    sqlite3.DatabaseError
        For a file that is no database.
    """
    database = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level="IMMEDIATE", check_same_thread=False
    )
    try:
        prepare(database)
        wanted = "wal" if wal_is_sound() else "truncate"
        (mode,) = database.execute(f"PRAGMA journal_mode = {wanted}").fetchone()
        if mode == "wal" and wanted != "wal":
            raise sqlite3.OperationalError("another process uses it with a write-ahead log")
        # With a log NORMAL survives a killed process; a power cut may cost the last transactions, no more.
        database.execute(f"PRAGMA synchronous = {'NORMAL' if mode == 'wal' else 'FULL'}")
    except UnicodeDecodeError as error:  # A message that quotes a damaged page.
        database.close()
        raise sqlite3.DatabaseError("database disk image is malformed") from error
    except BaseException:
        database.close()
        raise
    return database
