"""Augmented pictures: labels that agree with the pixels, draws that nothing else can change."""

from __future__ import annotations

import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import v2

from tagbox.config import AugmentConfig, Geometry
from tagbox.images.geometry import PAD_VALUE, to_square
from tagbox.training.augment import Augment
from tagbox.training.crop import Objects

EVERYTHING = AugmentConfig(
    vertical_flip=True, rotate=30, color=0.4, randaugment=2, cutout=0.3, crop_scale=0.3
)
OFF = AugmentConfig(flip=False)
NOTHING = Objects(
    boxes=np.zeros((0, 4)),
    category_rows=np.zeros(0, np.int32),
    has_box=np.zeros(0, bool),
    crowd=np.zeros(0, bool),
)


def boxed(*boxes: tuple[float, float, float, float]) -> Objects:
    """One category a box."""
    count = len(boxes)
    return Objects(
        boxes=np.array(boxes, float),
        category_rows=np.arange(count, dtype=np.int32),
        has_box=np.ones(count, bool),
        crowd=np.zeros(count, bool),
    )


def photo(height: int = 60, width: int = 90) -> NDArray[np.uint8]:
    """A picture with colours and edges everywhere."""
    spots = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(spots).resize((width, height), Image.Resampling.BICUBIC))


def augment(config: AugmentConfig, size: int = 64, crop: str = "none", seed: int = 0) -> Augment:
    return Augment(config, size, "squash", seed=seed, crop=crop)  # type: ignore[arg-type]


def squares(
    config: AugmentConfig, image: NDArray[np.uint8], epochs: int, size: int = 64
) -> list[NDArray[np.uint8]]:
    """The picture in each epoch, uncropped; the labels must stay what they are."""
    labels = np.array([1, 0, -1], np.int8)
    way, found = augment(config, size), []
    for epoch in range(epochs):
        square, after = way(image, boxed((0, 0, 5, 5)), labels, epoch=epoch, row=7)
        assert square.shape == (size, size, 3) and square.dtype == np.uint8
        assert after.tolist() == [1, 0, -1]
        found.append(square)
    return found


def same(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    return bool((a == b).all())


@pytest.mark.parametrize("geometry", ["squash", "pad", "crop"])
def test_labels_agree_with_the_pixels(geometry: Geometry) -> None:
    # Two objects, pure red and pure blue, on a grey picture; squares are mirrored now and then.
    image = np.full((96, 128, 3), 128, np.uint8)
    image[8:40, 8:40] = (255, 0, 0)
    image[48:96, 80:128] = (0, 0, 255)
    objects, labels = boxed((8, 8, 32, 32), (80, 48, 48, 48)), np.ones(2, np.int8)
    visible = 0.4
    config = AugmentConfig(crop_scale=0.2, crop_visible=visible)
    way = Augment(config, 96, geometry, seed=0, crop="boxes")
    seen: dict[int, int] = {1: 0, 0: 0, -1: 0}
    for epoch in range(150):
        square, after = way(image, objects, labels, epoch=epoch, row=0)
        red = square[..., 0].astype(int) - square[..., 2]
        # Beside an edge the resizing filter overshoots by some tens.
        for pixels, area, label in (
            ((red > 64).sum(), 32 * 32, after[0]),
            ((red < -64).sum(), 48 * 48, after[1]),
        ):
            seen[int(label)] += 1
            assert (pixels > 0) == (label != 0)
            # No side of a crop is drawn smaller than the whole width of 128 pixels in a square of 96.
            assert label != 1 or pixels >= 0.9 * visible * area * (96 / 128) ** 2
    assert min(seen.values()) > 10


def test_a_plain_crop_is_the_same_crop_and_leaves_labels() -> None:
    image, objects = photo(), boxed((0, 0, 8, 8), (80, 50, 9, 9))
    labels = np.ones(2, np.int8)
    changed = 0
    for epoch in range(20):
        plain, kept = augment(EVERYTHING, crop="plain")(image, objects, labels, epoch=epoch, row=1)
        aware, left = augment(EVERYTHING, crop="boxes")(image, objects, labels, epoch=epoch, row=1)
        assert same(plain, aware)
        assert kept.tolist() == [1, 1]
        changed += left.tolist() != [1, 1]
    assert changed > 5


def test_a_crop_is_a_part_of_the_picture_enlarged() -> None:
    # Each pixel holds its own place, so that the square tells what was cut out.
    y, x = np.mgrid[0:100, 0:200]
    image = np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)
    way = augment(AugmentConfig(flip=False, crop_scale=0.25), size=50, crop="plain")
    shares = []
    for epoch in range(40):
        square, _ = way(image, NOTHING, np.zeros(1, np.int8), epoch=epoch, row=0)
        steps = square[-1, -1, :2].astype(float) - square[0, 0, :2]
        shares.append(steps.prod() / (199 * 99))
        assert (np.diff(square[..., 0].astype(int), axis=1) >= 0).all()
        assert (np.diff(square[..., 1].astype(int), axis=0) >= 0).all()
    assert 0.2 < min(shares) < 0.45
    assert 0.8 < max(shares) <= 1


