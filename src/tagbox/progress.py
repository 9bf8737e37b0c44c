"""Progress of long work: the command line shows bars or lines, the Python API bars in notebooks, and is silent elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
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


def duration(seconds: float) -> str:
    """A time that is left or estimated: ``40 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 59.5:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"


def rate(speed: float, unit: str) -> str:
    """`speed` in units a second: ``12 images/s``, ``1.5 images/s``; below one in seconds: ``4.2 s an image``.

    Parameters
    ----------
    unit
        A plural, such as ``images``.
    """
    if unit == "bytes":
        return f"{speed / 1e6:.1f} MB/s"
    if speed >= 1:
        return f"{speed:.{0 if speed >= 10 else 1}f} {unit}/s"
    single = "batch" if unit == "batches" else unit.removesuffix("s")
    took = 1 / speed
    shown = f"{took:.1f} s" if took < 59.5 else duration(took)
    return f"{shown} {'an' if single[0] in 'aeiou' else 'a'} {single}"


class PlainProgress:
    """An `Advance` that writes a line now and then, with rate and time left, for output that is no terminal.

    Parameters
    ----------
    description, total, unit
        As in `Progress.bar`.
    say
        Receives each line.
    clock
        Seconds, of any beginning.
    """

    FIRST, LONGEST = 10.0, 120.0
    """Seconds until the first line, and at most between two; short work has none."""
    LEAST_LEFT = 5.0
    """Seconds that are left of work worth a line."""

    def __init__(
        self,
        description: str,
        total: int,
        unit: str,
        say: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._say, self._clock = say, clock
        self._began = self._measured = clock()
        self._done = self._skipped = 0
        self._next = self._began + self.FIRST
        self._note = ""

    def __call__(self, count: int = 1, /, *, note: str | None = None) -> None:
        """See `Advance`; the first call is not measured: it may prepare, or stand for the work of an earlier run."""
        if not self._done:
            self._skipped, self._measured = count, self._clock()
        self._done += count
        self._note = self._note if note is None else f", {note}"
        now = self._clock()
        own = self._done - self._skipped
        if now < self._next or not own or self._done >= self._total:
            return
        spent = now - self._measured
        self._next = now + min(max(now - self._began, self.FIRST), self.LONGEST)
        speed = own / max(spent, 1e-9)
        left = (self._total - self._done) / speed
        if left < self.LEAST_LEFT:
            return
        done, total = f"{self._done:,}", f"{self._total:,}"
        if self._unit == "bytes":
            done, total = f"{self._done / 1e6:,.0f}", f"{self._total / 1e6:,.0f} MB,"
        unit = "" if self._unit == "bytes" else f" {self._unit},"
        self._say(
            f"{self._description}{self._note}: {done} of {total}{unit} "
            f"{rate(speed, self._unit)}, about {duration(left)} left"
        )


def foretelling(
    advance: Advance,
    total: int,
    unit: str,
    what: str,
    say: Callable[[str], object],
    clock: Callable[[], float] = time.monotonic,
) -> Advance:
    """`advance`, which once says how long all will take, as soon as a few seconds of the work are measured.

    The first call is not measured: it may prepare, or stand for the work of an earlier run. Work of less than
    twenty seconds is not foretold.
    """
    began: float | None = None
    done = measured = 0
    said = False

    def counted(count: int = 1, /, *, note: str | None = None) -> None:
        nonlocal began, done, measured, said
        advance(count, note=note)
        now, done = clock(), done + count
        if began is None:
            if count:
                began = now
            return
        measured += count
        spent = now - began
        if not said and spent >= 3 and measured >= 2:
            said = True
            left = spent / measured * (total - done)
            if left >= 20:
                say(f"{what} about {duration(left)} ({rate(measured / spent, unit)})")

    return counted
