"""A detector that was just trained, on the validation images: its boxes there, score cuts, figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tagbox.evaluation.box_matching import match_boxes
from tagbox.evaluation.cut_search import choose_cuts
from tagbox.evaluation.detections import Detections
from tagbox.evaluation.evaluate_boxes import evaluate_boxes
from tagbox.evaluation.ground_truth import ground_truth
from tagbox.evaluation.score_cuts import ScoreCuts
from tagbox.inference.detect import DetectorModel
from tagbox.models.detectors.bundle import DetectorBundle
from tagbox.progress import Progress
from tagbox.training.detector import TrainedDetector
from tagbox.training.detector_run import detector_bundle_of


@dataclass(frozen=True, eq=False, kw_only=True)
class JudgedDetector:
    """A trained detector and what it is worth.

    Attributes
    ----------
    bundle
        The detector with its score cuts, ready to save.
    detections
        In the validation images.
    figures
        What `evaluate_boxes` says of them.
    """

    bundle: DetectorBundle
    detections: Detections
    figures: dict[str, Any]


def judge_detector(trained: TrainedDetector, progress: Progress) -> JudgedDetector:
    """Detect in the validation images by the very road that prediction takes, and choose the score cuts.

    Raises
    ------
    TagboxError
        The codes of `evaluate_boxes`.
    """
    validation = trained.validation
    bundle = detector_bundle_of(trained, ScoreCuts())
    model = DetectorModel(
        bundle,
        engine=trained.config.engine,
        device=trained.config.device,
        detector=trained.detector,
    )
    paths = [validation.images.path(row) for row in range(len(validation))]
    with progress.bar("detecting", len(paths), "pictures") as advance:
        # A picture that was damaged meanwhile was left out of the training's figures, and is here.
        claims = model.detect(paths, skip_errors=True, progress=advance)
    detections = replace(claims.detections, images=tuple(validation.images.files.tolist()))
    cuts = choose_cuts(match_boxes(ground_truth(validation), detections))
    figures = evaluate_boxes(validation, detections, cuts=cuts, seed=trained.config.seed)
    return JudgedDetector(bundle=replace(bundle, cuts=cuts), detections=detections, figures=figures)
