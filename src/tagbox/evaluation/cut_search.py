"""From which score on a detection had best be said: one cut a category, chosen for the best F1.

AP looks at every detection, a picture shows those above a cut. The cut is where F1 at an IoU of 0.5 is
greatest on validation images. The best cut of a category with three boxes is luck, so each category's own is
averaged with the cut that is best for all of them together, weighted by its boxes against `SHRINKAGE`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tagbox.evaluation.box_matching import Matches
from tagbox.evaluation.score_cuts import ScoreCuts

Array = NDArray[np.float64]

SHRINKAGE = 20.0
"""Boxes of a category at which its own cut and the one for all weigh the same; as for thresholds of labels."""


def choose_cuts(matches: Matches) -> ScoreCuts:
    """The cuts of best F1 at an IoU of 0.5 on these very images.

    A category without a box to find keeps the cut for all; without any detection to cut that is 0.5.
    """
    counted = ~matches.ignored[0]
    right = matches.right[0]
    positives = matches.positives
    for_all = _best_cut(matches.scores[counted], right[counted], int(positives.sum()))
    if for_all is None:
        return ScoreCuts()
    levels = []
    for row, boxes in enumerate(positives.tolist()):
        part = matches.of_category(row)
        rows = counted[part]
        own = _best_cut(matches.scores[part][rows], right[part][rows], boxes)
        if own is None:
            levels.append(for_all)
        else:
            levels.append((boxes * own + SHRINKAGE * for_all) / (boxes + SHRINKAGE))
    return ScoreCuts(value=for_all, per_category=tuple(levels))


def _best_cut(scores: Array, right: NDArray[np.bool_], positives: int) -> float | None:
    """Midway between the last score said and the first not said where F1 is greatest; None without a hit."""
    if not positives or not right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    said = np.arange(1, len(scores) + 1)
    f1 = 2 * np.cumsum(right) / (said + positives)
    f1[:-1][scores[:-1] == scores[1:]] = -1.0  # A cut does not divide a tie.
    best = int(np.argmax(f1))
    below = scores[best + 1] if best + 1 < len(scores) else scores[best]
    cut = float((scores[best] + below) / 2)
    # Of two neighbouring floats the mean is one of the two.
    return cut if cut > below else float(scores[best])
