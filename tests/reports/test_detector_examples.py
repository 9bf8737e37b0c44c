"""pycocotools is the oracle of the matching."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from detector_samples import annotations_of, matches_of, simulated
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tagbox.data.dataset import Annotations
from tagbox.predictions.predictions import Detections
from tagbox.reports.detector_examples import (
    IGNORED,
    WRONG,
    choose_examples,
    make_example,
    match_images,
)

NAMES = ("a", "b")
Box = tuple[float, float, float, float]
corners = st.integers(0, 12)
sides = st.integers(1, 8)
boxes = st.tuples(corners, corners, sides, sides)
objects = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), boxes, st.booleans()), max_size=14
)
outputs = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), boxes, st.sampled_from([0.25, 0.5, 0.75])),
    max_size=14,
)


def detections_of(rows: list[tuple[int, int, Box, float]], images: int = 3) -> Detections:
    return Detections(
        images=tuple(str(row) for row in range(images)),
        categories=NAMES,
        image_rows=np.array([row[0] for row in rows], np.int32),
        category_rows=np.array([row[1] for row in rows], np.int32),
        boxes=np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        scores=np.array([row[3] for row in rows], np.float64),
    )


def counted_by_pycocotools(truth: Annotations, predicted: Detections) -> dict[int, list[int]]:
    """By image what is right, wrong and missed at an IoU of 0.5."""
    annotations = [
        {
            "id": row + 1,
            "image_id": int(truth.image_rows[row]),
            "category_id": int(truth.category_rows[row]) + 1,
            "bbox": truth.boxes[row].tolist(),
            "area": float(truth.areas[row]),
            "iscrowd": int(truth.crowd[row]),
        }
        for row in range(len(truth))
    ]
    results = [
        {
            "image_id": int(predicted.image_rows[row]),
            "category_id": int(predicted.category_rows[row]) + 1,
            "bbox": predicted.boxes[row].tolist(),
            "score": float(predicted.scores[row]),
        }
        for row in range(len(predicted))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": row} for row in range(len(predicted.images))],
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(NAMES)],
            "annotations": annotations,
        }
        coco.createIndex()
        found = COCO()
        found.dataset = coco.dataset | {
            "annotations": [
                one | {"id": i, "area": one["bbox"][2] * one["bbox"][3], "iscrowd": 0}
                for i, one in enumerate(results, start=1)
            ]
        }
        found.createIndex()
        evaluator = COCOeval(coco, found, "bbox")
        evaluator.params.iouThrs = np.array([0.5])
        evaluator.params.areaRng = [[0, 1e10]]
        evaluator.params.maxDets = [10_000]
        evaluator.evaluate()
    counts = {row: [0, 0, 0] for row in range(len(predicted.images))}
    for one in filter(None, evaluator.evalImgs):
        matched, ignored = one["dtMatches"][0] > 0, one["dtIgnore"][0].astype(bool)
        right = int((matched & ~ignored).sum())
        here = counts[one["image_id"]]
        here[0] += right
        here[1] += int((~matched & ~ignored).sum())
        here[2] += int((np.array(one["gtIgnore"]) == 0).sum()) - right
    return counts


@given(objects, outputs)
def test_counts_are_those_of_pycocotools(
    there: list[tuple[int, int, Box, bool]], predicted: list[tuple[int, int, Box, float]]
) -> None:
    truth = annotations_of(*([one[i] for one in there] for i in range(4)))  # type: ignore[arg-type]
    detections = detections_of(predicted)
    matched = match_images(matches_of(truth, detections), 0.0)
    assert {p.row: [p.right, p.wrong, p.missed] for p in matched} == counted_by_pycocotools(
        truth, detections
    )


def test_counts_of_many_boxes_are_those_of_pycocotools() -> None:
    truth, detections = simulated(NAMES, 60, found=0.8)
    matched = match_images(matches_of(truth, detections), 0.0)
    assert {p.row: [p.right, p.wrong, p.missed] for p in matched} == counted_by_pycocotools(
        truth, detections
    )


def test_an_image_worked_by_hand() -> None:
    square = (0.0, 0.0, 10.0, 10.0)
    truth = annotations_of(
        [0, 0, 0, 1, 2],
        [0, 1, 0, 0, 0],
        [square, square, (50.0, 50.0, 10.0, 10.0), (0.0, 0.0, 40.0, 40.0), (np.nan,) * 4],
        [False, False, False, True, False],
    )
    detections = detections_of(
        [
            (0, 0, (0.0, 0.0, 10.0, 8.0), 0.6),  # Found already by the surer next one.
            (0, 0, (0.0, 0.0, 10.0, 9.0), 0.9),
            (0, 1, (0.0, 5.0, 10.0, 10.0), 0.8),  # IoU of a third.
            (0, 0, (50.0, 50.0, 10.0, 10.0), 0.1),  # Below its cut.
            (1, 0, (10.0, 10.0, 8.0, 8.0), 0.9),  # In a crowd region.
            (1, 1, (10.0, 10.0, 8.0, 8.0), 0.3),  # Of another category; at its cut.
        ]
    )
    first, second, third = match_images(matches_of(truth, detections), [0.5, 0.3])
    assert first.detections.tolist() == [1, 2, 0]
    assert first.found.tolist() == [0, WRONG, WRONG]
    assert (first.right, first.wrong, first.missed) == (1, 2, 2)
    assert first.f1 == pytest.approx(2 / 6)
    assert second.found.tolist() == [IGNORED, WRONG]
    assert (second.right, second.wrong, second.missed, second.f1) == (0, 1, 0, 0.0)
    # Without a box there is nothing to find.
    assert (third.right, third.wrong, third.missed, third.f1) == (0, 0, 0, 1.0)
    best, worst = choose_examples([first, second, third])
    assert [p.row for p in best] == [0]
    assert [p.row for p in worst] == [1]


def test_the_choice_is_the_same_whatever_the_order_of_the_rows() -> None:
    truth, detections = simulated(NAMES, 40)
    shuffled = detections.take(np.random.default_rng(4).permutation(len(detections)))
    one, other = (
        choose_examples(match_images(matches_of(truth, predicted), 0.3), 6)
        for predicted in (detections, shuffled)
    )
    for side, same in zip(one, other, strict=True):
        assert [p.row for p in side] == [p.row for p in same]
    best, worst = one
    assert not {p.row for p in best} & {p.row for p in worst}
    assert min(p.f1 for p in best) >= max(p.f1 for p in worst)
    assert [p.f1 for p in best] == sorted((p.f1 for p in best), reverse=True)
    assert [p.f1 for p in worst] == sorted(p.f1 for p in worst)


def test_no_detection_is_a_normal_answer() -> None:
    truth, detections = simulated(NAMES, 5)
    matched = match_images(matches_of(truth, detections.take(np.zeros(0, np.intp))), 0.5)
    assert [p.f1 for p in matched] == [0.0] * 5
    best, worst = choose_examples(matched)
    assert (len(best), len(worst)) == (0, 5)


def test_an_image_names_what_was_right_wrong_and_missed() -> None:
    truth = annotations_of([0, 0], [0, 1], [(1.0, 2.0, 10.0, 10.0), (30.0, 30.0, 10.0, 10.0)])
    detections = detections_of(
        [(0, 0, (1.0, 2.0, 10.0, 11.0), 0.9), (0, 0, (60.0, 60.0, 5.0, 5.0), 0.7)], images=1
    )
    matches = matches_of(truth, detections)
    (matched,) = match_images(matches, 0.5)
    image = np.zeros((80, 80, 3), np.uint8)
    example = make_example(image, "x.jpg", "worst", matched, matches, detections)
    assert [(label.name, label.outcome) for label in example.labels] == [
        *(("a", "false positive"), ("b", "missed"), ("a", "true positive"))
    ]
    assert example.score == pytest.approx(0.5)
    # What was found is named by its detection.
    assert [(b.name, b.score, b.truth, b.named, b.outcome) for b in example.boxes] == [
        ("a", None, True, False, "unjudged"),
        ("b", None, True, True, "missed"),
        ("a", 0.9, False, True, "true positive"),
        ("a", 0.7, False, True, "false positive"),
    ]
    card = example.card("c")
    assert [(b["style"], b["tooltip"]) for b in card["boxes"]] == [
        ("annotation", "annotation: a"),
        ("true-positive", "true positive: a 90%"),
        ("missed", "missed: b"),
        ("false-positive", "false positive: a 70%"),
    ]
    # In pixels of the drawing, 420 / 80 = 5.25 times as large; each sign is more than a colour.
    assert (card["width"], card["height"]) == (420, 420)
    outlines = {b["style"]: b["outline"] for b in card["boxes"]}
    assert outlines["missed"] == pytest.approx((157.5, 157.5, 210.0, 210.0))
    assert [b["text"][:2] for b in card["boxes"] if b["label"]] == ["a ", "○ ", "× "]
    assert example.boxes[2].box == (1.0, 2.0, 10.0, 11.0)
