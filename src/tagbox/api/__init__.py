"""The verbs of the Python API that span the whole road; the command line calls the same ones."""

from tagbox.api.ensembles import ensemble
from tagbox.api.run import Run
from tagbox.api.train import train_classifier

__all__ = ["Run", "ensemble", "train_classifier"]
