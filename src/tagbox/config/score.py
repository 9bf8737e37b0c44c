"""Options of scoring predictions, which `tagbox.evaluation.score.score` and `tagbox evaluate` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tagbox.config.base import require
from tagbox.config.classifier import Objective


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """How predictions are scored against a dataset."""

    thresholds: float | Path | None = None
    """A number for all categories, or a JSON file of thresholds (for detections: score thresholds), in place of
    the saved ones."""

    objective: Objective = "challenge_f1"
    """Metric that thresholds are tuned for where predictions of labels bring none."""

    at_least_one: bool = False
    """Give every image at least the category nearest to its threshold (labels)."""

    top_k: int | None = None
    """Predict at most this many categories for an image (labels)."""

    labels: Literal["auto", "multi", "exclusive"] = "auto"
    """Whether an image has any number of categories or exactly one; auto: what the run states, or else what the
    data and the predictions look like."""

    missing: Literal["error", "empty"] = "error"
    """Images without predicted labels: refuse, or count them as images without any predicted category. Images
    without a detection are always the latter."""

    extra: Literal["error", "ignore"] = "error"
    """Predicted images and categories that the dataset does not have: refuse, or leave them out."""

    as_labels: bool = False
    """Score detectors as taggers: the score of a category in an image is that of its best box. Several
    predictions, of detectors and classifiers, are then compared in one table."""

    intervals: bool = True
    """Compute confidence intervals."""

    resamples: int = 1000
    """Bootstrap resamples for the intervals of labels; fewer are drawn for large datasets."""

    seed: int = 0
    """Seed of resamples and of cross-fitting."""

    def __post_init__(self) -> None:
        require(self.resamples > 0, "resamples", self.resamples, "above 0")
