"""Which epoch is kept, what thresholds are tuned for, and whether five folds are worth it: on pictures that nothing has seen.

    python benchmarks/newcomer_defaults.py measure RESULTS.jsonl --coco TRAIN.json VAL.json [--scenes FOLDER]
    python benchmarks/newcomer_defaults.py report RESULTS.jsonl

`measure` draws data of ten sizes with eight seeds from each data set, trains heads as `tagbox train classifier`
does, and appends one JSON line a size and seed; an interrupted measurement goes on where it was. Pictures are encoded
once. Of one training all epochs are recorded, so that every rule chooses among the same ones. `report` prints the mean
of each way, and its difference to the first one with a t interval over the seeds (each the mean over the sizes).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from cross_validate import merged
from tagbox.backends.create import create_encoders
from tagbox.backends.feature_cache import FeatureCache
from tagbox.backends.features import encode_images
from tagbox.config import ClassifierConfig, DataConfig, SynthConfig
from tagbox.data.dataset import Dataset
from tagbox.data.load import adapt, load_dataset
from tagbox.data.split import stratified_folds, stratified_split
from tagbox.data.stratify import stratify
from tagbox.data.synthetic.generate import generate
from tagbox.evaluation.tuning import tune
from tagbox.metrics.multilabel import (
    average_precision,
    class_priors,
    label_metrics,
    mean_average_precision,
)
from tagbox.training.classification_task import ClassificationMetrics
from tagbox.training.distributed import Runtime
from tagbox.training.frozen import Encoded, train_head
from timing import say

FOLDS = 5
FIGURES = ("micro_f1", "hamming_loss", "map", "macro_f1", "challenge_f1", "labels", "same")
OBJECTIVES = ("challenge_f1", "micro_f1")
BASE = "map / challenge_f1"
COCO_SIZES = (20, 30, 45, 60, 80, 110, 150, 200, 260, 330)
SCENE_SIZES = (20, 30, 45, 70, 110, 160, 300, 600, 1200, 2400)
T_95 = {7: 2.365, 6: 2.447, 5: 2.571, 4: 2.776, 3: 3.182, 2: 4.303, 1: 12.706}


@dataclass(frozen=True, eq=False)
class Pictures:
    """Encoded pictures of a data set: `features` (N, 2, D) with mirror images, `test` rows held out where fixed."""

    name: str
    data: Dataset
    features: np.ndarray
    config: ClassifierConfig
    sizes: Sequence[int]
    test: int


@dataclass(frozen=True, eq=False)
class Epochs:
    """Probabilities after each epoch, (E, N, K) of validation and of test pictures, and validation metrics (E,)."""

    validation: np.ndarray
    test: np.ndarray
    map: np.ndarray
    loss: np.ndarray


def encoded(data: Dataset, config: ClassifierConfig) -> np.ndarray:
    paths = [data.images.path(row) for row in range(len(data))]
    with closing(FeatureCache()) as cache:
        return encode_images(paths, create_encoders(config), mirror=True, cache=cache).features


def trained(
    pictures: Pictures, train: np.ndarray, val: np.ndarray, test: np.ndarray, seed: int
) -> Epochs:
    """All epochs of one training; `val` may be empty."""
    both = np.concatenate([val, test])
    config = replace(
        pictures.config, seed=seed, patience=1000, labels="multi", loss="bce", best_by="map"
    )
    probabilities: list[np.ndarray] = []
    parts = Encoded(
        encoders=(),
        train_features=pictures.features[train],
        train=pictures.data.take(train),
        train_rows=train,
        validation_features=pictures.features[both][:, :1],
        validation=pictures.data.take(both),
        validation_rows=both,
        unreadable=[],
    )
    # The metrics of each epoch are computed below, of the validation pictures alone.
    with patch.object(ClassificationMetrics, "scores", lambda _: {"loss": 0.0, "map": None}):
        train_head(
            parts,
            config,
            Runtime("cpu"),
            on_epoch=lambda _, metrics: probabilities.append(metrics.probabilities),
        )
    table = np.stack(probabilities)
    return epochs_of(table[:, : len(val)], table[:, len(val) :], pictures.data.labels[val])


def epochs_of(validation: np.ndarray, test: np.ndarray, truth: np.ndarray) -> Epochs:
    maps = [mean_average_precision(average_precision(truth, table)) for table in validation]
    return Epochs(
        validation,
        test,
        np.array([np.nan if value is None else value for value in maps]),
        np.array([cross_entropy(truth, table) for table in validation]),
    )


def cross_entropy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    p = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.where(truth == 1, np.log(p), np.log1p(-p)).mean()) if len(truth) else np.nan


def first_best(values: np.ndarray, patience: int) -> int:
    """The epoch (from 0) that early stopping keeps of a curve to be maximised; NaN never wins."""
    best, waited = 0, 0
    for epoch, value in enumerate(values):
        if epoch and (value > values[best] or (np.isnan(values[best]) and not np.isnan(value))):
            best, waited = epoch, 0
        elif epoch:
            waited += 1
            if waited >= patience:
                break
    return best


def smoothed(values: np.ndarray, width: int = 5) -> np.ndarray:
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, "valid")


def near_best(epochs: Epochs, slack: float) -> int:
    """The lowest loss among epochs whose mAP is within `slack` of the best."""
    if np.isnan(epochs.map).all():
        return int(np.argmin(epochs.loss))
    near = epochs.map >= np.nanmax(epochs.map) - slack
    return int(np.argmin(np.where(near, epochs.loss, np.inf)))


RULES: dict[str, Callable[[Epochs, int], int]] = {
    "map": lambda e, patience: first_best(e.map, patience),
    "val_loss": lambda e, patience: first_best(-e.loss, patience),
    "map, ties by loss": lambda e, patience: near_best(e, 1e-12),
    "map within 0.02, then loss": lambda e, patience: near_best(e, 0.02),
    "map smoothed": lambda e, patience: first_best(smoothed(e.map), patience),
    "loss smoothed": lambda e, patience: first_best(-smoothed(e.loss), patience),
    "last": lambda e, patience: len(e.loss) - 1,
}
FOLD_RULES = ("map", "val_loss", "last")


def scored(
    truth: np.ndarray,
    validation: np.ndarray,
    test_truth: np.ndarray,
    test: np.ndarray,
    rates: np.ndarray,
    seed: int,
    objectives: Sequence[str],
) -> dict[str, Any]:
    """Test metrics at thresholds tuned on validation, by objective and by mode of the thresholds."""
    found: dict[str, Any] = {}
    precision = mean_average_precision(average_precision(test_truth, test))
    for objective in objectives:
        tuned = tune(truth, validation, objective, rates=rates, seed=seed)
        modes = ("saved", "global", "per_category")
        found[objective] = {"tuning": tuned.report}
        for mode in modes:
            if mode == "per_category" and tuned.thresholds.per_category is None:
                continue
            said = tuned.thresholds.decide(test, mode)
            metrics = label_metrics(test_truth, said)
            found[objective][mode] = {
                **{name: metrics[name] for name in FIGURES if name in metrics},
                "map": precision,
                "labels": float(said.sum(axis=1).mean()),
                "same": bool((said == said[0]).all()),
            }
    return found


def cell(pictures: Pictures, size: int, seed: int) -> dict[str, Any]:
    """One size and seed: every rule's test metrics."""
    labels = pictures.data.labels
    share = pictures.test / len(labels)
    test = np.flatnonzero(stratify(labels, (share, 1 - share), seed) == 0)
    pool = np.setdiff1d(np.arange(len(labels)), test)
    kept = size / len(pool)
    own = pool
    if size < len(pool):
        own = pool[stratify(labels[pool], (kept, 1 - kept), seed + 100) == 0]
    config = pictures.config
    train, val = (own[r] for r in stratified_split(labels[own], config.val_fraction, seed))
    single = trained(pictures, train, val, test, seed)
    rules: dict[str, Any] = {}
    done: dict[int, Any] = {}
    for name, rule in RULES.items():
        epoch = rule(single, config.patience)
        if epoch not in done:
            done[epoch] = scored(
                labels[val],
                single.validation[epoch],
                labels[test],
                single.test[epoch],
                class_priors(labels[train]),
                seed,
                OBJECTIVES if name == "map" else OBJECTIVES[1:],
            )
        rules[name] = {"epoch": epoch + 1, **done[epoch]}
    out_of_fold = np.zeros((config.epochs, *labels[own].shape), np.float32)
    for fit, held in stratified_folds(labels[own], FOLDS, seed):
        fold = trained(pictures, own[fit], own[held], test[:0], seed)
        out_of_fold[:, held] = fold.validation
    final = trained(pictures, own, own[:0], test, seed)
    together = epochs_of(out_of_fold, final.test, labels[own])
    for name in FOLD_RULES:
        epoch = RULES[name](together, config.epochs)
        rules[f"{FOLDS} folds, {name}"] = {
            "epoch": epoch + 1,
            **scored(
                labels[own],
                together.validation[epoch],
                labels[test],
                together.test[epoch],
                class_priors(labels[own]),
                seed,
                OBJECTIVES if name == "val_loss" else OBJECTIVES[1:],
            ),
        }
    return {
        "data": pictures.name,
        "size": size,
        "validation": len(val),
        "seed": seed,
        "rules": rules,
    }


