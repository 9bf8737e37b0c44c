"""Unpacking of untrusted zip files: every entry is checked before a byte is written.

The entries are unpacked into a temporary folder and moved to their places when all of them are complete,
so that a kill leaves the old files or the new ones.
"""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath

from tagbox.atomic_io import cannot_write, temporary_folder
from tagbox.errors import TagboxError
from tagbox.files import open_file
from tagbox.output_folder import MARK
from tagbox.paths import leads_outside

MOST_ENTRIES = 2_000_000
MOST_RATIO = 200
"""An archive that unpacks to more than this many times its size is refused as a zip bomb."""
_RATIO_FROM_BYTES = 64 << 20  # Archives that unpack to less may have any ratio.
_BLOCK = 1 << 20


def unzip(
    path: Path,
    folder: Path,
    *,
    overwrite: bool = False,
    own: Callable[[str], bool] | None = None,
    before_move: Callable[[list[str]], object] = lambda _: None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Unpack the zip `path` into `folder`, which may hold other files already.

    Parameters
    ----------
    folder
        Made when missing.
    overwrite
        Whether a file that is there with another content is replaced; equal ones are left.
    own
        Says of a name in `folder` whether it may be replaced then; all may when not given.
    before_move
        Called with the names that are about to be written, and those that are there as `own` says.
    progress
        Called with the bytes written so far and the bytes in all.

    Returns
    -------
    dict
        Number of files under each top-level name of the archive.

    Raises
    ------
    TagboxError
        ``zip-corrupt`` not a zip, truncated, or a failed CRC; ``zip-path`` an entry outside the
        folder; ``zip-link`` a link or device; ``zip-encrypted``; ``zip-method``;
        ``zip-duplicate``; ``zip-bomb``; ``zip-size`` an entry longer or shorter than it says;
        ``disk-full``; ``exists``, ``not-made-by-tagbox`` a file in the way; ``cannot-write``.
    """
    with _opened(path) as archive:
        entries = _checked(archive, path)
        total = sum(entry.file_size for entry in entries)
        with _temporary_folder(folder, total, path) as temporary:
            try:
                written = 0
                for entry in entries:
                    _extract(archive, entry, temporary, path)
                    written += entry.file_size
                    if progress is not None:
                        progress(written, total)
                # A mark says what this tagbox wrote here, not what the archive's author did.
                names = [entry.filename for entry in entries if entry.filename != MARK]
                equal = _equal(temporary, names, folder, overwrite, own)
                before_move([n for n in names if n not in equal or (own is not None and own(n))])
                _move(temporary, names, folder, equal)
            except OSError as error:
                raise cannot_write(folder, error) from error
    counts: dict[str, int] = {}
    for entry in entries:
        top = PurePosixPath(entry.filename).parts[0]
        counts[top] = counts.get(top, 0) + 1
    return counts


@contextmanager
def extract_one(path: Path, name: str, folder: Path) -> Iterator[Path]:
    """Yield the file `name` of the zip `path`, unpacked into a temporary folder that is removed afterwards.

    Raises
    ------
    TagboxError
        ``zip-member`` when there is no such file, and the codes of `unzip`.
    """
    with _opened(path) as archive:
        entry = next((e for e in _checked(archive, path) if e.filename == name), None)
        if entry is None:
            raise TagboxError(
                "zip-member", "no such file in it", file=path, where=name, hint="check the archive"
            )
        with _temporary_folder(folder, entry.file_size, path) as temporary:
            try:
                _extract(archive, entry, temporary, path)
            except OSError as error:
                raise cannot_write(folder, error) from error
            yield temporary / name


@contextmanager
def _temporary_folder(folder: Path, needed: int, path: Path) -> Iterator[Path]:
    """Yield an empty folder in `folder`, whose disk has room for `needed` bytes; it is removed afterwards."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        require_space(folder, needed, path)
        stack = ExitStack()
        temporary = stack.enter_context(temporary_folder(folder, path.name))
    except OSError as error:
        raise cannot_write(folder, error) from error
    with stack:
        yield temporary


def require_space(folder: Path, needed: int, file: Path | str) -> None:
    """Raise ``disk-full`` unless the disk of `folder` has room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise TagboxError(
            "disk-full",
            f"needs {human(needed)} in {folder}, where {human(free)} are free",
            file=file,
            hint="make room, or choose another folder with --out",
        )


def human(size: float) -> str:
    """A number of bytes with a decimal unit, such as ``778 MB``."""
    for unit in ("bytes", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _corrupt(path, _looks_like(path) or str(error)) from error
    with archive:
        yield archive


def _looks_like(path: Path) -> str | None:
    """What a file that is no zip seems to be; None when it begins as a zip does."""
    try:
        with open_file(path) as opened:
            start = opened.read(64)
    except OSError as error:
        return error.strerror
    if start.startswith(b"PK"):
        return "the zip is truncated: its table of contents is missing"
    if start.lstrip()[:1] == b"<":
        return "not a zip file but a web page"
    return f"not a zip file: it begins with {start[:8]!r}"


def _corrupt(path: Path, found: str, where: str | None = None) -> TagboxError:
    return TagboxError("zip-corrupt", found, file=path, where=where, hint="download it again")


def _checked(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The entries that are files, after all checks that need no content."""
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise _refused("zip-bomb", f"it has {len(entries)} entries", path)
    for entry in entries:
        _check_entry(entry, path)
    files = [entry for entry in entries if not entry.is_dir()]
    _check_names(files, path)
    _check_overlap(files, path)
    size, total = path.stat().st_size, sum(entry.file_size for entry in files)
    if total > _RATIO_FROM_BYTES and total > MOST_RATIO * size:
        raise _refused("zip-bomb", f"{human(size)} that unpack to {human(total)}", path)
    return files


def _check_entry(entry: zipfile.ZipInfo, path: Path) -> None:
    # `orig_filename` is the name before zipfile cut it at a NUL and turned backslashes.
    name = entry.orig_filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    unsafe = (
        not parts
        or leads_outside(name)
        or ":" in parts[0]
        or "\\" in name
        or any(ord(character) < 32 for character in name)
    )
    if unsafe:
        raise _refused("zip-path", "an entry whose name leaves the folder", path, repr(name))
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused("zip-link", "a link or a device, not a file", path, name)
    if entry.flag_bits & 0x1:
        raise _refused("zip-encrypted", "an encrypted entry", path, name)


def _check_names(files: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse a name that stands twice (also on a disk that ignores case), and a file that is a folder too."""
    earlier: set[str] = set()
    folders: set[str] = set()
    for entry in files:
        key = entry.filename.casefold()
        if key in earlier:
            raise _refused("zip-duplicate", "a name that stands twice", path, entry.filename)
        earlier.add(key)
        while "/" in key:
            key = key.rpartition("/")[0]
            folders.add(key)
    both = next((entry.filename for entry in files if entry.filename.casefold() in folders), None)
    if both is not None:
        raise _refused("zip-duplicate", "a file that is a folder too", path, both)


def _check_overlap(files: list[zipfile.ZipInfo], path: Path) -> None:
    """Refuse entries that share bytes: such an archive unpacks the same content again and again."""
    end = 0
    for entry in sorted(files, key=lambda entry: entry.header_offset):
        if entry.header_offset < end:
            raise _refused("zip-bomb", "an entry that overlaps another", path, entry.filename)
        end = entry.header_offset + 30 + entry.compress_size


def _refused(code: str, found: str, path: Path, where: str | None = None) -> TagboxError:
    return TagboxError(
        code,
        found,
        file=path,
        where=where,
        hint="nothing was unpacked; ask whoever made the archive",
    )


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, path: Path) -> None:
    target = folder / entry.filename
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with archive.open(entry) as source, open(target, "xb") as out:
            while block := source.read(_BLOCK):
                written += len(block)
                out.write(block)
    except NotImplementedError as error:
        raise _refused("zip-method", str(error), path, entry.filename) from error
    except (zipfile.BadZipFile, EOFError, UnicodeDecodeError, zlib.error, lzma.LZMAError) as error:
        raise _corrupt(path, f"damaged: {error}", entry.filename) from error
    if written != entry.file_size:
        raise TagboxError(
            "zip-size",
            f"{written} bytes where the archive says {entry.file_size}",
            file=path,
            where=entry.filename,
            hint="download it again",
        )


def _equal(
    temporary: Path,
    names: list[str],
    folder: Path,
    overwrite: bool,
    own: Callable[[str], bool] | None,
) -> set[str]:
    """The names that are in `folder` already, with the same content; raises for what is in the way."""
    _require_real_folders(folder, names)
    equal = set()
    for name in names:
        target = folder / name
        if not os.path.lexists(target):
            continue
        if not target.is_symlink() and same_content(target, temporary / name):
            equal.add(name)
        elif not overwrite:
            raise TagboxError(
                "exists",
                "already there with another content",
                file=target,
                hint="choose another folder with --out, or pass --overwrite",
            )
        elif target.is_symlink() or not target.is_file() or not (own is None or own(name)):
            raise TagboxError(
                "not-made-by-tagbox",
                "differs from the archive's, and tagbox did not write it",
                file=target,
                hint="move it away, or choose another folder with --out",
            )
    return equal


def _move(temporary: Path, names: list[str], folder: Path, equal: set[str]) -> None:
    """Move whole top-level folders where none is there yet, else single files; each rename is atomic."""
    for top in sorted({PurePosixPath(name).parts[0] for name in names}):
        if not os.path.lexists(folder / top):
            os.rename(temporary / top, folder / top)
    for name in names:
        if name not in equal and (temporary / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / name, folder / name)


def _require_real_folders(folder: Path, names: list[str]) -> None:
    """Refuse to follow a symbolic link among the existing folders: it may lead out of `folder`."""
    for parent in sorted({folder / above for n in names for above in PurePosixPath(n).parents}):
        if parent != folder and (parent.is_symlink() or (parent.exists() and not parent.is_dir())):
            raise TagboxError(
                "exists",
                "a link or a file stands where a folder of the archive belongs",
                file=parent,
                hint="move it away, or choose another folder with --out",
            )


def same_content(a: Path, b: Path) -> bool:
    """Whether two paths are ordinary files of the same bytes."""
    with suppress(OSError), open_file(a) as one, open_file(b) as two:
        if os.fstat(one.fileno()).st_size != os.fstat(two.fileno()).st_size:
            return False
        while block := one.read(_BLOCK):
            if block != two.read(len(block)):
                return False
        return True
    return False
