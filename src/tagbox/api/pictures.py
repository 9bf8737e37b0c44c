"""The best and the worst validation images, as a report shows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset
    from tagbox.inference.load import Model
    from tagbox.predictions.predictions import Detections
    from tagbox.predictions.thresholds import ScoreThresholds, Thresholds
    from tagbox.reports.detection_pictures import BoxPicture
    from tagbox.reports.pictures import Kind, ReportPicture

REPORT_PICTURES = 12
"""Best images of a report, and as many worst ones."""
EVIDENCE_LABELS = 3


def report_pictures(
    model: Model,
    validation: Dataset,
    probabilities: NDArray[np.float32],
    thresholds: Thresholds,
) -> list[ReportPicture]:
    """The images whose labels are predicted best and worst, with evidence maps where the model has any.

    Parameters
    ----------
    model
        For the evidence maps.
    validation
        N readable images.
    probabilities
        (N, K) float32; columns in the order of the dataset's categories.
    thresholds
        In the same order.
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
            by_probability = np.argsort(-probabilities[row]).tolist()
            predicted = [names[k] for k in by_probability if decisions[row, k]][:EVIDENCE_LABELS]
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
                    evidence=_evidence(model, image, predicted),
                )
            )
    return pictures


def _evidence(
    model: Model, image: NDArray[np.uint8], predicted: list[str]
) -> list[tuple[str, NDArray[np.float32]]]:
    """Evidence maps of the labels `predicted`, where the model has exact ones."""
    if not predicted or not model.has_evidence:
        return []
    maps = model.evidence(image, [model.categories.index(name) for name in predicted])
    return list(zip(predicted, maps, strict=True))


def box_report_pictures(
    validation: Dataset, detections: Detections, thresholds: ScoreThresholds
) -> list[BoxPicture]:
    """The images with the best and with the worst detections, without those that cannot be read.

    Parameters
    ----------
    thresholds
        Score thresholds of the detector.
    """
    from tagbox.errors import TagboxError
    from tagbox.images.decode import read_image
    from tagbox.reports.detection_pictures import (
        choose_box_pictures,
        make_box_picture,
        match_pictures,
    )

    levels = np.asarray(thresholds.levels(len(validation.categories)))
    matched = match_pictures(validation.annotations, detections, levels)
    best, worst = choose_box_pictures(matched, REPORT_PICTURES)
    chosen: list[tuple[Kind, Any]] = [("best", each) for each in best]
    chosen += [("worst", each) for each in worst]
    pictures = []
    for kind, each in chosen:
        try:
            image = read_image(validation.images.path(each.row))
        except TagboxError:
            continue
        name = Path(str(validation.images.files[each.row])).name
        pictures.append(
            make_box_picture(image, name, kind, each, validation.annotations, detections)
        )
    return pictures
