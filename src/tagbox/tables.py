"""`Table`: rows of values that print as text, show as HTML in a notebook and become a DataFrame."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, overload

from tagbox.errors import require_extra, visible

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN = 60
"""Rows of a table that are shown; a longer one ends with the number of the others."""
_WIDEST = 60
"""Characters of a cell in text."""
_TABLE = "border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums"
_CELL = "padding:3px 10px;text-align:{};border-bottom:1px solid rgba(128,128,128,.3)"


class Table(Sequence[Mapping[str, Any]]):
    """Rows with named columns.

    Parameters
    ----------
    rows
        Column to plain value; a missing value is None.
    columns
        The columns, in their order; when not given, those of the rows by first appearance.
    title
        A line above it where it is shown.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        columns: Sequence[str] | None = None,
        title: str = "",
    ) -> None:
        self._rows = list(rows)
        names = dict.fromkeys(name for row in self._rows for name in row)
        self.columns = tuple(names if columns is None else columns)
        self.title = title

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Table: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, Any] | Table:
        if isinstance(index, slice):
            return Table(self._rows[index], self.columns, self.title)
        return self._rows[index]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._rows)

    def column(self, name: str) -> list[Any]:
        """The values of a column, None where a row has none."""
        return [row.get(name) for row in self._rows]

    def to_pandas(self) -> DataFrame:
        """The table as a DataFrame; missing values are NaN or None.

        Raises
        ------
        TagboxError
            ``extra-missing`` without pandas.
        """
        return data_frame({name: self.column(name) for name in self.columns})

    def __repr__(self) -> str:
        cells = [
            [*self.columns],
            *([shown(row.get(c)) for c in self.columns] for row in self[:SHOWN]),
        ]
        cells = [[_short(visible(cell)) for cell in line] for line in cells]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        right = [self._numeric(name) for name in self.columns]
        lines = [
            "  ".join(
                line[k].rjust(widths[k]) if right[k] else line[k].ljust(widths[k]) for k in part
            ).rstrip()
            for part in _parts(widths, continued=all(right[1:]))
            for line in cells
        ]
        return "\n".join([*([self.title] if self.title else []), *lines, *self._others()])

    def _repr_html_(self) -> str:
        aligned = {name: "right" if self._numeric(name) else "left" for name in self.columns}
        head = "".join(_html_cell("th", name, align) for name, align in aligned.items())
        body = "".join(
            "<tr>"
            + "".join(_html_cell("td", shown(row.get(n)), align) for n, align in aligned.items())
            + "</tr>"
            for row in self[:SHOWN]
        )
        title = f"<p><b>{_text(self.title)}</b></p>" if self.title else ""
        others = "".join(f"<p>{_text(line)}</p>" for line in self._others())
        return (
            f'<div style="overflow-x:auto">{title}<table style="{_TABLE}"><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table>{others}</div>"
        )

    def _numeric(self, name: str) -> bool:
        values = [value for value in self.column(name) if value is not None]
        return bool(values) and all(
            isinstance(v, (int, float)) and not isinstance(v, bool) for v in values
        )

    def _others(self) -> list[str]:
        """What is said of the rows that are not shown."""
        more = len(self) - SHOWN
        return [f"… and {more:,} more rows" if more > 1 else "… and 1 more row"] if more > 0 else []


def _parts(widths: Sequence[int], *, continued: bool) -> list[list[int]]:
    """The columns that are shown beside each other: all, or of a table that is continued as many as the terminal holds.

    Each part begins with the first column, as a long history is read.
    """
    parts = [[*range(len(widths))][:1]]
    room = get_terminal_size().columns if continued else sys.maxsize
    for column in range(1, len(widths)):
        if len(parts[-1]) > 1 and sum(widths[k] + 2 for k in (*parts[-1], column)) - 2 > room:
            parts.append([0])
        parts[-1].append(column)
    return parts


def data_frame(columns: Mapping[str, Any]) -> DataFrame:
    """A DataFrame of columns of equal length.

    Raises
    ------
    TagboxError
        ``extra-missing`` without pandas.
    """
    require_extra("to_pandas", "pandas")
    from pandas import DataFrame

    return DataFrame(dict(columns))


def shown(value: Any) -> str:
    """A value as a reader wants it: four decimals of a float, a dash for none, a list joined by commas."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        if value and not 0.001 <= abs(value) < 1000:
            return f"{value:.3g}" if abs(value) < 0.001 else f"{value:,.6g}"
        return f"{value:.4f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value)) or "–"
    return str(value)


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _text(value: str) -> str:
    """Text for HTML: escaped, without control characters."""
    return escape(visible(value))


def _html_cell(tag: str, value: str, align: str) -> str:
    return f'<{tag} style="{_CELL.format(align)}">{_text(value)}</{tag}>'
