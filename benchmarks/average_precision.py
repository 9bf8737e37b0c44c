"""mAP at 40,000 × 80 against a loop of scikit-learn, and the challenge metrics against a loop over categories.

    python benchmarks/average_precision.py [--images 40000] [--categories 80] [--repeats 7]

Half of the score columns are rounded to three digits, so that there are ties. The results are compared before
anything is timed: average precision to 1e-12, the challenge figures to 1e-12. The two ways of each job take
turns; the medians and their ratio are what counts.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
from sklearn.metrics import average_precision_score

from tagbox.metrics.multilabel import average_precision, challenge_metrics, count_labels
from timing import alternated, machine, ratio, report, seconds_of, summary


def generated(images: int, categories: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth with COCO's share of positives, and float32 scores."""
    random = np.random.default_rng(0)
    truth = (random.random((images, categories)) < 0.036).astype(np.int8)
    scores = random.beta(1, 12, truth.shape) + truth * random.beta(2, 3, truth.shape)
    scores = np.clip(scores, 0, 1).astype(np.float32)
    scores[:, : categories // 2] = np.round(scores[:, : categories // 2], 3)
    return truth, scores


def scikit_learn_loop(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average precision of each category, one call a category."""
    return np.array([average_precision_score(t, s) for t, s in zip(truth.T, scores.T, strict=True)])


def challenge_loop(truth: np.ndarray, decisions: np.ndarray) -> dict[str, float]:
    """The challenge's scores as one writes them down first: a Python loop over categories."""
    weights, precisions, recalls, hits, positives = [], [], [], 0, 0
    for k in range(truth.shape[1]):
        there, said = truth[:, k] == 1, decisions[:, k]
        tp = int(np.sum(there & said))
        fp, fn = int(np.sum(~there & said)), int(np.sum(there & ~said))
        hits, positives = hits + tp, positives + tp + fn
        if tp + fn:
            weights.append(1 / (tp + fn))
            precisions.append(tp / (tp + fp) if tp else 0.0)
            recalls.append(tp / (tp + fn) if tp else 0.0)
    share = [weight / sum(weights) for weight in weights]
    precision = sum(w * p for w, p in zip(share, precisions, strict=True))
    recall = sum(w * r for w, r in zip(share, recalls, strict=True))
    return {
        "challenge_f1": 2 * precision * recall / (precision + recall),
        "challenge_precision": precision,
        "challenge_recall": recall,
        "challenge_accuracy": hits / positives,
    }


def challenge_pass(truth: np.ndarray, decisions: np.ndarray) -> dict[str, np.ndarray]:
    return challenge_metrics(count_labels(truth, decisions))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--categories", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    truth, scores = generated(options.images, options.categories)
    decisions = scores > 0.3
    ap_ways = {
        "scikit-learn loop": lambda: scikit_learn_loop(truth, scores),
        "tagbox": lambda: average_precision(truth, scores),
    }
    challenge_ways = {
        "loop over categories": lambda: challenge_loop(truth, decisions),
        "tagbox": lambda: challenge_pass(truth, decisions),
    }
    theirs, ours = (way() for way in ap_ways.values())
    difference = float(np.abs(theirs - ours).max())
    slow, fast = (way() for way in challenge_ways.values())
    challenge_difference = max(abs(float(fast[name]) - slow[name]) for name in slow)
    result = {
        "machine": machine(("numpy", "scikit-learn")),
        "images": options.images,
        "categories": options.categories,
        "average_precision": timed(ap_ways, options.repeats)
        | {"map": float(ours.mean()), "largest_difference": difference},
        "challenge_metrics": timed(challenge_ways, options.repeats)
        | {
            "challenge_f1": float(fast["challenge_f1"]),
            "largest_difference": challenge_difference,
        },
    }
    report(result)
    if max(difference, challenge_difference) > 1e-12:
        raise SystemExit("the results differ by more than 1e-12")


def timed(ways, repeats: int) -> dict[str, object]:
    """Seconds of both ways, taking turns, and how many times faster the second is."""
    measured = alternated({name: partial(seconds_of, way) for name, way in ways.items()}, repeats)
    baseline, ours = measured.values()
    return {
        "seconds": {name: summary(values) for name, values in measured.items()},
        "times_faster": ratio(baseline, ours),
    }


if __name__ == "__main__":
    main()
