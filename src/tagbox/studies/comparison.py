"""Two classifiers on images that decided nothing so far.

Two detectors on images that decided nothing so far.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.feature_cache import FeatureCache
from tagbox.config import LabelKind
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.evaluation.comparison import paired_label_differences, paired_map_difference
from tagbox.evaluation.evaluate_detections import box_headline, evaluate_boxes
from tagbox.evaluation.evaluate_labels import evaluate_labels, headline
from tagbox.inference.classifier import Classifier
from tagbox.inference.detector import DetectorModel
from tagbox.predictions.predictions import Detections
from tagbox.predictions.thresholds import ScoreThresholds, Thresholds
from tagbox.progress import Progress
from tagbox.studies.retrain_best import require_readable

Claim = tuple[NDArray[np.float32], Thresholds]
"""(N, K) probabilities, and where they become labels."""


def compare_labels(
    test: Dataset,
    models: Mapping[str, Callable[[], Classifier]],
    labels: LabelKind,
    *,
    cache: FeatureCache | None,
    progress: Progress,
) -> dict[str, Any]:
    """Figures of both classifiers, each at its own thresholds, and the paired differences.

    Parameters
    ----------
    models
        Two by name, made one after the other.
    labels
        Whether categories exclude each other.

    Returns
    -------
    dict
        ``images``, the headline figures by name, and ``differences``: second minus first, with the ends of a
        95 % interval over the images.

    Raises
    ------
    TagboxError
        ``no-readable-images``; what making a model raises.
    """
    outputs: list[Claim] = []
    seen = np.ones(len(test), bool)
    paths = [test.images.path(row) for row in range(len(test))]
    for make in models.values():
        classifier = make()
        with progress.bar("predicting test pictures", len(paths), "images") as advance:
            said = classifier.predict(paths, cache=cache, skip_errors=True, progress=advance)
        for error in said.errors:
            progress.say(f"left out: {error}")
        seen &= said.ok
        outputs.append((said.probabilities, classifier.thresholds))
    require_readable(test, seen)
    truth = test.labels[seen]
    found: dict[str, Any] = {"images": len(truth)}
    outputs = [(probabilities[seen], thresholds) for probabilities, thresholds in outputs]
    for name, (probabilities, thresholds) in zip(models, outputs, strict=True):
        result = evaluate_labels(
            truth,
            categories=test.categories.names,
            probabilities=probabilities,
            thresholds=thresholds,
            intervals=False,
            labels=labels,
        )
        found[name] = headline(result)
    found["differences"] = _differences(truth, outputs, found[name])
    return found


def _differences(
    truth: NDArray[np.int8], outputs: Sequence[Claim], named: Collection[str]
) -> dict[str, dict[str, float]]:
    """``difference``, ``low`` and ``high`` of the figures in `named`: the second claim minus the first."""
    (before, _), (after, _) = outputs
    first, second = (thresholds.decide(probabilities) for probabilities, thresholds in outputs)
    found = paired_label_differences(truth, first, second)
    # Where one category is said of every picture, these are one figure.
    found["accuracy"] = found["micro_f1"]
    if "map" in named:
        found["map"] = paired_map_difference(truth, [before], [after])
    return {
        name: {"difference": each.difference, "low": each.low, "high": each.high}
        for name, each in found.items()
        if name in named
    }


def require_boxes(test: Dataset) -> None:
    """Refuse a dataset in which there is nothing to find.

    Raises
    ------
    TagboxError
        ``no-boxes``.
    """
    if not ground_truth(test).support.any():
        raise TagboxError(
            "no-boxes",
            "there is no object to find in it",
            file=test.source.path,
            hint="give images with boxes to --test",
        )


def compare_boxes(
    test: Dataset, models: Mapping[str, Callable[[], DetectorModel]], progress: Progress
) -> dict[str, Any]:
    """Figures of both detectors, and by how much they differ.

    Parameters
    ----------
    models
        Two by name, made one after the other.

    Returns
    -------
    dict
        ``images``, the headline figures by name, and ``differences``: second minus first, without an
        interval.

    Raises
    ------
    TagboxError
        ``no-readable-images``; what making a model raises; the codes of `evaluate_boxes`.
    """
    outputs: list[tuple[Detections, ScoreThresholds]] = []
    seen = np.ones(len(test), bool)
    paths = [test.images.path(row) for row in range(len(test))]
    for make in models.values():
        model = make()
        with progress.bar("detecting in test pictures", len(paths), "pictures") as advance:
            said = model.detect(paths, skip_errors=True, progress=advance)
        for error in said.errors:
            progress.say(f"left out: {error}")
        seen &= said.ok
        outputs.append((said.detections, model.cuts))
    require_readable(test, seen)
    judged = test.take(np.flatnonzero(seen))
    found: dict[str, Any] = {"images": len(judged)}
    place = np.cumsum(seen, dtype=np.int32) - 1
    for name, (detections, cuts) in zip(models, outputs, strict=True):
        kept = detections.take(seen[detections.image_rows])
        beside = replace(
            kept, images=tuple(judged.images.files.tolist()), image_rows=place[kept.image_rows]
        )
        found[name] = box_headline(evaluate_boxes(judged, beside, cuts=cuts, intervals=False))
    before, after = (found[name] for name in models)
    found["differences"] = {
        name: {"difference": after[name] - value} for name, value in before.items() if name in after
    }
    return found
