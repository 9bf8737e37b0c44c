"""Augmented pictures with boxes: boxes that bound the pixels they bounded, draws nothing else can change."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from PIL import Image
from torchvision.ops import box_iou

from tagbox.config import BoxAugmentConfig
from tagbox.data.training_boxes import ImageBoxes
from tagbox.errors import TagboxError
from tagbox.images.geometry import PAD_VALUE, fitted_size
from tagbox.training.box_augment import BoxAugment, Others, iou_crop, scale_jitter, zoom_out
from tagbox.training.box_views import View, crop_and_resize, flip, rotate

OFF: dict[str, Any] = {"flip": False, "photometric": 0.0}
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
EVERYTHING = BoxAugmentConfig(
    vertical_flip=True,
    rotate=20,
    photometric=0.7,
    zoom_out=0.5,
    iou_crop=0.7,
    scale_jitter=0.4,
    mosaic=0.5,
)


def truth(*boxes: tuple[float, float, float, float], ignore: Any = ()) -> ImageBoxes:
    return ImageBoxes(
        np.array(boxes, float).reshape(-1, 4),
        np.arange(len(boxes), dtype=np.int64),
        np.array(ignore, float).reshape(-1, 4),
    )


def painted(width: int, height: int, boxes: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A grey picture with each box, of whole pixels, filled with a colour of its own."""
    image = np.full((height, width, 3), PAD_VALUE, np.uint8)
    for colour, (left, top, right, bottom) in zip(COLOURS, boxes.astype(int), strict=False):
        image[top:bottom, left:right] = colour
    return image


def seen(image: NDArray[np.uint8], number: int) -> list[float] | None:
    """The box around all pixels that are more of a colour than not."""
    others = [channel for channel in range(3) if channel != number]
    pixels = image[..., number].astype(int) - image[..., others].max(axis=-1)
    rows, columns = np.nonzero(pixels > 127)
    if not len(rows):
        return None
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def agree(image: NDArray[np.uint8], found: ImageBoxes, within: float = 1.0) -> None:
    """Each box bounds its colour within a pixel."""
    for box, label in zip(found.boxes, found.labels, strict=True):
        pixels = seen(image, int(label))
        assert pixels is not None
        assert np.abs(np.array(pixels) - box).max() <= within, (pixels, box)


BOXES = truth((10, 8, 40, 30), (60, 20, 90, 55), (30, 50, 50, 64))
PICTURE = painted(100, 70, BOXES.boxes)
ONE_BY_ONE: list[dict[str, Any]] = [
    {},
    {"flip": True},
    {"vertical_flip": True},
    {"zoom_out": 1.0},
    {"iou_crop": 1.0},
    {"scale_jitter": 0.5},
    {"zoom_out": 1.0, "iou_crop": 1.0, "scale_jitter": 0.3, "flip": True},
]


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("size", [64, 100, 160])
@pytest.mark.parametrize("config", ONE_BY_ONE, ids=lambda c: "-".join(c) or "off")
def test_boxes_bound_the_painted_pixels(config: dict[str, Any], size: int, fixed: bool) -> None:
    # Next to nothing may hide, so that a cut box is judged as well.
    way = BoxAugment(
        BoxAugmentConfig(**{**OFF, "min_visible": 0.01, **config}), size, seed=1, fixed=fixed
    )
    boxes = 0
    for epoch in range(30):
        image, found = way(PICTURE, BOXES, epoch=epoch, row=0)
        large = (found.boxes[:, 2:] - found.boxes[:, :2] > 4).all(axis=1)
        found = ImageBoxes(found.boxes[large], found.labels[large], found.ignore)
        agree(image, found)
        boxes += len(found.boxes)
        if fixed:
            assert image.shape[:2] == (size, size)
        else:
            assert max(image.shape[:2]) == min(size, 100)
    assert boxes > 20


@pytest.mark.parametrize("degrees", [0, 7, -33, 90, 120, 180])
def test_turned_boxes_bound_the_turned_pixels(degrees: float) -> None:
    boxes = truth((30, 34, 52, 50), (60, 40, 75, 52), (44, 54, 58, 64))
    view = rotate(View.of(painted(100, 98, boxes.boxes), boxes), degrees)
    agree(view.image, view.truth(0.9))
    assert len(view.truth(0.9).boxes) == 3


def test_a_turned_box_is_cut_at_the_edge() -> None:
    boxes = truth((0, 0, 20, 10), (40, 30, 60, 40))
    view = rotate(View.of(painted(100, 70, boxes.boxes), boxes), 45)
    assert 0 < view.visible[0] < 0.6 and view.visible[1] == 1
    found = view.truth(0.6)
    assert found.labels.tolist() == [1]
    assert (view.boxes >= 0).all() and (view.boxes <= [100, 70, 100, 70]).all()


def others(pictures: list[tuple[NDArray[np.uint8], ImageBoxes]]) -> Others:
    return Others(np.arange(len(pictures)), lambda row: pictures[row])


