"""Checks of image files: whether they decode, their size, and duplicates by hash and by fingerprint."""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tagbox.checks.findings import Findings
from tagbox.checks.perceptual_hash import CELLS, fingerprint, nearest_earlier
from tagbox.data.dataset import Dataset
from tagbox.data.record_pixels import RecordPixels, resolve
from tagbox.errors import TagboxError
from tagbox.images.decode import decode_bytes, default_threads, read_bytes
from tagbox.images.header import UNKNOWN, Header, read_header

# JPEGs are decoded at a reduced scale: every byte is read all the same, and fingerprints need no more.
_MIN_SIZE = 8 * CELLS
_AHEAD = 64


@dataclass(frozen=True)
class Pictures:
    """What reading the N images of a dataset gave.

    Attributes
    ----------
    decoded
        (N,) bool: which images could be decoded.
    digests
        (N,) S32, SHA-256 of the files' bytes; empty where a file could not be read.
    bits, grids
        (N, 2) uint64 and (N, 81) float16, the fingerprints; zeros where not decoded.
    """

    decoded: NDArray[np.bool_]
    digests: NDArray[np.bytes_]
    bits: NDArray[np.uint64]
    grids: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.decoded)

    def take(self, rows: NDArray[np.intp]) -> Pictures:
        """The images at `rows`, in that order."""
        return Pictures(
            decoded=self.decoded[rows],
            digests=self.digests[rows],
            bits=self.bits[rows],
            grids=self.grids[rows],
        )


class _Read(NamedTuple):
    """One image after reading: an error, or its digest, header and fingerprint."""

    error: TagboxError | None = None
    digest: bytes = b""
    header: Header = UNKNOWN
    bits: NDArray[np.uint64] | None = None
    grid: NDArray[np.float16] | None = None
    doubt: str | None = None


def check_pictures(
    dataset: Dataset, findings: Findings, progress: Callable[[int], None] | None = None
) -> Pictures:
    """Read every image file in threads; findings come in the order of the dataset.

    Parameters
    ----------
    dataset
        Whose images are read.
    findings
        Gets ``image-missing``, ``image-unreadable``, ``image-empty``, ``image-truncated``,
        ``image-too-large``, ``image-corrupt``, ``image-range-guessed``, ``size-mismatch``,
        ``size-exif-rotated``.
    progress
        Called with 1 after each image.
    """
    count = len(dataset)
    pictures = Pictures(
        decoded=np.zeros(count, bool),
        digests=np.zeros(count, "S32"),
        bits=np.zeros((count, 2), np.uint64),
        grids=np.zeros((count, CELLS * CELLS), np.float16),
    )
    headers: list[Header] = []
    for row, read in enumerate(_read_all([dataset.images.path(r) for r in range(count)])):
        if read.error is not None:
            where = read.error.where or image_place(dataset, row)
            findings.add_error(read.error.replace(where=where))
        else:
            assert read.bits is not None and read.grid is not None
            pictures.decoded[row] = True
            pictures.bits[row], pictures.grids[row] = read.bits, read.grid
            if read.doubt is not None:
                place = image_place(dataset, row)
                findings.add("image-range-guessed", dataset.images.path(row), read.doubt, place)
        pictures.digests[row] = read.digest
        headers.append(read.header)
        if progress is not None:
            progress(1)
    check_sizes(resolve(dataset, headers), findings)
    return pictures


def image_place(dataset: Dataset, row: int) -> str | None:
    """``image id 17`` in formats that have ids."""
    return f"image id {dataset.images.ids[row]}" if dataset.source.format == "coco" else None


def _read_all(paths: list[Path]) -> Iterator[_Read]:
    """Read in threads, at most `_AHEAD` images ahead; results in order."""
    with ThreadPoolExecutor(default_threads()) as pool:
        waiting: deque[Future[_Read]] = deque()
        for path in paths:
            waiting.append(pool.submit(_read, path))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(file: Path) -> _Read:
    digest = b""
    try:
        content = read_bytes(file)
        digest = hashlib.sha256(content).digest()
        doubts: list[str] = []
        image = decode_bytes(content, file=file, min_size=_MIN_SIZE, tell=doubts.append)
    except TagboxError as error:
        return _Read(error, digest)
    bits, grid = fingerprint(image)
    return _Read(
        None, digest, read_header(io.BytesIO(content)), bits, grid, next(iter(doubts), None)
    )


def check_sizes(pixels: RecordPixels, findings: Findings) -> None:
    """Add a finding for each record whose size is not that of its file."""
    for row, kind in pixels.kinds.items():
        code = "size-exif-rotated" if kind in ("turned", "swapped") else "size-mismatch"
        place = image_place(pixels.dataset, row)
        findings.add(code, pixels.dataset.images.path(row), pixels.found(row), place)


def check_duplicates(dataset: Dataset, pictures: Pictures, findings: Findings) -> None:
    """Add findings for images of a dataset with the same bytes, or that look the same."""
    readable = pictures.digests != b""
    first_of: dict[bytes, int] = {}
    for row in np.flatnonzero(readable).tolist():
        first = first_of.setdefault(pictures.digests[row], row)
        if first != row:
            findings.add(
                "duplicate-picture",
                dataset.images.path(row),
                f"the same bytes as {dataset.images.path(first)}",
                image_place(dataset, row),
            )
    contents = content_numbers(pictures.digests)
    sides = np.zeros(len(pictures), np.intp)
    for row, earlier, distance in nearest_earlier(
        pictures.bits, pictures.grids, contents, sides, across=False
    ):
        findings.add(
            "near-duplicate-picture",
            dataset.images.path(row),
            f"looks like {dataset.images.path(earlier)} ({distance} of 128 bits differ)",
            image_place(dataset, row),
        )


def content_numbers(digests: NDArray[np.bytes_]) -> NDArray[np.intp]:
    """(N,) intp: equal numbers for equal digests."""
    return np.unique(digests, return_inverse=True)[1]
