"""Mutants of valid files: of their values where they are JSON or XML, of their text and of their bytes."""

from __future__ import annotations

import copy
import json
import random
import re
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
XML_HEADS = [
    *(
        b'<!DOCTYPE annotation [<!ENTITY a "elk">]>',
        b'<!DOCTYPE annotation [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE annotation [<!ENTITY % a SYSTEM "http://127.0.0.1:1/a"> %a;]>',
        b"<!DOCTYPE a [<!ENTITY a 'a'>"
        + b"".join(b"<!ENTITY %c '%s'>" % (c, b"&%c;" % (c - 1) * 20) for c in range(98, 110))
        + b"]>",
    ),
    *(
        b'<?xml version="1.0" encoding="%s"?>' % name
        for name in (b"utf-8", b"utf-16", b"utf-7", b"latin-1", b"cp1252", b"shift_jis", b"none")
    ),
    *(
        b'<?xml version="1.1" standalone="yes"?>',
        b"<!-- a -- b -->",
        b"<?a b?>",
        b"\xef\xbb\xbf",
        b"\n",
    ),
]
XML_TEXTS = [
    *(
        b"",
        b" ",
        b"nan",
        b"-inf",
        b"1e400",
        b"-1",
        b"0",
        b"1e7",
        b"1,5",
        b"0x10",
        b"1_0",
        b"9" * 5000,
    ),
    *(
        "٣".encode(),
        b"&a;",
        b"&lt;&amp;",
        b"&#0;",
        b"&#xD800;",
        b"&#x202e;",
        b"&#x110000;",
        b"&#10;",
    ),
    *(
        b"<![CDATA[elk]]>",
        b"<![CDATA[",
        b"<!-- -->",
        b"<a/>",
        b"..",
        b"../../a.jpg",
        b"C:\\a\\2.jpg",
    ),
    *(
        b"2.jpg",
        b"/1.jpg",
        b"unspecified",
        b"yes",
        b"elk yak",
        b"The VOC2007 Database",
        b"]]>",
        b"<",
    ),
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
        is_xml = content.lstrip()[:1] == b"<"
        return _xml(content, rng) if is_xml else _token(content, rng)
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


def _xml(content: bytes, rng: random.Random) -> bytes:
    """Replace a text of XML, or remove, rename, repeat, nest or move an element, or put something before all."""
    elements = list(re.finditer(rb"<(\w+)[^<>]*>([^<>]*)</\1>", content))
    groups = list(re.finditer(rb"<(size|object|bndbox)>.*?</\1>", content, re.DOTALL))
    pool = (elements, elements, groups)[rng.randrange(3)]
    if not pool:
        return rng.choice(XML_HEADS) + content
    found = rng.choice(pool)
    before, element, after = content[: found.start()], found[0], content[found.end() :]
    match rng.randrange(8):
        case 0:
            return before + after
        case 1:
            name = rng.choice([b"a", b"name", b"part", b"bndbox", b"object", b"a:b", b"1", b"xmin"])
            return before + re.sub(rb"(</?)\w+", rb"\g<1>" + name, element) + after
        case 2:
            return before + element * rng.choice((2, 3, 300)) + after
        case 3:
            depth = rng.choice((1, 2, 40, 5000))
            return before + b"<part>" * depth + element + b"</part>" * depth + after
        case 4:
            other = rng.choice(elements or groups)[0]
            return before + element.replace(b">", b">" + other, 1) + after
        case 5:
            attribute = rng.choice(
                (b' a="1"', b' a="&a;"', b" a", b' a="1" a="2"', b' xmlns="u:v"')
            )
            return before + element.replace(b">", attribute + b">", 1) + after
        case 6:
            head = rng.choice(XML_HEADS)
            name = (
                b"<name>" + rng.choice((b"&a;", b"&l;", b"")) if rng.random() < 0.5 else b"<name>"
            )
            return head + content.replace(b"<name>", name, 1)
        case _:
            inner = re.sub(
                rb">[^<>]*<", lambda _: b">" + rng.choice(XML_TEXTS) + b"<", element, count=1
            )
            return before + inner + after


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
