"""How often a 95 % interval holds the value it should: coverage by simulation, at several supports.

A population of 20,000 generated images is scored once; that is the truth. Samples of it are drawn, each gets
its intervals, and the share that holds the truth is counted, for the method tagbox uses and for the plain
percentile bootstrap of everything. A figure in 0.92-0.98 is as it should be.

    python benchmarks/interval_coverage.py [--draws 200] [--json]

Below each, "reliable" is the share of samples of which `tagbox.metrics.intervals.reliable` vouches for
that metric's interval. `thin` is the mean share of categories with fewer than ten positives.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

from tagbox.metrics.intervals import (
    RankedScores,
    allowed_resamples,
    bootstrap,
    intervals,
    reliable,
    resample_weights,
    thin_categories,
)
from tagbox.metrics.multilabel import average_precision, label_metrics, mean_average_precision

SHOWN = ("map", "challenge_f1", "challenge_precision", "macro_f1", "cf1", "micro_f1", "samples_f1")
DESIGNS = (
    (80, 100),
    (80, 277),
    (80, 600),
    (80, 1500),
    (80, 5000),
    (60, 5000),
    (40, 300),
    (40, 1000),
    (20, 300),
    (20, 1000),
    (20, 3000),
    (10, 130),
    (10, 500),
)


def population(images: int = 20_000, categories: int = 80, seed: int = 0):
    """Truth and scores with COCO's long tail and about three labels an image, categories by frequency."""
    random = np.random.default_rng(seed)
    rate = 0.11 / np.arange(1, categories + 1) ** 0.62
    rate[0] = 0.54
    rate[-3:] /= 8
    theme = random.normal(0, 0.7, (images, 8)) @ random.normal(0, 0.5, (8, categories))
    odds = np.log(rate / (1 - rate)) + theme - theme.var(axis=0) / 2
    truth = (random.random((images, categories)) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    skill = random.normal(3.0, 0.6, categories)
    logits = np.log(rate) * 0.8 + skill * truth + random.normal(0, 1.2, truth.shape) + 0.2 * theme
    return truth, (1 / (1 + np.exp(-logits))).astype(np.float32)


def coverage(truth, scores, images: int, draws: int) -> dict[str, object]:
    random = np.random.default_rng(images + truth.shape[1])
    decisions = scores >= 0.3
    value = label_metrics(truth, decisions)
    value["map"] = mean_average_precision(average_precision(truth, scores))
    ours = {name: [] for name in SHOWN}
    plain = {name: [] for name in SHOWN}
    thin = []
    claimed = {name: [] for name in SHOWN}
    for draw in range(draws):
        rows = random.choice(len(truth), images)
        t, d, s = truth[rows], decisions[rows], scores[rows]
        found = intervals(t, d, s, resamples=300, seed=draw)
        drawn = bootstrap(t, d, resamples=300, seed=draw)
        ranked, count = RankedScores(t, s), allowed_resamples(t.shape, 300)
        drawn["map"] = np.concatenate(
            [ranked.mean_average_precision(w) for w in resample_weights(images, count, draw)]
        )
        for name in SHOWN:
            if name in found:
                ours[name].append(found[name]["low"] <= value[name] <= found[name]["high"])
            low, high = np.nanquantile(drawn[name], [0.025, 0.975])
            plain[name].append(low <= value[name] <= high)
        support = (t == 1).sum(axis=0)
        thin.append(len(thin_categories(support)) / max(np.count_nonzero(support), 1))
        for name in SHOWN:
            claimed[name].append(reliable(name, images, support))
    return {
        "images": images,
        "categories": truth.shape[1],
        "thin": float(np.mean(thin)),
        "covered": {name: float(np.mean(hits)) for name, hits in ours.items()},
        "covered_by_percentiles": {name: float(np.mean(hits)) for name, hits in plain.items()},
        "called_reliable": {name: float(np.mean(calls)) for name, calls in claimed.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    truth, scores = population()
    results = []
    print("categories images   thin  method      " + " ".join(f"{n:>19}" for n in SHOWN))
    for categories, images in DESIGNS:
        draws = options.draws if categories * images <= 120_000 else max(50, options.draws // 4)
        found = coverage(truth[:, :categories], scores[:, :categories], images, draws)
        results.append(found | {"draws": draws})
        for method, key in (
            ("tagbox", "covered"),
            ("percentile", "covered_by_percentiles"),
            ("reliable", "called_reliable"),
        ):
            print(
                f"{categories:10d} {images:6d}  {found['thin']:5.2f}  {method:11s} "
                + " ".join(f"{found[key][name]:19.3f}" for name in SHOWN),
                flush=True,
            )
    if options.json:
        json.dump(results, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
