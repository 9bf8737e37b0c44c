"""Which positions answer for which object: small cases worked by hand."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from tagbox.models.detectors.base import Target  # noqa: E402
from tagbox.models.detectors.positions import assign  # noqa: E402

GRID = torch.tensor([[x * 8 + 4.0, y * 8 + 4.0] for y in range(4) for x in range(4)])
STRIDES = torch.full((16,), 8.0)


def target(boxes: list[list[float]], labels: list[int], ignore: list[list[float]] = []) -> Target:  # noqa: B006
    return Target(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.long),
        torch.tensor(ignore).reshape(-1, 4),
    )


def said(score: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Every position of one picture says its own cell, and the same score for both categories."""
    boxes = torch.cat([GRID - 4, GRID + 4], dim=1)[None]
    return torch.full((1, 16, 2), score), boxes


def test_without_objects_every_position_is_asked_for_nothing() -> None:
    found = assign(*said(), GRID, STRIDES, [target([], [])])
    assert not found.scores.any()
    assert not found.weight.any()
    assert found.known.all()


def test_the_position_that_lies_best_is_asked_for_its_own_overlap() -> None:
    # The box is cell 5 (8..16), which alone overlaps it: wholly.
    found = assign(*said(), GRID, STRIDES, [target([[8.0, 8, 16, 16]], [1])])
    assert found.weight[0].nonzero().flatten().tolist() == [5]
    assert found.weight[0, 5] == pytest.approx(1.0)
    assert found.scores[0, 5].tolist() == pytest.approx([0.0, 1.0])
    assert found.boxes[0, 5].tolist() == [8, 8, 16, 16]


def test_weights_follow_score_times_overlap_to_the_sixth() -> None:
    # A box of 8 x 12 over cells 5 (wholly inside, 64 of 96) and 9 (half of it, 32 of 128).
    scores, boxes = said()
    scores[0, 5, 0], scores[0, 9, 0] = 0.2, 0.8
    found = assign(scores, boxes, GRID, STRIDES, [target([[8.0, 8, 16, 20]], [0])])
    overlaps = torch.tensor([64 / 96, 32 / 128])
    aligned = torch.tensor([0.2, 0.8]) * overlaps**6
    expected = aligned * overlaps[0] / aligned[0]
    assert found.weight[0, [5, 9]].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert found.scores[0, [5, 9], 0].tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_position_answers_for_the_object_it_overlaps_more() -> None:
    # Both boxes want cell 5; the second is that cell.
    there = target([[4.0, 4, 20, 20], [8, 8, 16, 16]], [0, 1])
    found = assign(*said(), GRID, STRIDES, [there])
    assert found.boxes[0, 5].tolist() == [8, 8, 16, 16]
    assert found.scores[0, 5, 0] == 0


def test_an_object_smaller_than_a_cell_has_positions() -> None:
    # It lies between the centres: 7..9 holds none of 4, 12, 20, 28.
    found = assign(*said(), GRID, STRIDES, [target([[7.0, 7, 9, 9]], [0])])
    assert int((found.weight > 0).sum()) == 4


def test_regions_to_ignore_ask_nothing_unless_an_object_lies_there() -> None:
    there = target([[8.0, 8, 16, 16]], [0], [[0.0, 0, 16, 16]])
    found = assign(*said(), GRID, STRIDES, [there])
    assert (~found.known[0]).nonzero().flatten().tolist() == [0, 1, 4]
    assert found.known[0, 5]


def test_pictures_of_a_batch_know_nothing_of_each_other() -> None:
    first = target([[8.0, 8, 16, 16]], [0])
    second = target([[0.0, 0, 8, 8], [16, 16, 32, 32], [3, 20, 9, 31]], [1, 0, 1])
    scores, boxes = said(0.3)
    both = assign(scores.expand(2, -1, -1), boxes.expand(2, -1, -1), GRID, STRIDES, [first, second])
    for row, alone in enumerate((first, second)):
        one = assign(scores, boxes, GRID, STRIDES, [alone])
        assert torch.equal(both.scores[row], one.scores[0])
        assert torch.equal(both.weight[row], one.weight[0])