def test_nothing_asked_for_nothing_done() -> None:
    image = photo()
    assert same(squares(OFF, image, 1)[0], to_square(image, 64, "squash"))
    image = photo(64, 64)
    square = squares(OFF, image, 1)[0]
    assert same(square, image)
    assert not np.shares_memory(square, image)


@pytest.mark.parametrize(
    ("config", "axis"),
    [(AugmentConfig(), 1), (AugmentConfig(flip=False, vertical_flip=True), 0)],
)
def test_flips(config: AugmentConfig, axis: int) -> None:
    image = photo()
    straight = to_square(image, 64, "squash")
    found = squares(config, image, 60)
    mirrored = [same(square, np.flip(straight, axis)) for square in found]
    assert all(same(s, straight) for s, m in zip(found, mirrored, strict=True) if not m)
    assert 15 < sum(mirrored) < 45


def test_rotation_bares_grey_corners_within_the_angle() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    furthest = v2.functional.rotate(Image.fromarray(white), 20.0, fill=[PAD_VALUE] * 3)
    most = int((np.asarray(furthest) < 255).any(axis=-1).sum())
    bare = []
    for square in squares(AugmentConfig(flip=False, rotate=20), white, 30):
        assert square.min() >= PAD_VALUE
        bare.append(int((square < 255).any(axis=-1).sum()))
    assert max(bare) <= 1.1 * most  # bilinear edges are a little wider
    assert max(bare) > 0.7 * most
    assert min(bare) < 0.3 * most


def test_rotation_goes_both_ways() -> None:
    # A black dot at the middle of the upper edge goes left or right.
    image = np.full((65, 65, 3), 255, np.uint8)
    image[2:6, 30:35] = 0
    ways = set()
    for square in squares(AugmentConfig(flip=False, rotate=45), image, 20, size=65):
        dark = square.min(axis=-1) < 64
        ways.add(bool(np.flatnonzero(dark.any(axis=0)).mean() > 32))
    assert ways == {True, False}


def test_colour_multiplies_brightness_contrast_and_saturation() -> None:
    # Dark grey, light grey, a red and a blue in quarters. Brightness multiplies the mean; contrast
    # the difference of the greys, which saturation leaves alone; all three that of red and blue.
    image = np.zeros((64, 64, 3), np.uint8)
    quarters = (slice(0, 32), slice(32, 64))
    colours = iter([(90, 90, 90), (150, 150, 150), (150, 110, 110), (110, 110, 150)])
    for rows in quarters:
        for columns in quarters:
            image[rows, columns] = next(colours)

    def measures(square: NDArray[np.uint8]) -> tuple[float, float, float]:
        mean = float(np.asarray(Image.fromarray(square).convert("L"), float).mean())
        greys = float(square[16, 48, 0]) - square[16, 16, 0]
        red_to_blue = float(square[48, 16, 0]) - square[48, 48, 0]
        return mean, greys / mean, red_to_blue / greys

    found = [
        measures(square) for square in squares(AugmentConfig(flip=False, color=0.3), image, 60)
    ]
    factors = np.array(found) / measures(image)
    assert (factors > 0.65).all() and (factors < 1.35).all()  # of whole numbers, hence the slack
    assert (factors.min(axis=0) < 0.8).all() and (factors.max(axis=0) > 1.2).all()
    # Each is drawn for itself.
    assert (np.abs(np.corrcoef(factors.T) - np.eye(3)) < 0.4).all()


