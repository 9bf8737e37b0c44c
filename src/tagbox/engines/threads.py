"""Work done in threads beside whoever takes its results: pictures decoded while an engine computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tagbox.images.decode import default_threads

AHEAD = 4
"""Results each thread may be ahead of whoever takes them; bounds memory."""

T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], items: Iterable[T], ahead: int = AHEAD) -> Iterator[R]:
    """`function` of each item, in order; `items` are drawn from the caller's thread, as late as possible."""
    threads = default_threads()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    futures: deque[Future[R]] = deque()
    try:
        for item in items:
            futures.append(pool.submit(function, item))
            if len(futures) >= ahead * threads:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
