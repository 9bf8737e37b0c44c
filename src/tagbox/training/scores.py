"""The figures of one epoch, and which of two epochs is the better one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.data.dataset import PRESENT
from tagbox.evaluation.exclusive import most_probable, one_said
from tagbox.evaluation.label_metrics import label_metrics
from tagbox.evaluation.ranking import average_precision, mean_average_precision
from tagbox.evaluation.threshold_search import sweep_global

EPOCH_METRICS = (
    "challenge_f1",
    "micro_f1",
    "macro_f1",
    "weighted_f1",
    "samples_f1",
    "cf1",
    "of1",
)


def epoch_scores(
    truth: NDArray[np.int8], probabilities: NDArray[np.float32], labels: LabelKind = "multi"
) -> dict[str, float | None]:
    """mAP, and the F1 family at the one threshold that suits the challenge F1 best in this epoch.

    A threshold of 0.5 says next to nothing in the first epochs, which would make curves of noise.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) float32.
    labels
        Exclusive ones are judged by what is most probable, and have ``accuracy``.

    Returns
    -------
    dict
        ``map`` (None where no category has a positive) and `EPOCH_METRICS`.
    """
    precision = mean_average_precision(average_precision(truth, probabilities))
    if labels == "exclusive":
        said = one_said(most_probable(probabilities), truth.shape[1])
        at_top = label_metrics(truth, said)
        accuracy = float((truth[said] == PRESENT).sum() / max(len(truth), 1))
        return {
            "map": precision,
            "accuracy": accuracy,
            **{name: at_top[name] for name in EPOCH_METRICS},
        }
    levels, values = sweep_global(truth, probabilities, "challenge_f1")
    level = levels[int(np.argmax(values))] if len(levels) else 0.5
    at_level = label_metrics(truth, probabilities >= np.float32(level))
    return {"map": precision, **{name: at_level[name] for name in EPOCH_METRICS}}


def is_better(row: Mapping[str, Any], best: Mapping[str, Any] | None, by: str) -> bool:
    """Whether an epoch beats the best so far by the figure `by` (a `ClassifierConfig.best_by`).

    A figure that is missing or NaN never beats one that is there: ``nan > best`` would otherwise
    decide which model is saved.
    """
    name = by if by == "val_loss" else f"val_{by}"
    value = row[name]
    if value is None or math.isnan(value):
        return best is None
    if best is None or best[name] is None or math.isnan(best[name]):
        return True
    return bool(value < best[name]) if by == "val_loss" else bool(value > best[name])