@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_randaugment_is_torchvision_s(magnitude: int) -> None:
    """So many draws that every operation in every direction has come up: the same images."""
    image = (photo(40, 40) * 0.8 + 25).astype(np.uint8)
    theirs = v2.RandAugment(
        1, magnitude, interpolation=v2.InterpolationMode.BILINEAR, fill=[PAD_VALUE] * 3
    )
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        expected = {np.asarray(theirs(Image.fromarray(image))).tobytes() for _ in range(400)}
    config = AugmentConfig(flip=False, randaugment=1, randaugment_magnitude=magnitude)
    found = {square.tobytes() for square in squares(config, image, 400, size=40)}
    assert found == expected
    # Nine operations go two ways, four go one, and one does nothing; at strength 0 so do most.
    assert len(found) == {0: 3, 9: 23, 30: 23}[magnitude]


def test_several_operations_of_randaugment_follow_each_other() -> None:
    image = photo(40, 40)
    one = {s.tobytes() for s in squares(AugmentConfig(flip=False, randaugment=1), image, 60, 40)}
    three = {s.tobytes() for s in squares(AugmentConfig(flip=False, randaugment=3), image, 60, 40)}
    assert len(three - one) > 40


def test_cutout_is_a_grey_square_that_may_hang_over() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    areas = []
    for square in squares(AugmentConfig(flip=False, cutout=0.5), white, 80):
        cut = (square == PAD_VALUE).all(axis=-1)
        assert ((square == 255).all(axis=-1) | cut).all()
        rows, columns = np.flatnonzero(cut.any(axis=1)), np.flatnonzero(cut.any(axis=0))
        assert cut.sum() == len(rows) * len(columns)
        for lines in (rows, columns):
            assert np.ptp(lines) + 1 == len(lines) <= 32
            # Shorter only where it meets the border; its centre is in the picture.
            assert len(lines) == 32 or (len(lines) >= 16 and (lines[0] == 0 or lines[-1] == 63))
        areas.append(int(cut.sum()))
    assert max(areas) == 32 * 32
    assert min(areas) < 20 * 32


def ten(way: Augment) -> list[tuple[bytes, bytes]]:
    """Ten pictures in two epochs, in an order of its own."""
    image, objects = photo(), boxed((0, 0, 8, 8), (80, 50, 9, 9), (40, 0, 20, 60))
    labels = np.ones(3, np.int8)
    found = {}
    for row in (4, 1, 3, 0, 2):
        for epoch in (1, 0):
            square, after = way(image, objects, labels, epoch=epoch, row=row)
            found[row, epoch] = square.tobytes(), after.tobytes()
    return [found[key] for key in sorted(found)]


def test_the_draws_follow_from_seed_epoch_and_row_alone() -> None:
    way = augment(EVERYTHING, crop="boxes")
    image, objects = photo(), boxed((0, 0, 8, 8), (80, 50, 9, 9), (40, 0, 20, 60))
    labels = np.ones(3, np.int8)
    straight = []
    for row in range(5):
        for epoch in range(2):
            random.seed(row)
            np.random.seed(epoch)
            torch.random.default_generator.manual_seed(99 + row)
            square, after = way(image, objects, labels, epoch=epoch, row=row)
            straight.append((square.tobytes(), after.tobytes()))
    assert len({pixels for pixels, _ in straight}) == 10
    assert ten(way) == straight
    assert ten(augment(EVERYTHING, crop="boxes", seed=1)) != straight
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(ten, [way] * 4):
            assert found == straight
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        assert processes.submit(ten, way).result() == straight


def test_no_global_generator_is_touched() -> None:
    image, labels = photo(), np.ones(1, np.int8)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    image_before = image.copy()
    for epoch in range(5):
        square, after = augment(EVERYTHING, crop="boxes")(
            image, boxed((0, 0, 8, 8)), labels, epoch=epoch, row=0
        )
        assert square.flags.writeable and square.flags.c_contiguous
        assert not np.shares_memory(after, labels)
    assert random.getstate() == before[0]
    assert str(np.random.get_state()) == str(before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    assert same(image, image_before) and labels.tolist() == [1]


def test_auto_must_be_resolved_first() -> None:
    with pytest.raises(ValueError, match="resolve_crop"):
        augment(OFF, crop="auto")
