"""The colour baseline: logistic regression on a colour histogram and a 16×16 thumbnail.

It sees no shapes: its mAP is the part of a classifier's that colour and coarse layout explain.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, UNKNOWN, Dataset
from tagbox.images.decode import read_image
from tagbox.metrics.multilabel import average_precision

HISTOGRAM_BINS = 8
"""Levels of each colour channel; the joint histogram has their cube."""
THUMBNAIL = 16
"""Side of the thumbnail in pixels."""
FEATURES = HISTOGRAM_BINS**3 + 3 * THUMBNAIL**2
STRENGTH = 0.01
"""Weight of the L2 penalty; on generated scenes 1e-4 to 1e-1 give the same mAP within 0.005."""


def colour_features(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 to (1280,) float32: shares of the 512 colours, then the thumbnail in 0..1."""
    from PIL import Image

    levels = (image >> 5).reshape(-1, 3).astype(np.int32)
    codes = (levels[:, 0] * HISTOGRAM_BINS + levels[:, 1]) * HISTOGRAM_BINS + levels[:, 2]
    histogram = np.bincount(codes, minlength=HISTOGRAM_BINS**3) / len(codes)
    small = Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.concatenate([histogram, np.asarray(small).ravel() / 255]).astype(np.float32)


def colour_baseline(
    train: Dataset,
    val: Dataset,
    *,
    progress: Callable[[int], None] | None = None,
) -> float:
    """The mAP on `val` of logistic regressions on `colour_features`, one a category, fitted on `train`.

    The fit is convex and starts from zero, so there is no seed.

    Parameters
    ----------
    train, val
        Datasets with the same categories in the same order.
    progress
        Called with the number of images just read.

    Returns
    -------
    mAP over the categories with a positive in `val`; NaN where there is none.

    Raises
    ------
    ValueError
        The categories differ.
    TagboxError
        An image cannot be read.
    """
    if train.categories.names != val.categories.names:
        raise ValueError("the two datasets have different categories")
    xs = [_features_of(dataset, progress) for dataset in (train, val)]
    scores = fit_and_score(xs[0], train.labels, xs[1])
    precisions = average_precision(val.labels, scores)
    return float(np.nanmean(precisions)) if not np.isnan(precisions).all() else float("nan")


def fit_and_score(
    train: NDArray[np.float32], labels: NDArray[np.int8], val: NDArray[np.float32]
) -> NDArray[np.float64]:
    """L2-regularised logistic regressions on standardised features.

    Minimises, for each category, the mean over its known images of the logistic loss plus
    ``STRENGTH / 2 · ‖w‖²`` with a free intercept: scikit-learn's ``LogisticRegression`` with
    ``C = 1 / (STRENGTH · n)``.

    Parameters
    ----------
    train, val
        (N, D) and (M, D) float32.
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown (left out).

    Returns
    -------
    (M, K) float64 log-odds on `val`.
    """
    import torch

    centre = train.mean(0, dtype=np.float64)
    spread = train.std(0, dtype=np.float64)
    spread[spread < 1e-8] = 1.0  # A colour that never occurs stays at zero.
    x, y = ((torch.from_numpy((part - centre) / spread)) for part in (train, val))
    target = torch.from_numpy((labels == PRESENT).astype(np.float64))
    known = torch.from_numpy((labels != UNKNOWN).astype(np.float64))
    known /= known.sum(0).clamp(min=1)

    weight = torch.zeros(x.shape[1], target.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(target.shape[1], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=500, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            x @ weight + bias, target, reduction="none"
        )
        total = (losses * known).sum() + STRENGTH / 2 * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        scores: NDArray[np.float64] = (y @ weight + bias).numpy()
    return scores


def _features_of(dataset: Dataset, progress: Callable[[int], None] | None) -> NDArray[np.float32]:
    rows = np.empty((len(dataset), FEATURES), np.float32)
    for row in range(len(dataset)):
        # A quarter of the pixels has the same colours, and decodes in a quarter of the time.
        rows[row] = colour_features(read_image(Path(dataset.images.path(row)), min_size=120))
        if progress is not None:
            progress(1)
    return rows
