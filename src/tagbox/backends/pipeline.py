"""Images through an engine: prepared ahead in threads, results in input order, a bounded number in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from tagbox.errors import TagboxError
from tagbox.images.decode import default_threads

AHEAD = 4
"""Prepared images per thread that may wait for the engine."""
UNDER_WAY = 64
"""Images that may wait for the result of one before them."""

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")


def in_order(
    images: Iterable[T],
    prepare: Callable[[T], P],
    parts: Callable[[P], int],
    submit: Callable[[P, int, Callable[[R], None]], object],
    finish: Callable[[], object],
    *,
    ahead: int = AHEAD,
) -> Generator[tuple[P, list[R]] | TagboxError, None, None]:
    """Each prepared image with the results of its parts, in input order.

    At most `ahead` prepared images a thread and `UNDER_WAY` submitted ones are in memory, however many `images` yields.

    Parameters
    ----------
    prepare
        Reads, decodes and resizes an image; called in threads. A `TagboxError` is yielded in the image's place.
    parts
        The number of parts of a prepared image that the engine computes, 0 included.
    submit
        Starts the computation of a part, given its number; the engine calls back with the result, from any thread.
    finish
        Waits until the result of every submitted part was handed over; also called when the caller stops early.
    """
    waiting: deque[_Pending[P, R] | TagboxError] = deque()
    try:
        for outcome in _prepared(images, prepare, ahead):
            if isinstance(outcome, TagboxError):
                waiting.append(outcome)
            else:
                pending = _Pending[P, R](outcome, parts(outcome))
                waiting.append(pending)
                for number in range(len(pending.results)):
                    submit(outcome, number, pending.put(number))
            if len(waiting) > UNDER_WAY:
                finish()
            yield from _done(waiting)
        finish()
        yield from _done(waiting)
    finally:
        finish()


class _Pending(Generic[P, R]):
    """A submitted image; the result of a part is None until it comes."""

    def __init__(self, image: P, parts: int) -> None:
        self.image = image
        self.results: list[R | None] = [None] * parts

    def put(self, number: int) -> Callable[[R], None]:
        def put(result: R) -> None:
            self.results[number] = result

        return put


def _done(
    waiting: deque[_Pending[P, R] | TagboxError],
) -> Iterator[tuple[P, list[R]] | TagboxError]:
    while waiting:
        first = waiting[0]
        if isinstance(first, TagboxError):
            yield first
        else:
            results = [result for result in first.results if result is not None]
            if len(results) < len(first.results):
                return
            yield first.image, results
        waiting.popleft()


def _prepared(
    images: Iterable[T], prepare: Callable[[T], P], ahead: int
) -> Iterator[P | TagboxError]:
    """`prepare` of each image, in order; images are drawn in the caller's thread, as late as possible."""

    def attempt(image: T) -> P | TagboxError:
        try:
            return prepare(image)
        except TagboxError as error:
            return error

    threads = default_threads()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    futures: deque[Future[P | TagboxError]] = deque()
    try:
        for image in images:
            futures.append(pool.submit(attempt, image))
            if len(futures) >= ahead * threads:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
