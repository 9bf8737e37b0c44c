"""tagbox recognises what is in images: labels and boxes, from one COCO-format dataset.

The public names are imported when first used (PEP 562), so that `import tagbox` stays light and
scoring never loads torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "TagboxError": "tagbox.errors",
    "Dataset": "tagbox.data.dataset",
    "Predictions": "tagbox.predictions.predictions",
    "load_dataset": "tagbox.data.load",
    "check_dataset": "tagbox.checks.check",
    "train_classifier": "tagbox.api.train",
    "train_detector": "tagbox.api.train",
    "ensemble": "tagbox.api.ensembles",
    "tune_classifier": "tagbox.api.tune",
    "tune_detector": "tagbox.api.tune",
    "Run": "tagbox.api.run",
    "Classifier": "tagbox.inference.classifier",
    "DetectorModel": "tagbox.inference.detector",
    "load_model": "tagbox.inference.load",
    "evaluate_labels": "tagbox.evaluation.evaluate_labels",
    "DataConfig": "tagbox.config",
    "ClassifierConfig": "tagbox.config",
    "DetectorConfig": "tagbox.config",
    "Detections": "tagbox.predictions.predictions",
    "evaluate_boxes": "tagbox.evaluation.evaluate_detections",
    "EnsembleConfig": "tagbox.config",
    "evaluate": "tagbox.api.evaluate",
    "Evaluation": "tagbox.api.evaluation",
    "compare": "tagbox.api.compare",
    "Comparison": "tagbox.api.comparison",
    "open_run": "tagbox.api.run",
    "list_runs": "tagbox.api.runs",
    "synth": "tagbox.api.synth",
}

if TYPE_CHECKING:
    from tagbox.api.compare import compare as compare
    from tagbox.api.comparison import Comparison as Comparison
    from tagbox.api.ensembles import ensemble as ensemble
    from tagbox.api.evaluate import evaluate as evaluate
    from tagbox.api.evaluation import Evaluation as Evaluation
    from tagbox.api.run import Run as Run
    from tagbox.api.run import open_run as open_run
    from tagbox.api.runs import list_runs as list_runs
    from tagbox.api.synth import synth as synth
    from tagbox.api.train import train_classifier as train_classifier
    from tagbox.api.train import train_detector as train_detector
    from tagbox.api.tune import tune_classifier as tune_classifier
    from tagbox.api.tune import tune_detector as tune_detector
    from tagbox.checks.check import check_dataset as check_dataset
    from tagbox.config import ClassifierConfig as ClassifierConfig
    from tagbox.config import DataConfig as DataConfig
    from tagbox.config import DetectorConfig as DetectorConfig
    from tagbox.config import EnsembleConfig as EnsembleConfig
    from tagbox.data.dataset import Dataset as Dataset
    from tagbox.data.load import load_dataset as load_dataset
    from tagbox.errors import TagboxError as TagboxError
    from tagbox.evaluation.evaluate_detections import evaluate_boxes as evaluate_boxes
    from tagbox.evaluation.evaluate_labels import evaluate_labels as evaluate_labels
    from tagbox.inference.classifier import Classifier as Classifier
    from tagbox.inference.detector import DetectorModel as DetectorModel
    from tagbox.inference.load import load_model as load_model
    from tagbox.predictions.predictions import Detections as Detections
    from tagbox.predictions.predictions import Predictions as Predictions

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'tagbox' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
