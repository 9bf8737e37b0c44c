"""Pictures to features: decoded in threads beside the engine, each picture once, and remembered.

Work done in threads beside whoever takes its results: pictures decoded while an engine computes.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.encoder import Encoder, Put
from tagbox.backends.feature_cache import FeatureCache, feature_key
from tagbox.errors import TagboxError
from tagbox.images.decode import decode_bytes, default_threads, read_bytes
from tagbox.images.geometry import to_square
from tagbox.models.heads import HeadKind, wants_map

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


NEXT_SCALE = 0.75
"""The least that the JPEG decoder's next smaller scale may take off (a half to three eighths)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoding:
    """What became of N pictures.

    Attributes
    ----------
    features
        (N, V, D) float32: V views (the picture; its mirror image), the encoders' features side by
        side. Rows of pictures that could not be read are zero.
    ok
        (N,) bool: which could be read.
    errors
        Why the others could not, in order.
    cached
        How many pictures needed no encoding.
    """

    features: NDArray[np.float32]
    ok: NDArray[np.bool_]
    errors: list[TagboxError]
    cached: int


def encode_images(
    paths: Sequence[Path],
    encoders: Sequence[Encoder],
    *,
    mirror: bool = False,
    cache: FeatureCache | None = None,
    skip_errors: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Encoding:
    """Features of pictures.

    Parameters
    ----------
    mirror
        Add a second view, the square mirrored left to right.
    cache
        Looked up by the bytes of each file, and filled.
    skip_errors
        Go on after a picture that cannot be read; otherwise the first one is raised.
    progress
        Called with 1 for each picture that is done.

    Raises
    ------
    TagboxError
        The codes of `images.decode.read_image`, unless `skip_errors`.
    """
    views = 2 if mirror else 1
    starts = np.cumsum([0, *(encoder.dim for encoder in encoders)])
    features = np.zeros((len(paths), views, starts[-1]), np.float32)
    ok = np.zeros(len(paths), np.bool_)
    errors: list[TagboxError] = []
    cached = 0
    say = progress or (lambda _: None)
    slots = [(index, view) for index in range(len(encoders)) for view in range(views)]
    # Engines put from threads of their own; only this one counts, reports and writes the cache.
    done: deque[tuple[int, _Slot, bytes, NDArray[np.float32]]] = deque()
    left: dict[int, int] = {}

    def take_done() -> None:
        while done:
            row, (index, view), key, found = done.popleft()
            features[row, view, starts[index] : starts[index + 1]] = found
            left[row] -= 1
            if not left[row]:
                del left[row]
                say(1)
            if cache is not None and key:
                cache.put(key, found)

    try:
        for row, outcome in enumerate(_prepared(paths, encoders, slots, cache)):
            if isinstance(outcome, TagboxError):
                if not skip_errors:
                    raise outcome
                errors.append(outcome)
                say(1)
                continue
            ok[row] = True
            cached += not outcome.missing
            left[row] = len(slots)
            done.extend((row, slot, b"", found) for slot, found in outcome.found.items())
            for slot, (square, key) in outcome.missing.items():
                encoders[slot[0]].submit(square, _into(done, row, slot, key))
            take_done()
    finally:
        # Also after a bad picture or Ctrl-C: what was encoded is kept for the next run.
        for encoder in encoders:
            encoder.finish()
        take_done()
        if cache is not None:
            cache.flush()
    return Encoding(features=features, ok=ok, errors=errors, cached=cached)


def as_head_takes(
    features: NDArray[np.float32], encoders: Sequence[Encoder], head: HeadKind
) -> NDArray[np.float32]:
    """Encoded features (..., dim) in the shape of a head's input, (..., D) or (..., D, h, w)."""
    if not wants_map(head):
        return features
    (encoder,) = encoders
    return features.reshape(*features.shape[:-1], *encoder.map_shape)


_Slot = tuple[int, int]
"""Position of an encoder, and a view."""


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A picture's features that were cached, and the squares (with their keys) still to encode."""

    found: dict[_Slot, NDArray[np.float32]]
    missing: dict[_Slot, tuple[NDArray[np.uint8], bytes]]


def _into(
    done: deque[tuple[int, _Slot, bytes, NDArray[np.float32]]], row: int, slot: _Slot, key: bytes
) -> Put:
    return lambda found: done.append((row, slot, key, found))


def _prepared(
    paths: Sequence[Path],
    encoders: Sequence[Encoder],
    slots: Sequence[_Slot],
    cache: FeatureCache | None,
) -> Iterator[_Prepared | TagboxError]:
    """Each picture made ready in order, a few ahead of whoever takes them."""
    return in_threads(lambda path: _prepare(path, encoders, slots, cache), paths)


def _prepare(
    path: Path, encoders: Sequence[Encoder], slots: Sequence[_Slot], cache: FeatureCache | None
) -> _Prepared | TagboxError:
    try:
        data = read_bytes(path)
        keys = dict.fromkeys(slots, b"")
        found = {}
        if cache is not None:
            digest = hashlib.sha256(data).digest()
            keys = {(i, view): feature_key(encoders[i].key, view, digest) for i, view in slots}
            for slot, key in keys.items():
                value = cache.get(key, encoders[slot[0]].dim)
                if value is not None:
                    found[slot] = value
        absent = [slot for slot in slots if slot not in found]
        squares = _squares(data, path, [encoders[i] for i in sorted({i for i, _ in absent})])
        return _Prepared(
            found,
            {
                (i, view): (_view(squares[id(encoders[i])], view), keys[i, view])
                for i, view in absent
            },
        )
    except TagboxError as error:
        return error


def _view(square: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """View 0 is the square, view 1 its mirror image."""
    return square[:, ::-1] if view else square


def _squares(data: bytes, path: Path, encoders: Sequence[Encoder]) -> dict[int, NDArray[np.uint8]]:
    """Each encoder's square by the encoder's id, decoding as seldom as possible.

    A picture's pixels must not depend on which encoders run side by side, so a decoded JPEG serves
    a smaller encoder only where that one would not have had it scaled down further.
    """
    squares: dict[int, NDArray[np.uint8]] = {}
    image: NDArray[np.uint8] | None = None
    for encoder in sorted(encoders, key=lambda e: -e.spec.size):
        size = encoder.spec.size
        if image is None or NEXT_SCALE * min(image.shape[:2]) + 1 >= size:
            image = decode_bytes(data, file=path, min_size=size)
        squares[id(encoder)] = to_square(image, size, encoder.geometry)
    return squares
