"""What TensorBoard is told while a model is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tagbox.config import ClassifierConfig
from tagbox.evaluation.ranking import average_precision
from tagbox.training.tensorboard import TensorBoardLog

if TYPE_CHECKING:
    from tagbox.training.history import Row
    from tagbox.training.outputs import Outputs


class Watch:
    """Batches and epochs of one training, written to `log` where there is one.

    Parameters
    ----------
    steps
        Batches of earlier stages, before the first one of this.
    """

    def __init__(
        self,
        config: ClassifierConfig,
        categories: Sequence[str],
        log: TensorBoardLog | None,
        *,
        steps: int = 0,
    ) -> None:
        self._config, self._categories, self._log, self._steps = config, categories, log, steps

    def batch(self, step: int, loss: float) -> None:
        """The loss of a batch."""
        if self._log is not None:
            self._log.batch(self._steps + step, loss)

    def epoch(self, row: Row, held: Outputs) -> None:
        """The figures of an epoch."""
        if self._log is None:
            return
        number = int(row["epoch"] or 0)
        self._log.epoch(number, row)
        if self._config.tensorboard_categories:
            precision = average_precision(held.truth, held.probabilities)
            self._log.per_category(number, "average_precision", self._categories, precision)
