"""What views and ensembles are worth on pictures that neither training, weights nor thresholds have seen.

    python benchmarks/ensembles.py TRAIN.json VAL.json [--folds 4] [--seeds 0 1 2]

The pictures of all files given are put together. Each fold in turn is tested on; a quarter of the rest
validates, which is what weights and thresholds are found on. Prints, over all folds and seeds, the mean mAP and
challenge F1 on the test pictures of every run, of its views, and of the ways to put runs together, each
with its mean difference to what it is measured against and the standard error of that difference.
Features are cached, so that seeds after the first cost seconds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from cross_validate import merged
from tagbox.api.train import train_classifier
from tagbox.backends.feature_cache import FeatureCache
from tagbox.config import ClassifierConfig, DataConfig
from tagbox.data.dataset import Dataset
from tagbox.data.formats.coco_write import write_coco
from tagbox.data.load import load_dataset
from tagbox.data.split import stratified_folds, stratified_split
from tagbox.evaluation.ensemble_weights import (
    choose_weights,
    equal_weights,
    fit_weights,
    weighted_mean,
)
from tagbox.evaluation.tuning import tune
from tagbox.inference.ensemble import EnsembleClassifier
from tagbox.metrics.multilabel import average_precision, label_metrics, mean_average_precision
from tagbox.models.ensembles import View, combine_runs
from timing import say

MEMBERS = {
    "lite0": {"backbone": "efficientnet_lite0@384"},
    "lite0 asymmetric": {"backbone": "efficientnet_lite0@384", "loss": "asymmetric"},
    "lite1 mlp": {"backbone": "efficientnet_lite1@384", "head": "mlp"},
    "lite2": {"backbone": "efficientnet_lite2@448"},
    "lite0 small": {"backbone": "efficientnet_lite0@128"},
}
SETS = {
    "alike": ("lite0", "lite1 mlp", "lite2"),
    "with a weak one": ("lite0", "lite1 mlp", "lite2", "lite0 small"),
    "with another loss": ("lite0", "lite0 asymmetric", "lite1 mlp", "lite2"),
}
VIEWS = {
    "flip": (View(), View(mirror=True)),
    "sizes 320 448": (View(size=320), View(size=448)),
    "sizes 384 448": (View(size=384), View(size=448)),
    "sizes 384 448 and flip": tuple(
        View(size=s, mirror=m) for s in (384, 448) for m in (False, True)
    ),
}
ALL_VIEWS = tuple(View(size=s, mirror=m) for s in (None, 320, 384, 448) for m in (False, True))
Tables = list[np.ndarray]


def logit_mean(tables: Tables) -> np.ndarray:
    """The mean of log-odds, the other common way."""
    held = [np.clip(t.astype(np.float64), 1e-7, 1 - 1e-7) for t in tables]
    mean = np.mean([np.log(t) - np.log1p(-t) for t in held], axis=0)
    return np.asarray(1 / (1 + np.exp(-mean)), np.float32)


def greedy_weights(truth: np.ndarray, tables: Tables, rounds: int = 20) -> tuple[float, ...]:
    """Ensemble selection with replacement for mAP (Caruana et al., 2004): the best of its prefixes."""
    counts, best = np.zeros(len(tables)), (-1.0, equal_weights(len(tables)))
    for _ in range(rounds):
        found = []
        for index in range(len(tables)):
            tried = counts + (np.arange(len(tables)) == index)
            weights = tuple((tried / tried.sum()).tolist())
            found.append((ranked(truth, weighted_mean(tables, weights)), weights))
        value, weights = max(found)
        counts = np.array(weights) * (counts.sum() + 1)
        best = max(best, (value, weights), key=lambda pair: pair[0])
    return best[1]


def ranked(truth: np.ndarray, table: np.ndarray) -> float:
    return mean_average_precision(average_precision(truth, table)) or 0.0


WAYS: dict[str, Callable[[np.ndarray, Tables], tuple[float, ...] | None]] = {
    "mean": lambda truth, tables: equal_weights(len(tables)),
    "mean of logits": lambda truth, tables: None,
    "log loss": fit_weights,
    "greedy": greedy_weights,
    "auto": lambda truth, tables: choose_weights(truth, tables).weights,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()

    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name, closing(FeatureCache()) as cache:
        folder = Path(name)
        path, root = merged(arguments.data, folder)
        whole = load_dataset(path, DataConfig(images=root))
        for seed in arguments.seeds:
            folds = stratified_folds(whole.labels, arguments.folds, seed)
            for number, (rest, test) in enumerate(folds):
                kept, held = stratified_split(whole.labels[rest], 0.25, seed)
                sides = (whole.take(rest[kept]), whole.take(rest[held]), whole.take(test))
                for key, figures in one_fold(sides, root, folder / f"{seed}-{number}", cache, seed):
                    found[key].append(figures)
                say(f"seed {seed} fold {number} done")
    print(f"{'':42} mAP     difference          challenge F1  difference")
    for key, figures in found.items():
        table = np.array(figures)
        against = key.rpartition(" | ")[0]
        words = []
        for column in range(2):
            words.append(f"{table[:, column].mean():.4f}")
            if against:
                gain = table[:, column] - np.array(found[against])[:, column]
                error = gain.std(ddof=1) / len(gain) ** 0.5
                words.append(f"{gain.mean():+.4f} ({error:.4f})")
            else:
                words.append(" " * 16)
        print(f"{key:42} {words[0]}  {words[1]}    {words[2]}        {words[3]}".rstrip())


def one_fold(
    sides: tuple[Dataset, Dataset, Dataset],
    root: Path,
    folder: Path,
    cache: FeatureCache,
    seed: int,
) -> list[tuple[str, tuple[float, float]]]:
    """(what, (mAP, challenge F1)) on the test side; ``A | B`` is measured against ``A``."""
    training, validation, test = sides
    folder.mkdir()
    write_coco(validation, folder / "val.json")
    for name, settings in MEMBERS.items():
        config = replace(
            ClassifierConfig(), val=folder / "val.json", val_images=root, seed=seed, **settings
        )
        train_classifier(training, config, name=name, runs=folder)
    views = combine_runs([folder / name for name in MEMBERS], ALL_VIEWS)
    model = EnsembleClassifier(views)
    tables = [
        model.predict_views([d.images.path(row) for row in range(len(d))], cache=cache).tables
        for d in (validation, test)
    ]

    def figures(on_validation: np.ndarray, on_test: np.ndarray) -> tuple[float, float]:
        tuned = tune(validation.labels, on_validation, seed=seed).thresholds
        said = label_metrics(test.labels, tuned.decide(on_test))
        return ranked(test.labels, on_test), float(said["challenge_f1"])

    results = []
    plain: dict[str, list[np.ndarray]] = {}
    flipped: dict[str, list[np.ndarray]] = {}
    for index, name in enumerate(MEMBERS):
        plain[name] = [side[index][0] for side in tables]
        results.append((name, figures(*plain[name])))
        for words, chosen in VIEWS.items():
            looks = [[side[index][ALL_VIEWS.index(v)] for v in chosen] for side in tables]
            means = [weighted_mean(side) for side in looks]
            results.append((f"{name} | {words}", figures(*means)))
            if words == "flip":
                flipped[name] = means
                logits = [logit_mean(side) for side in looks]
                results.append((f"{name} | flip, logits", figures(*logits)))
    for words, names in SETS.items():
        parts = [[plain[name][side] for name in names] for side in (0, 1)]
        for way, choose in WAYS.items():
            weights = choose(validation.labels, parts[0])
            means = [
                logit_mean(side) if weights is None else weighted_mean(side, weights)
                for side in parts
            ]
            key = words if way == "mean" else f"{words} | {way}"
            results.append((key, figures(*means)))
        looks = [weighted_mean([flipped[name][side] for name in names]) for side in (0, 1)]
        results.append((f"{words} | flip", figures(*looks)))
    return results


if __name__ == "__main__":
    main()
