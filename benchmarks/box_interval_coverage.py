"""How often the intervals of AP hold the figure of the population their images were drawn from.

    python benchmarks/box_interval_coverage.py [--draws 200] [--quick]

A population of 30,000 images is generated, with boxes found more or less well by category and by image, and
false detections; ``errors`` below 1 makes misses, shifts and false detections so much rarer, 0 leaves none. Its AP is
known. Samples of it are scored, and what counts is the share whose interval holds that AP: 0.92 to 0.98 is as it
should be. Beside the intervals of `tagbox evaluate` the share of samples where each is called reliable, and of those
the share that holds the AP; and, unless ``--quick``, percentiles of a bootstrap.
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
SETTINGS = (
    *((100, 5, 0.3, 1.0), (200, 10, 0.0, 1.0), (200, 20, 1.2, 1.0), (600, 10, 0.0, 1.0)),
    *((600, 20, 1.2, 1.0), (100, 5, 0.3, 0.0), (100, 5, 0.3, 0.01), (300, 5, 0.0, 0.03)),
    *((600, 10, 0.0, 0.03), (600, 10, 0.0, 0.2)),
)
"""Images, categories, how fast categories become rarer (a power of their rank), and how many errors there are."""
SIDE, APART = 40.0, 100.0


def rows_of(
    images: int, categories: int, rates: np.ndarray, errors: float, rng: np.random.Generator
) -> tuple[Dataset, Detections]:
    """Boxes in a row, each in a place of its own, and detections shifted by what makes their IoU."""
    quality = rng.normal(0, 1, images)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("truth", "found", "scores")}
    for category in range(categories):
        image = np.repeat(np.arange(images), rng.poisson(rates[category], images))
        place = np.arange(len(image)) * APART
        parts["truth"].append(_rows(image, category, place, np.full(len(image), SIDE)))
        skill = 0.7 + 1.2 * category / categories + 0.7 * quality[image]
        hit = rng.random(len(image)) < 1 - errors * (1 - _logistic(skill))
        iou = np.clip(0.45 + 0.5 * rng.beta(3, 2, len(image)) + 0.04 * quality[image], 0, 1)
        iou[rng.random(len(image)) >= errors] = 1.0
        parts["found"].append(_rows(image[hit], category, place[hit], (SIDE * iou)[hit]))
        sure = rng.normal(0.8, 1, len(image)) + 0.5 * quality[image]
        parts["scores"].append(_logistic(sure[hit]))
        false = np.repeat(
            np.arange(images), rng.poisson(errors * (0.1 + 1.5 * rates[category]), images)
        )
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


def matched(
    images: int, categories: int, power: float, errors: float, rng: np.random.Generator
) -> Matches:
    rates = 1.0 / (1 + np.arange(categories)) ** power
    dataset, found = rows_of(images, categories, 0.35 * rates / rates.mean(), errors, rng)
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
    parser.add_argument(
        "--quick", action="store_true", help="a quarter of the draws, no percentiles"
    )
    options = parser.parse_args()
    draws = options.draws // 4 if options.quick else options.draws
    print(
        "images  categories  errors  thin | held: ap ap50 ap75 | reliable | held of those | percentiles"
    )
    for images, categories, power, errors in SETTINGS:
        say(f"{images} images, {categories} categories, errors {errors}")
        rng = np.random.default_rng(1)
        whole = WeightedAP(matched(POPULATION, categories, power, errors, rng))
        true = {name: value[0] for name, value in whole.averages(np.ones((1, POPULATION))).items()}
        held: dict[str, list[bool]] = {name: [] for name in true}
        sure: dict[str, list[bool]] = {name: [] for name in true}
        plain: dict[str, list[bool]] = {name: [] for name in true}
        thin = []
        for draw in range(draws):
            sample = matched(images, categories, power, errors, rng)
            thin.append(float((sample.positives < 10).mean()))
            for name, row in box_intervals(sample).items():
                # COCO's precision of right detections is below 1 by a rounding.
                held[name].append(row["low"] - 1e-9 <= true[name] <= row["high"] + 1e-9)
                sure[name].append(row["reliable"])
            if not options.quick:
                for name, (low, high) in percentiles(sample, draw).items():
                    plain[name].append(low - 1e-9 <= true[name] <= high + 1e-9)
        columns = [
            " ".join(f"{np.mean(part[name]):.2f}" if part[name] else " -  " for name in true)
            for part in (held, sure, {n: np.array(held[n])[sure[n]].tolist() for n in true}, plain)
        ]
        print(
            f"{images:6}  {categories:10}  {errors:6}  {np.mean(thin):4.2f} | "
            + " | ".join(columns),
            flush=True,
        )


if __name__ == "__main__":
    main()
