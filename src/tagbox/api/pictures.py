"""The validation pictures that a report shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset
    from tagbox.inference.load import Model
    from tagbox.predictions.thresholds import Thresholds
    from tagbox.reports.pictures import ReportPicture

REPORT_PICTURES = 12
EVIDENCE_LABELS = 3


def report_pictures(
    model: Model,
    validation: Dataset,
    probabilities: NDArray[np.float32],
    thresholds: Thresholds,
) -> list[ReportPicture]:
    """The pictures the model got most right and most wrong, with evidence where the model has any.

    Parameters
    ----------
    model
        What said it.
    validation
        N readable images.
    probabilities
        (N, K) float32; columns in the order of the dataset's categories.
    thresholds
        In that order too.
    """
    from tagbox.images.decode import read_image
    from tagbox.reports.pictures import choose_pictures, make_picture

    images, labels = validation.images, validation.labels
    names = validation.categories.names
    decisions = thresholds.decide(probabilities)
    best, worst = choose_pictures(labels, decisions, probabilities, REPORT_PICTURES)
    pictures = []
    for rows, kind in ((best, "best"), (worst, "worst")):
        for row in rows.tolist():
            image = read_image(images.path(row))
            surest = np.argsort(-probabilities[row]).tolist()
            said = [names[k] for k in surest if decisions[row, k]][:EVIDENCE_LABELS]
            pictures.append(
                make_picture(
                    image,
                    str(images.files[row]),
                    row,
                    kind,  # type: ignore[arg-type]
                    truth=labels,
                    decisions=decisions,
                    probabilities=probabilities,
                    categories=names,
                    evidence=_evidence(model, image, said),
                )
            )
    return pictures


def _evidence(
    model: Model, image: NDArray[np.uint8], said: list[str]
) -> list[tuple[str, NDArray[np.float32]]]:
    """Evidence maps of the labels `said`, where the model allows exact ones."""
    if not said or not model.has_evidence:
        return []
    maps = model.evidence(image, [model.categories.index(name) for name in said])
    return list(zip(said, maps, strict=True))
