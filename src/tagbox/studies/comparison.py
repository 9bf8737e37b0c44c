"""Comparison of two classifiers, or of two detectors, on a test dataset."""

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

Output = tuple[NDArray[np.float32], Thresholds]
"""(N, K) probabilities and the thresholds that make labels of them."""


def compare_labels(
    test: Dataset,
    models: Mapping[str, Callable[[], Classifier]],
    labels: LabelKind,
    *,
    cache: FeatureCache | None,
    progress: Progress,
) -> dict[str, Any]:
    """Metrics of both classifiers, each at its own thresholds, and the paired differences.

    Parameters
    ----------
    models
        Two by name, loaded or trained one after the other.
    labels
        Whether categories exclude each other.

    Returns
    -------
    dict
        ``images``, the headline metrics by name, and ``differences``: second minus first, with the ends of a
        95 % interval over the images, and whether it is reliable.

    Raises
    ------
    TagboxError
        ``no-readable-images``; what making a model raises.
    """
    outputs: list[Output] = []
    readable = np.ones(len(test), bool)
    paths = [test.images.path(row) for row in range(len(test))]
    for make in models.values():
        classifier = make()
        with progress.bar("predicting test pictures", len(paths), "images") as advance:
            predicted = classifier.predict(paths, cache=cache, skip_errors=True, progress=advance)
        for error in predicted.errors:
            progress.say(f"left out: {error}")
        readable &= predicted.ok
        outputs.append((predicted.probabilities, classifier.thresholds))
    require_readable(test, readable)
    truth = test.labels[readable]
    found: dict[str, Any] = {"images": len(truth)}
    outputs = [(probabilities[readable], thresholds) for probabilities, thresholds in outputs]
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
    truth: NDArray[np.int8], outputs: Sequence[Output], names: Collection[str]
) -> dict[str, dict[str, Any]]:
    """``difference``, ``low``, ``high`` and ``reliable`` of the metrics in `names`: the second output minus the first."""
    (before, _), (after, _) = outputs
    first, second = (thresholds.decide(probabilities) for probabilities, thresholds in outputs)
    found = paired_label_differences(truth, first, second)
    # With one label per image, accuracy equals micro F1.
    found["accuracy"] = found["micro_f1"]
    if "map" in names:
        found["map"] = paired_map_difference(truth, [before], [after])
    return {
        name: {key: getattr(each, key) for key in ("difference", "low", "high", "reliable")}
        for name, each in found.items()
        if name in names
    }


def require_boxes(test: Dataset) -> None:
    """Refuse a dataset without boxes.

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
    """Metrics of both detectors, and the differences.

    Parameters
    ----------
    models
        Two by name, loaded or trained one after the other.

    Returns
    -------
    dict
        ``images``, the headline metrics by name, and ``differences``: second minus first, without an
        interval.

    Raises
    ------
    TagboxError
        ``no-readable-images``; what making a model raises; the codes of `evaluate_boxes`.
    """
    outputs: list[tuple[Detections, ScoreThresholds]] = []
    readable = np.ones(len(test), bool)
    paths = [test.images.path(row) for row in range(len(test))]
    for make in models.values():
        model = make()
        with progress.bar("detecting in test pictures", len(paths), "pictures") as advance:
            predicted = model.detect(paths, skip_errors=True, progress=advance)
        for error in predicted.errors:
            progress.say(f"left out: {error}")
        readable &= predicted.ok
        outputs.append((predicted.detections, model.cuts))
    require_readable(test, readable)
    evaluated = test.take(np.flatnonzero(readable))
    found: dict[str, Any] = {"images": len(evaluated)}
    new_rows = np.cumsum(readable, dtype=np.int32) - 1
    for name, (detections, cuts) in zip(models, outputs, strict=True):
        kept = detections.take(readable[detections.image_rows])
        aligned = replace(
            kept,
            images=tuple(evaluated.images.files.tolist()),
            image_rows=new_rows[kept.image_rows],
        )
        found[name] = box_headline(evaluate_boxes(evaluated, aligned, cuts=cuts, intervals=False))
    before, after = (found[name] for name in models)
    found["differences"] = {
        name: {"difference": after[name] - value} for name, value in before.items() if name in after
    }
    return found
