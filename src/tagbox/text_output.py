"""Text that is written: valid UTF-8, whatever file names are in it.

A file name is bytes. Where these are no UTF-8, Python holds them as lone surrogates, which no JSON or CSV file may
hold; each is written as its escaped byte: ``caf\\xe9.png``.
"""

from __future__ import annotations

import multiprocessing
import re
import warnings
from typing import Any

import msgspec

_LONE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile(r"\\x([89a-f][0-9a-f])")
_NAME = re.compile('[^\\s,"]*[\ud800-\udfff][^\\s,"]*')


class FileNameWarning(UserWarning):
    """A file name is no UTF-8, and is written otherwise than it is."""


_told: list[str] = []


def written(text: str) -> str:
    """`text` with each lone surrogate as ``\\xe9``, the byte that it stands for; the first is warned of."""
    if text.isascii() or not _LONE.search(text):
        return text
    result = _LONE.sub(_escaped, text)
    # Of a whole file of text, the name alone.
    name = _NAME.search(text)
    if not _told and multiprocessing.parent_process() is None:
        shown = _LONE.sub(_escaped, name[0]) if name else result
        _told.append(shown)
        found = f"{shown}: a file name that is no UTF-8 is written with its bytes escaped"
        warnings.warn(found, FileNameWarning, stacklevel=2)
    return result


def _escaped(lone: re.Match[str]) -> str:
    code = ord(lone[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def unescaped(text: str) -> str:
    """The file name that `written` wrote as `text`, which is itself where it holds no escaped byte."""
    return _ESCAPED.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), text)


def encode_text(text: str) -> bytes:
    """`text` as UTF-8; see `written`."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return written(text).encode()


def encode_json(value: Any) -> bytes:
    """`value` as JSON; texts as of `written`."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_plain(msgspec.to_builtins(value)))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return written(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
