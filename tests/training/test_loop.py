"""The loop: keeps the best epoch, stops early, stops on a loss that is not finite, repeats exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from tagbox.errors import TagboxError
from tagbox.training.classification_task import ClassificationTask, FeatureBatches
from tagbox.training.distributed import Runtime
from tagbox.training.history import is_better
from tagbox.training.loop import Stop, evaluate, fit
from tagbox.training.losses import create_loss
from tagbox.training.optim import Schedule
from tagbox.training.task import TrainSetup, TrainState

CATEGORIES, WIDTH = 4, 10


def separable(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features whose first columns say the labels, with noise."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((rows, CATEGORIES)) < 0.4).astype(np.int8)
    features = rng.normal(size=(rows, 1, WIDTH)).astype(np.float32)
    features[:, 0, :CATEGORIES] += 5 * labels
    return features, labels


def setup(model: torch.nn.Module, rate: float) -> TrainSetup:
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    loss = create_loss("bce", torch.full((CATEGORIES,), 0.4))
    return TrainSetup(
        model=model,
        task=ClassificationTask(loss, loss),
        optimizer=optimizer,
        schedule=Schedule(optimizer, lambda _: (1.0, None)),
    )


def run(
    *, rate: float = 0.05, epochs: int = 8, patience: int = 8, best_by: str = "map", **scale: float
) -> tuple[torch.nn.Module, TrainState, FeatureBatches]:
    features, labels = separable(60, 0)
    held = FeatureBatches(*separable(40, 1), batch_size=16, shuffle=False)
    train = FeatureBatches(
        features * scale.get("scale", 1.0), labels, batch_size=16, shuffle=True, seed=5
    )
    torch.manual_seed(0)
    model = torch.nn.Linear(WIDTH, CATEGORIES)
    train_state = fit(
        setup(model, rate),
        train,
        held,
        stop=Stop(epochs=epochs, patience=patience, best_by=best_by),
        runtime=Runtime("cpu"),
    )
    return model, train_state, held


def test_learns_and_leaves_the_best_epochs_weights() -> None:
    model, train_state, held = run(rate=0.3)
    figures = [row["val_map"] for row in train_state.history]
    best = train_state.history[train_state.best_epoch - 1]
    assert best["val_map"] == max(figures)  # type: ignore[type-var]
    assert best["val_map"] > 0.9  # type: ignore[operator]
    loss = create_loss("bce", torch.full((CATEGORIES,), 0.4))
    assert (
        evaluate(model, held, ClassificationTask(loss, loss), Runtime("cpu")).scores()["map"]
        == best["val_map"]
    )


def test_the_epochs_map_is_sklearns() -> None:
    model, train_state, held = run()
    loss = create_loss("bce", torch.full((CATEGORIES,), 0.4))
    probabilities = evaluate(
        model, held, ClassificationTask(loss, loss), Runtime("cpu")
    ).probabilities
    expected = average_precision_score(held.targets.numpy(), probabilities, average="macro")
    assert train_state.history[train_state.best_epoch - 1]["val_map"] == pytest.approx(
        expected, abs=1e-12
    )


def test_training_figures_are_of_the_batches_trained_on() -> None:
    # One epoch at rate 0: the weights never move, so the running loss is the loss of the set.
    model, train_state, _ = run(rate=0.0, epochs=1)
    whole = FeatureBatches(*separable(60, 0), batch_size=16, shuffle=False)
    loss = create_loss("bce", torch.full((CATEGORIES,), 0.4))
    expected = evaluate(model, whole, ClassificationTask(loss, loss), Runtime("cpu")).scores()[
        "loss"
    ]
    assert train_state.history[0]["train_loss"] == pytest.approx(expected, rel=1e-6)


def test_stops_early_when_nothing_gets_better() -> None:
    _, train_state, _ = run(rate=0.0, epochs=50, patience=3)
    assert train_state.over
    assert train_state.best_epoch == 1
    assert len(train_state.history) == 4


def test_best_by_loss_takes_the_lowest() -> None:
    _, train_state, _ = run(best_by="val_loss")
    losses = [row["val_loss"] for row in train_state.history]
    assert train_state.best_epoch == int(np.argmin(losses)) + 1  # type: ignore[arg-type]


def test_a_loss_that_is_not_finite_stops_in_one_sentence() -> None:
    with pytest.raises(TagboxError, match="epoch 1") as raised:
        run(scale=float("inf"))
    assert raised.value.code == "loss-not-finite"


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = run()[0], run()[0]
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("value", "best", "expected"),
    [
        (0.5, 0.4, True),
        (0.4, 0.4, False),
        (float("nan"), 0.4, False),  # `nan > best` must never decide
        (None, 0.4, False),  # no category of validation has a positive
        (0.1, float("nan"), True),
        (0.1, None, True),
    ],
)
def test_better(value: Any, best: Any, expected: bool) -> None:
    assert is_better({"val_map": value}, {"val_map": best}, "map") is expected
    if value is not None and best is not None:
        lower = is_better({"val_loss": -value}, {"val_loss": -best}, "val_loss")
        assert lower is expected


@pytest.mark.parametrize("tied", [0.0, None, float("nan")])
def test_of_epochs_with_the_same_metric_the_one_of_lower_loss_is_kept(tied: Any) -> None:
    """A detector whose AP is still 0 learns nevertheless: its first epoch is its worst."""
    losses = [3.0, 2.0, float("nan"), 1.5, 1.8]
    best = None
    for loss in losses:
        row = {"val_ap": tied, "val_loss": loss}
        best = row if is_better(row, best, "ap") else best
    assert best is not None
    assert best["val_loss"] == 1.5
    assert is_better({"val_ap": 0.1, "val_loss": 9.0}, best, "ap")


def test_the_first_epoch_is_always_the_best_so_far() -> None:
    assert is_better({"val_map": None}, None, "map")


def test_batches_cover_every_image_once_and_draw_both_views() -> None:
    features = np.arange(11 * 2, dtype=np.float32).reshape(11, 2, 1)
    batches = FeatureBatches(
        features, np.zeros((11, 1), np.int8), batch_size=4, shuffle=True, seed=1
    )
    seen = [
        np.concatenate([b.inputs.numpy()[:, 0] for (b,) in batches.epoch(e)]) for e in range(1, 9)
    ]
    for values in seen:
        assert sorted(values // 2) == list(range(11))
    assert len({tuple(values) for values in seen}) == len(seen)
    assert 0.25 < np.mean(np.concatenate(seen) % 2) < 0.75
    assert len(batches) == len(list(batches.epoch(1))) == 3
