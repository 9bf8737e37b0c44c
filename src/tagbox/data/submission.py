"""The JSON form of the challenge, ``{"000000000139": [56, 60], …}``: its strict reader and its writer.

Submissions and label sets in this form are read here. Python's JSON parser is used and not msgspec,
because it reports keys that stand twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tagbox.atomic_io import atomic_write
from tagbox.errors import TagboxError
from tagbox.text_files import line_and_column, read_text
from tagbox.text_output import written


def read_submission(path: Path, categories: int | None = 80) -> dict[str, list[int]]:
    """Read the category indices of each image, strictly.

    Parameters
    ----------
    path
        A JSON file with one object: the key is the file name of an image without extension, the value
        a list of category indices, possibly empty.
    categories
        Number of categories, which indices must be below; None to accept any.

    Returns
    -------
    dict
        Image to ascending indices, in the order of the file.

    Raises
    ------
    TagboxError
        ``file-missing``, ``not-utf8``, ``submission-empty``, ``submission-syntax``,
        ``submission-trailing-comma``, ``submission-comment``, ``submission-number``,
        ``submission-duplicate-key``, ``submission-not-object``, ``submission-value``,
        ``submission-index-type``, ``submission-index-range``, ``submission-duplicate-index``.
    """
    text = read_text(path)
    if not text.strip():
        raise TagboxError("submission-empty", "the file is empty", file=path, hint=f"write {_FORM}")
    value = _parse(text, path)
    if not isinstance(value, dict):
        raise TagboxError(
            "submission-not-object",
            f"expected an object, found {_kind(value)}",
            file=path,
            hint=f"write {_FORM}",
        )
    if not value:
        raise TagboxError("submission-empty", "it names no image", file=path, hint=f"write {_FORM}")
    return {key: _indices(key, indices, categories, text, path) for key, indices in value.items()}


def write_submission(path: Path, mapping: Mapping[str, Iterable[int]]) -> None:
    """Write label sets in the form of the challenge, keys and indices sorted, atomically."""
    atomic_write(path, encode_submission(mapping))


def encode_submission(mapping: Mapping[str, Iterable[int]]) -> bytes:
    """The bytes of `write_submission`."""
    lines = [
        f"{json.dumps(written(key))}: {json.dumps(sorted({int(index) for index in mapping[key]}))}"
        for key in sorted(mapping)
    ]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


_FORM = 'one object such as {"000000000139": [56, 60], "000000000285": [21]}'


class _DuplicateKeyError(Exception):
    pass


class _NotANumberError(Exception):
    pass


def _parse(text: str, path: Path) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _syntax_error(text, error, path) from error
    except _DuplicateKeyError as error:
        key = str(error)
        raise TagboxError(
            "submission-duplicate-key",
            f"the image {key!r} stands twice",
            file=path,
            where=_place(text, key, occurrence=1),
            hint="keep one of the two",
        ) from error
    except _NotANumberError as error:
        offset = next(re.finditer(rf"(?<![\w\"]){error}", text)).start()
        raise TagboxError(
            "submission-number",
            f"{error} is not a number in JSON",
            file=path,
            where=_line(text, offset),
            hint="write whole numbers",
        ) from error
    except (RecursionError, ValueError) as error:
        raise TagboxError(
            "submission-syntax",
            "lists are nested too deeply or a number is too long",
            file=path,
            hint=f"write {_FORM}",
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        earlier: set[str] = set()
        for key, _ in pairs:
            if key in earlier:
                raise _DuplicateKeyError(key)
            earlier.add(key)
    return result


def _no_constant(word: str) -> NoReturn:
    raise _NotANumberError(word)


def _syntax_error(text: str, error: json.JSONDecodeError, path: Path) -> TagboxError:
    """The error at the parser's position, or for the comma or comment that caused it."""
    position = _skip_space(text, error.pos)
    before = len(text[:position].rstrip()) - 1
    comma = next((p for p in (before, position) if p >= 0 and text[p : p + 1] == ","), None)
    if comma is not None and text[_skip_space(text, comma + 1) :][:1] in ("]", "}"):
        return TagboxError(
            "submission-trailing-comma",
            "a comma stands before the closing bracket",
            file=path,
            where=_line(text, comma),
            hint="remove the comma",
        )
    if text[position : position + 1] == "#" or text[position : position + 2] in ("//", "/*"):
        return TagboxError(
            "submission-comment",
            "JSON has no comments",
            file=path,
            where=_line(text, position),
            hint="remove the comment",
        )
    hints = {"'": "put texts in double quotes", "": "the file is cut off; write it again"}
    return TagboxError(
        "submission-syntax",
        f"this is not JSON: {error.msg[:1].lower()}{error.msg[1:]}",
        file=path,
        where=_line(text, error.pos),
        hint=hints.get(text[position : position + 1], f"write {_FORM}"),
    )


def _indices(key: str, value: Any, categories: int | None, text: str, path: Path) -> list[int]:
    if not isinstance(value, list):
        raise TagboxError(
            "submission-value",
            f"expected a list of category indices, found {_kind(value)}",
            file=path,
            where=_place(text, key),
            hint='write a list, as in "000000000285": [21]',
        )
    for position, index in enumerate(value):
        if type(index) is int and index >= 0 and (categories is None or index < categories):
            continue
        where = f"{_place(text, key)}, item {position + 1}"
        if type(index) is not int:
            raise TagboxError(
                "submission-index-type",
                f"expected a whole number, found {_kind(index)}",
                file=path,
                where=where,
                hint="write category indices, not names or probabilities",
            )
        limit = "0 and above" if categories is None else f"0 to {categories - 1}"
        raise TagboxError(
            "submission-index-range",
            f"there is no category {index}",
            file=path,
            where=where,
            hint=f"indices are {limit}",
        )
    if len(set(value)) < len(value):
        twice = next(index for index in value if value.count(index) > 1)
        raise TagboxError(
            "submission-duplicate-index",
            f"the category {twice} stands twice",
            file=path,
            where=_place(text, key),
            hint="keep one of the two",
        )
    return sorted(value)


def _place(text: str, key: str, occurrence: int = 0) -> str:
    """Place of an image's key: its line, if the key is found as it is spelled here, and its name."""
    spelled = re.escape(json.dumps(key, ensure_ascii=False))
    found = list(re.finditer(rf"{spelled}\s*:", text))
    if len(found) <= occurrence:
        return f"image {key!r}"
    return f"line {text.count(chr(10), 0, found[occurrence].start()) + 1}, image {key!r}"


def _line(text: str, offset: int) -> str:
    before = text[:offset].encode()
    return line_and_column(before, len(before))


def _skip_space(text: str, offset: int) -> int:
    while offset < len(text) and text[offset] in " \t\r\n":
        offset += 1
    return offset


def _kind(value: Any) -> str:
    """A JSON value in a few words, for messages."""
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    if type(value) in names:
        return names[type(value)]
    shown = json.dumps(value)
    return f"the {'text' if isinstance(value, str) else 'number'} {shown[:40]}"
