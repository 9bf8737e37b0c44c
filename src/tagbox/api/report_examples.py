"""The best and the worst predictions on the validation images, as a report shows them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset
    from tagbox.data.record_pixels import RecordPixels
    from tagbox.inference.predictor import LabelPredictor
    from tagbox.predictions.predictions import Detections
    from tagbox.predictions.thresholds import ScoreThresholds, Thresholds
    from tagbox.reports.examples import Example, Kind

EXAMPLES = 12
"""Best images of a report, and as many worst ones."""


def classifier_examples(
    model: LabelPredictor,
    validation: Dataset,
    probabilities: NDArray[np.float32],
    thresholds: Thresholds,
) -> list[Example]:
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
    from tagbox.reports.classifier_examples import choose_examples, make_example

    images, labels = validation.images, validation.labels
    names = validation.categories.names
    decisions = thresholds.decide(probabilities)
    best, worst = choose_examples(labels, decisions, probabilities, EXAMPLES)
    examples = []
    for rows, kind in ((best, "best"), (worst, "worst")):
        for row in rows.tolist():
            image = read_image(images.path(row))
            example = make_example(
                image,
                str(images.files[row]),
                row,
                kind,  # type: ignore[arg-type]
                truth=labels,
                decisions=decisions,
                probabilities=probabilities,
                categories=names,
            )
            maps = _evidence(model, image, [label.name for label in example.labels])
            examples.append(replace(example, evidence=tuple(maps)))
    return examples


def _evidence(
    model: LabelPredictor, image: NDArray[np.uint8], names: list[str]
) -> list[tuple[str, NDArray[np.float32]]]:
    """Evidence maps of the labels `names`, where the model has exact ones."""
    if not names or not model.has_evidence:
        return []
    maps = model.evidence(image, [model.categories.index(name) for name in names])
    return list(zip(names, maps, strict=True))


def detector_examples(
    pixels: RecordPixels, detections: Detections, thresholds: ScoreThresholds
) -> list[Example]:
    """The images with the best and with the worst detections, without those that cannot be read.

    Parameters
    ----------
    pixels
        Of the validation images.
    detections
        In pixels of their records.
    thresholds
        Score thresholds of the detector.
    """
    from tagbox.errors import TagboxError
    from tagbox.evaluation.box_matching import match_boxes
    from tagbox.evaluation.coco_ground_truth import ground_truth
    from tagbox.images.decode import read_image
    from tagbox.reports.detector_examples import choose_examples, make_example, match_images

    validation = pixels.in_file()
    boxes = pixels.to_file(detections.boxes, detections.image_rows)
    detections = replace(detections, boxes=boxes)
    matches = match_boxes(ground_truth(validation), detections)
    levels = thresholds.levels(len(validation.categories))
    best, worst = choose_examples(match_images(matches, levels), EXAMPLES)
    chosen: list[tuple[Kind, Any]] = [("best", each) for each in best]
    chosen += [("worst", each) for each in worst]
    examples = []
    for kind, matched in chosen:
        try:
            image = read_image(validation.images.path(matched.row))
        except TagboxError:
            continue
        name = str(validation.images.files[matched.row])
        examples.append(make_example(image, name, kind, matched, matches, detections))
    return examples
