"""Typed configurations, shared by the Python API, the command line and saved runs; and recipes."""

from tagbox.config.augment import AugmentConfig, BoxAugmentConfig, Crop
from tagbox.config.base import Config, require, require_no_password
from tagbox.config.classifier import (
    ClassifierConfig,
    EnsembleConfig,
    Geometry,
    HeadKind,
    HeadSetting,
    LabelKind,
    Metric,
    Objective,
    Pooling,
)
from tagbox.config.data import DataConfig, SynthConfig
from tagbox.config.detector import ON_A_BACKBONE, DetectionMetric, DetectorConfig
from tagbox.config.finetune import FinetuneConfig
from tagbox.config.options import (
    ClassifierTuneOptions,
    CompareSettings,
    DetectorTuneOptions,
    ScoreSettings,
    TuneOptions,
)
from tagbox.config.recipes import RECIPES, Recipe, load_recipe
from tagbox.config.settings import (
    ClassifierSettings,
    CompareOptions,
    DataSettings,
    DetectorSettings,
    EnsembleSettings,
    ScoreOptions,
    SynthSettings,
    with_settings,
)

__all__ = [
    "ON_A_BACKBONE",
    "RECIPES",
    "AugmentConfig",
    "BoxAugmentConfig",
    "ClassifierConfig",
    "ClassifierSettings",
    "ClassifierTuneOptions",
    "CompareOptions",
    "CompareSettings",
    "Config",
    "Crop",
    "DataConfig",
    "DataSettings",
    "DetectionMetric",
    "DetectorConfig",
    "DetectorSettings",
    "DetectorTuneOptions",
    "EnsembleConfig",
    "EnsembleSettings",
    "FinetuneConfig",
    "Geometry",
    "HeadKind",
    "HeadSetting",
    "LabelKind",
    "Metric",
    "Objective",
    "Pooling",
    "Recipe",
    "ScoreOptions",
    "ScoreSettings",
    "SynthConfig",
    "SynthSettings",
    "TuneOptions",
    "load_recipe",
    "require",
    "require_no_password",
    "with_settings",
]
