"""How often the intervals of AP hold the figure of the population their images were drawn from.

    python benchmarks/box_interval_coverage.py [--draws 200]

A population of 30,000 images is generated, with boxes found more or less well by category and by image, and
false detections. Its AP is known. Samples of it are scored, and what counts is the share whose interval holds that AP:
0.92 to 0.98 is as it should be. Beside the jackknife that `tagbox evaluate` uses: percentiles of a bootstrap.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tagbox.data.dataset import Annotations, Categories, Dataset, Images, memory_source
from tagbox.evaluation.box_matching import Matches, match_boxes
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.evaluation.detection_intervals import WeightedAP, box_intervals
from tagbox.metrics.intervals import resample_weights
from tagbox.predictions.coco_results import image_keys
from tagbox.predictions.predictions import Detections
from timing import say

POPULATION = 30_000
SETTINGS = ((100, 5, 0.3), (200, 10, 0.0), (200, 20, 1.2), (600, 10, 0.0), (600, 20, 1.2))
"""Images, categories, and how fast categories become rarer (a power of their rank)."""
SIDE, APART = 40.0, 100.0


def rows_of(
    images: int, categories: int, rates: np.ndarray, rng: np.random.Generator
) -> tuple[Dataset, Detections]:
    """Boxes in a row, each in a place of its own, and detections shifted by what makes their IoU."""
    quality = rng.normal(0, 1, images)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("truth", "found", "scores")}
    for category in range(categories):
        image = np.repeat(np.arange(images), rng.poisson(rates[category], images))
        place = np.arange(len(image)) * APART
        parts["truth"].append(_rows(image, category, place, np.full(len(image), SIDE)))
        skill = 0.7 + 1.2 * category / categories + 0.7 * quality[image]
        hit = rng.random(len(image)) < _logistic(skill)
        iou = np.clip(0.45 + 0.5 * rng.beta(3, 2, len(image)) + 0.04 * quality[image], 0, 1)
        parts["found"].append(_rows(image[hit], category, place[hit], (SIDE * iou)[hit]))
        sure = rng.normal(0.8, 1, len(image)) + 0.5 * quality[image]
        parts["scores"].append(_logistic(sure[hit]))
        false = np.repeat(np.arange(images), rng.poisson(0.1 + 1.5 * rates[category], images))
        parts["found"].append(
            _rows(false, category, np.full(len(false), -APART), SIDE + 0.0 * false)
        )
        parts["scores"].append(_logistic(rng.normal(-1, 1, len(false))))
    truth, found = np.concatenate(parts["truth"]), np.concatenate(parts["found"])
    count = len(truth)
    dataset = Dataset(
        images=Images(
            ids=np.arange(1, images + 1, dtype=np.int64),
            files=np.array([str(row) for row in range(images)], np.str_),
            widths=np.zeros(images, np.int32),
            heights=np.zeros(images, np.int32),
            labelled=np.ones(images, bool),
            root=Path(),
        ),
        categories=Categories.from_names([str(row) for row in range(categories)]),
        annotations=Annotations(
            image_rows=truth[:, 0].astype(np.int32),
            category_rows=truth[:, 1].astype(np.int32),
            boxes=truth[:, 2:],
            has_box=np.ones(count, bool),
            areas=np.full(count, SIDE * SIDE),
            crowd=np.zeros(count, bool),
            ids=np.arange(1, count + 1, dtype=np.int64),
        ),
        source=memory_source(images, count),
    )
    return dataset, Detections(
        images=image_keys(dataset),
        categories=dataset.categories.names,
        image_rows=found[:, 0].astype(np.int32),
        category_rows=found[:, 1].astype(np.int32),
        boxes=found[:, 2:],
        scores=np.concatenate(parts["scores"]),
    )


def _rows(image: np.ndarray, category: int, place: np.ndarray, width: np.ndarray) -> np.ndarray:
    zeros = np.zeros(len(image))
    return np.column_stack([image, zeros + category, place, zeros, width, zeros + SIDE])


def _logistic(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def matched(images: int, categories: int, power: float, rng: np.random.Generator) -> Matches:
    rates = 1.0 / (1 + np.arange(categories)) ** power
    dataset, found = rows_of(images, categories, 0.35 * rates / rates.mean(), rng)
    return match_boxes(ground_truth(dataset), found)


def percentiles(matches: Matches, seed: int) -> dict[str, tuple[float, float]]:
    drawn: dict[str, list[np.ndarray]] = {}
    weighted = WeightedAP(matches)
    for weights in resample_weights(len(matches.truth.dataset), 200, seed):
        for name, values in weighted.averages(weights).items():
            drawn.setdefault(name, []).append(values)
    return {
        name: tuple(np.quantile(np.concatenate(values), [0.025, 0.975]))
        for name, values in drawn.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    print("images  categories  thin | held by: jackknife ap ap50 ap75 | percentiles ap ap50 ap75")
    for images, categories, power in SETTINGS:
        say(f"{images} images, {categories} categories")
        rng = np.random.default_rng(1)
        whole = WeightedAP(matched(POPULATION, categories, power, rng))
        true = {name: value[0] for name, value in whole.averages(np.ones((1, POPULATION))).items()}
        held: dict[str, list[bool]] = {}
        thin = []
        for draw in range(options.draws):
            sample = matched(images, categories, power, rng)
            thin.append(float((sample.positives < 10).mean()))
            ends = {name: (row["low"], row["high"]) for name, row in box_intervals(sample).items()}
            for kind, found in (("jackknife", ends), ("percentiles", percentiles(sample, draw))):
                for name, (low, high) in found.items():
                    held.setdefault(f"{kind} {name}", []).append(low <= true[name] <= high)
        share = {name: f"{np.mean(values):.2f}" for name, values in held.items()}
        columns = [
            " ".join(share[f"{kind} {name}"] for name in ("ap", "ap50", "ap75"))
            for kind in ("jackknife", "percentiles")
        ]
        print(f"{images:6}  {categories:10}  {np.mean(thin):4.2f} | {columns[0]} | {columns[1]}")


if __name__ == "__main__":
    main()
