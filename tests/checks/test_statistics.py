from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tagbox.checks.statistics import co_occurrence_counts, statistics
from tagbox.data.dataset import Annotations, Categories, Dataset, Images, memory_source


def dataset() -> Dataset:
    """Four images: {cat twice, dog}, {cat}, nothing, unlabelled; and a category nobody uses."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 40, 40], [0, 0, 100, 100], [0, 0, 0, 0]], float)
    return Dataset(
        images=Images(
            ids=np.arange(4),
            files=np.array(["a", "b", "c", "d"]),
            widths=np.array([640, 480, 640, 0], np.int32),
            heights=np.array([480, 640, 480, 0], np.int32),
            labelled=np.array([True, True, True, False]),
            root=Path(),
        ),
        categories=Categories.from_names(["cat", "dog", "cow"]),
        annotations=Annotations(
            image_rows=np.array([0, 0, 0, 1], np.int32),
            category_rows=np.array([0, 0, 1, 0], np.int32),
            boxes=boxes,
            has_box=np.array([True, True, True, False]),
            areas=np.full(4, np.nan),
            crowd=np.array([False, False, True, False]),
            ids=np.arange(1, 5),
        ),
        source=memory_source(4, 4),
    )


def test_by_hand() -> None:
    counts = statistics(dataset())
    assert counts["images"] == 4
    assert counts["labelled_images"] == 3
    assert counts["empty_images"] == 1
    assert (counts["annotations"], counts["boxes"], counts["crowds"]) == (4, 3, 1)
    assert counts["labels_per_image"] == {
        "mean": 1.0,
        "median": 1.0,
        "max": 2,
        "histogram": [1, 1, 1],
    }
    assert counts["categories"][0] == {
        "name": "cat",
        "supercategory": "",
        "images": 2,
        "annotations": 3,
        "share": pytest.approx(2 / 3),
    }
    assert [c["images"] for c in counts["categories"]] == [2, 1, 0]
    assert counts["imbalance"] == 2.0
    # P(cat and dog) = 1/3, P(cat) P(dog) = 2/3 * 1/3
    assert counts["co_occurrence"] == [
        {"a": "cat", "b": "dog", "images": 1, "lift": pytest.approx(1.5)}
    ]
    assert counts["widths"] == {"min": 480, "median": 640, "max": 640}
    # 100 and 1,600 and 10,000 pixels²: COCO's limits are 1,024 and 9,216
    assert counts["objects"] == {"small": 1, "medium": 1, "large": 1}
    assert counts["boxes_per_image"] == {"mean": 1.0, "median": 0.0, "max": 3.0}
    assert counts["box_sides"]["median"] == pytest.approx(40)
    assert counts["box_sides"]["p5"] == pytest.approx(13)
    assert counts["aspect_ratios"] == dict.fromkeys(("p5", "p25", "median", "p75", "p95"), 1.0)


def test_nothing_labelled() -> None:
    counts = statistics(dataset().take([3]))
    assert counts["labels_per_image"]["mean"] is None
    assert counts["imbalance"] is None and counts["widths"] is None
    assert counts["boxes_per_image"] is None and counts["aspect_ratios"] is None
    assert counts["co_occurrence"] == []


def test_co_occurrence_counts() -> None:
    present = np.random.default_rng(0).random((1000, 7)) < 0.3
    expected = present.T.astype(int) @ present.astype(int)
    np.testing.assert_array_equal(co_occurrence_counts(present), expected)
