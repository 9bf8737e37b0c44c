"""`history.csv` as numbers."""

from __future__ import annotations

import csv
from pathlib import Path


def history_rows(path: Path) -> list[dict[str, float | int | None]]:
    """Each row by column; empty cells are None."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: _number(cell) for name, cell in row.items()}
            for row in csv.DictReader(file, strict=True)
        ]


def _number(cell: str) -> float | int | None:
    if not cell:
        return None
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)
