"""Example predictions of a classifier: the images with the best and the worst labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.images.captions import LabelOutcome, Outcome
from tagbox.metrics.multilabel import ratio
from tagbox.reports.examples import Example, Kind


def choose_examples(
    truth: NDArray[np.int8],
    decisions: NDArray[np.bool_],
    probabilities: NDArray[np.float32] | None = None,
    count: int = 12,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Select the images with the best and the worst predictions.

    They are ordered by the F1 of their labels, then by the mean log loss of their probabilities. The
    best have at least one correct label: an empty image without a prediction shows nothing.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    decisions
        (N, K) bool.
    probabilities
        (N, K) float32, or None.
    count
        The most images of each kind.

    Returns
    -------
    best, worst
        Rows, the very best and the very worst first; no row is in both, and images without a known
        label are in neither.
    """
    scores = image_scores(truth, decisions)
    loss = np.zeros(len(truth)) if probabilities is None else _log_loss(truth, probabilities)
    order = np.lexsort((loss, -scores))
    known = (truth != UNKNOWN).any(axis=1)
    good = known & (scores > 0) & (decisions & (truth == PRESENT)).any(axis=1)
    best = order[good[order]][:count]
    left = known.copy()
    left[best] = False
    # Images without an error are not among the worst, however few there are.
    left &= scores < 1
    worst = order[::-1]
    return best, worst[left[worst]][:count]


def image_scores(truth: NDArray[np.int8], decisions: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) F1 of each image's labels; 1 where no label is true and none predicted."""
    present = truth == PRESENT
    predicted = (decisions & (truth != UNKNOWN)).sum(axis=1)
    total = predicted + present.sum(axis=1)
    scores = ratio(2 * (decisions & present).sum(axis=1), total)
    scores[total == 0] = 1.0
    return scores


def make_example(
    image: NDArray[np.uint8],
    name: str,
    row: int,
    kind: Kind,
    *,
    truth: NDArray[np.int8],
    decisions: NDArray[np.bool_],
    probabilities: NDArray[np.float32] | None,
    categories: Sequence[str],
    evidence: Sequence[tuple[str, NDArray[np.float32]]] = (),
) -> Example:
    """The `Example` of image `row` of the tables (N, K) that `choose_examples` took.

    Its labels are the predicted ones, then the missed ones, each by descending probability.
    """
    present, predicted = truth[row] == PRESENT, decisions[row]
    scores = np.zeros(len(predicted)) if probabilities is None else probabilities[row]
    labels = []
    for columns in (np.flatnonzero(predicted), np.flatnonzero(present & ~predicted)):
        for k in columns[np.argsort(-scores[columns], kind="stable")].tolist():
            outcome: Outcome = "true positive" if present[k] else "false positive"
            if not predicted[k]:
                outcome = "missed"
            probability = None if probabilities is None else float(scores[k])
            labels.append(LabelOutcome(categories[k], probability, outcome))
    return Example(
        image=image,
        name=name,
        kind=kind,
        score=float(image_scores(truth[[row]], decisions[[row]])[0]),
        labels=tuple(labels),
        evidence=tuple(evidence),
    )


def _log_loss(truth: NDArray[np.int8], probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) binary cross-entropy, mean over the known labels."""
    clipped = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    loss = -np.log(np.where(truth == PRESENT, clipped, 1 - clipped))
    known = truth != UNKNOWN
    return ratio(np.where(known, loss, 0.0).sum(axis=1), known.sum(axis=1))
