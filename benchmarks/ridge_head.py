"""The head computed by ridge regression against the one trained in epochs, by the number of images.

    python benchmarks/ridge_head.py measure RESULTS.jsonl [--coco TRAIN.json VAL.json] [--scenes FOLDER] [--seeds 4]
    python benchmarks/ridge_head.py report RESULTS.jsonl
    python benchmarks/ridge_head.py cost [--images 20000] [--features 2560] [--categories 80]

`measure` draws training data of each size with each seed, fits both heads in five folds as `tagbox train classifier`
does, tunes thresholds on the out-of-fold predictions, and appends the metrics on images that neither has seen; an
interrupted measurement goes on where it was. `report` prints means and the paired differences with a t interval over
the seeds. `cost` is the time and the memory of a fit with out-of-fold predictions, on random features.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cross_validate import merged
from newcomer_defaults import T_95, Pictures, encoded
from tagbox.config import ClassifierConfig, DataConfig, SynthConfig
from tagbox.data.load import load_dataset
from tagbox.data.split import stratified_folds
from tagbox.data.stratify import stratify
from tagbox.data.synthetic.generate import generate
from tagbox.evaluation.threshold_search import sweep_global
from tagbox.evaluation.tuning import tune
from tagbox.metrics.multilabel import (
    average_precision,
    class_priors,
    label_metrics,
    mean_average_precision,
)
from tagbox.models.heads import activate, head_logits
from tagbox.training.distributed import Runtime
from tagbox.training.folds import train_in_folds
from tagbox.training.frozen import Encoded
from tagbox.training.ridge import RidgeFit
from tagbox.training.ridge_head import fit_ridge_head
from timing import say

FOLDS = 5
FIGURES = ("map", "micro_f1", "challenge_f1", "cross_entropy", "seconds")
HEADS = ("linear", "ridge")
COCO_SIZES = (20, 50, 100, 200, 330)
SCENE_SIZES = (20, 50, 100, 300, 1000, 2500, 5000)


def fitted(
    pictures: Pictures, own: np.ndarray, test: np.ndarray, head: str, seed: int
) -> dict[str, Any]:
    """Metrics on the test images of a head that was fitted in folds."""
    data, config = pictures.data.take(own), replace(ClassifierConfig(), seed=seed)
    config = replace(config, head=head, labels="multi", best_by="map", folds=FOLDS)
    if head == "linear":
        config = replace(config, loss="bce")
    fold_of = np.zeros(len(own), np.intp)
    for fold, (_, held) in enumerate(stratified_folds(data.labels, FOLDS, seed)):
        fold_of[held] = fold
    views = pictures.features[own]
    images = Encoded(
        encoders=(),
        # Only the trained head has mirror images.
        train_features=views if head == "linear" else views[:, :1],
        train=data,
        train_rows=own,
        validation_features=views[:, :1],
        validation=data,
        validation_rows=own,
        unreadable=[],
        fold_of=fold_of,
    )
    start = time.perf_counter()
    fit: Any = train_in_folds if head == "linear" else fit_ridge_head
    module, state, out_of_fold = fit(
        images,
        config,
        Runtime("cpu"),
        targets=None,
        on_batch=lambda step, loss: None,
        on_epoch=lambda row, metrics: None,
        advance=lambda: None,
    )
    seconds = time.perf_counter() - start
    arrays = {name: value.numpy() for name, value in module.state_dict().items()}
    table = activate(head_logits(arrays, pictures.features[test, 0]), "multi")
    truth, labels = pictures.data.labels[test], data.labels
    tuned = tune(labels, out_of_fold, "micro_f1", rates=class_priors(labels), seed=seed)
    levels, values = sweep_global(labels, out_of_fold, "challenge_f1")
    challenge = label_metrics(truth, table >= levels[int(np.argmax(values))])
    p = np.clip(table.astype(np.float64), 1e-7, 1 - 1e-7)
    return {
        "map": mean_average_precision(average_precision(truth, table)),
        "micro_f1": label_metrics(truth, tuned.thresholds.decide(table))["micro_f1"],
        "challenge_f1": challenge["challenge_f1"],
        "cross_entropy": float(-np.where(truth == 1, np.log(p), np.log1p(-p)).mean()),
        "seconds": seconds,
        "penalty": state.history[0].get("penalty"),
    }


def datasets(options: argparse.Namespace, folder: Path) -> list[Pictures]:
    found = []
    if options.coco:
        path, root = merged(options.coco, folder)
        data, config = load_dataset(path, DataConfig(images=root)), ClassifierConfig()
        found.append(Pictures("coco-sample", data, encoded(data, config), config, COCO_SIZES, 140))
    if options.scenes:
        path = options.scenes / "annotations" / "instances_train.json"
        if not path.exists():
            wanted = SynthConfig(images=5900, width=192, height=144)
            path = generate(options.scenes, wanted, overwrite=True).parts["train"]
        data, config = load_dataset(path), ClassifierConfig(backbone="efficientnet_lite0@192")
        found.append(Pictures("scenes", data, encoded(data, config), config, SCENE_SIZES, 800))
    return found


def measure(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(1)
    options.results.touch()
    lines = map(json.loads, options.results.read_text().splitlines())
    done = {(row["data"], row["size"], row["seed"]) for row in lines}
    with tempfile.TemporaryDirectory() as folder:
        everything = datasets(options, Path(folder))
        for seed in range(options.seeds):
            for pictures in everything:
                labels = pictures.data.labels
                share = pictures.test / len(labels)
                test = np.flatnonzero(stratify(labels, (share, 1 - share), seed) == 0)
                pool = np.setdiff1d(np.arange(len(labels)), test)
                for size in pictures.sizes:
                    if (pictures.name, size, seed) in done:
                        continue
                    kept, own = size / len(pool), pool
                    if size < len(pool):
                        own = pool[stratify(labels[pool], (kept, 1 - kept), seed + 100) == 0]
                    row = {"data": pictures.name, "size": size, "seed": seed}
                    row |= {head: fitted(pictures, own, test, head, seed) for head in HEADS}
                    with options.results.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                say(f"{pictures.name}: seed {seed} done")


def report(options: argparse.Namespace) -> None:
    rows = [json.loads(line) for line in options.results.read_text().splitlines()]
    for data in dict.fromkeys(row["data"] for row in rows):
        for size in sorted({row["size"] for row in rows if row["data"] == data}):
            own = [row for row in rows if row["data"] == data and row["size"] == size]
            text = f"{data:12} {size:5} images, {len(own)} seeds:"
            for figure in FIGURES:
                old, new = (np.array([row[head][figure] for row in own]) for head in HEADS)
                gain = new - old
                half = np.nan
                if len(own) > 1:
                    half = T_95[len(own) - 1] * gain.std(ddof=1) / len(own) ** 0.5
                text += (
                    f"  {figure} {old.mean():.4f} {new.mean():.4f} {gain.mean():+.4f} ±{half:.4f}"
                )
            print(text)


def cost(options: argparse.Namespace) -> None:
    random = np.random.default_rng(0)
    shape = (options.images, options.features)
    features = random.standard_normal(shape, dtype=np.float32)
    labels = (random.random((options.images, options.categories)) < 0.03).astype(np.int8)
    start, worked = time.perf_counter(), time.process_time()
    fit = RidgeFit.of(features, labels)
    fit.left_out(np.arange(options.images) % FOLDS)
    spent, worked = time.perf_counter() - start, time.process_time() - worked
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{shape}: {spent:.1f} s ({worked:.1f} s of all cores) with out-of-fold predictions, at most {most:.2f} GiB in all"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("results", type=Path)
    measuring.add_argument("--coco", type=Path, nargs=2)
    measuring.add_argument("--scenes", type=Path)
    measuring.add_argument("--seeds", type=int, default=4)
    measuring.set_defaults(run=measure)
    reporting = commands.add_parser("report")
    reporting.add_argument("results", type=Path)
    reporting.set_defaults(run=report)
    costs = commands.add_parser("cost")
    costs.add_argument("--images", type=int, default=20_000)
    costs.add_argument("--features", type=int, default=2560)
    costs.add_argument("--categories", type=int, default=80)
    costs.set_defaults(run=cost)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
