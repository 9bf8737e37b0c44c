"""Atomic writing of files and folders: a kill at any moment leaves the old one or the new one, never a part."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tagbox.errors import TagboxError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit it is flushed to disk and renamed to `path`.

    The parent folder is made when missing. On an exception the temporary file is removed and `path` is
    left as it was.

    Raises
    ------
    TagboxError
        ``cannot-write`` when the operating system refuses the folder or the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; the finished one gets the usual permissions of new files.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `path` that replaces it on a clean exit.

    Raises
    ------
    TagboxError
        ``exists`` when `path` is not empty and `overwrite` is false; ``cannot-write`` when the
        operating system refuses.
    """
    if not overwrite and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise TagboxError(
            "exists",
            "already exists and is not empty",
            file=path,
            hint="choose another name or pass --overwrite",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o777 & ~umask)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield temporary
        replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def restore_folder(path: Path) -> None:
    """Move back what `replace_folder` had moved aside, if it was killed between its two renames."""
    old = _aside(path)
    if old.exists() and not path.exists():
        os.rename(old, path)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old.tmp")


def replace_folder(new: Path, path: Path) -> None:
    """Move the folder `new` to `path`; the former folder is removed after that."""
    restore_folder(path)
    old = _aside(path)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.rename(path, old)
    os.rename(new, path)
    shutil.rmtree(old, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with open(path, "rb") as opened:
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
    if chosen:
        return Path(chosen).expanduser() / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tagbox" / kind


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
