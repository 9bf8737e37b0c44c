"""Reading text files and saying where in them something is wrong.

What msgspec says of malformed JSON, as an error with line and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from tagbox.errors import TagboxError

_BLOCK = 1 << 24


def read_text(path: Path) -> str:
    """A UTF-8 text file without its byte order mark.

    Raises
    ------
    TagboxError
        ``file-missing``, ``file-unreadable`` or ``not-utf8``.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise cannot_read(path, error) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path, line_and_column(content, error.start)) from error


def cannot_read(path: Path, error: OSError) -> TagboxError:
    """The error for a file that the operating system does not give."""
    if isinstance(error, FileNotFoundError):
        return TagboxError("file-missing", "no such file", file=path, hint="check the path")
    return TagboxError(
        "file-unreadable", error.strerror or str(error), file=path, hint="check its permissions"
    )


def not_utf8(path: Path, where: str) -> TagboxError:
    """The error for bytes that are not UTF-8."""
    return TagboxError(
        "not-utf8", "the text is not UTF-8", file=path, where=where, hint="save the file as UTF-8"
    )


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


def near(name: str, known: Sequence[str], *, noun: str = "names") -> str:
    """A hint for a name that is not known: the nearest known ones, else some of them."""
    close = get_close_matches(name.lower(), [k.lower() for k in known], n=3, cutoff=0.6)
    if close:
        spelled = {k.lower(): k for k in known}
        return f"did you mean {' or '.join(repr(spelled[c]) for c in close)}"
    return f"the {noun} are {some(known, 12)}" if known else f"there are no {noun}"


def some(names: Sequence[object], count: int = 5) -> str:
    """The first `count` names, and how many more there are."""
    shown = ", ".join(str(name) for name in names[:count])
    return f"{shown} and {len(names) - count} more" if len(names) > count else shown


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
    # Of what follows the value msgspec has already taken the first character.
    offset = int(rest.rstrip(")")) - (reason == "trailing characters")
    around = bytes(content[max(0, offset - 9) : offset + 9])
    for word in (b"-Infinity", b"Infinity", b"NaN"):
        place = around.find(word)
        if place >= 0 and place <= min(offset, 9) < place + len(word):
            return TagboxError(
                "json-number",
                f"{word.decode()} is not a number in JSON",
                file=path,
                where=line_and_column(content, offset - min(offset, 9) + place),
                hint="write a number or null",
            )
    return TagboxError(
        "json-syntax",
        f"this is not JSON: {reason}",
        file=path,
        where=line_and_column(content, offset),
        hint="mend the file there or export it again",
    )
