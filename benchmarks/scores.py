"""How every baseline's accuracy is computed: scikit-learn and the definitions, nothing of tagbox."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score


def mean_average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean of scikit-learn's average precision over the categories with a positive.

    `truth` (N, K) of 0 and 1, `scores` (N, K).
    """
    present = truth.any(axis=0)
    return float(average_precision_score(truth[:, present], scores[:, present], average="macro"))


def challenge_f1(truth: np.ndarray, decided: np.ndarray) -> float:
    """Inverse-frequency weighted F1 of the MS COCO classification challenge.

    With support n_c in `truth`, w_c = (1/n_c) / sum(1/n); precision and recall are averaged with these
    weights, a category without support takes none, and F1 is their harmonic mean. `truth` and
    `decided` (N, K) of 0 and 1.
    """
    truth, decided = truth.astype(bool), decided.astype(bool)
    hits = (truth & decided).sum(axis=0).astype(float)
    support = truth.sum(axis=0)
    weights = np.divide(1.0, support, out=np.zeros(len(support)), where=support > 0)
    weights /= weights.sum()
    precision = np.divide(hits, decided.sum(axis=0), out=np.zeros_like(hits), where=hits > 0)
    recall = np.divide(hits, support, out=np.zeros_like(hits), where=hits > 0)
    p, r = float(weights @ precision), float(weights @ recall)
    return 2 * p * r / (p + r) if p + r else 0.0
