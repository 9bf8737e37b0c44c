"""A trained model's probabilities on the validation images, made into thresholds and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig
from tagbox.data.dataset import Dataset
from tagbox.evaluation.evaluate import evaluate_labels
from tagbox.evaluation.tuning import Tuned, tune


@dataclass(frozen=True, eq=False, kw_only=True)
class Judged:
    """How good a model is on the validation images.

    Attributes
    ----------
    probabilities
        (N, K) float32.
    tuned
        Thresholds and what cross-fitting says of them.
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

    Parameters
    ----------
    rates
        (K,) base rates of the training images.
    """
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
    )
    return Judged(probabilities=probabilities, tuned=tuned, metrics=metrics)
