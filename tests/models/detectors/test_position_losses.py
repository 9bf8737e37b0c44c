"""Losses of detectors with a score and a box at every position, against plain formulas and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from tagbox.config import DetectorConfig  # noqa: E402
from tagbox.models.detectors.base import Target  # noqa: E402
from tagbox.models.detectors.create import create_detector  # noqa: E402
from tagbox.models.detectors.nanodet import BINS, STRIDES  # noqa: E402
from tagbox.models.detectors.positions import PositionDetector, assign  # noqa: E402

SIDE, LOG2 = 32, math.log(2)


def nanodet(names: str = "ab") -> PositionDetector:
    config = DetectorConfig(detector="nanodet_g", weights="none", size=SIDE)
    made = create_detector(config, names)
    assert isinstance(made, PositionDetector)
    return made


def maps(images: int, categories: int) -> list[torch.Tensor]:
    """One map of zeros for each stride."""
    return [torch.zeros(images, categories + 4 * BINS, SIDE // s, SIDE // s) for s in STRIDES]


def target(
    boxes: list[list[float]], labels: list[int], ignore: list[list[float]] | None = None
) -> Target:
    return Target(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.long),
        torch.tensor(ignore or []).reshape(-1, 4),
    )


def losses(
    detector: PositionDetector, parts: list[torch.Tensor], targets: list[Target], width: int = SIDE
) -> dict[str, float]:
    pixels = torch.zeros(len(targets), 3, SIDE, SIDE)
    found = detector.losses(parts, pixels, [(SIDE, width)] * len(targets), targets)
    return {name: float(value) for name, value in found.items()}


def test_a_picture_without_objects_by_hand() -> None:
    """16 + 4 + 1 positions, 2 categories, every score a half where none is asked for: 0.5^2 log 2 each."""
    found = losses(nanodet(), maps(1, 2), [target([], [])])
    assert found == {"score": pytest.approx(21 * 2 * 0.25 * LOG2), "box": 0, "distribution": 0}


def test_one_position_by_hand() -> None:
    """The position at (12, 12) says its own cell, 8 to 16; the object is that cell and the one to its right.

    Its overlap, 1/2, is what its score is asked for; the score is 3/4. No other position says a box or a category.
    """
    parts = maps(1, 1)
    for part in parts:
        part[:, 0] = -60.0
        part[:, 1:].unflatten(1, (4, BINS))[:, :, 0] = 50.0
    here = parts[0][0, :, 1, 1]
    here[0] = math.log(3)
    here[1:].unflatten(0, (4, BINS))[:, 1] = 50.0
    found = losses(nanodet("a"), parts, [target([[8, 8, 24, 16]], [0])])
    entropy = -(math.log(3 / 4) + math.log(1 / 4)) / 2
    assert found["score"] == pytest.approx((3 / 4 - 1 / 2) ** 2 * entropy, rel=1e-4)
    # 1 - GIoU is 1/2: the object is also the hull of both boxes.
    assert found["box"] == pytest.approx(2 * 1 / 2 * 1 / 2, rel=1e-4)
    # Three sides are half a stride away, between the bins 0 and 1, of probability 1/2 each; the right one is 1.5
    # strides away, between the bins 1 and 2: of the latter the probability is exp(-50) / 2.
    sides = [LOG2, LOG2, (LOG2 + 50 + LOG2) / 2, LOG2]
    assert found["distribution"] == pytest.approx(0.25 * sum(sides) / 4 * 1 / 2, rel=1e-4)


def giou(a: np.ndarray, b: np.ndarray) -> float:
    """Rezatofighi et al., CVPR 2019, algorithm 1."""
    both = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both
    hull = np.prod(np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2]))
    return float(both / union - (hull - union) / hull)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("width", [SIDE, 24])
def test_the_formulas_of_the_papers(width: int) -> None:
    """Li et al., "Generalized Focal Loss", equations 5 and 6, position by position, with the targets of `assign`."""
    generator = torch.Generator().manual_seed(2)
    parts = [torch.randn(part.shape, generator=generator) for part in maps(2, 2)]
    targets = [
        target([[2, 3, 20, 18], [9, 9, 30, 31]], [0, 1], [[20, 0, 32, 8]]),
        target([[4, 4, 12, 14]], [1]),
    ]
    points = [
        ((x + 0.5) * s, (y + 0.5) * s, s)
        for s in STRIDES
        for y in range(SIDE // s)
        for x in range(SIDE // s)
    ]
    rows = torch.cat([part.flatten(2).transpose(1, 2) for part in parts], dim=1).double().numpy()
    scores = 1 / (1 + np.exp(-rows[..., :2]))
    bins = softmax(rows[..., 2:].reshape(2, len(points), 4, BINS))
    away = bins @ np.arange(BINS)
    where = np.array(points)
    centre, stride = where[:, :2], where[:, 2:]
    boxes = np.concatenate([centre - away[..., :2] * stride, centre + away[..., 2:] * stride], 2)
    wanted = assign(
        *(torch.from_numpy(a).float() for a in (scores, boxes, centre, stride[:, 0])), targets
    )
    expected = {"score": 0.0, "box": 0.0, "distribution": 0.0}
    for image in range(2):
        for row, point in enumerate(points):
            if point[0] >= width or not wanted.known[image, row]:
                continue
            for label in range(2):
                q, p = float(wanted.scores[image, row, label]), scores[image, row, label]
                cost = (1 - q) * math.log(1 - p) + q * math.log(p)
                expected["score"] -= abs(q - p) ** 2 * cost
        for row in np.flatnonzero(wanted.weight[image].numpy()):
            x, y, s = points[row]
            truth = wanted.boxes[image, row].double().numpy()
            weight = float(wanted.weight[image, row])
            expected["box"] += 2 * weight * (1 - giou(boxes[image, row], truth))
            sides = np.array([x - truth[0], y - truth[1], truth[2] - x, truth[3] - y]) / s
            for side, distance in enumerate(np.clip(sides, 0, BINS - 1.01)):
                low = int(distance)
                p = bins[image, row, side]
                cost = (low + 1 - distance) * math.log(p[low])
                cost += (distance - low) * math.log(p[low + 1])
                expected["distribution"] -= 0.25 * weight * cost / 4
    found = losses(nanodet(), parts, targets, width)
    assert (wanted.weight > 0).sum() > 10
    assert not wanted.known.all()
    assert found == {name: pytest.approx(value, rel=1e-4) for name, value in expected.items()}
