"""Opening files of the user: ordinary files only, of a bounded size, with the system's refusals as errors."""

from __future__ import annotations

import errno
import os
import stat
from functools import cache
from pathlib import Path
from typing import BinaryIO

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


def open_file(path: Path | str, most: int | None = None) -> BinaryIO:
    """Open an ordinary file for reading bytes, without ever waiting for a pipe or a device.

    Parameters
    ----------
    most
        Largest size in bytes; any when not given.

    Raises
    ------
    OSError
        As `open` does; also for a folder, pipe, device or socket, for a file of the kernel (``/proc``,
        ``/sys``), for a name that holds a NUL, and for a file larger than `most`.
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
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path | str, most: int = MOST_BYTES) -> bytes:
    """All bytes of an ordinary file of at most `most` bytes; raises what `open_file` does."""
    with open_file(path, most) as opened:
        content = opened.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, "the file grows while it is read")
    return content


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
    }
    return TagboxError(
        "file-unreadable",
        error.strerror or str(error),
        file=path,
        hint=hints.get(error.errno or 0, "check its permissions"),
    )
