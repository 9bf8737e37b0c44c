"""Tables on stdout that fit the terminal: text wraps at words and folders, numbers never, wide tables continue below."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tagbox.cli.console import console
from tagbox.errors import visible

_PIECES = re.compile(r"[^\s/|]*[/|]|[^\s/|]+|\s+")
"""A line breaks after these: a folder, a part of a category, a word."""
_LONGEST = 24
"""Characters of a piece from which on it may be broken itself."""
_FRAME, _GAP = 3, 1
"""Characters around the text of a column: in a table with lines, and in one without."""


def print_table(title: str, headers: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; columns of numbers are right-aligned and their numbers stay whole.

    A table that is too wide goes without lines, its texts are wrapped, and at last it is printed in several parts
    that all begin with the first column.
    """
    body = [[*row] for row in rows]
    names = [visible(header) for header in headers]
    columns = [_Column(name, [row[index] for row in body]) for index, name in enumerate(names)]
    width = console(stderr=False).width
    if sum(column.width + _FRAME for column in columns) + 1 <= width:
        _print(title, columns, framed=True)
        return
    for number, part in enumerate(_parts(columns, width)):
        _shrink(part, width)
        _print(title if not number else "", part, framed=False)


class _Column:
    """The header and the cells of a column, with the width that it takes and the least that it can."""

    def __init__(self, header: str, cells: Sequence[object]) -> None:
        self.header = header
        self.cells = [_cell(value) for value in cells]
        numbers = [value for value in cells if value not in ("-", "")]
        self.numeric = bool(numbers) and all(
            isinstance(value, (int, float)) or _figures(str(value)) for value in numbers
        )
        self.width = max(map(_length, (header, *self.cells)))
        whole = [
            header.split(),
            *(cell.split("\n") if _figures(cell) else _pieces(cell) for cell in self.cells),
        ]
        self.least = max((_length(piece) for pieces in whole for piece in pieces), default=1)


def _parts(columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """The columns in as few tables as fit, each with the first column."""
    first, *others = columns
    parts = [[first]]
    for column in others:
        least = sum(each.least + _GAP for each in (*parts[-1], column)) - _GAP
        if least > width and len(parts[-1]) > 1:
            parts.append([first])
        parts[-1].append(column)
    return parts


def _shrink(columns: Sequence[_Column], width: int) -> None:
    """Make the widest columns narrower until the table fits."""
    excess = sum(column.width + _GAP for column in columns) - _GAP - width
    while excess > 0:
        able = [column for column in columns if column.width > column.least]
        if not able:
            return
        max(able, key=lambda column: column.width).width -= 1
        excess -= 1


def _print(title: str, columns: Sequence[_Column], *, framed: bool) -> None:
    from rich.box import HEAVY_HEAD, SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title=visible(title) or None,
        title_justify="left",
        box=HEAVY_HEAD if framed else SIMPLE_HEAD,
        show_edge=framed,
        padding=(0, 1 if framed else 0),
    )
    for column in columns:
        table.add_column(
            wrapped(column.header, column.width),
            justify="right" if column.numeric else "left",
            no_wrap=True,
            min_width=column.width,
            max_width=column.width,
        )
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(
            *(wrapped(cell, column.width) for cell, column in zip(cells, columns, strict=True))
        )
    console(stderr=False).print(table)


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else visible(str(value))


def _figures(text: str) -> bool:
    """Whether a cell is a number, or an interval of numbers, with its unit."""
    return re.fullmatch(r"\s*[-+]?[\d.,:]+(\s?(%|to|-|s)\s?)?([-+]?[\d.,:]+)?\s*", text) is not None


def _pieces(text: str) -> list[str]:
    return [piece[:_LONGEST] for piece in _PIECES.findall(text) if not piece.isspace()]


def _length(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, width: int) -> str:
    """`text` in lines of at most `width`, broken between its pieces."""
    if _length(text) <= width:
        return text
    lines = [""]
    for piece in _PIECES.findall(text):
        if _length(lines[-1] + piece.rstrip()) > width and lines[-1]:
            lines.append("")
        if not lines[-1] and piece.isspace():
            continue
        while _length(piece) > width:
            lines[-1], piece = piece[:width], piece[width:]
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)
