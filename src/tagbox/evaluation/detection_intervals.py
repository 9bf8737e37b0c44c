"""How far AP would move with other images of the same kind.

Detections are matched once; leaving images out is a weight of 0 each, and AP of weighted images is a running
sum over detections in the order of their scores.

The interval is that of the label metrics' mAP, a jackknife over 100 parts of the images whose low end is
lowered by its estimate of the bias: AP of few boxes is too high on average, and a bootstrap repeats the
error, because the twin of a detection that is right raises its precision. `benchmarks/box_interval_coverage.py`
counts both: percentiles hold the value of the population in as few as 60 of 100 samples where 95 are meant.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.evaluation.box_matching import Matches
from tagbox.evaluation.coco_metrics import IOUS, RECALLS
from tagbox.metrics.intervals import GROUPS, IMAGES, THIN, THIN_SHARE, thin_categories

Array = NDArray[np.float64]

METRICS = ("ap", "ap50", "ap75")


class WeightedAP:
    """COCO's AP of weighted images; with every weight 1 it is AP itself.

    A weight of 2 is the image twice: its detections stand beside their twins, and each finds its own boxes.
    """

    def __init__(self, matches: Matches) -> None:
        truth = matches.truth
        self._box_images = truth.image_rows[matches.counted]
        self._box_categories = truth.category_rows[matches.counted]
        self._categories = []
        right = matches.right
        for row in np.flatnonzero(matches.positives).tolist():
            part = matches.of_category(row)
            hits, ignored = right[:, part], matches.ignored[:, part]
            cuts = np.flatnonzero(hits.any(axis=0))
            images = matches.image_rows[part][: cuts[-1] + 1 if len(cuts) else 0]
            levels = []
            for level in range(len(IOUS)):
                at, aside = np.flatnonzero(hits[level]), np.flatnonzero(ignored[level])
                aside = aside[: np.searchsorted(aside, len(images))]
                levels.append((at, np.searchsorted(cuts, at), aside, np.searchsorted(aside, at)))
            self._categories.append((row, images, np.append(0, cuts[:-1] + 1), levels))

    def averages(self, weights: NDArray[np.floating[Any]]) -> dict[str, Array]:
        """(B,) ``ap``, ``ap50``, ``ap75`` of (B, N) weights; a category without a box in a resample leaves its mean."""
        by_image = np.ascontiguousarray(weights.T)
        total = np.zeros((len(IOUS), by_image.shape[1]))
        count = np.zeros(by_image.shape[1])
        for row, images, starts, levels in self._categories:
            boxes = by_image[self._box_images[self._box_categories == row]].sum(axis=0)
            count += boxes > 0
            if not len(images):
                continue
            drawn = by_image[images]
            said = np.cumsum(np.add.reduceat(drawn, starts, axis=0), axis=0, dtype=np.float64)
            for level, (at, cut, aside, before) in enumerate(levels):
                if not len(at):
                    continue
                counted = said[cut]
                if len(aside):
                    left_out = np.cumsum(drawn[aside], axis=0, dtype=np.float64)
                    counted = counted - np.vstack([np.zeros_like(left_out[:1]), left_out])[before]
                hits = np.cumsum(drawn[at], axis=0, dtype=np.float64)
                total[level] += _interpolated(hits, counted, boxes)
        mean = np.full_like(total, np.nan)
        np.divide(total, count, out=mean, where=count > 0)
        return {"ap": mean.mean(axis=0), "ap50": mean[0], "ap75": mean[5]}


def box_intervals(
    matches: Matches, *, level: float = 0.95, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """An interval for ``ap``, ``ap50`` and ``ap75``.

    Parameters
    ----------
    matches
        Verdicts on the detections.
    level
        The share of such intervals that is meant to hold the value for all images of the kind.
    seed
        Deals the images into parts.

    Returns
    -------
    dict
        By metric ``low``, ``high``, ``level``, ``method``, ``reliable`` and ``reason``: see `reliable`. Empty
        where one part of the images holds all boxes, or there are fewer than two images.
    """
    scored = np.flatnonzero(matches.truth.scored)
    groups = min(len(scored), GROUPS)
    if groups < 2 or not matches.counted.any():
        return {}
    part = np.full(len(matches.truth.scored), -1)
    part[scored] = np.random.default_rng(seed).permutation(len(scored)) % groups
    weights = np.vstack([np.ones(len(part)), part != np.arange(groups)[:, None]])
    values = WeightedAP(matches).averages(weights.astype(np.float32))
    if any(np.isnan(value).any() for value in values.values()):
        return {}
    sound, reason = reliable(len(scored), matches.positives)
    z = NormalDist().inv_cdf((1 + level) / 2)
    found = {}
    for name in METRICS:
        value, left = float(values[name][0]), values[name][1:]
        error = float(np.sqrt((groups - 1) * left.var()))
        bias = (groups - 1) * (float(left.mean()) - value)
        found[name] = {
            "low": min(max(value - max(bias, 0.0) - z * error, 0.0), 1.0),
            "high": min(max(value + z * error, 0.0), 1.0),
            "level": level,
            "method": "jackknife-bias",
            "reliable": sound and error > 0,
            "reason": reason
            if error > 0 or not sound
            else "no image changes it, so its spread is unknown",
        }
    return found


def reliable(images: int, positives: NDArray[np.int64]) -> tuple[bool, str]:
    """Whether simulated coverage bears the interval out, and why or why not.

    Parameters
    ----------
    images
        Scored images.
    positives
        (K,) boxes to be found of each category.
    """
    thin, there = len(thin_categories(positives)), int(np.count_nonzero(positives))
    if images < IMAGES:
        return False, f"there are {images:,} images, fewer than {IMAGES}"
    if thin > THIN_SHARE * there:
        return False, f"{thin} of {there} categories have fewer than {THIN} boxes"
    return (
        True,
        f"there are at least {IMAGES} images, and few categories with fewer than {THIN} boxes",
    )


def _interpolated(hits: Array, said: Array, boxes: Array) -> Array:
    """(B,) mean of precision at the 101 recalls, from running sums (H, B) at each hit; `boxes` is (B,)."""
    precision = hits / (said + np.spacing(1))
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = np.where(boxes > 0, hits / boxes, 0.0)
    # How many of the recalls each hit reaches; rounding could miss by one, so it is compared.
    nearest = np.rint(recall * (len(RECALLS) - 1)).astype(np.intp)
    reached = nearest + (RECALLS[nearest] <= recall)
    # A recall of 0 is reached by the first detection there is, before any hit.
    gained = np.diff(reached, axis=0, prepend=0)
    return np.asarray((gained * best).sum(axis=0) / len(RECALLS))