def datasets(options: argparse.Namespace, folder: Path) -> Iterator[Pictures]:
    if options.coco:
        path, root = merged(options.coco, folder)
        data = load_dataset(path, DataConfig(images=root))
        config = ClassifierConfig()
        coco = Pictures("coco-sample", data, encoded(data, config), config, COCO_SIZES, 140)
        if options.categories:
            common = np.argsort(-(data.labels == 1).sum(axis=0), kind="stable")
            names = tuple(
                data.categories.names[row] for row in sorted(common[1 : options.categories + 1])
            )
            coco = replace(coco, name=f"coco-sample, {options.categories} categories")
            coco = replace(coco, data=adapt(data, DataConfig(categories=names)))
        yield coco
    if options.scenes:
        path = options.scenes / "annotations" / "instances_train.json"
        if not path.exists():
            wanted = SynthConfig(images=4000, width=192, height=144)
            path = generate(options.scenes, wanted, overwrite=True).parts["train"]
        data = load_dataset(path)
        config = ClassifierConfig(backbone="efficientnet_lite0@192")
        yield Pictures("scenes", data, encoded(data, config), config, SCENE_SIZES, 800)


def measure(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(1)
    options.results.touch()
    done = {
        (row["data"], row["size"], row["seed"])
        for row in map(json.loads, options.results.read_text().splitlines())
    }
    with tempfile.TemporaryDirectory() as folder:
        everything = list(datasets(options, Path(folder)))
        for seed in range(options.seeds):
            for pictures in everything:
                for size in pictures.sizes:
                    if (pictures.name, size, seed) in done:
                        continue
                    row = cell(pictures, size, seed)
                    with options.results.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                say(f"{pictures.name}: seed {seed} done")


def ways(row: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Each way's metrics of one size and seed: rule / objective, and the modes of the thresholds."""
    return {
        f"{rule} / {objective}" + ("" if mode == "saved" else f", {mode}"): found[objective][mode]
        for rule, found in row["rules"].items()
        for objective in OBJECTIVES
        for mode in ("saved", "global", "per_category")
        if mode in found.get(objective, ())
    }


def report(options: argparse.Namespace) -> None:
    rows = [json.loads(line) for line in options.results.read_text().splitlines()]
    for data in dict.fromkeys(row["data"] for row in rows):
        own = [row for row in rows if row["data"] == data]
        if options.sizes:
            own = [row for row in own if options.sizes[0] <= row["size"] <= options.sizes[1]]
        seeds = sorted({row["seed"] for row in own})
        print(f"\n{data}: {len(own)} trainings, {len(seeds)} seeds")
        print(f"{'way':54}" + "".join(f"{name:>27}" for name in FIGURES[:3]) + "   labels  same")
        measured = [ways(row) for row in own]
        base = [found[options.base] for found in measured]
        for way in measured[0]:
            if not options.modes and way.endswith((", global", ", per_category")):
                continue
            found = [row.get(way) for row in measured]
            if None in found:
                continue
            pairs = list(zip(own, found, base, strict=True))
            text = f"{way:54}"
            for figure in FIGURES[:3]:
                means = [
                    np.mean([f[figure] - b[figure] for row, f, b in pairs if row["seed"] == seed])
                    for seed in seeds
                ]
                half = np.nan
                if len(seeds) > 1:
                    half = T_95[len(seeds) - 1] * np.std(means, ddof=1) / len(seeds) ** 0.5
                mean = np.mean([f[figure] for _, f, _ in pairs])
                text += f"  {mean:.4f} {np.mean(means):+.4f} ±{half:.4f}"
            text += f"  {np.mean([f['labels'] for _, f, _ in pairs]):7.2f}"
            print(text + f"  {np.mean([f['same'] for _, f, _ in pairs]):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("results", type=Path)
    measuring.add_argument("--coco", type=Path, nargs=2)
    measuring.add_argument("--scenes", type=Path)
    measuring.add_argument("--categories", type=int, help="of --coco, only the most frequent")
    measuring.add_argument("--seeds", type=int, default=8)
    measuring.set_defaults(run=measure)
    reporting = commands.add_parser("report")
    reporting.add_argument("results", type=Path)
    reporting.add_argument("--base", default=BASE)
    reporting.add_argument("--modes", action="store_true")
    reporting.add_argument("--sizes", type=int, nargs=2)
    reporting.set_defaults(run=report)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
