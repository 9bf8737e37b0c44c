"""Cells of the column of labels in a CSV file: one name, several with a separator, or a list as Python writes it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from tagbox.data.dataset import Note

LISTS = (
    *(
        "labels",
        "tags",
        "categories",
        "classes",
        "targets",
        "choices",
        "finding_labels",
        "attribute_ids",
    ),
    *("label_names", "tag_names", "category_names", "class_names"),
)
SINGLE = (
    *("label_name", "tag_name", "category_name", "class_name"),
    *("label", "tag", "category", "class", "target", "choice"),
    *("label_id", "category_id", "class_id"),
)
"""Titles of a column whose cells are one name each; names are taken before indices."""
SEPARATORS = ("|", ";", ",")
UNLABELLED = "?"
_MISSING = ("nan", "NaN", "<NA>")
"""What pandas writes for an empty cell."""
_DOUBTFUL = ("None", "NA", "N/A", "n/a", "NULL", "null", "#N/A")
"""What other tools write for an empty cell, and pandas reads as one; a category may be called so."""
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ITEM = re.compile(
    rf"(?:np\.\w+\(\s*)?({_QUOTED}|[+-]?\d+(?:\.0*)?|None|null|nan|NaN)\)?\s*(?:,\s*|\s+|$)",
    re.DOTALL,
)
_LIST = re.compile(
    r"(?:(?:np\.)?(?:array|frozenset|set|list|tuple)\()?"
    r"([\[({])\s*(.*?)\s*([\])}])(?:,\s*dtype=[\w<>'.]+)?\)?",
    re.DOTALL,
)
_EMPTY_LIST = re.compile(r"(?:frozenset|set|list|tuple)\(\)")
_CHOICES = re.compile(r'\{\s*"choices"\s*:\s*(\[.*\])\s*\}', re.DOTALL)
"""Several choices as Label Studio writes them."""
_NUMBER = re.compile(r"(\d+)(?:\.0*)?")
_PAIRS = (("[", "]"), ("{", "}"), ("(", ")"))
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
        Called for a cell that begins or ends like a list and is none, and for one that has 1 and 0 for each of
        categories whose names are not known.
    """
    empty = {*_MISSING, *_DOUBTFUL}.difference(known)
    rows = [[cell for cell in row if cell not in empty] for row in cells]
    lists = {number: items for number, row in enumerate(rows) if (items := _as_list(row, known))}
    plain = [[] if number in lists else row for number, row in enumerate(rows)]
    labels, notes = _separated(plain, title, known)
    doubtful = sorted(
        {cell for row in cells for cell in row if cell in _DOUBTFUL and cell in empty}
    )
    if doubtful:
        found = f"cells of {' and '.join(map(repr, doubtful))} in the column {title!r} are read as empty"
        notes.append(Note("labels-missing", found))
    for number, row in enumerate(labels):
        if number in lists:
            labels[number] = lists[number][1:]
        elif any(word not in known and _is_part(word, len(row) > 1) for word in row):
            hint = "write the names with | between them, or put each name of a list in quotes"
            fault(number, f"{','.join(rows[number])[:60]!r} looks like a list and is none", hint)
            labels[number] = []
    return _whole_numbers(_from_flags(labels, known, fault), known), notes


def _is_part(word: str, is_one_of_several: bool) -> bool:
    """Whether a word is the beginning or end of something in brackets."""
    if word[0] in "[{" or word[-1] in "]}":
        return True
    return is_one_of_several and any(word.count(a) != word.count(b) for a, b in _PAIRS)


def _from_flags(labels: list[list[str]], known: Collection[str], fault: Fault) -> list[list[str]]:
    """The labels where each row is 1 and 0 for all categories in order, as a list of a binarised table."""
    lengths = {len(row) for row in labels if row}
    flags = {word for row in labels for word in row}
    count = next(iter(lengths), 0)
    if len(lengths) != 1 or count < 2 or not flags <= {"0", "1", "0.", "1.", "0.0", "1.0"}:
        return labels
    if flags & set(known):
        return labels
    if len(known) == count:
        return [[str(k) for k, flag in enumerate(row) if flag[0] == "1"] for row in labels]
    number = next(number for number, row in enumerate(labels) if row)
    found = f"{' '.join(labels[number])[:60]!r} looks like 1 or 0 for each of {count} categories"
    hint = f"give the {count} names in their order with --names, or write the names of those that are present"
    fault(number, found, hint)
    return [[] for _ in labels]


def _whole_numbers(labels: list[list[str]], known: Collection[str]) -> list[list[str]]:
    """The labels without ``.0`` where all are whole numbers, which pandas writes so beside an empty cell."""
    words = {word for row in labels for word in row}
    if not words or words & set(known) or not all(map(_NUMBER.fullmatch, words)):
        return labels
    return [[str(int(float(word))) for word in row] for row in labels]


def _as_list(row: Sequence[str], known: Collection[str]) -> list[str]:
    """``"list"`` and the items of a list that Python, pandas, numpy or JSON wrote; nothing for other cells."""
    # Unless it is quoted, its commas cut a list into several cells.
    text = ",".join(row)
    if _EMPTY_LIST.fullmatch(text):
        return ["list"]
    if choices := _CHOICES.fullmatch(text):
        text = choices[1]
    whole = _LIST.fullmatch(text)
    if text in known or not whole or _CLOSING[whole[1]] != whole[3]:
        return []
    inside, found, start = whole[2], ["list"], 0
    while start < len(inside):
        item = _ITEM.match(inside, start)
        if item is None:
            break
        value = item[1]
        if value[0] in "'\"":
            found.append(_ESCAPED.sub(r"\1", value[1:-1]))
        elif value not in ("None", "null", "nan", "NaN"):
            found.append(value.partition(".")[0])
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
        doubtful = title in SINGLE or (separator is None and not _recombined(cells, title))
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


def _recombined(cells: Collection[str], title: str) -> bool:
    """Whether cells look like lists of words, which stand in several of them: nearly all, of tags one is enough."""
    lists = {frozenset(cell.split()) for cell in cells}
    count = Counter(word for words in lists for word in words)
    together = {word for words in lists if len(words) > 1 for word in words}
    once = sum(count[word] == 1 for word in together)
    if title in ("tags", "tag_names"):
        return once < len(together)
    return len(set(map(len, lists))) > 1 and 10 * once <= len(together)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()


def _note(title: str, found: str) -> Note:
    return Note("labels-separator", f"the column {title!r} is read as {found}")
