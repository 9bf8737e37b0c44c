"""Checks between the sides of a split: leaked images, categories that one side lacks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tagbox.checks.findings import Findings
from tagbox.checks.image_checks import Pictures, content_numbers, image_place
from tagbox.checks.perceptual_hash import nearest_earlier
from tagbox.data.dataset import PRESENT, Dataset


@dataclass(frozen=True)
class Side:
    """One side of a split: its name for messages, its dataset, and its images when they were read."""

    name: str
    dataset: Dataset
    pictures: Pictures | None


def check_sides(sides: list[Side], findings: Findings) -> None:
    """Add findings for each pair of sides."""
    for one, other in combinations(sides, 2):
        _check_categories(one, other, findings)
        _check_names(one, other, findings)
    read = [side for side in sides if side.pictures is not None]
    if len(read) > 1:
        _check_pictures(read, findings)


def _check_categories(one: Side, other: Side, findings: Findings) -> None:
    for side, opposite in ((one, other), (other, one)):
        if not side.dataset.images.labelled.any():
            continue
        path = side.dataset.source.path
        used, used_opposite = _used(side.dataset), _used(opposite.dataset)
        own = set(side.dataset.categories.names)
        for name in opposite.dataset.categories.names:
            if name not in own:
                findings.add(
                    "split-category-unknown",
                    path,
                    f"{side.name} does not know this category of {opposite.name}",
                    f"category {name!r}",
                )
            elif name in used_opposite and name not in used:
                findings.add(
                    "split-category-missing",
                    path,
                    f"no image of {side.name} has it, {used_opposite[name]} of {opposite.name} do",
                    f"category {name!r}",
                )


def _used(dataset: Dataset) -> dict[str, int]:
    """Name to number of images of each category that occurs."""
    counts = (dataset.labels == PRESENT).sum(axis=0).tolist()
    return {n: c for n, c in zip(dataset.categories.names, counts, strict=True) if c}


def _check_names(one: Side, other: Side, findings: Findings) -> None:
    """Check for file stems on both sides, except those of images with the same bytes."""
    rows = {stem: row for row, stem in enumerate(one.dataset.images.stems.tolist())}
    for row, stem in enumerate(other.dataset.images.stems.tolist()):
        if stem not in rows or _same_bytes(one, rows[stem], other, row):
            continue
        findings.add(
            "split-same-name",
            other.dataset.images.path(row),
            f"{one.name} has a picture of the same name, {one.dataset.images.path(rows[stem])}",
            image_place(other.dataset, row),
        )


def _same_bytes(one: Side, row: int, other: Side, other_row: int) -> bool:
    if one.pictures is None or other.pictures is None:
        return False
    digest = one.pictures.digests[row]
    return bool(digest) and digest == other.pictures.digests[other_row]


def _check_pictures(sides: list[Side], findings: Findings) -> None:
    """Check for images on two sides with the same bytes, or that look the same."""
    parts = [side.pictures for side in sides if side.pictures is not None]
    of_side = np.repeat(np.arange(len(sides)), [len(part) for part in parts])
    within = np.concatenate([np.arange(len(part)) for part in parts])
    digests = np.concatenate([part.digests for part in parts])
    contents = content_numbers(digests)
    first: dict[int, int] = {}
    for row in np.flatnonzero(digests != b"").tolist():
        earlier = first.setdefault(int(contents[row]), row)
        if of_side[earlier] != of_side[row]:
            _add_leak(sides, of_side, within, row, earlier, "the same bytes as", "same", findings)
    bits = np.concatenate([part.bits for part in parts])
    grids = np.concatenate([part.grids for part in parts])
    for row, earlier, distance in nearest_earlier(bits, grids, contents, of_side, across=True):
        how = f"{distance} of 128 bits differ from"
        _add_leak(sides, of_side, within, row, earlier, how, "near", findings)


def _add_leak(
    sides: list[Side],
    of_side: np.ndarray[tuple[int], np.dtype[np.intp]],
    within: np.ndarray[tuple[int], np.dtype[np.intp]],
    row: int,
    earlier: int,
    how: str,
    kind: str,
    findings: Findings,
) -> None:
    side, other = sides[of_side[row]], sides[of_side[earlier]]
    path = other.dataset.images.path(int(within[earlier]))
    findings.add(
        f"split-{kind}-picture",
        side.dataset.images.path(int(within[row])),
        f"{how} {path} on the side {other.name}",
        image_place(side.dataset, int(within[row])),
    )
