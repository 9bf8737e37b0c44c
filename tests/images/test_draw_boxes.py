"""Boxes over pictures: where they land, dashed where they are the truth, tags never outside."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tagbox.images.draw import DrawnBox, colour_of, draw_boxes, image_with_boxes


def grey(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


def in_colour(picture: Image.Image, name: str) -> NDArray[np.bool_]:
    colour = [int(colour_of(name)[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.asarray(picture) == colour).all(axis=-1)  # type: ignore[no-any-return]


def test_a_picture_keeps_its_size_and_a_box_its_place() -> None:
    picture = image_with_boxes(grey(400, 500), [DrawnBox(name="cat", box=(100, 200, 50, 80))])
    assert picture.size == (500, 400)
    found = in_colour(picture, "cat")
    assert np.flatnonzero(found[230:270].any(axis=0))[[0, -1]].tolist() == [100, 150]
    assert np.flatnonzero(found[:, 140:149].any(axis=1))[-1] == 280


def test_small_pictures_are_enlarged_by_a_whole_number() -> None:
    picture = image_with_boxes(grey(20, 50), [DrawnBox(name="cat", box=(10, 5, 20, 10))])
    assert picture.size == (350, 140)
    found = in_colour(picture, "cat")
    # Seven times as large.
    assert found[70, 70] and found[70, 210] and not found[70, 100]


def test_truth_is_dashed() -> None:
    solid, dashed = (
        in_colour(
            image_with_boxes(
                grey(400, 400), [DrawnBox(name="x", box=(100, 100, 200, 200), truth=truth)]
            ),
            "x",
        )[300]
        for truth in (False, True)
    )
    assert solid[100:301].all()
    assert 0.4 < dashed[100:301].mean() < 0.75


def test_a_long_name_keeps_its_score() -> None:
    tags = [
        np.asarray(
            image_with_boxes(grey(320, 320), [DrawnBox(name=n, box=(9, 99, 90, 90), score=s)])
        )
        for n, s in (("w" * 300, 0.5), ("w" * 300, 0.7), ("w" * 300, None))
    ]
    # The names end in the same place, so only the score tells the first two apart.
    assert (tags[0] != tags[1]).any()
    columns = np.flatnonzero((tags[0] != tags[1]).any(axis=(0, 2)))
    assert columns.min() > 270


@settings(max_examples=40)
@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.lists(
        st.tuples(
            st.text(max_size=12),
            st.tuples(*[st.floats(-80, 80)] * 4),
            st.none() | st.floats(0, 1),
            st.booleans(),
        ),
        max_size=12,
    ),
)
def test_any_boxes_on_any_size(
    size: tuple[int, int],
    boxes: list[tuple[str, tuple[float, float, float, float], float | None, bool]],
) -> None:
    picture = Image.new("RGB", size, "#123456")
    marks = [DrawnBox(name=n, box=b, score=s, truth=t) for n, b, s, t in boxes]
    draw_boxes(picture, marks, scale=1.0, size=14)
    assert picture.size == size


def test_tags_stay_whole_at_every_border() -> None:
    # White letters of a tag are the same few pixels wherever its box lies.
    letters = []
    for x, y in ((0, 0), (280, 0), (0, 280), (280, 280), (150, 150)):
        mark = DrawnBox(name="zebra", box=(x, y, 40, 40), score=0.5)
        pixels = np.asarray(image_with_boxes(grey(320, 320), [mark]))
        free = np.ones(pixels.shape[:2], bool)
        free[y : y + 41, x : x + 41] = False
        letters.append(int(((pixels == 255).all(axis=-1) & free).sum()))
    assert max(letters) - min(letters) < 0.15 * max(letters)


def test_odd_boxes_do_no_harm() -> None:
    odd = [(np.nan, 0.0, 1.0, 1.0), (0.0, 0.0, np.inf, 1.0), (1e9, 1e9, 1.0, 1.0), (5, 5, -3, -3)]
    marks = [DrawnBox(name="x", box=box, score=0.3) for box in odd]
    assert image_with_boxes(grey(3, 900), marks).size == (900, 3)
