"""Confidence intervals of AP: how far it would move with other images of the same kind.

Detections are matched once; leaving images out gives them the weight 0, and AP of weighted images is a running sum
over detections by descending score.

The method, and when it is called reliable, are those of the label metrics' mAP (`metrics.intervals`): Wilson's
interval with the standard error of a jackknife over 100 groups of images, its ends lowered by an estimate of the bias.
AP of few boxes is too high on average, because it reads the greatest precision at a recall or above: the bias
falls about with the square root of the number of images, for which the jackknife's own estimate is too small and too
noisy. It is taken from halves of the images instead. A bootstrap repeats the error, because the twin of a correct
detection raises its precision. `benchmarks/box_interval_coverage.py` counts both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.evaluation.box_matching import Matches
from tagbox.evaluation.coco_metrics import IOUS, RECALLS
from tagbox.metrics.intervals import IMAGES, THIN, interval, unreliable
from tagbox.metrics.jackknife import group_jackknife, move_of_average_precision

Array = NDArray[np.float64]

SPLITS = 20
"""Random splits of the images into halves, for the bias."""
RELIABLE = f"there are at least {IMAGES} images, few categories with fewer than {THIN} boxes, and no single image moves it far"


class WeightedAP:
    """COCO's AP of weighted images; with every weight 1 it is AP itself.

    A weight of 2 is the image twice: its detections are followed by their twins, and each finds its own boxes.
    """

    def __init__(self, matches: Matches) -> None:
        truth = matches.truth
        self._box_images = truth.image_rows[matches.counted]
        self._box_categories = truth.category_rows[matches.counted]
        self._categories = []
        hits, ignored = matches.right, matches.ignored
        for category in np.flatnonzero(matches.positives).tolist():
            part = matches.of_category(category)
            # Precision is needed only at detections that are correct at some IoU; what lies between two of them is
            # summed at once, and what comes after the last one is dropped.
            stops = np.flatnonzero(hits[:, part].any(axis=0))
            images = matches.image_rows[part][: stops[-1] + 1 if len(stops) else 0]
            levels = []
            for level in range(len(IOUS)):
                correct = np.flatnonzero(hits[level, part])
                aside = np.flatnonzero(ignored[level, part])
                aside = aside[: np.searchsorted(aside, len(images))]
                # Of each correct detection its stop, and how many ignored ones come before it.
                levels.append(
                    (
                        correct,
                        np.searchsorted(stops, correct),
                        aside,
                        np.searchsorted(aside, correct),
                    )
                )
            starts = np.append(0, stops[:-1] + 1)
            self._categories.append((category, images, starts, levels))

    def averages(self, weights: NDArray[np.floating[Any]]) -> dict[str, Array]:
        """(B,) ``ap``, ``ap50``, ``ap75`` of (B, N) weights; a category without a box in a resample is left out of it."""
        by_image = np.ascontiguousarray(weights.T)
        total = np.zeros((len(IOUS), by_image.shape[1]))
        count = np.zeros(by_image.shape[1])
        for category, images, starts, levels in self._categories:
            boxes = by_image[self._box_images[self._box_categories == category]].sum(axis=0)
            count += boxes > 0
            if not len(images):
                continue
            drawn = by_image[images]
            predicted = np.cumsum(np.add.reduceat(drawn, starts, axis=0), axis=0, dtype=np.float64)
            for level, (correct, stop, aside, before) in enumerate(levels):
                if not len(correct):
                    continue
                counted = predicted[stop]
                if len(aside):
                    left_out = np.cumsum(drawn[aside], axis=0, dtype=np.float64)
                    counted = counted - np.vstack([np.zeros_like(left_out[:1]), left_out])[before]
                hits = np.cumsum(drawn[correct], axis=0, dtype=np.float64)
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
        Outcomes of the detections.
    level
        Nominal coverage.
    seed
        Of the groups of images.

    Returns
    -------
    dict
        By metric ``low``, ``high``, ``level``, ``method``, ``reliable`` and ``reason``: see `metrics.intervals.unreliable`. Empty
        where one group of images holds all boxes, or there are fewer than two images.
    """
    scored = matches.truth.scored
    if not matches.counted.any():
        return {}
    weighted = WeightedAP(matches)
    estimates = group_jackknife(weighted.averages, scored, seed)
    if estimates is None:
        return {}
    in_halves = _averages_of_halves(weighted, scored, seed)
    images, support = int(scored.sum()), matches.positives
    found = {}
    for name, (value, error, _) in estimates.items():
        # Halves are higher than the whole by the bias times √2 - 1 where it falls with the square root of the images,
        # and by the bias itself where it falls as fast as their number: the ends allow for the one and the other.
        higher = max(in_halves[name] - value, 0.0)
        move = move_of_average_precision(value, support)
        low, high = interval(value, error, move, bias=higher / (2**0.5 - 1), level=level)
        high = max(high - higher, value)
        reason = unreliable(name, images, support, error, move, "boxes")
        found[name] = {
            "low": low,
            "high": high,
            "level": level,
            "method": "jackknife-bias",
            "reliable": not reason,
            "reason": reason or RELIABLE,
        }
    return found


def _averages_of_halves(
    weighted: WeightedAP, scored: NDArray[np.bool_], seed: int
) -> dict[str, float]:
    """The mean of each average over both halves of `SPLITS` random splits of the `scored` images (N,)."""
    random, rows = np.random.default_rng(seed), np.flatnonzero(scored)
    weights = np.zeros((2 * SPLITS, len(scored)), np.float32)
    for split in range(SPLITS):
        order = random.permutation(rows)
        weights[2 * split, order[: len(rows) // 2]] = 1
        weights[2 * split + 1, order[len(rows) // 2 :]] = 1
    # A half without any box has no average.
    return {name: float(np.nanmean(values)) for name, values in weighted.averages(weights).items()}


def _interpolated(hits: Array, predicted: Array, boxes: Array) -> Array:
    """(B,) AP: the mean of interpolated precision at the 101 recalls.

    `hits` and `predicted` (H, B) are running sums of correct and of counted detections at each correct one; `boxes`
    (B,) is the number of boxes to find.
    """
    precision = hits / (predicted + np.spacing(1))
    # Interpolated: at a recall, the greatest precision at that recall or a higher one.
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        recall = np.where(boxes > 0, hits / boxes, 0.0)
    # How many of the 101 recalls each hit reaches; rounding could miss by one, so it is compared.
    nearest = np.rint(recall * (len(RECALLS) - 1)).astype(np.intp)
    reached = nearest + (RECALLS[nearest] <= recall)
    # Precision at a recall is that of the hit that reaches it first; recall 0 counts for the first hit.
    gained = np.diff(reached, axis=0, prepend=0)
    return np.asarray((gained * best).sum(axis=0) / len(RECALLS))
