"""The one training loop: readable in a minute, stops on a loss that is not finite, keeps the best epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.models.heads import sigmoid
from tagbox.training.scores import epoch_scores, is_better

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.training.history import Row
    from tagbox.training.losses import Loss
    from tagbox.training.optimizer import Optimizer, Scheduler


class Batches(Protocol):
    """One side of the data: passes over (inputs, targets)."""

    def __len__(self) -> int:
        """How many batches one pass has."""

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass: inputs (B, ...) float32, targets (B, K) float32 of 1, 0 and -1 (unknown)."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a training run leaves: the history, and which epoch's weights the model now holds."""

    history: list[Row]
    best_epoch: int
    stopped_early: bool


def fit(
    model: nn.Module,
    train: Batches,
    validation: Batches,
    *,
    loss: Loss,
    optimizer: Optimizer,
    scheduler: Scheduler,
    epochs: int,
    patience: int,
    best_by: str,
    on_batch: Callable[[int, float], None] | None = None,
    on_epoch: Callable[[Row, Outputs], None] | None = None,
) -> Fitted:
    """Train `model`, and leave it with the weights of its best epoch.

    Parameters
    ----------
    model
        Inputs of a batch -> (B, K) logits.
    train, validation
        The two sides. Training figures are those of the very batches trained on, while the weights
        move: no second pass over the training set.
    loss
        ``(logits, targets) -> scalar``.
    optimizer, scheduler
        Ours (`training.optimizer`) or torch's; the scheduler steps once a batch.
    epochs, patience
        Most epochs; epochs without a better `best_by` before stopping.
    best_by
        ``val_loss`` (lower is better) or a figure of `epoch_scores` (higher is).
    on_batch, on_epoch
        Called with (step, loss), and with the epoch's row and the outputs on the validation side.

    Raises
    ------
    TagboxError
        ``loss-not-finite`` as soon as a batch's loss is infinite or NaN.
    """
    import torch

    history: list[Row] = []
    best_row: Row | None = None
    best_epoch = 0
    best_state = copy.deepcopy(model.state_dict())
    step = 0
    for epoch in range(1, epochs + 1):
        model.train()
        seen = Outputs()
        for inputs, targets in train.epoch(epoch):
            logits = model(inputs)
            value = loss(logits, targets)
            if not math.isfinite(value.item()):
                raise TagboxError(
                    "loss-not-finite",
                    f"the loss became {value.item()} in epoch {epoch}, batch {step % len(train) + 1}",
                    where="learning_rate",
                    hint="lower --learning-rate, and look for odd pictures with tagbox check",
                )
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(value)
            optimizer.step()
            scheduler.step()
            step += 1
            seen.add(logits.detach(), targets, value.item())
            if on_batch:
                on_batch(step, value.item())

        row: dict[str, float | int | None] = {"epoch": epoch}
        row |= {f"train_{name}": figure for name, figure in seen.scores().items()}
        held = run(model, validation, loss)
        row |= {f"val_{name}": figure for name, figure in held.scores().items()}
        row["learning_rate"] = float(scheduler.get_last_lr()[0])
        history.append(row)
        if on_epoch:
            on_epoch(row, held)
        if is_better(row, best_row, best_by):
            best_row, best_epoch, best_state = row, epoch, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= patience:
            break
    model.load_state_dict(best_state)
    return Fitted(history=history, best_epoch=best_epoch, stopped_early=len(history) < epochs)


def run(model: nn.Module, batches: Batches, loss: Loss) -> Outputs:
    """The outputs of `model` in eval mode over one pass."""
    import torch

    model.eval()
    seen = Outputs()
    with torch.no_grad():
        for inputs, targets in batches.epoch(0):
            logits = model(inputs)
            seen.add(logits, targets, loss(logits, targets).item())
    return seen


class Outputs:
    """Logits, targets and losses of one pass, for figures over the whole pass."""

    def __init__(self) -> None:
        self.logits: list[NDArray[np.float32]] = []
        self.targets: list[NDArray[np.int8]] = []
        self.losses: list[float] = []

    def add(self, logits: Tensor, targets: Tensor, loss: float) -> None:
        """One batch: (B, K) logits, (B, K) targets of 1, 0 and -1, and its loss."""
        self.logits.append(logits.float().cpu().numpy())
        self.targets.append(targets.cpu().numpy().astype(np.int8))
        self.losses.append(loss)

    @property
    def truth(self) -> NDArray[np.int8]:
        """(N, K): 1 present, 0 absent, -1 unknown."""
        return np.concatenate(self.targets)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(N, K) float32."""
        return sigmoid(np.concatenate(self.logits))

    def scores(self) -> dict[str, float | None]:
        """The mean loss of an image, and `epoch_scores`."""
        sizes = [len(batch) for batch in self.logits]
        mean_loss = float(np.average(self.losses, weights=sizes))
        return {"loss": mean_loss, **epoch_scores(self.truth, self.probabilities)}
