"""Text and YAML files: reading them, and errors that say where in them something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tagbox.errors import TagboxError

_BLOCK = 1 << 24


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, without its byte order mark.

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
    """The error for a file that the operating system refuses to read."""
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
    """A hint for an unknown name: the known ones nearest to it, else some of them."""
    close = get_close_matches(name.lower(), [k.lower() for k in known], n=3, cutoff=0.6)
    if close:
        spelled = {k.lower(): k for k in known}
        return f"did you mean {' or '.join(repr(spelled[c]) for c in close)}"
    return f"the {noun} are {some(known, 12)}" if known else f"there are no {noun}"


def some(names: Sequence[object], count: int = 5) -> str:
    """The first `count` names and the number of the others, for messages."""
    shown = ", ".join(str(name) for name in names[:count])
    return f"{shown} and {len(names) - count} more" if len(names) > count else shown


def read_yaml(path: Path, code: str, hint: str) -> Any:
    """Read the value in a YAML file.

    Raises
    ------
    TagboxError
        `code` with the line when it is not YAML; ``file-missing``, ``file-unreadable`` or ``not-utf8``.
    """
    import yaml

    try:
        return yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise TagboxError(
            code,
            f"this is not YAML: {getattr(error, 'problem', None) or error}",
            file=path,
            where=f"line {mark.line + 1}" if mark else None,
            hint=hint,
        ) from error
