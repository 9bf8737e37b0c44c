"""The one decoder of text from outside: UTF-8 and JSON (for YAML see `tagbox.yaml_files`), bounded in size.

Every fault of a file, and every exception of msgspec, which decodes JSON, becomes an error that names the file
and the place in it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tagbox.errors import TagboxError
from tagbox.files import MOST_BYTES, cannot_read, open_file, read_file

T = TypeVar("T")

_BLOCK = 1 << 24
_MOST_JSON_BYTES = 1 << 35
# Up to this size in bytes, JSON may have been edited by hand and is searched for repeated keys as a whole; of larger
# files, which programs write, parts of this size and number are.
_EDITED = 1 << 23
_PART, _PARTS = 1 << 16, 16
_BEFORE_VALUE = re.compile(rb'\s*[{,]\s*"((?:[^"\\]|\\.)*)"\s*:\s*')
_DEEP = "lists and objects are nested too deeply to be read"


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """Read a UTF-8 text file of at most `most` bytes, without its byte order mark.

    Raises
    ------
    TagboxError
        ``file-missing``, ``file-unreadable`` or ``not-utf8``.
    """
    try:
        content = read_file(path, most)
    except OSError as error:
        raise cannot_read(path, error) from error
    if b"\0" in content[:64] and _is_utf16(content):
        raise not_utf8(path, "line 1", content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path, line_and_column(content, error.start), content[:64]) from error


def not_utf8(path: Path, where: str, content: bytes = b"") -> TagboxError:
    """The error for bytes that are not UTF-8; `content` are the first of the file."""
    found = "the text is not UTF-8" + (" but UTF-16" if _is_utf16(content) else "")
    return TagboxError("not-utf8", found, file=path, where=where, hint="save the file as UTF-8")


def _is_utf16(content: bytes) -> bool:
    """Whether text begins with the byte order mark of UTF-16, or with every second byte of it zero."""
    zeros = {content[:64:2].count(0), content[1:64:2].count(0)}
    return content[:2] in (b"\xff\xfe", b"\xfe\xff") or zeros == {0, len(content[:64]) // 2}


def line_and_column(content: bytes | memoryview, offset: int) -> str:
    """``"line 3, column 14"`` (both from 1, columns in bytes) of a byte offset."""
    line, last = 1, -1
    for start in range(0, offset, _BLOCK):
        block = bytes(content[start : min(start + _BLOCK, offset)])
        newlines = block.count(b"\n")
        if newlines:
            line += newlines
            last = start + block.rfind(b"\n")
    return f"line {line}, column {offset - last}"


def read_json_as(path: Path, kind: type[T], code: str, hint: str) -> T:
    """Read a JSON file as a value of the type `kind`.

    Raises
    ------
    TagboxError
        `code` with the path of a value of another type; ``json-syntax``, ``json-number`` or ``not-utf8``
        for a file that is not JSON; ``file-missing`` or ``file-unreadable``.
    """
    try:
        content = read_file(path).removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise cannot_read(path, error) from error
    try:
        value: T = decode_json(content, path, kind)
    except msgspec.ValidationError as error:
        found, _, where = str(error).partition(" - at `$")
        found = found[:1].lower() + found[1:]
        where = where.strip(".`")
        raise TagboxError(code, found, file=path, where=where or None, hint=hint) from error
    refuse_repeated_keys(content, path)
    return value


def decode_json(
    content: bytes | memoryview | msgspec.Raw, path: Path, kind: Any = Any, *, where: str = ""
) -> Any:
    """Decode JSON as a value of the type `kind`; `where` is its place when it is a part of the file.

    Raises
    ------
    TagboxError
        ``json-syntax``, ``json-number`` or ``not-utf8``.
    msgspec.ValidationError
        For a value of another type than `kind`.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        found, _, place = str(error).partition(" - at `$")
        if kind is not Any:
            raise
        raise TagboxError(
            "json-number",
            "a number is too large" if "out of range" in found else found,
            file=path,
            where=(where + place.rstrip("`").replace("[...]", "")).lstrip(".") or None,
            hint="write a smaller number or null",
        ) from error
    except RecursionError as error:
        raise TagboxError(
            "json-syntax", _DEEP, file=path, where=where or None, hint="export it again"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        fault = syntax_error(error, memoryview(content), path)
        raise (fault.replace(where=where) if where else fault) from error


class _RepeatedKeyError(Exception):
    """Its argument is a key that stands twice in one object."""


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) == len(pairs):
        return
    earlier: set[str] = set()
    for key, _ in pairs:
        if key in earlier:
            raise _RepeatedKeyError(key)
        earlier.add(key)


