"""Atomic writing of files, locks, and what killed processes left: a kill leaves the old file or the new one, never a part."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tagbox.errors import TagboxError
from tagbox.files import open_file
from tagbox.text_output import encode_text

TEMPORARY = ".tagbox-tmp"
"""What the names of all temporary files and folders end in; they begin with a dot."""
_swept: set[str] = set()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it is flushed to disk and renamed to `path`.

    The parent folder is made when missing, and temporary files of dead processes in it are removed. On
    an exception the temporary file is removed and `path` is left as it was.

    Raises
    ------
    TagboxError
        ``cannot-write`` when the operating system refuses the folder or the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        handle, name = _locked_file(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; the finished one gets the usual permissions of new files.
        os.chmod(temporary, 0o666 & ~_umask())
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
        if handle is not None:
            os.close(handle)


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode_text(content) if isinstance(content, str) else content)


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield a new folder in `parent`, which is made when missing; removed afterwards.

    Raises
    ------
    OSError
        When the operating system refuses.
    """
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=f".{name[:40]}.", suffix=TEMPORARY, dir=parent))
    try:
        os.chmod(folder, 0o777 & ~_umask())
        with locked_folder(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what dead processes left in `folder`; once in each process.

    Living processes hold locks on their temporary files and folders. Where the system or the disk has no
    such locks nothing is removed.
    """
    if str(folder) in _swept or os.name == "nt":
        return
    _swept.add(str(folder))
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(TEMPORARY):
                remove_unlocked(Path(entry.path))


def remove_unlocked(path: Path) -> None:
    """Remove a temporary file or folder that no living process has locked."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _lock(handle) and _is_open(handle, path):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
        finally:
            os.close(handle)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make `folder` unless it is there, and hold its lock, where the system has such locks.

    Raises
    ------
    BlockingIOError
        When another process holds it.
    OSError
        When the operating system refuses.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # Its former owner has just removed or renamed it.
        try:
            _lock(handle)
            if not _is_open(handle, folder):
                continue
            yield
            return
        finally:
            os.close(handle)


def _locked_file(path: Path) -> tuple[int | None, str]:
    """Handle and name of a new temporary file beside `path`, locked by this process; None without locks."""
    while True:
        handle, name = tempfile.mkstemp(TEMPORARY, f".{path.name[:40]}.", path.parent)
        locked = _lock(handle)
        if locked and _is_open(handle, Path(name)):
            return handle, name
        os.close(handle)
        if not locked:
            return None, name


def _lock(handle: int) -> bool:
    """Whether an exclusive lock was taken; raises BlockingIOError where another process has it."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # Some network file systems have no locks.
        return False
    return True


def _is_open(handle: int, path: Path) -> bool:
    """Whether `path` is still the file or folder behind `handle`."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except OSError:
        return False


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of an ordinary file's bytes, read in blocks; raises what `open_file` does."""
    with open_file(path) as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def cannot_write(path: Path, error: OSError) -> TagboxError:
    """The error for a path that the operating system refuses to write."""
    return TagboxError(
        "cannot-write",
        error.strerror or str(error),
        file=path,
        hint="check that the folder can be written and the disk has room",
    )


def cache_folder(kind: str) -> Path:
    """Folder for one `kind` of cached files: in ``$TAGBOX_CACHE``, else in the user's cache folder."""
    chosen = os.environ.get("TAGBOX_CACHE")
    try:
        if chosen:
            return Path(chosen).expanduser() / kind
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tagbox" / kind
    except RuntimeError as error:
        raise TagboxError(
            "cannot-write",
            "there is no home folder for cached files",
            hint="set the environment variable TAGBOX_CACHE to a folder",
        ) from error


@contextmanager
def sole_use(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock on `folder`, where the system has such locks; other processes wait for it.

    Raises
    ------
    BlockingIOError
        Without `wait`, when another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)
