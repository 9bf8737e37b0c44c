"""A head trained in folds: out-of-fold predictions choose the epoch, and the final head is trained on all images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig
from tagbox.training.classification_task import ClassificationMetrics
from tagbox.training.frozen import Encoded, train_head
from tagbox.training.history import Row, is_better
from tagbox.training.resolve_config import label_kind
from tagbox.training.task import TrainState

if TYPE_CHECKING:
    from torch import nn

    from tagbox.training.distributed import Runtime


def train_in_folds(
    encoded: Encoded,
    config: ClassifierConfig,
    runtime: Runtime,
    *,
    targets: NDArray[np.float32] | None,
    on_batch: Callable[[int, float], None],
    on_epoch: Callable[[Row, ClassificationMetrics], None],
    advance: Callable[[], None],
) -> tuple[nn.Module, TrainState, NDArray[np.float32]]:
    """Train a head on all images for as many epochs as were best for heads that had not seen the images.

    For each fold a head is trained on the other folds for all epochs (`patience` has no part) and predicts the fold
    after each of them. The predictions of all folds together give the validation metrics of an epoch; the training
    metrics are means over folds.

    Parameters
    ----------
    targets
        As in `train_head`.
    on_batch, on_epoch
        Called with (step, loss) of the final head, and with each epoch's row and out-of-fold predictions.
    advance
        Called after each epoch of each head.

    Returns
    -------
    tuple of Module, TrainState and NDArray
        The final head; the epochs' rows and the best one; (N, K) float32 out-of-fold probabilities at it.
    """
    fold_of = encoded.fold_of
    assert fold_of is not None
    rows: list[list[Row]] = [[] for _ in range(config.epochs)]
    pooled = [
        ClassificationMetrics(label_kind(config), config.objective) for _ in range(config.epochs)
    ]
    without_stop = replace(config, patience=config.epochs)
    for fold in np.unique(fold_of):
        others, held = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)

        def collect(
            row: Row, metrics: ClassificationMetrics, held: NDArray[np.intp] = held
        ) -> None:
            epoch = int(row["epoch"] or 0) - 1
            state = metrics.state_dict()
            pooled[epoch].extend({**state, "rows": [held[part] for part in state["rows"]]})
            pooled[epoch].add_loss(*state["loss"])
            rows[epoch].append(row)
            advance()

        train_head(
            _part(encoded, others, held),
            without_stop,
            runtime,
            targets=None if targets is None else targets[others],
            on_epoch=collect,
        )
    state = TrainState(history=[], over=True)
    for number, (of_folds, metrics) in enumerate(zip(rows, pooled, strict=True), start=1):
        row = _mean_row(of_folds) | {
            f"val_{name}": value for name, value in metrics.scores().items()
        }
        state.history.append(row)
        on_epoch(row, metrics)
        if is_better(row, state.best_row, config.best_by):
            state.best_row, state.best_epoch = row, number
    everything = np.arange(len(fold_of))
    head, final = train_head(
        _part(encoded, everything, everything[:0]),
        config,
        runtime,
        targets=targets,
        only=state.best_epoch,
        on_batch=on_batch,
        on_epoch=lambda row, metrics: advance(),
    )
    state.step = final.step
    return head, state, pooled[state.best_epoch - 1].probabilities


def _part(encoded: Encoded, train: NDArray[np.intp], held: NDArray[np.intp]) -> Encoded:
    """The same features with some images for training and others for validation."""
    return replace(
        encoded,
        train_features=encoded.train_features[train],
        train=encoded.train.take(train),
        train_rows=encoded.train_rows[train],
        validation_features=encoded.validation_features[held],
        validation=encoded.validation.take(held),
        validation_rows=encoded.validation_rows[held],
        fold_of=None,
    )


def _mean_row(rows: list[Row]) -> dict[str, float | int | None]:
    """The mean of each training metric over folds; None where a fold has none."""
    mean: dict[str, float | int | None] = {}
    for name, first in rows[0].items():
        values = [row[name] for row in rows]
        defined = [value for value in values if value is not None]
        if name == "epoch":
            mean[name] = first
        elif not name.startswith("val_"):
            mean[name] = float(np.mean(defined)) if len(defined) == len(values) else None
    return mean
