"""`Run`: a finished run, which training and `ensemble` return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagbox.inference.detector import DetectorModel
    from tagbox.inference.predictor import LabelPredictor


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """A finished run.

    Attributes
    ----------
    folder
        The run directory.
    metrics
        The content of its ``metrics.json``.
    """

    folder: Path
    metrics: Mapping[str, Any]

    @cached_property
    def classifier(self) -> LabelPredictor:
        """The model, or the ensemble, loaded from the folder; ``run-detector`` where it is a detector."""
        from tagbox.inference.load import load_classifier

        return load_classifier(self.folder)

    @cached_property
    def detector(self) -> DetectorModel:
        """The detector, loaded from the folder; ``bundle-version`` where it is a classifier."""
        from tagbox.inference.load import load_detector

        return load_detector(self.folder)

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"
