"""Options of evaluation and of a hyperparameter search, which the Python API and the command line share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tagbox.config.base import Config, require, require_seed
from tagbox.config.classifier import Metric, Objective
from tagbox.config.detector import DetectionMetric


@dataclass(frozen=True, kw_only=True)
class CompareSettings(Config):
    """How predictions are read and decided before they are compared on a dataset."""

    thresholds: float | Path | None = None
    """A number for all categories, or a JSON file of thresholds (for detections: score thresholds), in place of
    the saved ones."""

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

    seed: int = 0
    """Random seed of what is drawn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seed(self.seed)
        require(self.top_k is None or self.top_k >= 1, "top_k", self.top_k, "at least 1")


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(CompareSettings):
    """How predictions are scored against a dataset."""

    objective: Objective = "micro_f1"
    """Metric that thresholds are tuned for where predictions of labels bring none."""

    intervals: bool = True
    """Compute confidence intervals."""

    resamples: int = 1000
    """Bootstrap resamples for the interval of the log loss (exclusive labels); fewer for large datasets."""

    seed: int = 0
    """Seed of resamples and of cross-fitting."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.resamples > 0, "resamples", self.resamples, "above 0")


@dataclass(frozen=True, kw_only=True)
class TuneOptions(Config):
    """Options of a search, and where its study is stored."""

    name: str = ""
    """Name of the study, by which it is continued; study, numbered from the second on, when not given."""

    search: tuple[str, ...] = ()
    """Range that is added to the recipe's or replaces one of them: learning_rate=1e-4..1e-2:log,
    dropout=0..0.5, loss=bce,focal."""

    fixed: tuple[str, ...] = ()
    """Setting in the recipe's ranges that is not searched, such as dropout or ema."""

    trials: int = 100
    """Total number of trials, including pruned and failed ones."""

    minutes: float | None = None
    """Minutes after which no trial starts."""

    metric: str | None = None
    """Validation metric to compare trials by; best_by when not given."""

    repeats: int = 3
    """Further seeds for the best settings and for the initial ones, because the best of many trials is too
    optimistic."""

    test: Path | None = None
    """Third dataset on which both are evaluated."""

    test_images: Path | None = None
    """Folder of the test images."""

    studies: Path = Path("studies")
    """Folder of the studies."""

    storage: str | None = None
    """Database URL of the trials, such as postgresql://USER@HOST/NAME, instead of study.db; for one process
    at a time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.trials >= 1, "trials", self.trials, "at least 1")
        require(self.minutes is None or self.minutes > 0, "minutes", self.minutes, "above 0")
        require(self.repeats >= 0, "repeats", self.repeats, "at least 0")


@dataclass(frozen=True, kw_only=True)
class ClassifierTuneOptions(TuneOptions):
    """Options of a search over a classifier's settings."""

    metric: Metric | None = None
    """Validation metric to compare trials by; best_by when not given, and map where that is auto."""


@dataclass(frozen=True, kw_only=True)
class DetectorTuneOptions(TuneOptions):
    """Options of a search over a detector's settings."""

    trials: int = 20
    """Total number of trials, including pruned and failed ones."""

    metric: DetectionMetric | None = None
    """Validation metric to compare trials by; best_by when not given."""
