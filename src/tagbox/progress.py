"""Progress of long work: the command line shows bars, the Python API in notebooks, and is silent elsewhere."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Advance(Protocol):
    """Callback that advances a progress bar."""

    def __call__(self, count: int = 1, /, *, note: str | None = None) -> None:
        """Advance by `count`; `note` replaces the text beside the description."""


class Progress(Protocol):
    """Receiver of messages and progress."""

    def say(self, message: str) -> None:
        """Show a message of one line."""

    def bar(self, description: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Open a bar of `total` units, and yield the callback that advances it."""


class Silent:
    """A `Progress` without output."""

    def say(self, message: str) -> None:
        """Ignore the message."""

    def bar(self, description: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Yield a callback that does nothing."""
        return nullcontext(_nothing)


def _nothing(count: int = 1, /, *, note: str | None = None) -> None:
    pass


def default_progress() -> Progress:
    """Bars in a notebook, and nothing elsewhere."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and "IPKernelApp" in shell.config:
        from tagbox.notebook import NotebookProgress

        return NotebookProgress()
    return Silent()
