"""Options of a hyperparameter search, shared by `tune_classifier`, `tune_detector` and ``tagbox tune``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tagbox.config.classifier import Metric
from tagbox.config.detector import DetectionMetric


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """Options of a search, and where its study is stored."""

    name: str
    """Name of the study."""

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


@dataclass(frozen=True, kw_only=True)
class ClassifierTuneOptions(TuneOptions):
    """Options of a search over a classifier's settings."""

    metric: Metric | None = None
    """Validation metric to compare trials by; best_by when not given."""


@dataclass(frozen=True, kw_only=True)
class DetectorTuneOptions(TuneOptions):
    """Options of a search over a detector's settings."""

    trials: int = 20
    """Total number of trials, including pruned and failed ones."""

    metric: DetectionMetric | None = None
    """Validation metric to compare trials by; best_by when not given."""
