"""Ctrl-C and SIGTERM as an exception that cleans up, and worker processes that end with their parent."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SECONDS = 0.2
_received: list[int] = []
_starting = False


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; whoever keeps something adds a note about it (`BaseException.add_note`)."""


@contextmanager
def kept(note: str) -> Iterator[None]:
    """Add a note to an interruption inside it: what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(note)
        raise


def raise_on_signals() -> None:
    """Raise `Interrupted` in the main thread at Ctrl-C and at SIGTERM, also where Python would ignore it.

    Of several processes of one training only Ctrl-C is: SIGTERM, which their launcher sends when one of them
    has died, must end the others while they wait in compiled code.
    """
    owner = os.getpid()

    def interrupt(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:  # A forked worker: Ctrl-C is for its parent, which ends it.
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        _received.append(number)
        if not _starting:
            raise Interrupted

    def again(unraisable: Any) -> None:
        # Raised in a destructor or callback, where Python drops it: raise it once more.
        if isinstance(unraisable.exc_value, Interrupted):
            _thread.interrupt_main(signal.Signals(_received[-1]))
        else:
            sys.__unraisablehook__(unraisable)

    sys.unraisablehook = again
    # A command started in the background by a shell without job control ignores Ctrl-C.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        signal.signal(signal.SIGTERM, interrupt)


def received_signal() -> int | None:
    """The number of the first signal that was received; None before."""
    return _received[0] if _received else None


def ignore_signals() -> None:
    """Let no further signal disturb the last words of a process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def starting_processes() -> Iterator[None]:
    """Processes started inside it begin whole and do not get Ctrl-C, which a terminal sends to all at once.

    A signal that arrives meanwhile raises `Interrupted` at the end of the block: raised between the start of
    a process and the message with its task, it would leave that process to end with a traceback of its own.
    """
    global _starting
    masks = hasattr(signal, "pthread_sigmask")
    received, _starting = len(_received), True
    before: set[signal.Signals | int] = set()
    try:
        if masks:
            from multiprocessing import resource_tracker

            # Its start ends with unblocking Ctrl-C, so it must not come after the mask.
            resource_tracker.ensure_running()
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        yield
    finally:
        _starting = False
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if len(_received) > received:
        raise Interrupted


def end_with_parent(parent: int | None = None) -> None:
    """End this worker process soon after its parent has died, however that died.

    Parameters
    ----------
    parent
        Process id of the parent, where it may have died already; else the present parent.
    """
    expected = os.getppid() if parent is None else parent

    def watch() -> None:
        while os.getppid() == expected:
            time.sleep(_SECONDS)
        os._exit(1)

    if os.name != "nt":  # Elsewhere a process id of the parent stays after its death.
        threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
