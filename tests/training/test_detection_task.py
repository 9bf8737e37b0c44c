"""A detector's figures of an epoch: boxes in pixels of the original pictures, losses a box, any order and any share."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tagbox.config import DataConfig, SynthConfig
from tagbox.data.dataset import Dataset
from tagbox.data.load import load_dataset
from tagbox.data.record_pixels import record_pixels
from tagbox.data.synthetic.generate import generate
from tagbox.evaluation.evaluate_detections import evaluate_boxes
from tagbox.models.detectors.base import Found
from tagbox.training.box_batches import BoxBatch
from tagbox.training.detection_task import DetectionMetrics, DetectionOutputs, original_boxes
from tagbox.training.distributed import Runtime


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("scenes")
    made = generate(folder / "all", SynthConfig(images=12, width=160, height=120, seed=5))
    return load_dataset(made.parts["train"], DataConfig())


def said_of(dataset: Dataset, row: int, *, shift: float = 0.0) -> DetectionOutputs:
    """The annotated boxes of a picture that the batch holds at half its size, some pixels to the right."""
    notes = dataset.annotations
    mine = np.flatnonzero((notes.image_rows == row) & notes.has_box & ~notes.crowd)
    boxes = notes.boxes[mine] / 2
    corners = np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    corners[:, ::2] += shift
    found = Found(
        boxes=torch.from_numpy(corners).float(),
        scores=torch.linspace(0.9, 0.5, len(mine)),
        labels=torch.from_numpy(notes.category_rows[mine]).long(),
    )
    return DetectionOutputs(
        {"box": 3.0, "score": 1.0}, [found], np.array([row]), np.array([[0.5, 0.5]])
    )


def filled(dataset: Dataset, rows: list[int], shift: float = 1.5) -> DetectionMetrics:
    figures = DetectionMetrics(record_pixels(dataset))
    for row in rows:
        add(figures, said_of(dataset, row, shift=shift))
        figures.add_loss(4.0, 2.0)
    return figures


def add(figures: DetectionMetrics, said: DetectionOutputs) -> None:
    part = BoxBatch(
        images=torch.zeros(1, 60, 80, 3, dtype=torch.uint8),
        sizes=[(60, 80)],
        targets=[],
        rows=said.rows,
        scales=said.scales,
    )
    figures.add(part, said)


def test_boxes_of_a_batch_in_pixels_of_the_picture() -> None:
    boxes = np.array([[10.0, 20.0, 30.0, 60.0], [-4.0, 0.0, 200.0, 90.0]])
    scale = np.array([0.5, 0.25])
    found = original_boxes(boxes, scale, (300.0, 200.0))
    assert found.tolist() == [[20.0, 80.0, 40.0, 120.0], [0.0, 0.0, 300.0, 200.0]]
    # A picture of unknown size clips nothing on its right and lower sides.
    assert original_boxes(boxes, scale, (0.0, 0.0))[1].tolist() == [0.0, 0.0, 400.0, 360.0]


def test_the_truth_found_exactly_is_perfect(dataset: Dataset) -> None:
    scores = filled(dataset, list(range(12)), shift=0.0).scores()
    assert scores["ap"] == pytest.approx(1.0)
    assert scores["loss"] == 2.0
    # Twelve pictures with 2 boxes each, 3 of the one part and 1 of the other a picture.
    assert scores["loss_box"] == 36 / 24
    assert scores["loss_score"] == 12 / 24


def test_an_epochs_figures_are_those_of_an_evaluation(dataset: Dataset) -> None:
    figures = filled(dataset, list(range(12)))
    scores, whole = figures.scores(), evaluate_boxes(dataset, figures.detections)
    assert 0 < (scores["ap"] or 0) < 1
    for name in ("ap", "ap50", "ap75", "ar100"):
        assert scores[name] == whole[name]


def test_neither_order_nor_an_interruption_changes_them(dataset: Dataset) -> None:
    rows = np.random.default_rng(0).permutation(12).tolist()
    whole = filled(dataset, list(range(12)))
    half = filled(dataset, rows[:5])
    resumed = DetectionMetrics(record_pixels(dataset))
    resumed.load_state_dict(half.state_dict())
    for row in rows[5:]:
        add(resumed, said_of(dataset, row, shift=1.5))
        resumed.add_loss(4.0, 2.0)
    assert resumed.scores() == pytest.approx(whole.scores())
    assert resumed.gathered(Runtime("cpu")).scores() == resumed.scores()
    for field in dataclasses.fields(whole.detections):
        ours, theirs = (getattr(each.detections, field.name) for each in (resumed, whole))
        if isinstance(ours, np.ndarray):
            assert np.array_equal(ours, theirs), field.name


def test_no_boxes_at_all_give_losses_only(dataset: Dataset) -> None:
    figures = DetectionMetrics(record_pixels(dataset))
    figures.add_loss(6.0, 3.0)
    assert figures.scores() == {"loss": 2.0}
