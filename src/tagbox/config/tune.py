"""Options of a hyperparameter search, which `tune_classifier`, `tune_detector` and `tagbox tune` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tagbox.config.classifier import Metric
from tagbox.config.detector import DetectionMetric


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """How to search, and where the study is stored; not the settings of the model."""

    name: str
    """Name of the study."""

    search: tuple[str, ...] = ()
    """A range to add to the recipe's or to replace one: learning_rate=1e-4..1e-2:log, dropout=0..0.5,
    loss=bce,focal."""

    fixed: tuple[str, ...] = ()
    """A setting of the recipe's ranges that keeps its value; its name, such as dropout or ema."""

    trials: int = 100
    """Number of trials in all, pruned and failed ones included."""

    minutes: float | None = None
    """No trial begins after this many minutes."""

    metric: str | None = None
    """Validation metric that trials are compared by; best_by when not given."""

    repeats: int = 3
    """Further seeds for the best settings and for those at the start, since the best of many looks too good."""

    test: Path | None = None
    """A third dataset to compare both on."""

    test_images: Path | None = None
    """Folder of its pictures."""

    studies: Path = Path("studies")
    """Folder of the studies."""

    storage: str | None = None
    """Address of a database for the trials, such as postgresql://USER@HOST/NAME, in place of study.db; one
    process at a time."""


@dataclass(frozen=True, kw_only=True)
class ClassifierTuneOptions(TuneOptions):
    """Options of a search over a classifier's settings."""

    metric: Metric | None = None
    """Validation metric that trials are compared by; best_by when not given."""


@dataclass(frozen=True, kw_only=True)
class DetectorTuneOptions(TuneOptions):
    """Options of a search over a detector's settings."""

    trials: int = 20
    """Number of trials in all, pruned and failed ones included."""

    metric: DetectionMetric | None = None
    """Validation metric that trials are compared by; best_by when not given."""
