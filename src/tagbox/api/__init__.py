"""The verbs of the Python API that span the whole road; the command line calls the same ones."""

from tagbox.api.ensembles import ensemble
from tagbox.api.run import Run
from tagbox.api.train import train_classifier, train_detector
from tagbox.api.tune import Study, tune_classifier, tune_detector

__all__ = [
    "Run",
    "Study",
    "ensemble",
    "train_classifier",
    "train_detector",
    "tune_classifier",
    "tune_detector",
]
