"""How long work tells whoever waits: the command line shows bars, the Python API is silent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Progress(Protocol):
    """What long work says while it runs."""

    def say(self, message: str) -> None:
        """One line that a person should read."""

    def bar(
        self, description: str, total: int, unit: str
    ) -> AbstractContextManager[Callable[[int], None]]:
        """A bar; the value it yields is called with how much more is done."""


class Silent:
    """Says nothing."""

    def say(self, message: str) -> None:
        """Nothing."""

    def bar(
        self, description: str, total: int, unit: str
    ) -> AbstractContextManager[Callable[[int], None]]:
        """No bar."""
        return nullcontext(lambda _: None)
