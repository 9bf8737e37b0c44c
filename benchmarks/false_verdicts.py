"""How often `tagbox compare` tells models apart that do not differ, and how often its intervals hold the difference.

    python benchmarks/false_verdicts.py [--draws 400] [--quick] [--json]

Labels are COCO's: of the 4,952 test images of the challenge where ``$TAGBOX_SHARED_DATA/challenge`` is, else generated with
a tail as long. Four models are generated on them, unlike in what they are good at. A *member* gives for every image the
output of one of the four, drawn anew for each sample, so that members do not differ, whatever their four models do.

- ``false``: pairs without difference that are told apart, of two members; at most 0.07 is as it should be;
- ``family``: samples in which any two of twelve members are told apart;
- ``found``: pairs told apart where one member has the output of a better model on every image, and by how much that is
  better: the power;
- ``covered``: 95 % intervals that hold the difference of two of the four models in the population, with the share of them
  that is called reliable, and the coverage of those. That of the challenge F1 is at the class weights of the sample.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagbox.data.categories import NAMES
from tagbox.evaluation.compare_models import compare_models
from tagbox.evaluation.model_outcomes import ModelOutcomes, ScoredImages, label_outcomes
from tagbox.evaluation.pair_estimates import CANNOT_TELL
from tagbox.metrics.multilabel import (
    average_precision,
    challenge_metrics,
    count_labels,
    label_metrics,
    mean_average_precision,
)
from tagbox.predictions.files import read_label_sets
from tagbox.predictions.thresholds import Thresholds

SHOWN = ("map", "challenge_f1", "micro_f1", "macro_f1", "samples_f1", "hamming_loss", "subset_accuracy")  # fmt: skip
SIZES, FAMILY, COVERED = (133, 470), 12, (500, 5000)
THRESHOLDS = Thresholds(value=0.3)


def challenge_labels() -> np.ndarray | None:
    """(4952, 80) int8 labels of the challenge's test images, where they are at hand."""
    path = Path(os.environ.get("TAGBOX_SHARED_DATA", ""), "challenge", "test_labels.json")
    if not path.is_file():
        return None
    decisions = read_label_sets(path, NAMES).decisions
    assert decisions is not None
    return decisions.astype(np.int8)


def generated_labels(images: int = 5000) -> np.ndarray:
    """(N, 80) int8 with about three labels an image and COCO's long tail."""
    random = np.random.default_rng(0)
    rate = 0.11 / np.arange(1, 81) ** 0.62
    rate[0], rate[-2:] = 0.54, rate[-2:] / 4
    theme = random.normal(0, 0.7, (images, 8)) @ random.normal(0, 0.5, (8, 80))
    odds = np.log(rate / (1 - rate)) + theme - theme.var(axis=0) / 2
    return (random.random((images, 80)) < 1 / (1 + np.exp(-odds))).astype(np.int8)


def scores_of(truth: np.ndarray, seed: int, skill: float = 3.0) -> np.ndarray:
    """(N, K) float32 probabilities of a model; what makes an image hard is hard for every model."""
    shared = np.random.default_rng(99).normal(0, 1, truth.shape)
    random = np.random.default_rng(seed)
    rate = np.clip(truth.mean(axis=0), 1e-3, None)
    skills = random.normal(skill, 0.6, truth.shape[1])
    logits = np.log(rate) * 0.8 + skills * truth + 0.7 * shared + random.normal(0, 0.9, truth.shape)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def compared(truth: np.ndarray, members: Sequence[np.ndarray], seed: int = 0) -> dict[str, Any]:
    """`compare_models` of members' (N, K) probabilities."""
    outcomes: list[ModelOutcomes] = [
        label_outcomes(str(n), truth, probabilities=p, thresholds=THRESHOLDS, seed=seed)
        for n, p in enumerate(members)
    ]
    names = [str(row) for row in range(len(truth))]
    support = (truth == 1).sum(axis=0)
    kept = [_only(one) for one in outcomes]
    return compare_models(
        kept, ScoredImages(names=names, categories=NAMES, support=support), seed=seed
    )


def _only(one: ModelOutcomes) -> ModelOutcomes:
    """Without the metrics that are not counted here."""
    from dataclasses import replace

    return replace(one, without={k: v for k, v in one.without.items() if k in SHOWN})


def verdicts(result: dict[str, Any]) -> dict[str, bool]:
    """Whether any pair is told apart, by metric; ``categories``: whether any category is."""
    found = {
        name: any(pair["metrics"][name]["verdict"] != CANNOT_TELL for pair in result["pairs"])
        for name in SHOWN
    }
    found["categories"] = any(
        pair["categories"]["first_better"] + pair["categories"]["second_better"]
        for pair in result["pairs"]
    )
    return found


