"""The truth a detector learns from: clipped, counted, and refused by name where it is no box."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tagbox import TagboxError
from tagbox.data.dataset import Annotations, Categories, Dataset, Images, memory_source
from tagbox.data.load import load_dataset
from tagbox.data.training_boxes import training_boxes

Picture = Callable[..., Path]


def dataset(
    boxes: list[list[float]],
    *,
    image_rows: list[int] | None = None,
    crowd: list[bool] | None = None,
    images: int = 3,
    labelled: list[bool] | None = None,
    has_box: list[bool] | None = None,
) -> Dataset:
    """`images` pictures of 40 x 30, boxes in the first unless `image_rows` says otherwise."""
    count = len(boxes)
    return Dataset(
        images=Images(
            ids=np.arange(1, images + 1),
            files=np.array([f"{i}.jpg" for i in range(images)]),
            widths=np.full(images, 40, np.int32),
            heights=np.full(images, 30, np.int32),
            labelled=np.array(labelled or [True] * images),
            root=Path("nowhere"),
        ),
        categories=Categories.from_names(["elk", "yak"]),
        annotations=Annotations(
            image_rows=np.array(image_rows or [0] * count, np.int32),
            category_rows=(np.arange(count) % 2).astype(np.int32),
            boxes=np.array(boxes, float).reshape(-1, 4),
            has_box=np.array(has_box or [True] * count, bool),
            areas=np.full(count, np.nan),
            crowd=np.array(crowd or [False] * count, bool),
            ids=np.arange(11, 11 + count),
        ),
        source=memory_source(images, count),
    )


def test_by_hand() -> None:
    truth = training_boxes(
        dataset(
            [[30, 20, 15, 5], [1, 2, 3, 4], [0, 0, 40, 30], [-2, -1, 5, 5]],
            image_rows=[2, 0, 0, 0],
            crowd=[False, False, True, False],
        )
    )
    assert truth.rows.tolist() == [0, 1, 2]
    assert truth[0].boxes.tolist() == [[1, 2, 4, 6], [0, 0, 3, 4]]
    assert truth[0].labels.tolist() == [1, 1]
    assert truth[0].ignore.tolist() == [[0, 0, 40, 30]]
    assert truth[1].boxes.shape == truth[1].ignore.shape == (0, 4)
    # What stuck out is cut off.
    assert truth[2].boxes.tolist() == [[30, 20, 40, 25]]
    assert truth.negatives == 1 and truth.dropped == {}
    assert truth.notes == [
        "2 boxes leave their picture and are clipped to it",
        "1 image without objects kept",
    ]
    scaled = truth[2].scaled(0.5, 2)
    assert scaled.boxes.tolist() == [[15, 40, 20, 50]]


def test_unlabelled_images_are_left_out_and_negatives_kept() -> None:
    truth = training_boxes(dataset([[1, 1, 2, 2]], labelled=[True, False, True]))
    assert truth.rows.tolist() == [0, 2] and truth.unlabelled == 1
    assert truth.notes == ["1 image without labels left out", "1 image without objects kept"]


NAN = float("nan")
FAULTS = [
    ([5, 5, 0, 5], "box-degenerate", "has no area"),
    ([5, 5, 5, 0], "box-degenerate", "has no area"),
    ([9, 9, -5, 5], "box-degenerate", "has no area"),
    ([5, NAN, 5, 5], "box-degenerate", "has no area"),
    ([5, 5, float("inf"), 5], "box-degenerate", "has no area"),
    ([40, 5, 5, 5], "box-outside", "40×30"),
    ([5, -9, 5, 9], "box-outside", "40×30"),
    ([-9, 5, 9, 5], "box-outside", "40×30"),
    ([5, 200, 5, 9], "box-outside", "40×30"),
]


@pytest.mark.parametrize(("box", "code", "words"), FAULTS)
def test_faults_are_refused_by_name_or_dropped(box: list[float], code: str, words: str) -> None:
    data = dataset([[1, 1, 9, 9], box, box], image_rows=[0, 1, 1])
    with pytest.raises(TagboxError) as caught:
        training_boxes(data)
    error = caught.value
    assert error.code == code and words in error.found and "1 more like it" in error.found
    assert error.file == "memory" and error.where == "annotations[1] (id 12).bbox"
    assert error.hint is not None and "--boxes drop" in error.hint
    truth = training_boxes(data, "drop")
    assert truth.dropped == {code: 2}
    assert truth.rows.tolist() == [0, 1, 2]
    assert len(truth[0].boxes) == 1 and len(truth[1].boxes) == 0
    assert truth.notes[0].startswith("2 boxes")


def test_an_object_without_a_box_is_no_background() -> None:
    data = dataset([[1, 1, 9, 9], [0, 0, 0, 0]], image_rows=[0, 1], has_box=[True, False])
    with pytest.raises(TagboxError) as caught:
        training_boxes(data)
    assert (caught.value.code, caught.value.where) == (
        "annotation-without-box",
        "annotations[1] (id 12).bbox",
    )
    truth = training_boxes(data, "drop")
    assert truth.rows.tolist() == [0, 2] and truth.unplaced == 1
    assert truth.notes[:2] == [
        "1 annotation without a box left out",
        "1 image with such an annotation left out",
    ]


@pytest.mark.parametrize("policy", ["refuse", "drop"])
def test_nothing_to_learn_from(policy: Any) -> None:
    for data in (
        dataset([]),
        dataset([[1, 1, 5, 5]], crowd=[True]),
        dataset([[1, 1, 5, 5]], has_box=[False]),
        dataset([[1, 1, 5, 5]], labelled=[False, True, True]),
    ):
        with pytest.raises(TagboxError) as caught:
            training_boxes(data, policy)
        assert caught.value.code == "no-boxes"
    with pytest.raises(TagboxError) as caught:
        training_boxes(dataset([[1, 1, 0, 5]]), "drop")
    assert caught.value.code == "no-boxes"


def test_files_that_write_boxes_in_another_way() -> None:
    corners = dataset([[20, 10, 30, 25], [25, 20, 39, 29], [1, 1, 40, 30]])
    with pytest.raises(TagboxError) as caught:
        training_boxes(corners)
    assert caught.value.code == "boxes-corners"
    assert len(training_boxes(corners, "drop")[0].boxes) == 3
    parts = dataset([[0.1, 0.2, 0.5, 0.5], [0, 0, 1, 1], [0.3, 0.2, 0.1, 0.1]])
    for policy in ("refuse", "drop"):
        with pytest.raises(TagboxError) as caught:
            training_boxes(parts, policy)  # type: ignore[arg-type]
        assert caught.value.code == "boxes-normalised"
    # One small box, or boxes that stand over the edge, are neither.
    assert len(training_boxes(dataset([[0, 0, 1, 1]])).rows) == 3
    training_boxes(dataset([[20, 10, 30, 15], [-9, 20, 20, 29], [20, 20, 25, 25], [0, 0, 9, 9]]))


SUZANNE = {
    "images": [{"id": 0, "file_name": "000000.jpg", "height": 360, "width": 640}],
    "annotations": [
        {"id": 0, "image_id": 0, "bbox": [293.03, 137.7, 92.31, 91.92], "category_id": 1}
    ],
    "categories": [{"id": 1, "name": "Suzanne"}],
}


def test_the_smallest_file_of_all(tmp_path: Path) -> None:
    """Ids from 0, no area, no iscrowd: as a tutorial writes it by hand."""
    (tmp_path / "labels.json").write_text(json.dumps(SUZANNE))
    truth = training_boxes(load_dataset(tmp_path / "labels.json"))
    assert_allclose(truth[0].boxes, [[293.03, 137.7, 385.34, 229.62]])
    assert truth[0].labels.tolist() == [0] and truth.notes == []


def test_the_smallest_file_is_checked(
    cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, picture: Picture
) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(SUZANNE))
    picture(tmp_path / "000000.jpg", (640, 360))
    done = cli("check", tmp_path / "labels.json", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    # Other tools stumble over all three.
    assert answer["codes"] == {"annotation-id-zero": 1, "missing-area": 1, "missing-iscrowd": 1}
    figures = answer["datasets"][0]["statistics"]
    assert figures["boxes"] == 1 and figures["objects"] == {"small": 0, "medium": 1, "large": 0}
    assert figures["aspect_ratios"]["median"] == pytest.approx(92.31 / 91.92)


def test_sizes_that_nobody_states_are_read(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "0.jpg", (40, 30))
    data = dataset([[30, 20, 20, 20], [50, 1, 2, 2]], images=1)
    bare = replace(
        data,
        images=replace(
            data.images, widths=np.zeros(1, np.int32), heights=np.zeros(1, np.int32), root=tmp_path
        ),
    )
    assert training_boxes(bare, "drop")[0].boxes.tolist() == [[30, 20, 40, 30]]
    # Without the picture nothing is known of its edges.
    (tmp_path / "0.jpg").unlink()
    assert training_boxes(bare)[0].boxes.tolist() == [[30, 20, 50, 40], [50, 1, 52, 3]]


def test_yolo_and_labelme_boxes_are_pixels(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "yolo" / "images" / "a.jpg", (40, 20))
    (tmp_path / "yolo" / "labels").mkdir()
    (tmp_path / "yolo" / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.2\n0 0 0 0.5 0 0.5 1\n")
    (tmp_path / "yolo" / "data.yaml").write_text("names: [elk]\n")
    truth = training_boxes(load_dataset(tmp_path / "yolo"))
    assert_allclose(truth[0].boxes, [[10, 8, 30, 12], [0, 0, 20, 20]])
    picture(tmp_path / "me" / "a.jpg", (40, 20))
    shapes = [
        {"label": "elk", "points": points, "shape_type": kind}
        for kind, points in (
            ("polygon", [[1, 2], [8, 3], [4, 9]]),
            ("rectangle", [[30, 15], [20, 5]]),
            ("circle", [[10, 10], [13, 14]]),
            ("line", [[3, 3], [9, 3]]),
        )
    ]
    content = {"shapes": shapes, "imagePath": "a.jpg", "imageWidth": 40, "imageHeight": 20}
    (tmp_path / "me" / "a.json").write_text(json.dumps(content))
    data = load_dataset(tmp_path / "me")
    with pytest.raises(TagboxError) as caught:
        training_boxes(data)
    assert (caught.value.code, caught.value.where) == (
        "box-degenerate",
        "a.jpg, annotation 4 of it",
    )
    truth = training_boxes(data, "drop")
    assert_allclose(truth[0].boxes, [[1, 2, 8, 9], [20, 5, 30, 15], [5, 5, 15, 15]])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.tuples(*[st.floats(-60, 60) | st.sampled_from([NAN, np.inf, 1e308])] * 4),
            st.booleans(),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_what_is_left_lies_in_its_picture_and_has_an_area(
    records: list[tuple[int, tuple[float, ...], bool, bool]],
) -> None:
    data = dataset(
        [list(box) for _, box, _, _ in records],
        image_rows=[row for row, *_ in records],
        crowd=[crowd for *_, crowd, _ in records],
        has_box=[there for *_, there in records],
    )
    try:
        truth = training_boxes(data, "drop")
    except TagboxError as error:
        assert error.code in ("no-boxes", "boxes-normalised")
        return
    seen = 0
    for row in range(3):
        here = truth[row]
        assert len(here.boxes) == len(here.labels)
        seen += len(here.boxes) + len(here.ignore)
        for boxes in (here.boxes, here.ignore):
            assert (boxes >= 0).all() and (boxes <= [40, 30, 40, 30]).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert_array_equal(np.diff(truth.starts).sum(), seen)