# The numbers are not needed, and Python refuses those of more than 4,300 digits.
_UNIQUE = json.JSONDecoder(object_pairs_hook=_unique, parse_int=len, parse_float=len, strict=False)


def refuse_repeated_keys(content: bytes, path: Path) -> None:
    """Refuse JSON, known to be valid, in which an object names a key twice; msgspec takes the last."""
    try:
        _UNIQUE.decode(content.decode())
    except _RepeatedKeyError as error:
        raise TagboxError(
            "json-syntax",
            f"the key {error.args[0]!r} stands twice in one object",
            file=path,
            hint="keep one of the two",
        ) from None
    except UnicodeDecodeError as error:  # In a value that is passed over.
        raise not_utf8(path, line_and_column(content, error.start)) from error
    except RecursionError as error:
        raise TagboxError("json-syntax", _DEEP, file=path, hint="export it again") from error
    except ValueError as error:
        raise TagboxError(
            "json-syntax", f"this is not JSON: {error}", file=path, hint="export it again"
        ) from error


def repeated_key(content: memoryview | msgspec.Raw) -> str | None:
    """A key that stands twice in one object of JSON; None where there is none, and of what is not JSON."""
    try:
        _UNIQUE.decode(bytes(content).decode(errors="surrogateescape"))
    except _RepeatedKeyError as error:
        return str(error.args[0])
    except (RecursionError, ValueError):
        pass
    return None


def may_repeat_keys(content: memoryview) -> bool:
    """Whether an object of a JSON file names a key twice, as far as a look at a large file's parts tells."""
    if len(content) <= _EDITED:
        return repeated_key(content) is not None
    return any(
        _part_repeats_a_key(bytes(content[start : start + _PART]).decode(errors="surrogateescape"))
        for start in range(0, len(content), len(content) // _PARTS)
    )


def _part_repeats_a_key(text: str) -> bool:
    """Whether an object that is whole in a part of a JSON file names a key twice."""
    start, cut_off = text.find("{"), 0
    # An object that is not whole is entered; text of nothing but open objects is left alone.
    while start >= 0 and cut_off < 32:
        try:
            start = text.find("{", _UNIQUE.raw_decode(text, start)[1])
        except _RepeatedKeyError:
            return True
        except (RecursionError, ValueError):
            start = text.find("{", start + 1)
            cut_off += 1
    return False


def decode_object(content: memoryview, path: Path) -> dict[str, msgspec.Raw]:
    """The values of the outermost JSON object, undecoded; each key stands once.

    Raises
    ------
    TagboxError
        ``json-syntax``, ``json-number`` or ``not-utf8``.
    msgspec.ValidationError
        For another value than an object.
    """
    values: dict[str, msgspec.Raw] = decode_json(content, path, dict[str, msgspec.Raw])
    # Of a key that stands twice the first value is dropped: it is then between two of those that are left.
    base, end = _address(content), 0
    for start, length in sorted(
        (_address(raw) - base, len(memoryview(raw))) for raw in values.values()
    ):
        if not _BEFORE_VALUE.fullmatch(content, end, start):
            repeated = _BEFORE_VALUE.match(content, end, start)
            key = bytes(repeated[1])[:60].decode(errors="replace") if repeated else ""
            raise TagboxError(
                "json-syntax",
                f"the key {key!r} stands twice in the outermost object",
                file=path,
                where=line_and_column(content, repeated.start(1) if repeated else end),
                hint="keep one of the two",
            )
        end = start + length
    return values


def _address(content: Any) -> int:
    """Where a buffer begins in memory."""
    import numpy as np

    address: int = np.frombuffer(content, np.uint8).__array_interface__["data"][0]
    return address


def read_json_content(path: Path) -> memoryview:
    """Read the bytes of a JSON file, without its byte order mark.

    They are a copy: pages of a mapped file that is cut off meanwhile end the process (SIGBUS).

    Raises
    ------
    TagboxError
        ``file-missing``, ``file-unreadable``, or ``json-syntax`` for an empty file.
    """
    try:
        with open_file(path, _MOST_JSON_BYTES) as opened:
            whole = opened.read()
    except OSError as error:
        raise cannot_read(path, error) from error
    if not whole:
        raise TagboxError(
            "json-syntax", "the file is empty", file=path, hint="export or copy it again"
        )
    return memoryview(whole)[3 if whole.startswith(b"\xef\xbb\xbf") else 0 :]


def syntax_error(error: Exception, content: memoryview, path: Path) -> TagboxError:
    """``json-syntax``, ``json-number`` or ``not-utf8`` for an error of msgspec (or of UTF-8)."""
    if _is_utf16(bytes(content[:64])) and len(content) > 1:
        return not_utf8(path, "line 1", bytes(content[:64]))
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
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (RecursionError, TypeError, ValueError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
