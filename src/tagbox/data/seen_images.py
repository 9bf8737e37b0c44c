"""Images that two sides share, and those that a run has seen in its training."""

from __future__ import annotations

import filecmp
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_write
from tagbox.data.dataset import Dataset
from tagbox.data.split import Split
from tagbox.errors import TagboxError
from tagbox.files import open_file, read_file
from tagbox.text_files import read_json_as
from tagbox.text_output import encode_json

SEEN = "seen_images.json"
# Larger files are told apart by their size and this many blocks.
_WHOLE, _BLOCKS, _BLOCK = 1 << 17, 16, 1 << 12


def digest(path: Path) -> str:
    """16 hexadecimal digits of a file's size and content, of a large file of 16 blocks; empty if it cannot be read."""
    try:
        with open_file(path) as opened:
            size = os.fstat(opened.fileno()).st_size
            found = hashlib.blake2b(str(size).encode(), digest_size=8)
            if size <= _WHOLE:
                found.update(opened.read(_WHOLE))
            else:
                for start in np.linspace(0, size - _BLOCK, _BLOCKS).astype(int).tolist():
                    opened.seek(start)
                    found.update(opened.read(_BLOCK))
    except OSError:
        return ""
    return found.hexdigest()


def shared_images(one: Dataset, other: Dataset) -> list[tuple[int, int]]:
    """Pairs (row of `one`, row of `other`) of the same file or of equal bytes, one for each such row of `other`."""
    by_file: dict[tuple[int, int], int] = {}
    by_size: dict[int, list[int]] = {}
    for row, status in enumerate(_status(one)):
        if status is not None:
            by_file.setdefault((status.st_dev, status.st_ino), row)
            by_size.setdefault(status.st_size, []).append(row)
    digests: dict[int, str] = {}
    pairs = []
    for row, status in enumerate(_status(other)):
        if status is None:
            continue
        same = by_file.get((status.st_dev, status.st_ino))
        alike = by_size.get(status.st_size, []) if same is None else []
        if alike:
            path, own = other.images.path(row), digest(other.images.path(row))
            for candidate in alike:
                if candidate not in digests:
                    digests[candidate] = digest(one.images.path(candidate))
                if digests[candidate] == own and _equal(one.images.path(candidate), path):
                    same = candidate
                    break
        if same is not None:
            pairs.append((same, row))
    return pairs


def _status(dataset: Dataset) -> list[os.stat_result | None]:
    found: list[os.stat_result | None] = []
    for row in range(len(dataset)):
        try:
            found.append(os.stat(dataset.images.path(row)))
        except (OSError, ValueError):
            found.append(None)
    return found


def _equal(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


@dataclass(frozen=True, eq=False)
class Seen:
    """Which images of a dataset a run has seen.

    Attributes
    ----------
    training, validation
        (N,) bool; its weights were trained on them; its epoch and thresholds were chosen on them.
    """

    training: NDArray[np.bool_]
    validation: NDArray[np.bool_]


class _File(msgspec.Struct):
    version: int
    training: list[str]
    validation: list[str]


def write_seen(folder: Path, training: Sequence[str], validation: Sequence[str]) -> None:
    """Write the digests of the images that a run was trained and validated on into its folder."""
    known = (sorted(set(found) - {""}) for found in (training, validation))
    atomic_write(folder / SEEN, encode_json(_File(1, *known)))


def digests_of(dataset: Dataset) -> list[str]:
    """`digest` of each image."""
    return [digest(dataset.images.path(row)) for row in range(len(dataset))]


def merge_seen(runs: Sequence[Path], folder: Path, validation: Sequence[str]) -> None:
    """Write into `folder` what any of several runs has seen; nothing where one of them has no record."""
    if all(os.path.isfile(run / SEEN) for run in runs):
        files = [_read(run) for run in runs]
        training = [found for file in files for found in file.training]
        write_seen(folder, training, [*validation, *(v for f in files for v in f.validation)])


def seen_images(run: Path, dataset: Dataset) -> Seen | None:
    """Which images a run has seen, from its record, else from its fingerprint and ``split.json``; None if unknown.

    Raises
    ------
    TagboxError
        ``seen-images`` for a damaged record.
    """
    if os.path.isfile(run / SEEN):
        file, found = _read(run), digests_of(dataset)
        sides = (set(file.training), set(file.validation))
        return Seen(*(np.array([one in side for one in found], bool) for side in sides))
    trained = _fingerprint(run)
    none = np.zeros(len(dataset), bool)
    if trained and trained == dataset.fingerprint:
        return Seen(~none, none)
    labelled = np.flatnonzero(dataset.images.labelled)
    try:
        rows = Split.load(run / "split.json").rows(dataset.take(labelled))
    except TagboxError:
        return None
    # Every fold was trained on in the end.
    train = rows.get("train", np.concatenate([*rows.values(), np.zeros(0, np.intp)]))
    if dataset.take(labelled[np.sort(train)]).fingerprint != trained:
        return None
    training, validation = none.copy(), none.copy()
    training[labelled[train]] = True
    validation[labelled[rows.get("validation", np.zeros(0, np.intp))]] = True
    return Seen(training, validation)


def _read(run: Path) -> _File:
    return read_json_as(
        run / SEEN, _File, "seen-images", "restore the file, or train the run again"
    )


class _Fingerprint(msgspec.Struct):
    data_fingerprint: str = ""


def _fingerprint(run: Path) -> str:
    try:
        return msgspec.json.decode(
            read_file(run / "model.json"), type=_Fingerprint
        ).data_fingerprint
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return ""