def test_boxes_of_a_mosaic_bound_their_pixels() -> None:
    rng = np.random.default_rng(3)
    pictures = []
    for number in range(3):
        low = rng.integers(5, 25, 2)
        box = (*low, *(low + rng.integers(20, 30, 2)))
        one = ImageBoxes(np.array([box], float), np.array([number]), np.zeros((0, 4)))
        image = np.full((60, 80, 3), PAD_VALUE, np.uint8)
        image[box[1] : box[3], box[0] : box[2]] = COLOURS[number]
        pictures.append((image, one))
    config = BoxAugmentConfig(**OFF, mosaic=1, min_visible=0.05)
    way = BoxAugment(config, 120, seed=0, others=others(pictures[1:]))
    kinds = set()
    for epoch in range(60):
        image, found = way(*pictures[0], epoch=epoch, row=0)
        assert image.shape == (80, 80, 3)  # the longest side there is: none is scaled up
        single = np.array([np.sum(found.labels == label) == 1 for label in found.labels], bool)
        alone = np.array(
            [label == 0 for label in found.labels], bool
        )  # the others may be drawn twice, and partly ignored
        large = (found.boxes[:, 2:] - found.boxes[:, :2] > 4).all(axis=1)
        kept = single & alone & large
        agree(image, ImageBoxes(found.boxes[kept], found.labels[kept], found.ignore))
        kinds.add(tuple(found.labels.tolist()))
    assert len(kinds) > 5


def test_a_mosaic_leaves_a_gap_for_what_cannot_be_read() -> None:
    def broken(row: int) -> tuple[NDArray[np.uint8], ImageBoxes]:
        raise TagboxError("image-missing", "no such picture")

    config = BoxAugmentConfig(**OFF, mosaic=1, min_visible=0.01)
    way = BoxAugment(config, 96, seed=0, others=Others(np.arange(3), broken))
    image, found = way(PICTURE, BOXES, epoch=0, row=0)
    assert (image[-20:, -20:] == PAD_VALUE).all()
    agree(image, found, within=1.5)
    with pytest.raises(ValueError, match="other images"):
        BoxAugment(config, 96, seed=0)


def test_what_is_cut_off_becomes_a_region_to_ignore() -> None:
    view = View.of(PICTURE, truth((10, 8, 40, 30), (60, 20, 90, 55), ignore=[(0, 0, 30, 20)]))
    half = crop_and_resize(view, (25, 0, 75, 70), (50, 70))
    assert_allclose(half.visible, [0.5, 0.5])
    assert half.truth(0.5).boxes.tolist() == [[0, 8, 15, 30], [35, 20, 50, 55]]
    assert half.truth(0.5).ignore.tolist() == [[0, 0, 5, 20]]
    ignored = half.truth(0.51)
    assert len(ignored.boxes) == len(ignored.labels) == 0
    assert ignored.ignore.tolist() == [[0, 0, 5, 20], [0, 8, 15, 30], [35, 20, 50, 55]]
    # Out of sight there is nothing to ignore either.
    gone = crop_and_resize(view, (92, 0, 100, 70), (8, 70))
    assert gone.truth(0.1).boxes.shape == gone.truth(0.1).ignore.shape == (0, 4)
    # Less than a pixel is not to be learnt.
    tiny = View.of(PICTURE, truth((5, 5, 5.5, 6))).truth(0.3)
    assert tiny.boxes.shape == (0, 4)


def test_mirrored_twice_is_the_picture() -> None:
    view = View.of(PICTURE, BOXES)
    for upside_down in (False, True):
        twice = flip(flip(view, upside_down=upside_down), upside_down=upside_down)
        assert_array_equal(twice.image, PICTURE)
        assert_allclose(twice.boxes, BOXES.boxes)


def test_nothing_asked_for_only_the_size_changes() -> None:
    way = BoxAugment(BoxAugmentConfig(**OFF), 320, seed=0)
    image, found = way(PICTURE, BOXES, epoch=0, row=0)
    assert_array_equal(image, PICTURE)
    assert_array_equal(found.boxes, BOXES.boxes)
    small, found = BoxAugment(BoxAugmentConfig(**OFF), 50, seed=0)(PICTURE, BOXES, epoch=0, row=0)
    assert small.shape == (35, 50, 3)
    assert_array_equal(small, Image.fromarray(PICTURE).resize((50, 35), Image.Resampling.BICUBIC))
    assert_allclose(found.boxes, BOXES.boxes / 2)


def test_colours_change_and_boxes_stay() -> None:
    rng = np.random.default_rng(0)
    photo = np.asarray(
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((90, 60))
    )
    way = BoxAugment(BoxAugmentConfig(flip=False, photometric=1), 320, seed=0)
    changed = 0
    for epoch in range(20):
        image, found = way(photo, truth((3, 3, 30, 30)), epoch=epoch, row=0)
        assert image.shape == photo.shape and found.boxes.tolist() == [[3, 3, 30, 30]]
        changed += bool((image != photo).any())
    assert changed > 12


