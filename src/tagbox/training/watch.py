"""What TensorBoard is told while a model is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tagbox.evaluation.ranking import average_precision
from tagbox.training.tensorboard import TensorBoardLog

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tagbox.config import ClassifierConfig
    from tagbox.training.history import Row
    from tagbox.training.outputs import Outputs

Held = TypeVar("Held")


class Watch(Generic[Held]):
    """Batches and epochs of one training, a classifier's or a detector's, written to `log` where there is one.

    Parameters
    ----------
    categories
        K names.
    per_category
        What validation left in an epoch -> (K,) values of each figure that has a tag a category.
    steps
        Batches of earlier stages, before the first one of this.
    """

    def __init__(
        self,
        log: TensorBoardLog | None,
        *,
        categories: Sequence[str] = (),
        per_category: Callable[[Held], Mapping[str, NDArray[np.floating[Any]]]] | None = None,
        steps: int = 0,
    ) -> None:
        self._log, self._categories, self._steps = log, categories, steps
        self._per_category = per_category

    def batch(self, step: int, loss: float) -> None:
        """The loss of a batch."""
        if self._log is not None:
            self._log.batch(self._steps + step, loss)

    def epoch(self, row: Row, held: Held) -> None:
        """The figures of an epoch, parts of the loss among them, and those of each category."""
        if self._log is None:
            return
        number = int(row["epoch"] or 0)
        self._log.epoch(number, row)
        if self._per_category is not None:
            for figure, values in self._per_category(held).items():
                self._log.per_category(number, figure, self._categories, values)


def watch_labels(
    config: ClassifierConfig, categories: Sequence[str], log: TensorBoardLog | None
) -> Watch[Outputs]:
    """The watch of a classifier: average precision a category where `config` asks for it."""

    def precision(held: Outputs) -> dict[str, NDArray[np.float64]]:
        return {"average_precision": average_precision(held.truth, held.probabilities)}

    wanted = precision if config.tensorboard_categories else None
    return Watch(log, categories=categories, per_category=wanted)
