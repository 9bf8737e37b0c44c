"""The crop that knows the boxes: cases worked by hand, COCO's own overlap as oracle, properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask
from scipy import stats

from tagbox.config.augment import resolve_crop
from tagbox.data.dataset import Annotations, Categories, Dataset, Images, memory_source
from tagbox.training.crop import (
    Objects,
    ObjectsByImage,
    Region,
    draw_crop,
    labels_in_region,
    visible_region,
)

WIDTH, HEIGHT = 100, 80
LEFT_HALF = Region(0, 0, 50, 80)


def objects(*rows: tuple[int, tuple[float, float, float, float] | None, bool]) -> Objects:
    """Objects from (category, xywh or None, crowd)."""
    return Objects(
        boxes=np.array([box or (np.nan,) * 4 for _, box, _ in rows], float).reshape(-1, 4),
        category_rows=np.array([category for category, _, _ in rows], np.int32),
        has_box=np.array([box is not None for _, box, _ in rows], bool),
        crowd=np.array([crowd for *_, crowd in rows], bool),
    )


def judge(these: Objects, labels: list[int], region: Region, visible: float = 0.25) -> list[int]:
    found = labels_in_region(
        these, np.array(labels, np.int8), region, width=WIDTH, height=HEIGHT, visible=visible
    )
    assert found.dtype == np.int8
    return list(found.tolist())


INSIDE, OUTSIDE = (10, 10, 20, 20), (60, 10, 20, 20)
QUARTER, LESS = (40, 0, 40, 10), (41, 0, 40, 10)  # 10 and 9 of 40 columns are left of 50


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # wholly inside, wholly outside
        ([(0, INSIDE, False)], 1),
        ([(0, OUTSIDE, False)], 0),
        # exactly the share that is asked for, and a little less
        ([(0, QUARTER, False)], 1),
        ([(0, LESS, False)], -1),
        # sharing an edge is not being seen
        ([(0, (50, 0, 10, 10), False)], 0),
        # the best of several boxes decides
        ([(0, OUTSIDE, False), (0, INSIDE, False)], 1),
        ([(0, OUTSIDE, False), (0, LESS, False)], -1),
        ([(0, OUTSIDE, False), (0, (70, 40, 5, 5), False)], 0),
        # a crowd is anywhere in its box: touching is enough
        ([(0, (49, 0, 51, 80), True)], 1),
        ([(0, OUTSIDE, True)], 0),
        # an annotation without a box may be anywhere
        ([(0, None, False)], 1),
        ([(0, OUTSIDE, False), (0, None, False)], 1),
        # no annotation at all: the label came from elsewhere
        ([], 1),
        # only what of a box is in the picture counts: 5 of 20 columns here are all outside on the left
        ([(0, (-15, 0, 20, 10), False)], 1),
        ([(0, (45, -500, 20, 510), False)], 1),
        # boxes without an area: a line half inside, a point on either side
        ([(0, (40, 10, 20, 0), False)], 1),
        ([(0, (48, 10, 20, 0), False)], -1),
        ([(0, (20, 20, 0, 0), False)], 1),
        ([(0, (70, 20, 0, 0), False)], 0),
    ],
)
def test_by_hand(
    rows: list[tuple[int, tuple[float, float, float, float] | None, bool]], expected: int
) -> None:
    assert judge(objects(*rows), [1], LEFT_HALF) == [expected]


def test_categories_are_judged_each_for_itself() -> None:
    these = objects((0, INSIDE, False), (1, OUTSIDE, False), (2, LESS, False), (4, OUTSIDE, False))
    # 3 is absent, 4 was unknown although it has a box, 5 is present without an annotation
    assert judge(these, [1, 1, 1, 0, -1, 1], LEFT_HALF) == [1, 0, -1, 0, -1, 1]


boxes = st.tuples(
    st.integers(-20, WIDTH + 20),
    st.integers(-20, HEIGHT + 20),
    st.integers(0, 90),
    st.integers(0, 90),
)
pictures = st.lists(st.tuples(st.integers(0, 4), st.none() | boxes, st.booleans()), max_size=8)
tables = st.lists(st.sampled_from([1, 0, -1]), min_size=5, max_size=5)


@given(pictures, tables, st.integers(0, 2**32 - 1), st.floats(0.05, 1), st.floats(0.01, 1))
def test_a_part_shows_nothing_that_the_whole_did_not(
    rows: list[tuple[int, tuple[int, int, int, int] | None, bool]],
    labels: list[int],
    seed: int,
    scale: float,
    visible: float,
) -> None:
    crop = draw_crop(np.random.default_rng(seed), WIDTH, HEIGHT, scale)
    after = judge(objects(*rows), labels, Region(*crop), visible)
    for before, now in zip(labels, after, strict=True):
        assert now == before or before == 1


@given(pictures, tables, st.floats(0.01, 1))
def test_the_whole_picture_keeps_every_label(
    rows: list[tuple[int, tuple[int, int, int, int] | None, bool]],
    labels: list[int],
    visible: float,
) -> None:
    assert judge(objects(*rows), labels, Region(0, 0, WIDTH, HEIGHT), visible) == labels


@given(
    st.tuples(st.integers(0, 90), st.integers(0, 70), st.integers(1, 10), st.integers(1, 10)),
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 1),
)
def test_the_share_is_that_of_coco(
    box: tuple[int, int, int, int], seed: int, visible: float
) -> None:
    left, top, right, bottom = draw_crop(np.random.default_rng(seed), WIDTH, HEIGHT, 0.1)
    # With a crowd as ground truth, pycocotools gives the intersection over the other box's area.
    region = np.array([[left, top, right - left, bottom - top]], float)
    share = float(mask.iou(np.array([box], float), region, [1])[0, 0])
    if abs(share - visible) > 1e-9:
        expected = 1 if share >= visible else -1 if share > 0 else 0
        found = judge(objects((0, box, False)), [1], Region(left, top, right, bottom), visible)
        assert found == [expected]


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.floats(1e-3, 1),
    st.integers(0, 2**32 - 1),
)
def test_crops_lie_in_the_picture(width: int, height: int, least: float, seed: int) -> None:
    left, top, right, bottom = draw_crop(np.random.default_rng(seed), width, height, least)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    # Each side is rounded by half a pixel at most.
    assert (right - left + 0.5) * (bottom - top + 0.5) >= least * width * height


def test_crops_are_distributed_as_they_say() -> None:
    random = np.random.default_rng(5)
    width, height = 9000, 3000
    crops = np.array([draw_crop(random, width, height, 0.3) for _ in range(4000)])
    sides = (crops[:, 2:] - crops[:, :2]) / (width, height)
    share = sides.prod(axis=1)
    assert stats.kstest(share, stats.uniform(0.3, 0.7).cdf).pvalue > 0.01
    # Below 3/4 there is room for every stretch; above, for those that fit into the picture.
    stretch = np.log(sides[:, 0] / sides[:, 1])
    room = np.minimum(np.log(4 / 3), -np.log(share))
    assert (np.abs(stretch) <= room + 1e-3).all()
    assert stats.kstest(stretch / room, stats.uniform(-1, 2).cdf).pvalue > 0.01
    # Where there is room to move, every place is as likely.
    place = crops[:, :2] / ((width, height) - (crops[:, 2:] - crops[:, :2]) + 1)
    for axis in (0, 1):
        assert stats.kstest(place[share < 0.9, axis], "uniform").pvalue > 0.01


def test_the_network_s_square_of_a_crop() -> None:
    assert visible_region((10, 20, 50, 40), "squash") == Region(10, 20, 50, 40)
    assert visible_region((10, 20, 50, 40), "pad") == Region(10, 20, 50, 40)
    assert visible_region((10, 20, 50, 40), "crop") == Region(20, 20, 40, 40)
    assert visible_region((0, 0, 7, 10), "crop") == Region(0, 1.5, 7, 8.5)


def test_auto_crops_by_boxes_where_there_are_any() -> None:
    assert resolve_crop("auto", True) == "boxes"
    assert resolve_crop("auto", False) == "none"
    for crop in ("boxes", "plain", "none"):
        assert resolve_crop(crop, True) == resolve_crop(crop, False) == crop


def dataset(
    image_rows: NDArray[np.int32], crowd: NDArray[np.bool_], *, crowd_is_present: bool
) -> Dataset:
    """Six images and annotations with boxes that tell them apart."""
    count = len(image_rows)
    return Dataset(
        images=Images(
            ids=np.arange(6, dtype=np.int64),
            files=np.array([f"{i}.jpg" for i in range(6)]),
            widths=np.full(6, WIDTH, np.int32),
            heights=np.full(6, HEIGHT, np.int32),
            labelled=np.ones(6, bool),
            root=memory_source(6, count).path,
        ),
        categories=Categories.from_names(["a", "b"]),
        annotations=Annotations(
            image_rows=image_rows,
            category_rows=np.arange(count, dtype=np.int32) % 2,
            boxes=np.arange(4.0 * count).reshape(count, 4),
            has_box=np.arange(count) % 3 > 0,
            areas=np.ones(count),
            crowd=crowd,
            ids=np.arange(count, dtype=np.int64),
        ),
        source=memory_source(6, count),
        crowd_is_present=crowd_is_present,
    )


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=20),
    st.booleans(),
)
def test_the_objects_of_an_image(
    annotations: list[tuple[int, bool]], crowd_is_present: bool
) -> None:
    image_rows = np.array([row for row, _ in annotations], np.int32)
    crowd = np.array([crowd for _, crowd in annotations], bool)
    data = dataset(image_rows, crowd, crowd_is_present=crowd_is_present)
    by_image = ObjectsByImage(data)
    for row in range(6):
        here = np.flatnonzero((image_rows == row) & (crowd_is_present | ~crowd))
        found = by_image[row]
        np.testing.assert_array_equal(found.boxes, data.annotations.boxes[here])
        np.testing.assert_array_equal(found.category_rows, data.annotations.category_rows[here])
        np.testing.assert_array_equal(found.has_box, data.annotations.has_box[here])
        np.testing.assert_array_equal(found.crowd, crowd[here])


def test_a_crowd_that_makes_nothing_present_keeps_nothing_either() -> None:
    # One object on the right, a crowd of the same category on the left.
    image_rows, crowd = np.array([0, 0], np.int32), np.array([False, True])
    for counts, expected in ((True, 1), (False, 0)):
        data = dataset(image_rows, crowd, crowd_is_present=counts)
        data.annotations.boxes[:] = [OUTSIDE, INSIDE]
        data.annotations.category_rows[:] = 0
        data.annotations.has_box[:] = True
        assert judge(ObjectsByImage(data)[0], [1], LEFT_HALF) == [expected]
