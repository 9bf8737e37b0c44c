"""Windows over large pictures: every pixel seen, every object said once, where it is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tagbox.errors import TagboxError
from tagbox.inference.detector import DetectorModel
from tagbox.inference.views import Tiles, merge, truncated, windows
from toy_detectors import NAMES, PatchDetector, patch_bundle, patch_spec, scene


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(32, 900), st.floats(0, 0.9))
def test_windows_cover_the_picture_and_overlap_enough(
    width: int, height: int, side: int, overlap: float
) -> None:
    assume(max(width, height) / (side * (1 - overlap)) < 60)
    tiles = Tiles(side=side, overlap=overlap)
    parts = windows(width, height, tiles)
    assert len(set(parts)) == len(parts)
    for axis, length in ((0, width), (1, height)):
        spans = sorted({(part[axis], part[axis + 2]) for part in parts})
        assert spans[0][0] == 0 and spans[-1][1] == length
        assert {stop - start for start, stop in spans} == {min(side, length)}
        shared = [a[1] - b[0] for a, b in pairwise(spans)]
        assert all(pixels >= np.floor(overlap * side) for pixels in shared)
    columns = {(part[0], part[2]) for part in parts}
    assert len(parts) == len(columns) * len({(part[1], part[3]) for part in parts})


def test_a_picture_that_fits_is_one_window() -> None:
    assert windows(300, 200, Tiles(side=300)) == [(0, 0, 300, 200)]
    assert windows(301, 200, Tiles(side=300, overlap=0)) == [(0, 0, 300, 200), (1, 0, 301, 200)]


def test_cut_off_boxes_touch_a_border_inside_the_picture() -> None:
    boxes = np.array([[0, 0, 50, 50], [99, 10, 140, 30], [20, 20, 60, 60], [150, 1, 198, 40.0]])
    # The window's left and right borders lie inside the picture, its top and bottom do not.
    found = truncated(boxes + np.array([100, 0, 100, 0]), (100, 0, 300, 200), 400, 200, 1.0)
    assert found.tolist() == [True, False, False, False]
    assert not truncated(boxes, (0, 0, 300, 200), 300, 200, 1.0).any()


def merged(*rows: tuple[tuple[float, float, float, float], float, int, bool]) -> list[int]:
    boxes, scores, labels, cut = zip(*rows, strict=True)
    found = merge(np.array(boxes, float), np.array(scores, float), np.array(labels), np.array(cut))
    return found.tolist()  # type: ignore[no-any-return]


def test_merging_by_hand() -> None:
    whole, half = (0.0, 0.0, 100.0, 40.0), (0.0, 0.0, 45.0, 40.0)
    # The same object twice; IoU of the half with the whole is 0.45, too little for suppression alone.
    assert merged((whole, 0.8, 0, False), (whole, 0.9, 0, False)) == [1]
    assert merged((whole, 0.8, 0, False), (half, 0.9, 0, True)) == [0]
    # A half that nothing cut off is an object of its own, and so is one of another category,
    assert merged((whole, 0.8, 0, False), (half, 0.9, 0, False)) == [1, 0]
    assert merged((whole, 0.8, 0, False), (half, 0.9, 1, True)) == [1, 0]
    # and what is hardly believed does not stand for what is.
    assert merged((whole, 0.3, 0, False), (half, 0.9, 0, True)) == [1, 0]
    # Without a whole one the parts remain.
    assert merged((half, 0.9, 0, True), ((60, 0, 100, 40), 0.7, 0, True)) == [0, 1]


def model() -> DetectorModel:
    spec = patch_spec(128)
    return DetectorModel(patch_bundle(spec), engine="torch", detector=PatchDetector(spec))


@settings(max_examples=12)
@given(
    st.integers(140, 300), st.integers(100, 300), st.sampled_from([0.25, 0.4]), st.integers(0, 999)
)
def test_every_object_smaller_than_the_overlap_comes_out_once_exactly(
    width: int, height: int, overlap: float, seed: int
) -> None:
    tiles = Tiles(side=128, overlap=overlap)
    largest = int(128 * overlap)
    rng = np.random.default_rng(seed)
    patches = []
    # One object a cell of a grid, so that they never touch.
    for y in range(0, height - largest, largest + 8):
        for x in range(0, width - largest, largest + 8):
            w, h = rng.integers(6, largest + 1, 2).tolist()
            patches.append((NAMES[rng.integers(3)], (x, y, w, h)))
    image = scene(width, height, patches)
    (found,) = model().stream([image], tiles=tiles)
    expected = sorted((NAMES.index(name), *box) for name, box in patches)
    said = sorted((int(k), *box) for k, box in zip(found.labels, found.boxes.tolist(), strict=True))
    assert said == expected


def test_an_object_larger_than_a_window_is_said_once() -> None:
    image = scene(400, 300, [("red", (20, 40, 340, 220)), ("blue", (372, 10, 9, 9))])
    (found,) = model().stream([image], tiles=Tiles(side=128))
    assert found.labels.tolist().count(0) == 1
    np.testing.assert_allclose(found.boxes[found.labels == 0], [[20, 40, 340, 220]], atol=4)
    assert found.boxes[found.labels == 2].tolist() == [[372, 10, 9, 9]]
    # In the whole picture, scaled down to 128 pixels, the small one is blurred.
    (plain,) = model().stream([image])
    assert plain.boxes[plain.labels == 2].tolist() != [[372, 10, 9, 9]]


def test_small_pictures_are_not_cut_up() -> None:
    image = scene(128, 90, [("red", (20, 40, 34, 22))])
    (plain,), (tiled,) = (model().stream([image], tiles=t) for t in (None, Tiles(side=128)))
    np.testing.assert_array_equal(plain.boxes, tiled.boxes)
    np.testing.assert_array_equal(plain.scores, tiled.scores)


@pytest.mark.parametrize(
    ("side", "overlap", "flag"), [(8, 0.2, "--tiles"), (640, 0.95, "--tile-overlap")]
)
def test_useless_tiles_are_refused(side: int, overlap: float, flag: str) -> None:
    with pytest.raises(TagboxError, match=flag) as caught:
        Tiles(side=side, overlap=overlap)
    assert caught.value.code == "option-value"
