"""What downloads wrote into a folder: archives in its ``downloads.json``, files in its mark. Nothing else is replaced."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from tagbox.atomic_io import atomic_write, sha256_of
from tagbox.data.http_download import shown_url, without_user
from tagbox.errors import TagboxError
from tagbox.output_folder import marked_files
from tagbox.paths import leads_outside
from tagbox.text_files import read_json_as

MANIFEST = "downloads.json"


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An archive in ``downloads.json``; `files` is None until it is unpacked, `damaged` where it cannot be.

    `query_sha256` is of the query of its address, whose values may be secret.
    """

    url: str
    query_sha256: str | None = None
    bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    files: dict[str, Annotated[int, msgspec.Meta(ge=0)]] | None = None
    damaged: bool = False


def recorded_address(url: str) -> dict[str, Any]:
    """An address as the fields `url` and `query_sha256` of an `Entry`."""
    query = urlsplit(without_user(url)).query
    digest = hashlib.sha256(query.encode(errors="surrogatepass")).hexdigest() if query else None
    return {"url": shown_url(url), "query_sha256": digest}


def is_of(entry: Entry, url: str) -> bool:
    """Whether an entry is that of an address; those of earlier versions have the query in theirs."""
    recorded = {"url": entry.url, "query_sha256": entry.query_sha256}
    return recorded in (recorded_address(url), {"url": without_user(url), "query_sha256": None})


@dataclass(frozen=True)
class Manifest:
    """``downloads.json``: address, size, digest and unpacked files of each archive."""

    path: Path

    @property
    def entries(self) -> dict[str, Entry]:
        """The archives by the name of their file; raises ``downloads-file`` for a damaged record."""
        if not os.path.lexists(self.path):
            return {}
        hint = "remove the file"
        try:
            found = read_json_as(self.path, dict[str, Entry], "downloads-file", hint)
        except TagboxError as error:
            raise error.replace(code="downloads-file", hint=hint) from error
        for name, entry in found.items():
            for plain in (name, *(entry.files or ())):
                if leads_outside(plain) or "/" in plain:
                    raise TagboxError(
                        "downloads-file",
                        f"{plain!r} is no name of a file",
                        file=self.path,
                        where=name,
                        hint=hint,
                    )
        return found

    def record(self, name: str, entry: Entry) -> None:
        """Add or replace an archive."""
        self._write({**self.entries, name: entry})

    def _write(self, entries: dict[str, Entry]) -> None:
        content = msgspec.json.format(msgspec.json.encode(entries), indent=2)
        atomic_write(self.path, content + b"\n")


def files_below(path: Path) -> int:
    """Number of files below a folder; 1 for a file."""
    return 1 if path.is_file() else sum(inside.is_file() for inside in path.rglob("*"))


def own_files(folder: Path, manifest: Manifest) -> Callable[[str], bool]:
    """Says of a name below `folder` whether tagbox wrote the file: its mark lists it.

    Earlier versions wrote no mark. Their files are those of folders that hold just as many as the manifest says.
    """
    marked = marked_files(folder)
    if marked is not None:
        return marked.__contains__
    counts: Counter[str] = Counter()
    for entry in manifest.entries.values():
        counts.update(entry.files or {})
    whole = {top for top, count in counts.items() if files_below(folder / top) == count}
    return lambda name: name.partition("/")[0] in whole


def digest_of_own(path: Path, *known: str | None) -> str | None:
    """SHA-256 of the file at `path`; None where none is.

    Raises
    ------
    TagboxError
        ``not-made-by-tagbox`` where it is not one of the `known` digests.
    """
    if not os.path.lexists(path):
        return None
    digest = sha256_of(path) if path.is_file() else None
    if digest is None or digest not in known:
        raise not_own(path)
    return digest


def not_own(path: Path) -> TagboxError:
    """The error for a file in the way that tagbox did not write."""
    return TagboxError(
        "not-made-by-tagbox",
        "differs from what is to be downloaded, and tagbox did not write it",
        file=path,
        hint="move it away, or choose another folder with --out",
    )
