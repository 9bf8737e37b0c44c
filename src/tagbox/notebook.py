"""Progress in a notebook: a bar that is replaced as it moves, without widgets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from tagbox.errors import visible

EVERY = 0.2
"""Least seconds between two updates."""


class NotebookProgress:
    """A `tagbox.progress.Progress` that displays in the cell's output."""

    def say(self, message: str) -> None:
        """Print the message."""
        print(visible(message), flush=True)

    @contextmanager
    def bar(self, description: str, total: int, unit: str) -> Iterator[_Bar]:
        """Display a bar of `total` units, and yield the callback that advances it."""
        bar = _Bar(description, total, unit)
        try:
            yield bar
        finally:
            bar.show()


class _Bar:
    def __init__(self, description: str, total: int, unit: str) -> None:
        from IPython.display import HTML, display

        self._html: Any = HTML
        self._description, self._total, self._unit = description, total, unit
        self._done, self._note = 0, ""
        self._began = self._shown = time.monotonic()
        self._handle: Any = display(HTML(self._text()), display_id=True)

    def __call__(self, count: int = 1, /, *, note: str | None = None) -> None:
        """Advance by `count`; `note` is shown beside the description."""
        self._done += count
        self._note = self._note if note is None else note
        if time.monotonic() - self._shown >= EVERY:
            self.show()

    def show(self) -> None:
        """Replace the bar by what it is now."""
        self._shown = time.monotonic()
        if self._handle is not None:
            self._handle.update(self._html(self._text()))

    def _text(self) -> str:
        spent = time.monotonic() - self._began
        left = ""
        if 0 < self._done < self._total and spent >= 1:
            left = f", about {spent / self._done * (self._total - self._done):,.0f} s left"
        words = f"{self._done:,} of {self._total:,} {self._unit} in {spent:,.0f} s{left}"
        note = f" · {self._note}" if self._note else ""
        return (
            f'<div style="font-size:13px"><progress value="{self._done}" max="{max(self._total, 1)}" '
            f'style="width:220px;vertical-align:middle"></progress> '
            f"{escape(visible(f'{self._description}: {words}{note}'))}</div>"
        )
