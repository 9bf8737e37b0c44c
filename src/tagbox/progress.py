"""How long work tells whoever waits: the command line shows bars, the Python API is silent."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Advance(Protocol):
    """How a bar hears that more is done, and what should stand beside it from now on."""

    def __call__(self, count: int = 1, /, *, note: str | None = None) -> None:
        """`count` more are done."""


class Progress(Protocol):
    """What long work says while it runs."""

    def say(self, message: str) -> None:
        """One line that a person should read."""

    def bar(self, description: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """A bar; the value it yields is called with how much more is done."""


class Silent:
    """Says nothing."""

    def say(self, message: str) -> None:
        """Nothing."""

    def bar(self, description: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """No bar."""
        return nullcontext(_nothing)


def _nothing(count: int = 1, /, *, note: str | None = None) -> None:
    """Nobody is told."""
