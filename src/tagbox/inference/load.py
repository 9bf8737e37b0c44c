"""The folder of a run as something that predicts, whatever it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.encoder import Precision
from tagbox.backends.feature_cache import FeatureCache
from tagbox.config import LabelKind
from tagbox.data.dataset import Dataset
from tagbox.data.image_files import require_images
from tagbox.device import Device, Engine
from tagbox.errors import TagboxError
from tagbox.inference.classifier import Classifier, ClassifierOutput
from tagbox.inference.ensemble import EnsembleClassifier
from tagbox.models.bundle import is_detector
from tagbox.models.ensembles import is_ensemble
from tagbox.predictions.predictions import Predictions
from tagbox.predictions.thresholds import Thresholds

if TYPE_CHECKING:
    from tagbox.inference.detector import DetectorModel


class Model(Protocol):
    """What a single classifier and an ensemble have in common."""

    @property
    def categories(self) -> tuple[str, ...]:
        """K names, in the order of the columns of probabilities."""

    @property
    def labels(self) -> LabelKind:
        """Whether categories exclude each other."""

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds it was saved with."""

    @property
    def has_evidence(self) -> bool:
        """Whether exact evidence maps exist."""

    def require_evidence(self) -> None:
        """Refuse models without exact evidence maps; see `Classifier.require_evidence`."""

    def predict(
        self,
        paths: Sequence[Path | str],
        *,
        cache: FeatureCache | None = None,
        skip_errors: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> ClassifierOutput:
        """Probabilities of pictures; see `Classifier.predict`."""

    def evidence(
        self, image: NDArray[np.uint8], categories: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """Where each category was seen; see `Classifier.evidence`."""


def load_model(
    run: Path | str,
    *,
    engine: Engine = "auto",
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Model | DetectorModel:
    """The classifier, the ensemble or the detector of a run folder; no pickle, no network.

    Raises
    ------
    TagboxError
        The codes of `load_classifier` and `load_detector`; ``detector-precision`` for a detector in
        anything but fp32.
    """
    if not is_detector(Path(run)):
        return load_classifier(run, engine=engine, device=device, precision=precision)
    if precision != "fp32":
        raise TagboxError(
            "detector-precision",
            f"a detector computes in fp32, not in {precision}",
            file=run,
            where="precision",
            hint="leave the precision out",
        )
    return load_detector(run, engine=engine, device=device)


def load_detector(
    run: Path | str, *, engine: Engine = "auto", device: Device = "auto"
) -> DetectorModel:
    """The detector of a run folder.

    Raises
    ------
    TagboxError
        The codes of `models.bundle.Bundle.load`.
    """
    from tagbox.inference.detector import DetectorModel

    return DetectorModel.load(run, engine=engine, device=device)


def load_classifier(
    run: Path | str,
    *,
    engine: Engine = "auto",
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Model:
    """The classifier or the ensemble of a run folder.

    Raises
    ------
    TagboxError
        ``run-detector``; the codes of `models.bundle.Bundle.load` and `models.ensembles.load_ensemble`.
    """
    if is_detector(Path(run)):
        raise TagboxError(
            "run-detector",
            "a detector, and a classifier is wanted",
            file=run,
            hint="give the run of a classifier, or load it with tagbox.load_model",
        )
    kind = EnsembleClassifier if is_ensemble(Path(run)) else Classifier
    return kind.load(run, engine=engine, device=device, precision=precision)


def predict_dataset(
    run: Path,
    dataset: Dataset,
    *,
    device: Device = "auto",
    progress: Callable[[int], object] | None = None,
) -> tuple[Predictions, Thresholds]:
    """What a run says of every picture of a dataset, and the run's thresholds.

    Features are looked up in the cache and kept there.

    Raises
    ------
    TagboxError
        The codes of `load_classifier` and `images.decode.read_image`; ``images-not-found``.
    """
    model = load_classifier(run, device=device)
    require_images(dataset)
    paths = [dataset.images.path(row) for row in range(len(dataset))]
    with closing(FeatureCache()) as cache:
        outputs = model.predict(paths, cache=cache, progress=progress)
    predictions = Predictions(
        images=tuple(dataset.images.files.tolist()),
        categories=model.categories,
        probabilities=outputs.probabilities,
        source=str(run),
        labels=model.labels,
    )
    return predictions, model.thresholds
