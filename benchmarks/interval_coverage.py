"""How often a 95 % interval holds the value it should: coverage by simulation, at several supports and error rates.

A population of generated images is scored once; that is the truth. Samples of it are drawn, each gets its intervals,
and the share that holds the truth is counted. A figure in 0.92-0.98 is as it should be.

    python benchmarks/interval_coverage.py [--draws 200] [--quick] [--only pair] [--json]

Kinds of population:

- ``tail``: COCO's long tail, about three labels an image and middling scores;
- ``wrong``: a share of all decisions is wrong, from none upwards, categories from frequent to rare;
- ``one label``: every image has one category, and a share of the images gets another one;
- ``pair``: two models on one of these, as good as each other or differing in a share of the decisions or images; the
  intervals are those of the differences.

Of each: ``covered``, of all samples; ``reliable``, the share of samples whose interval is called reliable; ``of those``,
the share of these that holds the truth. Where less than a twentieth of the samples is called reliable no figure is given.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tagbox.evaluation.comparison import paired_label_differences, paired_map_difference
from tagbox.metrics.intervals import intervals
from tagbox.metrics.multilabel import average_precision, label_metrics, mean_average_precision
from tagbox.metrics.single_label import log_losses, one_hot, single_label_intervals

SHOWN = (
    *("map", "challenge_f1", "challenge_precision", "challenge_recall", "macro_f1", "cf1"),
    *("micro_f1", "hamming_loss", "samples_f1", "accuracy", "log_loss"),
)
POPULATION = 20_000
RESAMPLES = 300


@dataclass(frozen=True)
class Population:
    """Truth, scores and decisions (N, K); `rows` (N,) where every image has one category; a second model's output."""

    truth: np.ndarray
    scores: np.ndarray
    decisions: np.ndarray
    rows: np.ndarray | None = None
    second: tuple[np.ndarray, np.ndarray] | None = None

    def take(self, images: np.ndarray) -> Population:
        """The same of some images."""
        return Population(
            self.truth[images],
            self.scores[images],
            self.decisions[images],
            None if self.rows is None else self.rows[images],
            None if self.second is None else (self.second[0][images], self.second[1][images]),
        )


def long_tail(categories: int, seed: int = 0, skills: float = 3.0) -> Population:
    """COCO's long tail and about three labels an image, categories by frequency; `seed` is that of the model."""
    random = np.random.default_rng(0)
    rate = 0.11 / np.arange(1, 81) ** 0.62
    rate[0] = 0.54
    rate[-3:] /= 8
    theme = random.normal(0, 0.7, (POPULATION, 8)) @ random.normal(0, 0.5, (8, 80))
    odds = np.log(rate / (1 - rate)) + theme - theme.var(axis=0) / 2
    truth = (random.random((POPULATION, 80)) < 1 / (1 + np.exp(-odds))).astype(np.int8)
    random = np.random.default_rng(seed) if seed else random
    skill = random.normal(skills, 0.6, 80)
    logits = np.log(rate) * 0.8 + skill * truth + random.normal(0, 1.2, truth.shape) + 0.2 * theme
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)[:, :categories]
    return Population(truth[:, :categories], scores, scores >= 0.3)


def nearly_right(categories: int, wrong: float, seed: int = 1) -> Population:
    """A share `wrong` of the decisions is wrong, whatever the image and category; `seed` is that of the model."""
    random = np.random.default_rng(1)
    rate = np.geomspace(0.5, 0.1, categories)
    truth = random.random((POPULATION, categories)) < rate
    random = np.random.default_rng(seed) if seed != 1 else random
    decisions = truth ^ (random.random(truth.shape) < wrong)
    scores = (random.random(truth.shape) + decisions).astype(np.float32) / 2
    return Population(truth.astype(np.int8), scores, decisions)


def one_label(categories: int, wrong: float, seed: int = 2) -> Population:
    """One category an image, the most frequent ten times as frequent as the rarest; a share `wrong` gets another.

    `seed` is that of the model.
    """
    random = np.random.default_rng(2)
    rate = np.geomspace(10, 1, categories)
    rows = random.choice(categories, POPULATION, p=rate / rate.sum())
    random = np.random.default_rng(seed) if seed != 2 else random
    missed = random.random(POPULATION) < wrong
    said = (rows + missed * random.integers(1, categories, POPULATION)) % categories
    odds = random.normal(0, 1, (POPULATION, categories))
    # The category that is said has the highest score by far more often where it is right.
    odds[np.arange(POPULATION), said] = odds.max(axis=1) + random.gamma(
        np.where(missed, 1.0, 4.0), 1.0
    )
    scores = np.exp(odds)
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    truth = one_hot(rows, categories).astype(np.int8)
    return Population(truth, scores, one_hot(said, categories), rows)


