"""Pictures with labels: where things land, what is readable, what survives odd input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tagbox.images.box_drawing import BOX_COLOURS
from tagbox.images.captions import (
    COLOURS,
    LabelOutcome,
    Outcome,
    fit_text,
    ink_on,
    label_outcomes,
    percent,
    shorten,
)
from tagbox.images.draw import annotate, grid, overlay_heat


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def has_colour(pixels: NDArray[np.uint8], colour: str) -> bool:
    return bool((pixels == rgb(colour)).all(axis=-1).any())


def grey(height: int, width: int, value: int = 128) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def test_true_and_false_positives_and_missed() -> None:
    assert label_outcomes(["cat", "dog"], [("cat", 0.9), ("bus", 0.4)]) == [
        LabelOutcome("cat", 0.9, "true positive"),
        LabelOutcome("bus", 0.4, "false positive"),
        LabelOutcome("dog", None, "missed"),
    ]
    assert label_outcomes(None, [("cat", 0.9)]) == [LabelOutcome("cat", 0.9, "unjudged")]
    assert label_outcomes(["cat"], None) == [LabelOutcome("cat", None, "unjudged")]
    assert label_outcomes(None, None) == []


def test_each_verdict_is_drawn_in_its_colour() -> None:
    sheet = np.asarray(annotate(grey(60, 80), truth=["a", "b"], predicted=[("a", 0.9)]))
    assert has_colour(sheet, COLOURS["true positive"])
    assert has_colour(sheet, COLOURS["missed"])
    assert not has_colour(sheet, COLOURS["false positive"])


def test_labels_of_an_augmented_picture() -> None:
    kept = LabelOutcome("a", None, "unjudged")
    sheet = np.asarray(annotate(grey(60, 80), labels=[kept]))
    assert has_colour(sheet, COLOURS["unjudged"])
    assert not has_colour(sheet, COLOURS["unknown"]) and not has_colour(sheet, COLOURS["dropped"])
    chips = [kept, LabelOutcome("b", None, "unknown"), LabelOutcome("longer", None, "dropped")]
    sheet = np.asarray(annotate(grey(60, 80), labels=chips))
    assert has_colour(sheet, COLOURS["unknown"]) and has_colour(sheet, COLOURS["dropped"])

    def widest_white_line(outcome: Outcome) -> int:
        """Pixels of the longest white row in a chip: the line through a dropped name."""
        chip = np.asarray(annotate(grey(60, 80), labels=[LabelOutcome("longer", None, outcome)]))
        return int((chip[-30:, :60] == 255).all(axis=-1)[8:20].sum(axis=1).max())

    assert widest_white_line("dropped") > widest_white_line("unjudged") + 15
    empty = np.asarray(annotate(grey(60, 80), labels=[]))
    assert len(empty) == len(np.asarray(annotate(grey(60, 80), truth=[])))


def test_text_is_readable_on_every_chip() -> None:
    def luminance(colour: str) -> float:
        parts = [v / 255 for v in rgb(colour)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for colour in COLOURS.values():
        assert ink_on(colour) == "#ffffff", colour
    for colour in (*COLOURS.values(), *BOX_COLOURS):
        bright = sorted((luminance(colour), luminance(ink_on(colour))))
        assert (bright[1] + 0.05) / (bright[0] + 0.05) >= 4.5, colour


def test_a_box_lands_where_it_was_scaled_to() -> None:
    # 100 x 50 drawn 400 wide: four times as large; the box's left edge is at 4 * 50.
    sheet = np.asarray(annotate(grey(50, 100), boxes=[("cat", (50, 10, 25, 30))], width=400))
    assert sheet.shape == (200, 400, 3)
    edge = (sheet == rgb(BOX_COLOURS[0])).all(axis=-1)
    below_the_tag = edge[80:150]
    columns = np.flatnonzero(below_the_tag.any(axis=0))
    assert (columns.min(), columns.max()) == (200, 300)
    rows = np.flatnonzero(edge[:, 215:295].any(axis=1))
    assert rows.max() == 160


def test_boxes_outside_and_without_numbers_do_no_harm() -> None:
    boxes = [
        ("far", (900.0, 900.0, 5.0, 5.0)),
        ("nan", (float("nan"), 0.0, 1.0, 1.0)),
        ("negative", (10.0, 10.0, -5.0, -5.0)),
        ("huge", (-1e9, -1e9, 3e9, 3e9)),
    ]
    assert annotate(grey(40, 60), boxes=boxes).width == 480


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 90),
    st.integers(1, 2000),
    st.integers(1, 900),
    st.lists(st.tuples(st.text(max_size=60), st.none() | st.floats(0, 1)), max_size=5),
)
def test_any_size_and_any_text(
    height: int, image_width: int, width: int, predicted: list[tuple[str, float | None]]
) -> None:
    sheet = annotate(
        grey(height, image_width),
        truth=["café 日本"],
        predicted=predicted,
        width=width,
        title="\n\x00",
    )
    assert sheet.width == max(64, width)
    assert sheet.mode == "RGB"


def test_high_pictures_are_held_to_max_height() -> None:
    assert annotate(grey(3000, 10), width=200, max_height=100).size == (200, 100)
    assert annotate(grey(3000, 10), width=200).size == (200, 300)


def test_evidence_is_brightest_where_it_is_strongest() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[0, 3] = 5.0
    heat[3, 0] = -9.0
    mixed = overlay_heat(grey(40, 40, 0), heat).astype(int).sum(axis=-1)
    assert mixed[:10, 30:].mean() > 200
    assert mixed[30:, :10].max() == 0


@pytest.mark.parametrize("colour", [(250, 220, 70), (255, 255, 255), (160, 40, 100), (0, 0, 0)])
def test_evidence_is_visible_on_any_colour(colour: tuple[int, int, int]) -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[0, 3], heat[3, 3] = 1.0, 0.5
    mixed = overlay_heat(np.full((40, 40, 3), colour, np.uint8), heat).astype(int)
    strongest, weaker, none = mixed[4, 36], mixed[36, 36], mixed[20, 4]
    assert np.ptp(none) == 0
    for one, other in ((strongest, weaker), (weaker, none), (strongest, none)):
        assert np.linalg.norm(one - other) > 60


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_no_evidence_leaves_the_picture(value: float) -> None:
    image = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    heat = np.full((3, 3), value, np.float32)
    np.testing.assert_array_equal(overlay_heat(image, heat), image)


def test_a_grid_holds_every_cell() -> None:
    cells = [annotate(grey(30, 40, 50 + i), width=100) for i in range(5)]
    sheet = grid(cells, 3, title="five", legend=[LabelOutcome("a", None, "true positive")])
    pixels = np.asarray(sheet)
    assert sheet.width == 3 * 100 + 4 * 8
    assert has_colour(pixels, COLOURS["true positive"])
    for i in range(5):
        assert (pixels == 50 + i).all(axis=-1).sum() >= 70 * 100
    with pytest.raises(ValueError, match="at least one"):
        grid([], 3)


def test_probabilities_never_round_to_certainty() -> None:
    values = (0.0, 1e-9, 0.0049, 0.5, 0.994, 0.99999, 1.0)
    assert [percent(v) for v in values] == ["0%", "0.1%", "0.5%", "50%", "99.4%", "99.9%", "100%"]


def test_texts_are_cut_to_fit() -> None:
    text, font = shorten("an enormously long category name", 16, 120)
    assert text.endswith("...")
    assert font.getlength(text) <= 120
    assert shorten("cat", 16, 120)[0] == "cat"


def test_accents_are_dropped_only_where_no_font_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tagbox.images.captions._SYSTEM", ())
    assert fit_text("café", 16)[0] == "cafe"
    assert fit_text("a\nb\x07", 16)[0] == "a b "
