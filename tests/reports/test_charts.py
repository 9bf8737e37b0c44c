from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagbox.reports.charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Axis,
    Mark,
    Series,
    histogram,
    line_chart,
    ticks,
)
from tagbox.reports.matrix_chart import co_occurrence_chart

BAD = "<b>&\"' {x}"


def svg(figure: str) -> ElementTree.Element:
    """The chart as XML, which also says that it is well formed."""
    found = ElementTree.fromstring(figure).find("svg")
    assert found is not None
    return found


def numbers(path: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", path)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0, 60, (0, 10, 20, 30, 40, 50, 60)),
        (1, 60, (10, 20, 30, 40, 50, 60)),
        (0, 0.5, (0, 0.1, 0.2, 0.3, 0.4, 0.5)),
        (3, 3, (3,)),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_whole_ticks_are_whole() -> None:
    assert ticks(1, 3, whole=True) == (1, 2, 3)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_ticks_lie_inside_and_are_few(low: float, span: float, most: int) -> None:
    found = ticks(low, low + span, most)
    step = found[1] - found[0] if len(found) > 1 else span
    # A tick may miss the end by rounding: of the step, and of a float as large as the value.
    slack = max(1e-6 * step, 4 * math.ulp(max(abs(low), abs(low + span))))
    assert len(found) <= most + 1
    assert all(low - slack <= t <= low + span + slack for t in found)


def test_a_line_is_drawn_to_scale_with_a_gap_at_nan() -> None:
    chart = svg(
        line_chart(
            "t",
            [Series(name="a", x=[0, 1, 2, 3], y=[0, 1, float("nan"), 0.5], dots=True)],
            x=Axis(label="x", low=0, high=4),
            y=Axis(label="y", low=0, high=1),
        )
    )
    (line,) = chart.findall("path[@class='line s0']")
    assert line.get("d", "").count("M") == 2
    x0, y0, x1, y1, *_ = numbers(line.get("d", ""))
    assert (x1 - x0) * 4 == pytest.approx(RIGHT - LEFT, abs=0.5)
    assert y0 - y1 == pytest.approx(BOTTOM - TOP, abs=0.2)
    assert len(chart.findall("circle")) == 3
    assert [c.findtext("title") for c in chart.findall("circle")][1] == "a, x 1: 1"


def test_steps_hold_a_value_up_to_its_own_point() -> None:
    chart = svg(
        line_chart(
            "t",
            [Series(name="", x=[0.5, 1.0], y=[1.0, 0.5], steps=True)],
            x=Axis(label="x", low=0, high=1),
            y=Axis(label="y", low=0, high=1),
        )
    )
    (line,) = chart.findall("path[@class='line s0']")
    assert re.sub(r"[\d.]+", "", line.get("d", "")).replace(" ", "") == "MVHVH"


def test_names_are_text_everywhere() -> None:
    lines = [Series(name=BAD, x=[0, 1], y=[0, 1], dots=True), Series(name="b", x=[0], y=[0])]
    axis = Axis(label=BAD)
    figures = [
        line_chart(BAD, lines, x=axis, y=axis, marks=[Mark(x=0.5, label=BAD)]),
        histogram(BAD, [3, 0, 2], x=BAD, y=BAD),
        co_occurrence_chart(
            BAD,
            [BAD, "b", "c"],
            np.arange(9).reshape(3, 3),
            row=BAD,
            column=BAD,
            describe=lambda row, column: f"{row} and {column}",
        ),
    ]
    for figure in figures:
        assert BAD in "".join(svg(figure).itertext()) or BAD in (
            svg(figure).get("aria-label") or ""
        )
        assert ElementTree.fromstring(figure).findtext("figcaption/b") == BAD
        assert ElementTree.fromstring(figure).findall(".//b[.='&']") == []


def test_matrix_cells_say_their_counts() -> None:
    # The category with the largest counts comes first.
    counts = np.array([[0, 2, 0], [0, 0, 5], [1, 0, 0]])
    chart = svg(
        co_occurrence_chart(
            "t",
            ["a", "b", "c"],
            counts,
            row="r",
            column="c",
            describe=lambda row, column: f"{row}>{column}",
        )
    )
    assert [g.findtext("title") for g in chart.findall("g")] == [
        *("b>c: 5 images", "c>a: 1 images", "a>b: 2 images")
    ]
    shades = [float(g.find("rect").get("fill-opacity")) for g in chart.findall("g")]  # type: ignore[union-attr, arg-type]
    assert shades == pytest.approx([0.12 + 0.88 * v / 5 for v in (5, 1, 2)], abs=0.005)


def test_names_of_the_axes_of_a_matrix_have_room() -> None:
    counts = np.array([[0, 2, 0], [0, 0, 5], [1, 0, 0]])
    names = {"row": "missed", "column": "false positive"}
    figure = co_occurrence_chart("t", ["a", "b", "c"], counts, **names, describe="{}{}".format)
    for text in svg(figure).findall("text[@class='axis']"):
        # Characters of 12 pixels are about 6.4 pixels wide on average.
        assert float(text.get("x", "0")) >= 6.4 * len(text.text or "")


@pytest.mark.parametrize(
    "values", [[], [float("nan")], [0.5], [0.0, 0.0], [1e-9, 1e9], [np.inf, 1]]
)
def test_any_values_give_a_chart_without_nan(values: list[float]) -> None:
    one = Series(name="a", x=list(range(len(values))), y=values, dots=True)
    figure = line_chart("t", [one], x=Axis(label="x", whole=True), y=Axis(label="y"))
    assert re.search(r"nan|inf(?!o)", figure) is None
    svg(figure)


def test_an_empty_histogram() -> None:
    svg(histogram("t", [], x="x", y="y"))
    svg(histogram("t", [0], x="x", y="y"))