def pair(first: Population, second: Population, shared: float) -> Population:
    """The first model, and one that gives the same output for a share of the entries, or images, and else the second's."""
    random = np.random.default_rng(3)
    same = (
        random.random(first.truth.shape if first.rows is None else (len(first.truth), 1)) < shared
    )
    scores = np.where(same, first.scores, second.scores)
    return replace(first, second=(scores, np.where(same, first.decisions, second.decisions)))


# Kind, how the population is made, images of a sample; a draw costs about images × categories.
Setting = tuple[str, Callable[[], Population], int]
TAIL = (
    *((80, 100), (80, 277), (80, 600), (80, 1500), (80, 5000), (60, 5000), (40, 300), (40, 1000)),
    *((20, 300), (20, 1000), (20, 3000), (10, 130), (10, 500)),
)
WRONG = (
    *((5, 0.0, 100), (5, 0.002, 100), (5, 0.002, 1000), (20, 0.002, 1000), (80, 0.002, 1000)),
    *((5, 0.01, 300), (20, 0.01, 300), (5, 0.03, 300), (20, 0.03, 1000), (5, 0.1, 300)),
)
ONE_LABEL = (
    *((10, 0.02, 1000), (10, 0.02, 300), (10, 0.005, 1000), (10, 0.05, 1000), (10, 0.1, 300)),
    *((10, 0.2, 1000), (3, 0.02, 1000), (3, 0.1, 300), (40, 0.05, 2000)),
)
# Categories, images, share of entries on which the outputs are the same, wrong decisions of each.
PAIRS = (
    *((5, 50, 0.0, 0.05, 0.05), (5, 100, 0.0, 0.05, 0.05), (5, 300, 0.0, 0.05, 0.05)),
    *((5, 1000, 0.0, 0.05, 0.05), (5, 100, 0.9, 0.05, 0.05), (5, 300, 0.9, 0.05, 0.05)),
    *((5, 1000, 0.9, 0.05, 0.05), (5, 1000, 0.99, 0.05, 0.05), (5, 100, 0.0, 0.002, 0.002)),
    *((5, 1000, 0.0, 0.002, 0.002), (5, 100, 1.0, 0.05, 0.05), (5, 100, 0.0, 0.1, 0.02)),
    *((5, 300, 0.0, 0.1, 0.02), (20, 300, 0.0, 0.03, 0.03), (20, 1000, 0.9, 0.03, 0.02)),
)
ONE_LABEL_PAIRS = (
    *((10, 50, 0.0, 0.1, 0.1), (10, 100, 0.0, 0.1, 0.1), (10, 300, 0.0, 0.1, 0.1)),
    *((10, 1000, 0.0, 0.1, 0.1), (10, 300, 0.8, 0.1, 0.1), (10, 1000, 0.8, 0.1, 0.1)),
    *((10, 1000, 0.0, 0.02, 0.02), (10, 300, 0.0, 0.2, 0.1), (3, 300, 0.5, 0.1, 0.1)),
)
TAIL_PAIRS = ((80, 277, 0.0), (80, 1000, 0.0), (40, 1000, 0.0), (20, 300, 0.0), (20, 1000, 0.0), (20, 1000, 0.8), (20, 1000, 0.98))  # fmt: skip
SETTINGS: tuple[Setting, ...] = (
    *((f"tail {k} x {n}", lambda k=k: long_tail(k), n) for k, n in TAIL),
    *((f"wrong {w:.1%} {k} x {n}", lambda k=k, w=w: nearly_right(k, w), n) for k, w, n in WRONG),
    *((f"one label {w:.1%} {k} x {n}", lambda k=k, w=w: one_label(k, w), n) for k, w, n in ONE_LABEL),
    *(
        (
            f"pair {w:.1%}/{v:.1%} {k} x {n}, {same:.0%} same",
            lambda k=k, same=same, w=w, v=v: pair(nearly_right(k, w), nearly_right(k, v, 8), same),
            n,
        )
        for k, n, same, w, v in PAIRS
    ),
    *(
        (
            f"pair one {w:.0%}/{v:.0%} {k} x {n}, {same:.0%} same",
            lambda k=k, same=same, w=w, v=v: pair(one_label(k, w), one_label(k, v, 8), same),
            n,
        )
        for k, n, same, w, v in ONE_LABEL_PAIRS
    ),
    *(
        (
            f"pair tail {k} x {n}, {same:.0%} same",
            lambda k=k, same=same: pair(long_tail(k), long_tail(k, 8), same),
            n,
        )
        for k, n, same in TAIL_PAIRS
    ),
)  # fmt: skip