def false_rates(
    truth: np.ndarray, models: np.ndarray, images: int, members: int, draws: int
) -> dict[str, float]:
    """The share of samples in which members that do not differ are told apart, by metric."""
    random = np.random.default_rng(images + members)
    told: list[dict[str, bool]] = []
    for draw in range(draws):
        rows = random.choice(len(truth), images)
        drawn = [models[random.integers(0, len(models), images), rows] for _ in range(members)]
        told.append(verdicts(compared(truth[rows], drawn, seed=draw)))
    return {name: float(np.mean([each[name] for each in told])) for name in told[0]}


def power(
    truth: np.ndarray, better: np.ndarray, worse: np.ndarray, images: int, draws: int
) -> dict[str, tuple[float, float]]:
    """Of each metric the mean difference of two models, and the share of samples that tell them apart rightly."""
    random = np.random.default_rng(images)
    right: dict[str, list[bool]] = {name: [] for name in SHOWN}
    sizes: dict[str, list[float]] = {name: [] for name in SHOWN}
    for draw in range(draws):
        rows = random.choice(len(truth), images)
        pair = compared(truth[rows], [better[rows], worse[rows]], seed=draw)["pairs"][0]["metrics"]
        for name in SHOWN:
            right[name].append(pair[name]["verdict"] == "first")
            sizes[name].append(pair[name]["difference"])
    return {name: (float(np.mean(sizes[name])), float(np.mean(right[name]))) for name in SHOWN}


def coverage(
    truth: np.ndarray, first: np.ndarray, second: np.ndarray, images: int, draws: int
) -> dict[str, tuple[float, float, float | None]]:
    """Of each metric: covered, called reliable, covered of those."""
    random = np.random.default_rng(images)
    decided = [THRESHOLDS.decide(scores) for scores in (first, second)]
    counts = [count_labels(truth, each) for each in decided]
    whole = [label_metrics(truth, each) for each in decided]
    for values, scores in zip(whole, (first, second), strict=True):
        values["map"] = mean_average_precision(average_precision(truth, scores)) or 0.0
    held: dict[str, list[bool]] = {name: [] for name in SHOWN}
    sure: dict[str, list[bool]] = {name: [] for name in SHOWN}
    for draw in range(draws):
        rows = random.choice(len(truth), images)
        support = (truth[rows] == 1).sum(axis=0).astype(np.float64)
        fixed = [float(challenge_metrics(each, support)["challenge_f1"]) for each in counts]
        pair = compared(truth[rows], [first[rows], second[rows]], seed=draw)["pairs"][0]["metrics"]
        for name in SHOWN:
            there = fixed if name == "challenge_f1" else [each[name] for each in whole]
            held[name].append(pair[name]["low"] <= there[0] - there[1] <= pair[name]["high"])
            sure[name].append(pair[name]["reliable"])
    result: dict[str, tuple[float, float, float | None]] = {}
    for name in SHOWN:
        flags, hits = np.array(sure[name]), np.array(held[name])
        enough = flags.mean() >= 0.05
        result[name] = float(hits.mean()), float(flags.mean()), float(hits[flags].mean()) if enough else None  # fmt: skip
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--quick", action="store_true", help="a quarter of the draws")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    draws = options.draws // 4 if options.quick else options.draws
    truth = challenge_labels()
    print(f"labels: {'generated' if truth is None else 'of the challenge'}, {draws} draws")
    truth = generated_labels() if truth is None else truth
    models = np.stack([scores_of(truth, seed) for seed in (1, 2, 3, 4)])
    better = scores_of(truth, 1, 3.2)
    found: dict[str, Any] = {}
    print(f"{'':24}" + "".join(f"{name:>16}" for name in (*SHOWN, "categories")))

    def show(title: str, cells: Sequence[float | None]) -> None:
        texts = ("" if cell is None else f"{cell:.3f}" for cell in cells)
        print(f"{title:24}" + "".join(f"{text:>16}" for text in texts), flush=True)

    for images in SIZES:
        found[f"false {images}"] = rates = false_rates(truth, models, images, 2, draws)
        show(f"false, {images} images", list(rates.values()))
        found[f"power {images}"] = powers = power(truth, better, models[0], images, draws // 4)
        show("  difference", [powers[name][0] for name in SHOWN])
        show("  found", [powers[name][1] for name in SHOWN])
    for images in SIZES:
        rates = false_rates(truth, models, images, FAMILY, draws // 2)
        found[f"family {images}"] = rates
        show(f"family of {FAMILY}, {images}", list(rates.values()))
    for images in COVERED:
        held = coverage(truth, better, models[1], images, draws // 2 if images > 1000 else draws)
        found[f"covered {images}"] = held
        for row, title in enumerate((f"covered, {images} images", "  reliable", "  of those")):
            show(title, [held[name][row] for name in SHOWN])
    if options.json:
        json.dump(found, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
