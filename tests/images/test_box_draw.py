from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from tagbox.images.box_draw import BoxMark, _spots, category_colour, draw_boxes

GREY = np.full((120, 160, 3), 128, np.uint8)


def colour(category: int) -> tuple[int, ...]:
    return ImageColor.getrgb(category_colour(category))


def is_colour(picture: Image.Image, category: int) -> np.ndarray:
    return (np.asarray(picture) == colour(category)).all(axis=2)


def test_a_detection_is_a_full_line_and_the_truth_a_dashed_one() -> None:
    box = (40.0, 30.0, 120.0, 90.0)
    drawn = draw_boxes(GREY, predicted=[BoxMark(box, "", 0.5, 1)])
    assert is_colour(drawn, 1)[30, 40:120].all()
    assert is_colour(drawn, 1)[30:90, 40].all()
    assert is_colour(drawn, 1)[89, 40:120].all()
    dashed = draw_boxes(GREY, truth=[BoxMark(box, "", None, 1)])
    side = is_colour(dashed, 1)[30, 40:120]
    assert 0.3 < side.mean() < 0.7
    # Between its dashes the truth is white, on a detection of the same colour too.
    both = draw_boxes(GREY, truth=[BoxMark(box, "", None, 1)], predicted=[BoxMark(box, "", 0.5, 1)])
    rest = np.asarray(both)[30, 40:120][~is_colour(both, 1)[30, 40:120]]
    assert len(rest) > 20
    assert (rest == 255).all()
    # Nothing is drawn outside the box.
    outside = np.ones(GREY.shape[:2], bool)
    outside[30:90, 40:120] = False
    assert (np.asarray(both)[outside] == 128).all()


def test_the_first_ten_categories_differ_and_a_category_keeps_its_colour() -> None:
    assert len({category_colour(k) for k in range(10)}) == 10
    assert category_colour(3) == category_colour(13)


def test_names_stand_on_the_colour_of_their_category() -> None:
    mark = BoxMark((40.0, 60.0, 120.0, 110.0), "cat", 0.87, 2)
    bare = BoxMark(mark.box, "", mark.score, mark.category)
    named, plain = (is_colour(draw_boxes(GREY, predicted=[m]), 2) for m in (mark, bare))
    rows, columns = np.nonzero(named & ~plain)
    assert len(rows) > 200
    # Above its box and flush with it.
    assert rows.max() <= 60
    assert columns.min() == 40


def test_a_scaled_picture_has_its_boxes_where_they_belong() -> None:
    drawn = draw_boxes(GREY, predicted=[BoxMark((40.0, 30.0, 120.0, 90.0), "", 0.5, 0)], width=320)
    assert drawn.size == (320, 240)
    rows, columns = np.nonzero(is_colour(drawn, 0))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (60, 179, 80, 239)


def test_boxes_that_are_nowhere_are_not_drawn() -> None:
    nowhere = [
        BoxMark((np.nan, 0.0, 10.0, 10.0), "a", 0.5, 0),
        BoxMark((200.0, 10.0, 300.0, 50.0), "a", 0.5, 0),
        BoxMark((50.0, 50.0, 50.0, 80.0), "a", 0.5, 0),
        BoxMark((80.0, 50.0, 60.0, 80.0), "a", 0.5, 0),
    ]
    drawn = draw_boxes(GREY, truth=nowhere, predicted=nowhere)
    assert (np.asarray(drawn) == GREY).all()


numbers = st.floats(-400, 800)


@given(
    st.tuples(numbers, numbers, numbers, numbers),
    st.floats(10, 300),
    st.floats(8, 40),
    st.tuples(st.integers(310, 640), st.integers(48, 480)),
)
def test_names_never_leave_the_picture(
    box: tuple[float, float, float, float], wide: float, high: float, limits: tuple[int, int]
) -> None:
    spots = _spots(box, (wide, high), limits)
    assert spots
    for left, top, right, bottom in spots:
        assert left >= 0
        assert right <= limits[0] - 1 + 1e-9
        assert top >= 0
        assert bottom <= limits[1] - 1 + 1e-9
        assert (right - left, bottom - top) == pytest.approx((wide, high))


@settings(max_examples=25)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.lists(
        st.tuples(
            st.tuples(numbers, numbers, numbers, numbers),
            st.sampled_from(["", "cat", "日本語 🐈", "a_very_long_name_" * 9]),
            st.none() | st.floats(0, 1),
            st.integers(0, 200),
        ),
        max_size=8,
    ),
    st.none() | st.integers(1, 200),
)
def test_any_boxes_on_any_picture(
    size: tuple[int, int],
    marks: list[tuple[tuple[float, float, float, float], str, float | None, int]],
    width: int | None,
) -> None:
    boxes = [BoxMark(*mark) for mark in marks]
    drawn = draw_boxes(np.zeros((*size, 3), np.uint8), truth=boxes, predicted=boxes, width=width)
    assert drawn.width == (width or size[1])
