"""Precision against recall, and precision, recall and F1 against the score from which detections are said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.evaluation.box_matching import Matches
from tagbox.evaluation.box_metrics import RECALLS, BoxScores
from tagbox.evaluation.label_metrics import ratio

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class RecallCurves:
    """COCO's interpolated precision at 101 recalls; a category's mean over them is its AP.

    Attributes
    ----------
    recall
        (101,) from 0 to 1.
    at_50, over_ious
        (101,) precision at an IoU of 0.5, and its mean over the IoUs 0.5 to 0.95; means over the categories with
        a box to find, NaN where there is none.
    of_categories
        (K, 101) precision at an IoU of 0.5; NaN rows of categories without a box to find.
    """

    recall: Array
    at_50: Array
    over_ious: Array
    of_categories: Array


def recall_curves(scores: BoxScores) -> RecallCurves:
    """Precision against recall."""
    table = scores.values("ap")[:, :, scores.columns]
    there = (table > -1).all(axis=(0, 1))
    at_50 = np.where(there, table[0], np.nan)
    empty = np.full(len(RECALLS), np.nan)
    return RecallCurves(
        recall=RECALLS,
        at_50=table[0][:, there].mean(axis=1) if there.any() else empty,
        over_ious=table[:, :, there].mean(axis=(0, 2)) if there.any() else empty,
        of_categories=at_50.T,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoreCurve:
    """What is said, and how right it is, at each score from which on detections are said; IoU 0.5.

    Attributes
    ----------
    scores
        (S,) descending.
    precision, recall, f1
        (S,) at those; 0 where a ratio has nothing below it.
    """

    scores: Array
    precision: Array
    recall: Array
    f1: Array


def score_curve(matches: Matches, category: int | None = None, points: int = 201) -> ScoreCurve:
    """Precision, recall and F1 against the score, over all detections or those of one category.

    Parameters
    ----------
    matches
        Verdicts on the detections.
    category
        A row of the dataset's categories.
    points
        At most so many scores, evenly through the detections.
    """
    part = slice(None) if category is None else matches.of_category(category)
    counted = ~matches.ignored[0, part]
    values, right = matches.scores[part][counted], matches.right[0, part][counted]
    positives = matches.positives
    boxes = int(positives.sum() if category is None else positives[category])
    order = np.argsort(-values, kind="stable")
    values, hits = values[order], np.cumsum(right[order])
    last = np.append(values[1:] != values[:-1], True) if len(values) else np.zeros(0, bool)
    at = np.flatnonzero(last)
    if len(at) > points:
        at = at[np.linspace(0, len(at) - 1, points).round().astype(np.intp)]
    said, hit = at + 1, hits[at]
    return ScoreCurve(
        scores=values[at],
        precision=ratio(hit, said),
        recall=ratio(hit, np.full(len(at), boxes)),
        f1=ratio(2 * hit, said + boxes),
    )


def counts_at(matches: Matches, levels: Array) -> dict[str, NDArray[np.int64]]:
    """(K,) int64 ``tp``, ``fp``, ``fn`` at an IoU of 0.5 of what is said from each category's `levels` (K,) on."""
    said = ~matches.ignored[0] & (matches.scores >= levels[matches.category_rows])
    right = said & matches.right[0]
    tp, claimed = (
        np.bincount(matches.category_rows[mask], minlength=len(levels)).astype(np.int64)
        for mask in (right, said)
    )
    return {"tp": tp, "fp": claimed - tp, "fn": matches.positives - tp}


def rates(tp: Any, fp: Any, fn: Any) -> dict[str, Array]:
    """``precision``, ``recall``, ``f1`` of counts; a ratio of nothing is 0."""
    return {
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
    }
