"""What tuned thresholds are worth on pictures that the tuning has not seen.

    python benchmarks/threshold_study.py PREDICTIONS.csv DATA [--splits 40] [--images 130] [--objective challenge_f1]

PREDICTIONS.csv holds probabilities of pictures the model was not trained on (`tagbox predict --csv`, or
a cross-validation's held-out ones), DATA their labels. Over and over, `--images` of them are drawn, stratified, to
tune on, and the rest is scored: at 0.5; at the exact maximum of the global sweep and at the maximum
that is averaged over its neighbourhood; at the per-category thresholds that are best on the tuning images as they
are, and at those `tune` holds back; and at what `tune` chose to use. The mean, its standard error, beside
it what the same thresholds promise on the images they were tuned on, and how many labels are said for each one
there is: the challenge F1 can be raised by saying everything of common categories, which helps nobody.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tagbox.data.load import load_dataset
from tagbox.data.stratify import stratify
from tagbox.evaluation.threshold_search import search_per_category, sweep_global
from tagbox.evaluation.tuning import tune
from tagbox.metrics.multilabel import label_metrics
from tagbox.predictions.alignment import align, index_names
from tagbox.predictions.files import read_predictions
from tagbox.predictions.thresholds import OBJECTIVES
from timing import report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("predictions", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", type=int, default=40)
    parser.add_argument("--images", type=int, default=130)
    parser.add_argument("--objective", choices=OBJECTIVES, default="challenge_f1")
    options = parser.parse_args()
    dataset = load_dataset(options.data)
    aligned = align(read_predictions(options.predictions, index_names(dataset)), dataset)
    truth, probabilities = aligned.truth, aligned.probabilities
    share = options.images / len(truth)
    tuned_on: dict[str, list[float]] = {}
    unseen: dict[str, list[float]] = {}
    said_each: dict[str, list[float]] = {}
    for seed in range(options.splits):
        side = stratify(truth, (share, 1 - share), seed) == 0
        for name, levels in ways(truth[side], probabilities[side], options.objective, seed).items():
            levels = np.asarray(levels, np.float32)
            for rows, values in ((side, tuned_on), (~side, unseen)):
                said = probabilities[rows] >= levels
                score = label_metrics(truth[rows], said)[options.objective]
                values.setdefault(name, []).append(score)
            positives = np.count_nonzero(truth[~side] == 1)
            said_each.setdefault(name, []).append(np.count_nonzero(said) / positives)
    report(
        {
            "objective": options.objective,
            "images": len(truth),
            "tuned_on_images": options.images,
            "splits": options.splits,
            "thresholds": {
                name: {
                    "unseen": round(float(np.mean(values)), 4),
                    "standard_error": round(float(np.std(values) / len(values) ** 0.5), 4),
                    "tuned_on": round(float(np.mean(tuned_on[name])), 4),
                    "said_for_each_label": round(float(np.mean(said_each[name])), 2),
                }
                for name, values in unseen.items()
            },
        }
    )


def ways(truth, probabilities, objective: str, seed: int) -> dict[str, object]:
    """Thresholds found on these images, by name of the way."""
    levels, values = sweep_global(truth, probabilities, objective)
    tuned = tune(truth, probabilities, objective, seed=seed).thresholds
    categories = truth.shape[1]
    return {
        "0.5": 0.5,
        "global, exact maximum": levels[int(np.argmax(values))],
        "global, averaged over the neighbourhood": tuned.value,
        "per category, best on the tuning images": search_per_category(
            truth, probabilities, objective, tuned.value
        ),
        "per category, held back": tuned.levels(categories, "per_category"),
        "what tune saves": tuned.levels(categories),
    }


if __name__ == "__main__":
    main()