def test_crops_keep_a_centre_and_the_overlap() -> None:
    """torchvision's box_iou is the oracle; the window of an overlap of 1 is the whole."""
    rng = np.random.default_rng(5)
    overlaps = []
    for _ in range(300):
        low = rng.uniform(0, 70, (3, 2))
        boxes = np.hstack([low, np.minimum(low + rng.uniform(5, 60, (3, 2)), 100)])
        window = iou_crop(rng, (0, 0, 100, 100), boxes)
        if window == (0, 0, 100, 100):
            continue
        left, top, right, bottom = window
        assert 0 <= left < right <= 100 and 0 <= top < bottom <= 100
        assert 0.5 <= (right - left) / (bottom - top) <= 2
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centres > [left, top]) & (centres < [right, bottom])).all(axis=1)
        assert inside.any()
        found = box_iou(torch.tensor([window]).double(), torch.tensor(boxes[inside]))
        overlaps.append(float(found.max()))
    assert len(overlaps) > 150 and max(overlaps) > 0.7
    assert iou_crop(rng, (0, 0, 9, 9), np.zeros((0, 4))) == (0, 0, 9, 9)


def test_windows_by_their_ranges() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        left, top, right, bottom = zoom_out(rng, (0, 0, 40, 20))
        assert left <= 0 and top <= 0 and right >= 40 and bottom >= 20
        assert 1 <= (right - left) / 40 <= 4
        assert right - left == pytest.approx(2 * (bottom - top))
        left, top, right, bottom = scale_jitter(rng, (0, 0, 40, 20), 0.25)
        assert 1 / 1.25 <= (right - left) / 40 <= 1 / 0.75
    assert fitted_size(640, 480, 320) == (320, 240)
    assert fitted_size(100, 50, 320) == (100, 50)
    assert fitted_size(1000, 1, 320) == (320, 1)
    assert fitted_size(100, 50, 320, fixed=True) == (320, 320)


def test_draws_follow_from_seed_epoch_and_row_alone() -> None:
    pictures = [(PICTURE, BOXES), (painted(64, 64, BOXES.boxes), BOXES)]
    way = BoxAugment(EVERYTHING, 96, seed=4, others=others(pictures))
    asked = [(epoch, row) for epoch in range(6) for row in range(4)]
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()

    def vary(which: tuple[int, int]) -> tuple[NDArray[np.uint8], ImageBoxes]:
        return way(PICTURE, BOXES, epoch=which[0], row=which[1])

    first = [vary(which) for which in asked]
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    torch.manual_seed(99)
    with ThreadPoolExecutor(3) as pool:
        again = list(pool.map(vary, reversed(asked)))[::-1]
    for (image, found), (other, same) in zip(first, again, strict=True):
        assert_array_equal(image, other)
        assert_array_equal(found.boxes, same.boxes)
    looks = {image.tobytes() for image, _ in first}
    assert len(looks) == len(asked)
    another = BoxAugment(EVERYTHING, 96, seed=5, others=others(pictures))
    image, _ = another(PICTURE, BOXES, epoch=0, row=0)
    assert image.shape != first[0][0].shape or (image != first[0][0]).any()


boxes_in = st.lists(
    st.tuples(st.floats(0, 0.95), st.floats(0, 0.95), st.floats(0.01, 1), st.floats(0.01, 1)),
    max_size=5,
)


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    drawn=boxes_in,
    size=st.integers(32, 96),
    fixed=st.booleans(),
    epoch=st.integers(0, 1000),
    visible=st.floats(0.05, 1),
)
def test_whatever_is_drawn_boxes_stay_inside_and_paired(
    width: int,
    height: int,
    drawn: list[tuple[float, ...]],
    size: int,
    fixed: bool,
    epoch: int,
    visible: float,
) -> None:
    scale = np.array([width, height] * 2)
    boxes = np.array([(x, y, min(x + w, 1), min(y + h, 1)) for x, y, w, h in drawn], float)
    boxes = boxes.reshape(-1, 4) * scale
    there = ImageBoxes(boxes, np.arange(len(boxes)) + 7, boxes[:1])
    image = np.full((height, width, 3), 50, np.uint8)
    config = BoxAugmentConfig.from_dict({**EVERYTHING.to_dict(), "min_visible": visible})
    way = BoxAugment(config, size, seed=0, fixed=fixed, others=others([(image, there)]))
    varied, found = way(image, there, epoch=epoch, row=3)
    high, wide = varied.shape[:2]
    assert varied.dtype == np.uint8 and varied.flags["C_CONTIGUOUS"] and varied.flags.writeable
    assert (high, wide) == (size, size) if fixed else max(high, wide) <= size
    assert found.boxes.shape == (len(found.labels), 4)
    assert set(found.labels.tolist()) <= set(there.labels.tolist())
    for kept in (found.boxes, found.ignore):
        assert (kept >= 0).all() and (kept <= [wide, high, wide, high]).all()
        sides = kept[:, 2:] - kept[:, :2]
        assert (sides.prod(axis=1) >= 1).all()
