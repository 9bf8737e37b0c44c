from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tagbox.reports.detector_charts import aspect_chart, size_chart


def texts(figure: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(figure).iter("text")]


def bars(figure: str) -> dict[str, int]:
    titles = [t.text or "" for t in ElementTree.fromstring(figure).iter("title")]
    return {words.rpartition(": ")[0]: int(words.split()[-2].replace(",", "")) for words in titles}


def test_sizes_worked_by_hand() -> None:
    # Sides of the squares of the same area: 8, 32 (medium, as its area is not below 32²), 96, 128.
    sizes = np.array([[4, 16], [32, 32], [96, 96], [64, 256], [np.nan, 3], [0, 5]], np.float64)
    figure = size_chart(sizes)
    assert {"small 25%", "medium 50%", "large 25%"} <= set(texts(figure))
    assert {"8", "16", "32", "64", "128"} <= set(texts(figure))
    found = bars(figure)
    assert found["8 to 10"] == 1
    assert found["32 to 40"] == 1
    assert found["81 to 102"] == 1
    assert sum(found.values()) == 4


def test_shapes_worked_by_hand() -> None:
    figure = aspect_chart(np.array([[10, 40], [20, 20], [30, 10], [60, 15]], np.float64))
    assert {
        "taller than wide 25%",
        "wider than tall 50%",
        "1:4",
        "1:2",
        "1:1",
        "2:1",
        "4:1",
    } <= set(texts(figure))
    found = bars(figure)
    assert found == {"1:4 to 1:3.2": 1, "1:1 to 1.3:1": 1, "2.5:1 to 3.2:1": 1, "3.2:1 to 4:1": 1}


def test_without_a_box_there_is_no_chart() -> None:
    for sizes in (np.zeros((0, 2)), np.array([[0.0, 4.0], [np.nan, 1.0]])):
        assert not size_chart(sizes)
        assert not aspect_chart(sizes)


@given(arrays(np.float64, (5, 2), elements=st.floats(1e-3, 1e5)))
def test_any_boxes_are_all_in_the_bars(sizes: np.ndarray) -> None:
    for figure in (size_chart(sizes), aspect_chart(sizes)):
        assert sum(bars(figure).values()) == 5
        assert re.search(r"nan|inf(?!o)", figure) is None
