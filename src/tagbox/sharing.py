"""What several threads may share: values made once, and engines, which a forked process cannot take over."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Self, TypeVar, overload

from tagbox.errors import TagboxError

T = TypeVar("T")

_lock = threading.RLock()
"""One for all: making one value may need another, and two locks could then wait for each other."""
_engine_started = False
_engine_lost = False


class shared_property(cached_property[T]):  # noqa: N801
    """A `functools.cached_property` that is computed once, however many threads ask for it at the same time."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Self | T:
        with made_once():
            return super().__get__(instance, owner)


@contextmanager
def made_once() -> Iterator[None]:
    """Hold the lock under which shared values are made; for those that are no properties."""
    with _lock:
        yield


def start_engine() -> None:
    """Called before anything is computed on OpenVINO or torch.

    Raises
    ------
    TagboxError
        ``forked`` in a process that was forked from one that had computed: the threads of OpenVINO's and torch's
        pools are not there, and a computation would wait for them for ever.
    """
    global _engine_started
    if _engine_lost:
        raise TagboxError(
            "forked",
            "this process was forked from one that had already predicted, and the threads that compute do not survive a fork",
            hint='start processes with multiprocessing.get_context("spawn"), or fork before the first prediction',
        )
    _engine_started = True


def engine_lost() -> bool:
    """Whether `start_engine` refuses."""
    return _engine_lost


def _after_fork() -> None:
    global _lock, _engine_lost
    # Another thread may have held it.
    _lock = threading.RLock()
    _engine_lost = _engine_started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
