"""The one reader of YAML from outside, bounded in size, depth, digits and values.

The value is built from the events of PyYAML's parser, with plain scalars only: no dates, no tags, and no value
that grows when its aliases are written out. Every fault becomes an error with the file and the place in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tagbox.errors import TagboxError
from tagbox.text_files import line_and_column, read_text

_MOST_BYTES = 1 << 22
_DEEPEST = 64
_MOST_VALUES = 1_000_000


def read_yaml(path: Path, code: str, hint: str, *, texts: bool = False) -> Any:
    """Read the value in a YAML file: mappings, lists and scalars.

    Parameters
    ----------
    code, hint
        Of the error for a file that is not such YAML.
    texts
        Whether all scalars are texts, as they are written; otherwise null, booleans (also ``yes``, ``no``,
        ``on`` and ``off``) and decimal numbers are values, and everything else is a text.

    Raises
    ------
    TagboxError
        `code` with line and column; ``file-missing``, ``file-unreadable`` or ``not-utf8``.
    """
    import yaml

    content = read_text(path, _MOST_BYTES)
    try:
        events = yaml.parse(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return _Builder(str if texts else _scalar).build(events)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        # The end of the text is where its last line ends.
        place = line_and_column(content.rstrip().encode(), len(content.rstrip().encode()))
        if mark is not None and mark.index < len(content.rstrip()):
            place = f"line {mark.line + 1}, column {mark.column + 1}"
        found = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise TagboxError(
            code,
            f"not valid YAML ({found})",
            file=path,
            where=place if mark else None,
            hint=hint,
        ) from error


class _Builder:
    """Builds one value from the events of a YAML parser, without recursion and within limits."""

    def __init__(self, scalar: Callable[[str], Any]) -> None:
        self._scalar = scalar
        # Of each open list or mapping: its items (keys and values in turn), first event and number of values.
        self._open: list[tuple[list[Any], Any, int]] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._values = 0

    def build(self, events: Any) -> Any:
        """The value; raises ``MarkedYAMLError``."""
        import yaml

        result, documents = None, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _refused("a second document begins here", event)
                continue
            if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
                _refuse_tag(event)
                if len(self._open) == _DEEPEST:
                    raise _refused(f"more than {_DEEPEST} levels", event)
                self._open.append(([], event, self._count(event)))
                continue
            if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                items, start, before = self._open.pop()
                is_list = isinstance(event, yaml.SequenceEndEvent)
                value: Any = [item for item, _ in items] if is_list else _mapping(items)
                self._keep(start, value, self._values - before + 1)
            elif isinstance(event, yaml.ScalarEvent):
                _refuse_tag(event)
                self._count(event)
                value = self._scalar(event.value) if event.implicit[0] else event.value
                self._keep(event, value, 1)
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self._anchors:
                    raise _refused(f"the alias *{event.anchor} has no finished value", event)
                value, size = self._anchors[event.anchor]
                self._count(event, size)
            else:
                continue
            if self._open:
                self._open[-1][0].append((value, event))
            else:
                result = value
        return result

    def _count(self, event: Any, values: int = 1) -> int:
        self._values += values
        if self._values > _MOST_VALUES:
            raise _refused(f"more than {_MOST_VALUES:,} values", event)
        return self._values

    def _keep(self, event: Any, value: Any, size: int) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, size)


def _mapping(items: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Keys and values in turn as a dict; ``<<`` brings the entries of one or several mappings."""
    import yaml

    own: dict[Any, Any] = {}
    merged: dict[Any, Any] = {}
    for (key, event), (value, _) in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, (list, dict)):
            raise _refused("a key is a list or a mapping", event)
        if key in own:
            raise _refused(f"the key {str(key)[:60]!r} stands twice", event)
        if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
            for other in reversed(value if isinstance(value, list) else [value]):
                if not isinstance(other, dict):
                    raise _refused("<< is no mapping", event)
                merged |= other
        else:
            own[key] = value
    return merged | own


def _refuse_tag(event: Any) -> None:
    if event.tag is not None:
        raise _refused(f"the tag {event.tag[:60]} is not read", event)


def _refused(problem: str, event: Any) -> Exception:
    import yaml

    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None} | {
    word: word in ("true", "yes", "on") for word in ("true", "false", "yes", "no", "on", "off")
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,39})")
_FLOAT = re.compile(
    r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


def _scalar(text: str) -> Any:
    """A plain scalar as null, a boolean, a number, or the text itself.

    As in the core schema of YAML 1.2, with the booleans of 1.1; dates, clock times and numbers with
    leading zeros, underscores or another base stay the texts that they are.
    """
    if len(text) < 6 and text in (text.lower(), text.upper(), text.capitalize()):
        word = text.lower()
        if word in _WORDS:
            return _WORDS[word]
    if _INTEGER.fullmatch(text):
        return int(text)
    if len(text) <= 60 and _FLOAT.fullmatch(text):
        sign, _, word = text.lower().partition(".")
        return float(sign + word if word in ("inf", "nan") else text)
    return text
