"""Cells of the column of labels in a CSV file: one name, several with a separator, or a list as Python writes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from tagbox.data.dataset import Note

LISTS = ("labels", "tags", "categories", "classes", "targets", "finding_labels", "attribute_ids")
SINGLE = ("label", "tag", "category", "class", "target")
"""Titles of a column whose cells are one name each."""
SEPARATORS = ("|", ";", ",")
UNLABELLED = "?"
_MISSING = ("nan", "NaN", "<NA>")
"""What pandas writes for an empty cell."""
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ITEM = re.compile(rf"(?:np\.str_\(\s*)?({_QUOTED}|[+-]?\d+\.?)\)?\s*(?:,\s*|\s+|$)", re.DOTALL)
_LIST = re.compile(r"(?:array\()?([\[({])\s*(.*?)\s*([\])}])(?:,\s*dtype=[\w<>'.]+)?\)?", re.DOTALL)
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

Fault = Callable[[int, str, str], None]
"""Called with the row of a cell that cannot be read, what was found, and what to do."""


def split_cells(
    cells: Sequence[Sequence[str]], title: str, known: Collection[str], fault: Fault
) -> tuple[list[list[str]], list[Note]]:
    """The labels of each row, and notes on cells that may be meant otherwise.

    Parameters
    ----------
    cells
        For each row the cell of labels, and those after it where it is the last column; without blank ones.
    title
        Of the column: a cell of one called ``label`` is one name, also with spaces.
    known
        The category names, if they are known.
    fault
        Called for a cell that begins or ends like a list and is none.
    """
    rows = [[cell for cell in row if cell not in _MISSING or cell in known] for row in cells]
    lists = {number: items for number, row in enumerate(rows) if (items := _as_list(row, known))}
    plain = [[] if number in lists else row for number, row in enumerate(rows)]
    labels, notes = _separated(plain, title, known)
    for number, row in enumerate(labels):
        if number in lists:
            labels[number] = lists[number][1:]
            continue
        odd = next((w for w in row if w not in known and (w[0] in "[" or w[-1] in "]")), None)
        if odd is not None:
            hint = "write the names with | between them, or put each name of a list in quotes"
            fault(number, f"{' '.join(rows[number])[:60]!r} looks like a list and is none", hint)
            labels[number] = []
    return labels, notes


def _as_list(row: Sequence[str], known: Collection[str]) -> list[str]:
    """``"list"`` and the items of a list that Python, pandas, numpy or JSON wrote; nothing for other cells."""
    # Unless it is quoted, its commas cut a list into several cells.
    text = ",".join(row)
    whole = _LIST.fullmatch(text)
    if text in known or not whole or _CLOSING[whole[1]] != whole[3]:
        return []
    inside, found, start = whole[2], ["list"], 0
    while start < len(inside):
        item = _ITEM.match(inside, start)
        if item is None:
            break
        value = item[1]
        found.append(_ESCAPED.sub(r"\1", value[1:-1]) if value[0] in "'\"" else value.rstrip("."))
        start = item.end()
    else:
        return [found[0], *(name for word in found[1:] if (name := word.strip()))]
    words = [word.strip() for word in inside.split(",")]
    return ["list", *words] if known and all(word in known for word in words) else []


def _separated(
    rows: Sequence[Sequence[str]], title: str, known: Collection[str]
) -> tuple[list[list[str]], list[Note]]:
    text = "".join(cell for row in rows for cell in row)
    separator = next((s for s in SEPARATORS if s in text), None)
    cells = dict.fromkeys(cell for row in rows for cell in row if cell != UNLABELLED)
    notes = []
    # Cells that are all names are not split; nor are several cells of a line, which hold a name each.
    whole = bool(known) and all(cell in known for cell in cells)
    if whole or (separator is None and any(len(row) > 1 for row in rows)):
        separator = "\n"
    elif title in SINGLE and separator in (None, ","):
        parts = {word for cell in cells for word in _cut(cell, separator)}
        # The parts of lists of names occur by themselves as well; the parts of one name do not.
        alone = sum(word in cells for word in parts)
        if not all(map(_is_number, parts)) and (separator is None or 2 * alone < len(parts)):
            longest = next((cell for cell in cells if len(_cut(cell, separator)) > 1), None)
            if separator == "," and longest is not None:
                notes.append(
                    _note(title, f"one name a cell: {longest[:60]!r} is not cut at commas")
                )
            separator = "\n"
    if separator in (None, ","):
        cut = next((cell for cell in cells if len(_cut(cell, separator)) > 1), None)
        words = _cut(cut, separator) if cut is not None else []
        doubtful = separator is None or title in SINGLE
        if cut is not None and doubtful and not all(map(_is_number, words)):
            between = "commas" if separator else "spaces"
            found = f"cut at {between}: {cut[:60]!r} is {' and '.join(map(repr, words[:5]))}"
            notes.append(_note(title, found))
    return [
        [word for cell in row for word in _cut(cell, separator)] if row != [UNLABELLED] else []
        for row in rows
    ], notes


def _cut(cell: str, separator: str | None) -> list[str]:
    return [word.strip() for word in cell.split(separator) if word.strip()]


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()


def _note(title: str, found: str) -> Note:
    return Note("labels-separator", f"the column {title!r} is read as {found}")
