"""JSON files: mapped into memory, decoded by msgspec, with faults as errors that name the place."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tagbox.data.text import cannot_read, line_and_column, not_utf8
from tagbox.errors import TagboxError

T = TypeVar("T")


def read_json_as(path: Path, kind: type[T], code: str, hint: str) -> T:
    """Read a JSON file as a value of the type `kind`.

    Raises
    ------
    TagboxError
        `code` with the path of a value of another type; ``json-syntax``, ``json-number`` or ``not-utf8``
        for a file that is not JSON; ``file-missing`` or ``file-unreadable``.
    """
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise cannot_read(path, error) from error
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        found, _, where = str(error).partition(" - at `$")
        found = found[:1].lower() + found[1:]
        where = where.strip(".`")
        raise TagboxError(code, found, file=path, where=where or None, hint=hint) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise syntax_error(error, memoryview(content), path) from error


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """Yield the bytes of a JSON file, mapped into memory, without its byte order mark.

    Raises
    ------
    TagboxError
        ``file-missing``, ``file-unreadable``, or ``json-syntax`` for an empty file.
    """
    try:
        with open(path, "rb") as opened:
            whole = _map(opened.fileno())
    except ValueError as error:
        raise TagboxError(
            "json-syntax", "the file is empty", file=path, hint="export or copy it again"
        ) from error
    except OSError as error:
        raise cannot_read(path, error) from error
    view = memoryview(whole)
    try:
        yield view[3:] if whole[:3] == b"\xef\xbb\xbf" else view
    finally:
        # The traceback of an error may still refer to the view; the map is then closed with it.
        with suppress(BufferError):
            view.release()
            whole.close()


def _map(file: int) -> mmap.mmap:
    """Map the whole file for reading; where the system can, all pages at once and not on first access."""
    if hasattr(mmap, "MAP_POPULATE"):
        return mmap.mmap(file, 0, flags=mmap.MAP_PRIVATE | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
    return mmap.mmap(file, 0, access=mmap.ACCESS_READ)


def syntax_error(error: Exception, content: memoryview, path: Path) -> TagboxError:
    """``json-syntax``, ``json-number`` or ``not-utf8`` for an error of msgspec (or of UTF-8)."""
    if isinstance(error, UnicodeDecodeError) or "utf-8" in str(error):
        return not_utf8(path, "a text in it")
    message = str(error).removeprefix("JSON is malformed: ")
    reason, _, rest = message.partition(" (byte ")
    if not rest:
        return TagboxError(
            "json-syntax",
            "the JSON ends too early",
            file=path,
            where=line_and_column(content, len(content)),
            hint="the file is cut off; export or copy it again",
        )
    # For trailing characters msgspec reports the offset after the first of them.
    offset = int(rest.rstrip(")")) - (reason == "trailing characters")
    around = bytes(content[max(0, offset - 9) : offset + 9])
    for word in (b"-Infinity", b"Infinity", b"NaN"):
        start = around.find(word)
        if 0 <= start <= min(offset, 9) < start + len(word):
            return TagboxError(
                "json-number",
                f"{word.decode()} is not a number in JSON",
                file=path,
                where=line_and_column(content, offset - min(offset, 9) + start),
                hint="write a number or null",
            )
    return TagboxError(
        "json-syntax",
        f"this is not JSON: {reason}",
        file=path,
        where=line_and_column(content, offset),
        hint="mend the file there or export it again",
    )


def shown(value: Any) -> str:
    """A value of a JSON file for a message, cut at 60 characters."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
