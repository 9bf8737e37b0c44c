"""Which pictures a report shows, and the small pictures that go into its page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.images.draw import heat_colours, heat_strength
from tagbox.metrics.multilabel import ratio

Kind = Literal["best", "worst"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportPicture:
    """A picture of the report with what is in it and what was said of it.

    Attributes
    ----------
    image
        (H, W, 3) uint8 RGB.
    name
        The file's name.
    truth
        Names of the categories in it.
    predicted
        (name, probability) of the labels given, highest first; the probability is None for label sets.
    kind
        ``best`` or ``worst``.
    score
        The picture's F1.
    missed
        (name, probability) of the labels not given, where the probabilities are known.
    evidence
        (category name, (h, w) float32) maps that cover the whole picture; the first three are shown.
    """

    image: NDArray[np.uint8]
    name: str
    truth: tuple[str, ...]
    predicted: tuple[tuple[str, float | None], ...]
    kind: Kind
    score: float
    missed: tuple[tuple[str, float | None], ...] = ()
    evidence: tuple[tuple[str, NDArray[np.float32]], ...] = ()


def choose_pictures(
    truth: NDArray[np.int8],
    decisions: NDArray[np.bool_],
    probabilities: NDArray[np.float32] | None = None,
    count: int = 12,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the pictures a model got most right and most wrong.

    They are ordered by the F1 of their labels, then by the mean log loss of their probabilities. The
    best have at least one label that was said: an empty picture of which nothing is said teaches nothing.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    decisions
        (N, K) bool.
    probabilities
        (N, K) float32, or None.
    count
        Most of each kind.

    Returns
    -------
    best, worst
        Rows, the very best and the very worst first; no row is in both, and pictures of which
        nothing is known are in neither.
    """
    scores = picture_scores(truth, decisions)
    loss = np.zeros(len(truth)) if probabilities is None else _log_loss(truth, probabilities)
    order = np.lexsort((loss, -scores))
    known = (truth != UNKNOWN).any(axis=1)
    good = known & (scores > 0) & (decisions & (truth == PRESENT)).any(axis=1)
    best = order[good[order]][:count]
    left = known.copy()
    left[best] = False
    # Where there are few pictures, those without a fault are not among the worst.
    left &= scores < 1
    worst = order[::-1]
    return best, worst[left[worst]][:count]


def picture_scores(truth: NDArray[np.int8], decisions: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) F1 of each picture's labels; 1 where nothing is there and nothing was said."""
    present = truth == PRESENT
    said = (decisions & (truth != UNKNOWN)).sum(axis=1)
    total = said + present.sum(axis=1)
    scores = ratio(2 * (decisions & present).sum(axis=1), total)
    scores[total == 0] = 1.0
    return scores


def make_picture(
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
) -> ReportPicture:
    """The `ReportPicture` of image `row` of the tables (N, K) that `choose_pictures` took."""
    said, present = np.flatnonzero(decisions[row]), np.flatnonzero(truth[row] == PRESENT)
    missed = present[~decisions[row, present]]

    def labels(columns: NDArray[np.intp]) -> tuple[tuple[str, float | None], ...]:
        if probabilities is None:
            return tuple((categories[k], None) for k in columns.tolist())
        ranked = columns[np.argsort(-probabilities[row, columns], kind="stable")].tolist()
        return tuple((categories[k], float(probabilities[row, k])) for k in ranked)

    return ReportPicture(
        image=image,
        name=name,
        truth=tuple(categories[k] for k in present.tolist()),
        predicted=labels(said),
        kind=kind,
        score=float(picture_scores(truth[[row]], decisions[[row]])[0]),
        missed=labels(missed),
        evidence=tuple(evidence),
    )


def thumbnail(image: NDArray[np.uint8], side: int = 320) -> tuple[str, int, int]:
    """A JPEG data URI whose longer side is at most `side` pixels, its width and its height."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != (width, height):
        smaller = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        image = np.asarray(smaller)
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=78, colorsubsampling="420")
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}", size[0], size[1]


def heat_layer(heat: NDArray[np.floating[Any]], side: int = 48) -> str:
    """An evidence map as a small transparent PNG data URI, to be stretched over the picture."""
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
    """(N,) mean over the known labels of -log of the probability given to what is true."""
    held = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    loss = -np.log(np.where(truth == PRESENT, held, 1 - held))
    known = truth != UNKNOWN
    return ratio(np.where(known, loss, 0.0).sum(axis=1), known.sum(axis=1))
