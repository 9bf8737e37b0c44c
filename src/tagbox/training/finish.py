"""A trained model's probabilities on the validation images, made into thresholds and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig
from tagbox.data.dataset import Dataset
from tagbox.evaluation.evaluate import evaluate_labels
from tagbox.evaluation.exclusive import MOST_PROBABLE
from tagbox.evaluation.tuning import Tuned, tune
from tagbox.training.head import label_kind


@dataclass(frozen=True, eq=False, kw_only=True)
class Judged:
    """How good a model is on the validation images.

    Attributes
    ----------
    probabilities
        (N, K) float32.
    tuned
        Thresholds and what cross-fitting says of them; of exclusive labels, `MOST_PROBABLE` and why.
    metrics
        `evaluate_labels` at the thresholds.
    """

    probabilities: NDArray[np.float32]
    tuned: Tuned
    metrics: dict[str, Any]


def judge(
    validation: Dataset,
    probabilities: NDArray[np.float32],
    rates: NDArray[np.float64],
    config: ClassifierConfig,
) -> Judged:
    """Tune thresholds on the validation images and evaluate at them.

    Exclusive labels leave nothing to tune: the most probable category is said.

    Parameters
    ----------
    rates
        (K,) base rates of the training images.
    """
    labels = label_kind(config)
    if labels == "exclusive":
        tuned = nothing_to_tune()
    else:
        tuned = tune(
            validation.labels,
            probabilities,
            config.objective,
            rates=rates,
            seed=config.seed,
            at_least_one=config.at_least_one,
            top_k=config.top_k,
        )
    metrics = evaluate_labels(
        validation.labels,
        categories=validation.categories.names,
        probabilities=probabilities,
        thresholds=tuned.thresholds,
        seed=config.seed,
        labels=labels,
    )
    return Judged(probabilities=probabilities, tuned=tuned, metrics=metrics)


def nothing_to_tune() -> Tuned:
    """What stands in the place of thresholds where labels are exclusive."""
    reason = "labels are exclusive: the most probable category is said"
    return Tuned(thresholds=MOST_PROBABLE, report={"reason": reason})
