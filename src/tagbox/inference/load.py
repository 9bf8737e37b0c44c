"""Load the classifier, the ensemble or the detector of a run folder, and predict a dataset with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tagbox.backends.encoder import Precision
from tagbox.config.arguments import checked_arguments
from tagbox.data.dataset import Dataset
from tagbox.data.image_files import require_images
from tagbox.device import Device, Engine
from tagbox.errors import TagboxError
from tagbox.inference.predictor import LabelPredictor
from tagbox.models.bundle import is_detector, is_ensemble
from tagbox.paths import named_run
from tagbox.predictions.predictions import Predictions
from tagbox.predictions.thresholds import Thresholds

if TYPE_CHECKING:
    from tagbox.inference.detector import DetectorModel


@checked_arguments
def load_model(
    run: Path | str,
    *,
    engine: Engine = "auto",
    device: Device = "auto",
    precision: Precision = "fp32",
) -> LabelPredictor | DetectorModel:
    """The classifier, the ensemble or the detector of a run; no pickle, no network.

    Parameters
    ----------
    run
        Its folder, or its name in the folder ``runs``; ``nanodet_g`` is the installed detector of COCO's 80
        categories, which was trained on COCO train2017.
    engine, device, precision
        What computes, where, and in which floating-point format; fp32 is the only one of detectors.

    Raises
    ------
    TagboxError
        The codes of `load_classifier` and `load_detector`; ``detector-precision`` for a detector in
        anything but fp32; ``extra-missing`` and ``weights-corrupt`` of ``nanodet_g``.
    """
    from tagbox.models.detectors.nanodet_weights import package_or

    run = package_or(named_run(run))
    if not is_detector(run):
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
) -> LabelPredictor:
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
    if is_ensemble(Path(run)):
        from tagbox.inference.ensemble import EnsembleClassifier

        return EnsembleClassifier.load(run, engine=engine, device=device, precision=precision)
    from tagbox.inference.classifier import Classifier

    return Classifier.load(run, engine=engine, device=device, precision=precision)


def predict_dataset(
    run: Path,
    dataset: Dataset,
    *,
    device: Device = "auto",
    progress: Callable[[int], object] | None = None,
) -> tuple[Predictions, Thresholds]:
    """Probabilities of every image of a dataset, and the thresholds of the run.

    Features are looked up in the cache and kept there.

    Raises
    ------
    TagboxError
        The codes of `load_classifier` and `images.decode.read_image`; ``images-not-found``.
    """
    from tagbox.backends.feature_cache import FeatureCache

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
        transfer=model.transfer,
    )
    return predictions, model.thresholds
