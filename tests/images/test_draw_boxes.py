"""Boxes over pictures: where they land, dashed where they are the truth, tags never outside."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tagbox.images.box_drawing import (
    BOX_COLOURS,
    DrawnBox,
    Rectangle,
    category_colours,
    draw_boxes,
    image_with_boxes,
    place_boxes,
)
from tagbox.images.draw import annotate


def grey(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


def in_colour(picture: Image.Image, colour: str = BOX_COLOURS[0]) -> NDArray[np.bool_]:
    return (np.asarray(picture) == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(axis=-1)  # type: ignore[no-any-return]


def test_a_picture_keeps_its_size_and_a_box_its_place() -> None:
    picture = image_with_boxes(grey(400, 500), [DrawnBox(name="cat", box=(100, 200, 50, 80))])
    assert picture.size == (500, 400)
    found = in_colour(picture)
    assert np.flatnonzero(found[230:270].any(axis=0))[[0, -1]].tolist() == [100, 150]
    assert np.flatnonzero(found[:, 140:149].any(axis=1))[-1] == 280


def test_small_pictures_are_enlarged_by_a_whole_number() -> None:
    picture = image_with_boxes(grey(20, 50), [DrawnBox(name="cat", box=(10, 5, 20, 10))])
    assert picture.size == (350, 140)
    found = in_colour(picture)
    # Seven times as large.
    assert found[70, 70] and found[70, 210] and not found[70, 100]


def test_truth_is_dashed() -> None:
    solid, dashed = (
        in_colour(
            image_with_boxes(
                grey(400, 400), [DrawnBox(name="x", box=(100, 100, 200, 200), truth=truth)]
            )
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


def test_colours_are_far_from_each_other() -> None:
    def lab(colour: str) -> NDArray[np.float64]:
        """CIE L*a*b* of an sRGB colour."""
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        x, y, z = np.cbrt(matrix @ linear / [0.9505, 1.0, 1.089])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    colours = list(category_colours(f"category {i}" for i in range(len(BOX_COLOURS))).values())
    far = [np.linalg.norm(lab(a) - lab(b)) for i, a in enumerate(colours) for b in colours[:i]]
    assert min(far) > 25
    first = [
        np.linalg.norm(lab(a) - lab(b)) for i, a in enumerate(colours[:6]) for b in colours[:i]
    ]
    assert min(first) > 35


def hidden(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


crowd = st.lists(
    st.tuples(
        st.sampled_from(["cat", "a longer name"]),
        st.integers(0, 380),
        st.integers(0, 280),
        st.integers(4, 40),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(crowd)
def test_names_hide_neither_small_boxes_nor_each_other(
    objects: list[tuple[str, int, int, int]],
) -> None:
    marks = [DrawnBox(name=name, box=(x, y, side, side)) for name, x, y, side in objects]
    placed = place_boxes(marks, (400, 300), scale=1.0, size=12, every_category=False)
    labels = [one.label for one in placed if one.label is not None]
    for i, label in enumerate(labels):
        assert not any(hidden(label, other) for other in labels[:i])
        for one in placed:
            width, height = (one.outline[k + 2] - one.outline[k] for k in (0, 1))
            if width * height <= 12 * 12:
                assert not hidden(label, one.outline)


def test_a_crowd_shows_its_boxes_and_its_caption_the_names() -> None:
    # 12 x 12 boxes of 8 pixels, 12 apart: a name beside any of them would hide others.
    boxes = [("bird", (x * 12.0, y * 12.0, 8.0, 8.0)) for x in range(25) for y in range(20)]
    free = np.asarray(annotate(grey(240, 300), truth=["bird"], boxes=boxes, width=300))[:240]
    inner = (free == 128).all(axis=-1)
    for _, (x, y, w, h) in boxes:
        assert inner[int(y) + 3 : int(y + h) - 2, int(x) + 3 : int(x + w) - 2].all()
    # Without labels below, one name is written wherever it covers least.
    named = place_boxes([DrawnBox(name=n, box=b) for n, b in boxes], (300, 240), scale=1.0, size=12)
    assert sum(one.label is not None for one in named) == 1


def test_categories_of_an_image_differ_though_there_are_more_than_colours() -> None:
    names = [f"category {i}" for i in range(80)]
    random = np.random.default_rng(0)
    images = [random.choice(names, 9, replace=False).tolist() for _ in range(12)]
    colours = category_colours(names, images)
    assert len({colours[name] for name in names[: len(BOX_COLOURS)]}) == len(BOX_COLOURS)
    assert set(colours) == set(names)
    for image in images:
        assert len({colours[name] for name in image}) == 9
