"""Mutants of valid files: of their values where they are JSON, of their text and of their bytes."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        0.5,
        -0.0,
        1e308,
        2**31,
        2**63,
        -(2**63) - 1,
        10**30,
        10**400,
    ),
    *(
        "",
        "a",
        "\0",
        "..",
        "../a",
        "/etc/passwd",
        "C:\\a",
        "a" * 300,
        "\ud7ff\U0001f600",
        "[/b]",
        "1e5",
    ),
    *([], {}, [[]], {"": {}}, [None], ["a", 1], {"a": 1}),
]
TOKENS = [
    *(b"NaN", b"-Infinity", b"1e400", b"-1e999", b"9" * 5000, b"0" * 40 + b"1", b"1_000", b"0x1F"),
    *(
        b"null",
        b"true",
        b"yes",
        b"2001-99-99",
        b"!!python/name:os.system",
        b"&a [*a]",
        b"*b",
        b"<<: 1",
    ),
    *(
        b"[" * 3000,
        b"{" * 3000,
        b'{"a":' * 3000,
        b"[" * 500 + b"]" * 500,
        b'"',
        b"'",
        b"\\",
        b"\\u0000",
    ),
    *(
        b"\0",
        b"\xff",
        b"\xc3",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n\n",
        b"\t",
        b",",
        b";",
        b":",
        b"-",
        b"#",
        b"%",
    ),
    *(b"\\ud800", b"../../../a", b"a" * 5000, b"=1+1", "é".encode("latin-1"), "🦌".encode()),
]
SPACE = b" \t\r\n,:;[]{}\"'"


def mutant(content: bytes, rng: random.Random) -> bytes:
    """A changed copy of a file; the same for the same state of `rng`."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(
            (_value, _value, _value, _token, _token, _bytes, _cut, _repeat, _encoding)
        )
        content = change(content, rng)
    return content[: 1 << 20]


def _value(content: bytes, rng: random.Random) -> bytes:
    """Replace, remove, add or repeat one value of JSON."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return _token(content, rng)
    places = list(_places(value))
    if not places:
        return json.dumps(rng.choice(VALUES)).encode()
    holder, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(["", "id", "a", "\0", str(key)[::-1]])] = holder.pop(key)
        case 2 if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        case 3:
            other, place = rng.choice(places)
            holder[key] = (
                copy.deepcopy(other[place]) if place in other or isinstance(other, list) else 0
            )
        case 4 if isinstance(holder, dict):
            text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
            pair = f"{json.dumps(key)}: "
            again = f"{pair}{json.dumps(rng.choice(VALUES))}, {pair}"
            return text.replace(pair, again, 1).encode("utf-8", "surrogatepass")
        case _:
            holder[key] = rng.choice(VALUES)
    try:
        return json.dumps(value, indent=rng.choice((None, 1))).encode()
    except (RecursionError, ValueError):
        return content


def _places(value: Any) -> Any:
    stack = [value] if isinstance(value, (dict, list)) else []
    while stack:
        holder = stack.pop()
        items = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in items:
            yield holder, key
            inner = holder[key] if not isinstance(holder, dict) else holder.get(key)
            if isinstance(inner, (dict, list)):
                stack.append(inner)


def _token(content: bytes, rng: random.Random) -> bytes:
    """Replace a word or a number by a token that readers stumble over, or put one there."""
    start = rng.randrange(len(content) + 1)
    while start and content[start - 1] not in SPACE:
        start -= 1
    end = start
    while end < len(content) and content[end] not in SPACE and rng.random() < 0.95:
        end += 1
    return content[:start] + rng.choice(TOKENS) + content[end:]


def _bytes(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 20))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:a] if rng.random() < 0.5 else content[:a] + content[b:]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:b] + content[a:b] * rng.choice((1, 1, 10, 100)) + content[b:]


def _encoding(content: bytes, rng: random.Random) -> bytes:
    text = content.decode("utf-8", "replace")
    name = rng.choice(
        ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "cp1252")
    )
    return text.encode(name, "replace")
