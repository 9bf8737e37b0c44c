"""Two classifiers on images that decided nothing so far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.data.dataset import Dataset
from tagbox.engines.cache import FeatureCache
from tagbox.evaluation.comparison import paired_label_differences, paired_map_difference
from tagbox.evaluation.evaluate import evaluate_labels, headline
from tagbox.evaluation.thresholds import Thresholds
from tagbox.inference.predict import Classifier
from tagbox.progress import Progress
from tagbox.studies.honest import require_readable

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
    claims: list[Claim] = []
    seen = np.ones(len(test), bool)
    paths = [test.images.path(row) for row in range(len(test))]
    for make in models.values():
        classifier = make()
        with progress.bar("predicting test pictures", len(paths), "images") as advance:
            said = classifier.predict(paths, cache=cache, skip_errors=True, progress=advance)
        for error in said.errors:
            progress.say(f"left out: {error}")
        seen &= said.ok
        claims.append((said.probabilities, classifier.thresholds))
    require_readable(test, seen)
    truth = test.labels[seen]
    found: dict[str, Any] = {"images": len(truth)}
    claims = [(probabilities[seen], thresholds) for probabilities, thresholds in claims]
    for name, (probabilities, thresholds) in zip(models, claims, strict=True):
        result = evaluate_labels(
            truth,
            categories=test.categories.names,
            probabilities=probabilities,
            thresholds=thresholds,
            intervals=False,
            labels=labels,
        )
        found[name] = headline(result)
    found["differences"] = _differences(truth, claims, found[name])
    return found


def _differences(
    truth: NDArray[np.int8], claims: Sequence[Claim], named: Collection[str]
) -> dict[str, dict[str, float]]:
    """``difference``, ``low`` and ``high`` of the figures in `named`: the second claim minus the first."""
    (before, _), (after, _) = claims
    first, second = (thresholds.decide(probabilities) for probabilities, thresholds in claims)
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
