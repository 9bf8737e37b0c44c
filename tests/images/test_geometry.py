"""Squares, and the map from coordinates of an image to those of its square."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tagbox.config import Geometry
from tagbox.images.geometry import PAD_VALUE, placement, to_square

sides = st.integers(1, 400)


def ramp(width: int, height: int) -> np.ndarray:
    """Red rises with x, green with y; blue is full."""
    x, y = np.meshgrid(np.arange(width) * 255 / width, np.arange(height) * 255 / height)
    return np.stack([x, y, np.full_like(x, 255)], axis=-1).astype(np.uint8)


@settings(deadline=None, max_examples=50)
@given(sides, sides, st.integers(1, 64), st.sampled_from(get_args(Geometry)))
def test_every_size_gives_a_square(width: int, height: int, size: int, geometry: Geometry) -> None:
    square = to_square(ramp(width, height), size, geometry)
    assert square.shape == (size, size, 3)
    assert square.dtype == np.uint8


@given(sides, sides, st.integers(8, 500))
def test_corners(width: int, height: int, size: int) -> None:
    corners = np.array([[0.0, 0.0], [width, height]])
    squash = placement(width, height, size, "squash").to_square(corners)
    assert np.allclose(squash, [[0, 0], [size, size]])
    pad = placement(width, height, size, "pad").to_square(corners)
    assert pad.min() >= 0
    assert pad.max() <= size + 1e-9
    assert np.isclose((pad[1] - pad[0]).max(), size)
    crop = placement(width, height, size, "crop").to_square(corners)
    assert np.isclose((crop[1] - crop[0]).min(), size)
    assert np.allclose(crop[0] + crop[1], size)


def test_hand_worked() -> None:
    # 640x480 into 320: padded by 40 above and below; cropped by 53.3 left and right.
    pad = placement(640, 480, 320, "pad")
    assert (pad.scale_x, pad.scale_y, pad.offset_x, pad.offset_y) == (0.5, 0.5, 0, 40)
    crop = placement(640, 480, 320, "crop")
    assert np.allclose(crop.to_square(np.array([320.0, 240.0])), [160, 160])
    assert np.isclose(crop.offset_x, (320 - 640 * 320 / 480) / 2)


@pytest.mark.parametrize("geometry", get_args(Geometry))
@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (64, 64), (500, 90)])
def test_pixels_lie_where_placement_says(geometry: Geometry, width: int, height: int) -> None:
    size = 96
    square = to_square(ramp(width, height), size, geometry).astype(float)
    place = placement(width, height, size, geometry)
    y, x = np.mgrid[8 : size - 8 : 8, 8 : size - 8 : 8]
    offset, scale = (place.offset_x, place.offset_y), (place.scale_x, place.scale_y)
    points = (np.stack([x + 0.5, y + 0.5], axis=-1) - offset) / scale
    inside = ((points > 6) & (points < np.array([width, height]) - 6)).all(axis=-1)
    assert inside.any()
    expected = points / np.array([width, height]) * 255
    found = square[y, x][..., :2]
    assert np.abs(found - expected)[inside].max() < 6


def test_borders_are_grey() -> None:
    square = to_square(ramp(200, 100), 64, "pad")
    assert (square[:15] == PAD_VALUE).all()
    assert (square[-15:] == PAD_VALUE).all()
    assert (square[20:44, :, 2] == 255).all()


def test_squash_is_pillows_bicubic_and_does_not_alias() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (300, 200, 3), dtype=np.uint8)
    theirs = Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(to_square(image, 64, "squash"), np.asarray(theirs))
    # Stripes finer than the square can show become grey; a filter that aliases keeps black and white.
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(to_square(stripes, 32, "squash").astype(int) - 127).max() < 40


def test_a_square_of_the_right_size_is_untouched() -> None:
    image = ramp(50, 50)
    assert np.array_equal(to_square(image, 50, "squash"), image)
    assert np.array_equal(to_square(image, 50, "crop"), image)
    assert np.array_equal(to_square(image, 50, "pad"), image)
