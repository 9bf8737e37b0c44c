"""Example predictions of a classifier's report: the best and the worst images, and their cards."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.images.captions import label_outcomes
from tagbox.images.draw import heat_colours, heat_strength
from tagbox.metrics.multilabel import ratio
from tagbox.reports.page import number, thumbnail
from tagbox.reports.report import Kind


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassifierExample:
    """An image of the report with its true and predicted labels.

    Attributes
    ----------
    image
        (H, W, 3) uint8 RGB.
    name
        The file's name.
    truth
        Names of the true labels.
    predicted
        (name, probability) of the predicted labels, highest first; the probability is None for label sets.
    kind
        ``best`` or ``worst``.
    score
        The F1 of its labels.
    missed
        (name, probability) of the true labels that were not predicted; as in `predicted`.
    evidence
        (category name, (h, w) float32) maps that cover the whole image; the first three are shown.
    """

    image: NDArray[np.uint8]
    name: str
    truth: tuple[str, ...]
    predicted: tuple[tuple[str, float | None], ...]
    kind: Kind
    score: float
    missed: tuple[tuple[str, float | None], ...] = ()
    evidence: tuple[tuple[str, NDArray[np.float32]], ...] = ()


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
) -> ClassifierExample:
    """The `ClassifierExample` of image `row` of the tables (N, K) that `choose_examples` took."""
    predicted, present = np.flatnonzero(decisions[row]), np.flatnonzero(truth[row] == PRESENT)
    missed = present[~decisions[row, present]]

    def labels(columns: NDArray[np.intp]) -> tuple[tuple[str, float | None], ...]:
        if probabilities is None:
            return tuple((categories[k], None) for k in columns.tolist())
        ranked = columns[np.argsort(-probabilities[row, columns], kind="stable")].tolist()
        return tuple((categories[k], float(probabilities[row, k])) for k in ranked)

    return ClassifierExample(
        image=image,
        name=name,
        truth=tuple(categories[k] for k in present.tolist()),
        predicted=labels(predicted),
        kind=kind,
        score=float(image_scores(truth[[row]], decisions[[row]])[0]),
        missed=labels(missed),
        evidence=tuple(evidence),
    )


def example_card(example: ClassifierExample, id: str, *, score: bool) -> dict[str, Any]:
    """The values of a card of the page.

    Parameters
    ----------
    id
        Unique on the page.
    score
        Whether its F1 is shown.
    """
    uri, width, height = thumbnail(example.image)
    missed = dict(example.missed)
    outcomes = label_outcomes(example.truth, example.predicted)
    return {
        "id": id,
        "uri": uri,
        "width": width,
        "height": height,
        "name": example.name,
        "score": number(example.score, 2) if score else None,
        "labels": [
            replace(label, probability=missed.get(label.name))
            if label.outcome == "missed"
            else label
            for label in outcomes
        ],
        "evidence": [(name, heat_layer(heat)) for name, heat in example.evidence[:3]],
    }


def heat_layer(heat: NDArray[np.floating[Any]], side: int = 48) -> str:
    """An evidence map as a small transparent PNG data URI, to be stretched over the image."""
    strength = heat_strength(np.asarray(heat, np.float32))
    height, width = strength.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = Image.fromarray(strength).resize(size, Image.Resampling.BICUBIC)
    alpha = np.clip(np.asarray(smooth, np.float32), 0, 1)
    pixels = np.dstack([heat_colours(alpha), 255 * 0.75 * alpha]).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _log_loss(truth: NDArray[np.int8], probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) binary cross-entropy, mean over the known labels."""
    clipped = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    loss = -np.log(np.where(truth == PRESENT, clipped, 1 - clipped))
    known = truth != UNKNOWN
    return ratio(np.where(known, loss, 0.0).sum(axis=1), known.sum(axis=1))
