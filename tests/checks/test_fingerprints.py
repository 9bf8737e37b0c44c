from __future__ import annotations

import io

import numpy as np
import pytest
from checks_data import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tagbox.checks.perceptual_hash import (
    CELLS,
    CORRELATION,
    THRESHOLD,
    cell_means,
    fingerprint,
    nearest_earlier,
)


def test_cell_means_of_a_picture_that_divides() -> None:
    image = np.random.default_rng(0).integers(0, 255, (18, 27, 3), dtype=np.uint8)
    expected = image.reshape(9, 2, 9, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(cell_means(image), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (5, 3), (8, 20), (9, 9), (10, 13)])
def test_tiny_pictures_have_a_fingerprint(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 255, (*shape, 3), dtype=np.uint8)
    bits, grid = fingerprint(image)
    assert bits.shape == (2,) and bits.dtype == np.uint64
    assert grid.shape == (CELLS * CELLS,) and np.isfinite(grid).all()


def test_a_re_encoded_smaller_copy_is_near_and_another_picture_is_not() -> None:
    image = noise(3, 240, 320)
    buffer = io.BytesIO()
    Image.fromarray(image).resize((150, 110)).save(buffer, "JPEG", quality=30)
    copy = fingerprint(np.asarray(Image.open(buffer)))
    own, other = fingerprint(image), fingerprint(noise(4, 240, 320))
    bits = np.array([own.bits, other.bits, copy.bits])
    grids = np.array([own.grid, other.grid, copy.grid])
    found = nearest_earlier(bits, grids, np.arange(3), np.zeros(3, np.intp), across=False)
    assert [(row, earlier) for row, earlier, _ in found] == [(2, 0)]


def test_flat_pictures_are_near_to_nothing() -> None:
    flat = [fingerprint(np.full((20, 20, 3), level, np.uint8)) for level in (0, 128, 255)]
    bits, grids = np.array([f.bits for f in flat]), np.array([f.grid for f in flat])
    assert nearest_earlier(bits, grids, np.arange(3), np.zeros(3, np.intp), across=False) == []


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 40), across=st.booleans())
def test_nearest_earlier_is_what_comparing_all_pairs_finds(
    seed: int, count: int, across: bool
) -> None:
    random = np.random.default_rng(seed)
    # Few originals, many copies with some bits turned: many pairs around the threshold.
    originals = random.integers(0, 2, (3, 128))
    table = originals[random.integers(0, 3, count)]
    for row in table:
        row[random.choice(128, random.integers(0, THRESHOLD + 4), replace=False)] ^= 1
    bits = np.packbits(table.astype(np.uint8), axis=1).view(np.uint64)
    grid = random.normal(size=CELLS * CELLS)
    grids = np.tile(grid / np.linalg.norm(grid), (count, 1)).astype(np.float16)
    contents, sides = random.integers(0, count, count), random.integers(0, 2, count)
    expected = []
    for row in range(count):
        near = [
            (int((table[row] != table[other]).sum()), other)
            for other in range(row)
            if contents[row] != contents[other] and (sides[row] != sides[other]) == across
        ]
        near = [pair for pair in near if pair[0] <= THRESHOLD]
        if near:
            distance, other = min(near)
            expected.append((row, other, distance))
    assert nearest_earlier(bits, grids, contents, sides, across=across) == expected
    assert float(grids[0].astype(np.float32) @ grids[-1].astype(np.float32)) > CORRELATION
