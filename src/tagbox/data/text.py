"""Names in messages: the nearest ones, and the first of many."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from tagbox.errors import visible


def near(name: str, known: Sequence[str], *, noun: str = "names") -> str:
    """A hint for an unknown name: the known ones nearest to it, else some of them."""
    close = get_close_matches(name.lower(), [k.lower() for k in known], n=3, cutoff=0.6)
    if close:
        spelled = {k.lower(): k for k in known}
        return f"did you mean {' or '.join(repr(spelled[c]) for c in close)}"
    return f"the {noun} are {some(known, 12)}" if known else f"there are no {noun}"


def some(names: Sequence[object], count: int = 5) -> str:
    """The first `count` names and the number of the others, for messages."""
    shown = ", ".join(visible(str(name)) for name in names[:count])
    return f"{shown} and {len(names) - count} more" if len(names) > count else shown
