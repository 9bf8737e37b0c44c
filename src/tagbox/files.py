"""Opening files of the user: ordinary files only, of a bounded size, with the system's refusals as errors."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BufferedReader
from pathlib import Path

from tagbox.errors import TagboxError

MOST_BYTES = 1 << 30
"""Most bytes of a file that is read as a whole."""

_SPECIAL = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}

_LFS = b"version https://git-lfs.github.com/spec/"


def open_file(path: Path | str, most: int | None = None) -> BufferedReader:
    """Open an ordinary file for reading bytes, without ever waiting for a pipe or a device.

    Parameters
    ----------
    most
        Largest size in bytes; any when not given.

    Raises
    ------
    OSError
        As `open` does; also for a folder, pipe, device or socket, for a file of the kernel (``/proc``,
        ``/sys``), for a name that holds a NUL, for a file larger than `most`, and for a pointer of Git LFS.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "the name holds a NUL character")
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | getattr(os, "O_NOCTTY", 0))
    try:
        found = os.fstat(descriptor)
        kind = stat.S_IFMT(found.st_mode)
        if kind != stat.S_IFREG or found.st_dev in _kernel_devices():
            what = _SPECIAL.get(kind, "a file of the kernel")
            raise OSError(errno.EINVAL, f"{what}, not an ordinary file")
        if most is not None and found.st_size > most:
            limit = f"{most / 2**30:g} GiB" if most >= 2**30 else f"{most / 2**20:g} MiB"
            raise OSError(errno.EFBIG, f"{found.st_size:,} bytes, more than {limit}")
        if found.st_size < 1024:
            if os.read(descriptor, len(_LFS)) == _LFS:
                raise OSError(errno.ENODATA, "a pointer of Git LFS, whose file is not here")
            os.lseek(descriptor, 0, os.SEEK_SET)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path | str, most: int = MOST_BYTES) -> bytes:
    """All bytes of an ordinary file of at most `most` bytes; raises what `open_file` does."""
    with open_file(path, most) as opened:
        # Python allocates as many bytes as it is asked for.
        content = opened.read(min(os.fstat(opened.fileno()).st_size, most) + 1)
        while len(content) <= most and (more := opened.read(1 << 20)):
            content += more
    if len(content) > most:
        raise OSError(errno.EFBIG, "the file grows while it is read")
    return content


def find_files(folder: Path, suffix: str, *, below: bool = False) -> list[Path]:
    """The files in `folder` whose names end with `suffix`, sorted; none where there is no such folder.

    Parameters
    ----------
    below
        Also those in the folders below it. Of these, the ones that may not be listed are left out
        (`refused_folders`).

    Raises
    ------
    TagboxError
        ``file-unreadable`` where `folder` may not be listed.
    """

    def refuse(error: OSError) -> None:
        if isinstance(error, PermissionError) and error.filename == os.fspath(folder):
            raise cannot_read(folder, error) from error

    found: list[Path] = []
    for current, folders, names in os.walk(folder, onerror=refuse):
        if not below:
            folders.clear()
        found += [Path(current, name) for name in names if name.endswith(suffix)]
    return sorted(found)


def refused_folders(folder: Path | str, keep: Callable[[str], bool]) -> list[OSError]:
    """What the system says of the folders at and below `folder` that may not be listed or entered.

    `keep` says by its name whether a folder counts.
    """
    refused: list[OSError] = []
    for current, folders, _ in os.walk(folder, onerror=refused.append, followlinks=True):
        folders[:] = sorted(filter(keep, folders))
        if not os.access(current, os.X_OK):
            refused.append(_no_rights(current))
            folders.clear()
    return refused


def require_rights(path: Path | str, *, listed: bool = False) -> None:
    """Refuse a path that is in a folder which may not be entered, and so looks as if it was not there.

    Parameters
    ----------
    listed
        Whether `path` is a folder whose files must be known, if it is there.

    Raises
    ------
    TagboxError
        ``file-unreadable``, with the folder.
    """
    path = Path(os.path.abspath(path))
    for folder in [*reversed(path.parents), path]:
        needed = os.X_OK | (os.R_OK if listed and folder == path else 0)
        if os.path.isdir(folder) and not os.access(folder, needed):
            raise cannot_read(folder, _no_rights(folder))


def _no_rights(folder: Path | str) -> OSError:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(folder))


@contextmanager
def readable_files() -> Iterator[None]:
    """Raise what the system refuses to read inside it as `cannot_read`."""
    try:
        yield
    except OSError as error:
        if not isinstance(error.filename, (str, bytes)):
            raise
        raise cannot_read(Path(os.fsdecode(error.filename)), error) from error


def is_refused(error: OSError) -> bool:
    """Whether there is a file which the system does not let us read."""
    return error.errno in (errno.EACCES, errno.EPERM, errno.EIO)


@cache
def _kernel_devices() -> frozenset[int]:
    """Numbers of the file systems whose files are answers of the kernel."""
    return frozenset(os.stat(path).st_dev for path in ("/proc", "/sys") if os.path.ismount(path))


def not_ordinary(path: Path) -> TagboxError:
    """The error for a path that is neither a file nor a folder."""
    return cannot_read(path, OSError(errno.EINVAL, "neither an ordinary file nor a folder"))


def cannot_read(path: Path, error: OSError) -> TagboxError:
    """The error for a file that the operating system, or `open_file`, refuses to read."""
    if isinstance(error, FileNotFoundError):
        return TagboxError("file-missing", "no such file", file=path, hint="check the path")
    hints = {
        errno.EINVAL: "give the path of an ordinary file",
        errno.EISDIR: "give the path of a file",
        errno.EFBIG: "check that it is the right file",
        errno.ENAMETOOLONG: "shorten the name",
        errno.ELOOP: "mend the link",
        errno.ENODATA: "fetch the file with `git lfs pull`",
    }
    return TagboxError(
        "file-unreadable",
        error.strerror or str(error),
        file=path,
        hint=hints.get(error.errno or 0, "check its permissions"),
    )
