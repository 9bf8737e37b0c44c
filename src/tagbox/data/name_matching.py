"""Which file a picture's name means where it is spelt otherwise than the file.

Names differ by what tools do to them: the form of Unicode (macOS decomposes ``é``), percent-encoding, the case
of letters, spaces at the ends or of another width (macOS writes U+202F in names of screenshots), a suffix that is
left out, folders of another computer, a URL in front, and ``\\xe9`` for a byte that is no UTF-8. A name means a file
only where no other file and no other name would do as well.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from unicodedata import normalize
from urllib.parse import unquote

from tagbox.text_output import unescaped

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^/]*(?=/|$)")
_DRIVE = re.compile(r"[A-Za-z]:(?=/)")


def match_names(
    names: Iterable[str],
    files: Collection[str],
    suffixes: Collection[str] = (),
    *,
    anywhere: bool = False,
) -> dict[str, str]:
    """The file that each name means.

    Parameters
    ----------
    names
        As annotations spell them, with ``/`` or ``\\`` between folders.
    files
        Paths of the files, with ``/`` between folders.
    suffixes
        Those that a name may lack, in lower case.
    anywhere
        Whether a name may mean a file in another folder than it says: the one with the most of its last
        folders, else the only one of its base name.

    Returns
    -------
    dict
        Of the names with one such file, and that do not share it with another name.
    """
    index = _Index(files, suffixes, anywhere=anywhere)
    found: dict[str, str] = {}
    names_of: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        matches = index.matches(name)
        if len(matches) == 1:
            found[name] = matches[0]
            names_of[matches[0]].append(name)
    for file, sharing in names_of.items():
        if len(sharing) > 1:
            for name in sharing:
                if plain(name) != file:
                    del found[name]
    return found


def spelt_path(base: Path, name: str) -> Path | None:
    """The path below `base` that `name` means where it is spelt otherwise: each part is the only one of its folder that may be meant."""
    current = base
    for part in name.split("/"):
        if part in ("", ".", "..") or os.path.lexists(current / part):
            current = current / part
            continue
        try:
            found = match_names([part], os.listdir(current)).get(part)
        except (OSError, ValueError):
            return None
        if found is None:
            return None
        current = current / found
    return Path(os.path.normpath(current))


def possible_files(name: str, files: Collection[str], suffixes: Collection[str] = ()) -> list[str]:
    """The files in any folder that a name may mean, of which `match_names` takes the only one."""
    return _Index(files, suffixes, anywhere=True).matches(name)


def plain(name: str) -> str:
    """A name with ``/`` between folders, and without URL, drive, root and ``..``."""
    name = name.replace("\\", "/")
    if "://" in name:
        # Label Studio serves local files as /data/local-files/?d=PATH.
        path, _, query = name.partition("?")
        name = query[2:] if query.startswith("d=") else _URL.sub("", path)
    elif name.startswith("/data/local-files/?d="):
        name = name.partition("?d=")[2]
    parts: list[str] = []
    for part in _DRIVE.sub("", name).split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _composed(name: str) -> str:
    return name if name.isascii() else normalize("NFC", name)


def _decoded(name: str) -> str:
    return _composed(unquote(name) if "%" in name else name)


def _folded(name: str) -> str:
    decoded = unquote(_decoded(name))
    if not decoded.isascii():
        decoded = normalize("NFKC", decoded)
    return "/".join(" ".join(part.split()) for part in decoded.casefold().split("/"))


_SPELLINGS: tuple[Callable[[str], str], ...] = (str, _decoded, _folded)
"""From the strictest to the loosest; two names are the same if these are equal."""


class _Index:
    """Files by the spellings of their paths or base names, and by those without a suffix."""

    def __init__(
        self, files: Collection[str], suffixes: Collection[str], *, anywhere: bool
    ) -> None:
        self._anywhere, self._suffixes = anywhere, suffixes
        self._levels: list[tuple[bool, Callable[[str], str], dict[str, list[str]]]] = []
        for is_stem in (False, True) if suffixes else (False,):
            for spelling in _SPELLINGS:
                table: dict[str, list[str]] = defaultdict(list)
                for file in files:
                    key = file.rpartition("/")[2] if anywhere else file
                    table[spelling(os.path.splitext(key)[0] if is_stem else key)].append(file)
                self._levels.append((is_stem, spelling, table))

    def matches(self, name: str) -> list[str]:
        """The files that `name` may mean, by the strictest spelling with any."""
        path = plain(name)
        key = path.rpartition("/")[2] if self._anywhere else path
        has_suffix = os.path.splitext(_decoded(key))[1].lower() in self._suffixes
        for is_stem, spelling, table in self._levels:
            if not (is_stem and has_suffix) and (found := table.get(spelling(key))):
                return found if len(found) == 1 else _nearest(path, found)
        exact = unescaped(name)
        return [] if exact == name else self.matches(exact)


def _nearest(path: str, files: Sequence[str]) -> list[str]:
    """Of several files those with the most of the last folders of `path`."""
    shared = [sum(1 for _ in _shared(path, file)) for file in files]
    return [file for file, count in zip(files, shared, strict=True) if count == max(shared)]


def _shared(path: str, file: str) -> Iterator[str]:
    folders = zip(path.split("/")[-2::-1], file.split("/")[-2::-1], strict=False)
    for wanted, there in folders:
        if _folded(wanted) != _folded(there):
            return
        yield there