def values_of(people: Population) -> dict[str, float]:
    value: dict[str, Any] = label_metrics(people.truth, people.decisions)
    value["accuracy"] = value["subset_accuracy"]
    value["map"] = mean_average_precision(average_precision(people.truth, people.scores))
    if people.rows is not None:
        value["accuracy"] = float((people.decisions & (people.truth == 1)).any(axis=1).mean())
        value["log_loss"] = float(log_losses(people.rows, people.scores).mean())
    return value


def found_intervals(sample: Population, seed: int) -> dict[str, dict[str, Any]]:
    if sample.second is not None:
        scores, decisions = sample.second
        differences = paired_label_differences(sample.truth, sample.decisions, decisions)
        differences["map"] = paired_map_difference(
            sample.truth, [sample.scores], [scores], seed=seed
        )
        differences["accuracy"] = differences["subset_accuracy"]
        return {name: asdict(each) for name, each in differences.items()}
    if sample.rows is None:
        return intervals(sample.truth, sample.decisions, sample.scores, seed=seed)
    own = {
        "accuracy": float((sample.decisions & (sample.truth == 1)).any(axis=1).mean()),
        "log_loss": float(log_losses(sample.rows, sample.scores).mean()),
    }
    return single_label_intervals(
        sample.truth, sample.decisions, sample.scores, own, resamples=RESAMPLES, seed=seed
    )


def coverage(people: Population, images: int, draws: int) -> dict[str, dict[str, float | None]]:
    """Of each metric ``covered``, ``reliable`` and ``of_those``."""
    random = np.random.default_rng(images + people.truth.shape[1])
    value = values_of(people)
    if people.second is not None:
        scores, decisions = people.second
        other = values_of(replace(people, scores=scores, decisions=decisions))
        value = {name: other[name] - value[name] for name in value}
    held: dict[str, list[bool]] = {}
    called: dict[str, list[bool]] = {}
    for draw in range(draws):
        rows = random.choice(len(people.truth), images)
        sample = people.take(rows)
        for name, found in found_intervals(sample, draw).items():
            if name in SHOWN:
                # The truth may be the end itself, where it is 1.
                low, high = found["low"] - 1e-12, found["high"] + 1e-12
                held.setdefault(name, []).append(bool(low <= value[name] <= high))
                called.setdefault(name, []).append(bool(found["reliable"]))
    result: dict[str, dict[str, float | None]] = {}
    for name, hits in held.items():
        sure = np.array(called[name])
        enough = sure.mean() >= 0.05
        result[name] = {
            "covered": float(np.mean(hits)),
            "reliable": float(sure.mean()),
            "of_those": float(np.array(hits)[sure].mean()) if enough else None,
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="a quarter of the draws")
    parser.add_argument("--only", default="", help="settings whose name starts so")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    draws = options.draws // 4 if options.quick else options.draws
    results = []
    print(f"{'setting':32} {'':9}" + "".join(f"{name.replace('challenge', 'chal')[:12]:>13}" for name in SHOWN))  # fmt: skip
    for name, people, images in SETTINGS:
        if not name.startswith(options.only):
            continue
        found = coverage(people(), images, draws)
        results.append({"setting": name, "draws": draws, "metrics": found})
        for key in ("covered", "reliable", "of_those"):
            cells = (found.get(metric, {}).get(key) for metric in SHOWN)
            print(
                f"{name if key == 'covered' else '':32} {key:9}"
                + "".join(f"{'' if cell is None else f'{cell:.3f}':>13}" for cell in cells),
                flush=True,
            )
    if options.json:
        json.dump(results, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
