"""Images to features: each decoded once, encoded by every encoder, and cached."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.encoder import Encoder
from tagbox.backends.feature_cache import FeatureCache, feature_key
from tagbox.backends.pipeline import in_order
from tagbox.config import HeadSetting
from tagbox.errors import TagboxError
from tagbox.images.decode import ImageInput, decode_source, image_name, image_source
from tagbox.images.geometry import to_square
from tagbox.models.heads import wants_map

NEXT_SCALE = 0.75
"""The least that the JPEG decoder's next smaller scale may take off (a half to three eighths)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoding:
    """Features of N images, and which images could not be read.

    Attributes
    ----------
    features
        (N, V, D) float32: V views (the image; its mirror image), the encoders' features side by
        side. Rows of images that could not be read are zero.
    ok
        (N,) bool: which could be read.
    errors
        Why the others could not, in order.
    cached
        How many images needed no encoding.
    """

    features: NDArray[np.float32]
    ok: NDArray[np.bool_]
    errors: list[TagboxError]
    cached: int


def encode_images(
    images: Iterable[ImageInput],
    encoders: Sequence[Encoder],
    *,
    most: int | None = None,
    first: int = 0,
    mirror: bool = False,
    cache: FeatureCache | None = None,
    skip_errors: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Encoding:
    """Features of images.

    Parameters
    ----------
    images
        Drawn a few ahead of the encoders. A list, unless `most` is given.
    most
        Stop after so many.
    first
        Number of the first image, by which those without a path are named in errors.
    mirror
        Add a second view, the square mirrored left to right.
    cache
        Looked up by the bytes of each file or the pixels of each array, and filled.
    skip_errors
        Go on after an image that cannot be read; otherwise the first one is raised.
    progress
        Called with 1 for each image that is done.

    Raises
    ------
    TagboxError
        The codes of `images.decode.image_source` and `decode_bytes`, unless `skip_errors`.
    """
    if most is None:
        images = list(images)
        most = len(images)
    views = 2 if mirror else 1
    starts = np.cumsum([0, *(encoder.dim for encoder in encoders)])
    features = np.zeros((most, views, starts[-1]), np.float32)
    ok = np.zeros(most, np.bool_)
    errors: list[TagboxError] = []
    count = cached = 0
    slots = [(index, view) for index in range(len(encoders)) for view in range(views)]
    queues = [encoder.queue() for encoder in encoders]
    encoded: deque[tuple[bytes, NDArray[np.float32]]] = deque()

    def submit(image: _Prepared, number: int, put: Callable[[NDArray[np.float32]], None]) -> None:
        (encoder, _), square, key = image.missing[number]

        def keep(feature: NDArray[np.float32]) -> None:
            encoded.append((key, feature))
            put(feature)

        queues[encoder].submit(square, keep)

    def fill_cache() -> None:
        while encoded:
            key, feature = encoded.popleft()
            if cache is not None:
                cache.put(key, feature)

    def finish() -> None:
        for queue in queues:
            queue.finish()

    outcomes = in_order(
        enumerate(islice(images, most), first),
        lambda numbered: _prepare(
            numbered[1], image_name(numbered[1], numbered[0]), encoders, slots, cache
        ),
        lambda image: len(image.missing),
        submit,
        finish,
    )
    try:
        for row, outcome in enumerate(outcomes):
            count = row + 1
            if isinstance(outcome, TagboxError):
                if not skip_errors:
                    raise outcome
                errors.append(outcome)
            else:
                image, computed = outcome
                ok[row] = True
                cached += not image.missing
                missing = zip((slot for slot, _, _ in image.missing), computed, strict=True)
                for (index, view), feature in (*image.cached, *missing):
                    features[row, view, starts[index] : starts[index + 1]] = feature
                fill_cache()
            if progress is not None:
                progress(1)
    finally:
        # Also after an error or Ctrl-C: what was encoded is kept for the next run.
        outcomes.close()
        fill_cache()
        if cache is not None:
            cache.flush()
    return Encoding(features=features[:count], ok=ok[:count], errors=errors, cached=cached)


def encode_parts(
    images: Iterable[ImageInput],
    encoders: Sequence[Encoder],
    rows: int,
    *,
    mirror: bool = False,
    cache: FeatureCache | None = None,
    skip_errors: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Iterator[Encoding]:
    """`encode_images`, `rows` images at a time, so that the features of any number of images need not be in memory.

    There is always a first part, of no images where there are none.
    """
    remaining, first = iter(images), 0
    while True:
        encoding = encode_images(
            remaining,
            encoders,
            most=rows,
            first=first,
            mirror=mirror,
            cache=cache,
            skip_errors=skip_errors,
            progress=progress,
        )
        if not first or len(encoding.ok):
            yield encoding
        first += len(encoding.ok)
        if len(encoding.ok) < rows:
            return


def as_head_takes(
    features: NDArray[np.float32], encoders: Sequence[Encoder], head: HeadSetting
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
    """An image's features that were cached, and the squares (with their keys) that are still to encode."""

    cached: list[tuple[_Slot, NDArray[np.float32]]]
    missing: list[tuple[_Slot, NDArray[np.uint8], bytes]]


def _prepare(
    image: ImageInput,
    name: str,
    encoders: Sequence[Encoder],
    slots: Sequence[_Slot],
    cache: FeatureCache | None,
) -> _Prepared:
    source = image_source(image, name)
    keys = dict.fromkeys(slots, b"")
    cached = {}
    if cache is not None:
        digest = _digest(source)
        keys = {(i, view): feature_key(encoders[i].key, view, digest) for i, view in slots}
        for slot, key in keys.items():
            feature = cache.get(key, encoders[slot[0]].dim)
            if feature is not None:
                cached[slot] = feature
    absent = [slot for slot in slots if slot not in cached]
    squares = _squares(source, name, [encoders[i] for i in sorted({i for i, _ in absent})])
    missing = [((i, v), _view(squares[id(encoders[i])], v), keys[i, v]) for i, v in absent]
    return _Prepared(list(cached.items()), missing)


def _digest(source: bytes | NDArray[np.uint8]) -> bytes:
    """SHA-256 of a file's bytes, or of an array's shape and pixels."""
    if isinstance(source, np.ndarray):
        source = f"{source.shape}".encode() + source.tobytes()
    return hashlib.sha256(source).digest()


def _view(square: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """View 0 is the square, view 1 its mirror image."""
    return square[:, ::-1] if view else square


def _squares(
    source: bytes | NDArray[np.uint8], name: str, encoders: Sequence[Encoder]
) -> dict[int, NDArray[np.uint8]]:
    """Each encoder's square by the encoder's id, decoding as seldom as possible.

    An image's pixels must not depend on which encoders run side by side, so a decoded JPEG serves
    a smaller encoder only where that one would not have had it scaled down further.
    """
    squares: dict[int, NDArray[np.uint8]] = {}
    image: NDArray[np.uint8] | None = None
    for encoder in sorted(encoders, key=lambda e: -e.spec.size):
        size = encoder.spec.size
        if image is None or NEXT_SCALE * min(image.shape[:2]) + 1 >= size:
            image = decode_source(source, file=name, min_size=size)
        squares[id(encoder)] = to_square(image, size, encoder.geometry)
    return squares
