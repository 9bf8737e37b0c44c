"""The default classifier with and without the scores of a detector that was trained on COCO (``COCO transfer``).

    python benchmarks/coco_transfer.py DATA.json [MORE.json ...] [--folds 5] [--seeds 0 1] [--test TEST.json]

Needs `make weights`. The pictures of all files are put together, and each fold in turn is the test data: mAP, micro F1 and
challenge F1, the last two at thresholds tuned for them on inner out-of-fold predictions, and the mean differences
to the classifier without the detector with a 95 % interval over the folds. Of ``--test`` the differences have a 95 % interval
over its pictures, both classifiers being trained on all of DATA. The detector has seen COCO's train2017: of pictures of it
the figures are too good, so that only a test on pictures of val2017, or of other origin, is one of unseen pictures.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from cross_validate import merged
from tagbox.backends.feature_cache import FeatureCache
from tagbox.config import ClassifierConfig, DataConfig
from tagbox.data.dataset import Dataset
from tagbox.data.load import load_dataset
from tagbox.data.split import stratified_folds
from tagbox.evaluation.comparison import paired_label_differences, paired_map_difference
from tagbox.evaluation.evaluate_labels import tune_and_evaluate
from tagbox.inference.classifier import Classifier
from tagbox.metrics.multilabel import (
    average_precision,
    class_priors,
    label_metrics,
    mean_average_precision,
)
from tagbox.progress import Silent
from tagbox.training.classifier import train
from tagbox.training.train_val import load_train_val

FIGURES = ("map", "micro_f1", "challenge_f1")
OBJECTIVES = FIGURES[1:]
DETECTOR = "nanodet_g@416"


class Found:
    """Probabilities of the test images, and decisions at the thresholds for each objective."""

    def __init__(self, data: Dataset, test: Dataset, backbone: str, seed: int, cache: FeatureCache):
        config = ClassifierConfig(backbone=backbone, seed=seed)
        train_val = load_train_val(data, config, DataConfig(), Silent())
        trained = train(train_val, config, cache=cache, progress=Silent())
        assert trained is not None
        self.notes = trained.notes or []
        paths = [test.images.path(row) for row in range(len(test))]
        classifier = Classifier(trained.bundle, encoders=trained.encoders)
        self.probabilities = classifier.predict(paths, cache=cache).probabilities
        self.decisions = {}
        for objective in OBJECTIVES:
            tuned, _ = tune_and_evaluate(
                trained.validation.labels,
                trained.predictions.probabilities,
                categories=classifier.categories,
                labels="multi",
                objective=objective,
                rates=class_priors(trained.train.labels),
                seed=seed,
                at_least_one=False,
                top_k=None,
            )
            self.decisions[objective] = tuned.thresholds.decide(self.probabilities)

    def figures(self, truth: np.ndarray) -> list[float]:
        """Those in `FIGURES`."""
        precision = mean_average_precision(average_precision(truth, self.probabilities))
        assert precision is not None
        of_labels = [label_metrics(truth, self.decisions[name])[name] for name in OBJECTIVES]
        return [precision, *map(float, of_labels)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--test", type=Path)
    parser.add_argument("--backbone", default=ClassifierConfig().backbone)
    arguments = parser.parse_args()

    ways = {"default": arguments.backbone, "COCO transfer": f"{arguments.backbone}+{DETECTOR}"}
    with tempfile.TemporaryDirectory() as folder, closing(FeatureCache()) as cache:
        path, root = merged(arguments.data, Path(folder))
        whole = load_dataset(path, DataConfig(images=root))
        if arguments.test:
            test = load_dataset(arguments.test)
            found = [Found(whole, test, backbone, 0, cache) for backbone in ways.values()]
            on_test(test.labels, *found)
        rows: dict[str, list[list[float]]] = {way: [] for way in ways}
        for seed in arguments.seeds:
            for number, (rest, held) in enumerate(
                stratified_folds(whole.labels, arguments.folds, seed)
            ):
                test = whole.take(held)
                for way, backbone in ways.items():
                    one = Found(whole.take(rest), test, backbone, seed, cache)
                    rows[way].append(one.figures(test.labels))
                    said = ", ".join(
                        f"{f} {v:.4f}" for f, v in zip(FIGURES, rows[way][-1], strict=True)
                    )
                    print(f"seed {seed} fold {number}, {way}: {said}", flush=True)
        if arguments.seeds:
            over_folds(*(np.array(found) for found in rows.values()))


def on_test(truth: np.ndarray, first: Found, second: Found) -> None:
    """Print what the second gains, with paired intervals over the images."""
    for note in second.notes:
        print(note)
    gains = {
        "map": paired_map_difference(truth, [first.probabilities], [second.probabilities]),
        **{
            name: paired_label_differences(truth, first.decisions[name], second.decisions[name])[
                name
            ]
            for name in OBJECTIVES
        },
    }
    print(f"{len(truth)} test images")
    for name, gain in gains.items():
        doubt = "" if gain.reliable else ", interval not reliable"
        print(
            f"  {name}: {gain.first:.4f} -> {gain.second:.4f}, {gain.difference:+.4f} "
            f"[{gain.low:+.4f}, {gain.high:+.4f}]{doubt}"
        )


def over_folds(first: np.ndarray, second: np.ndarray) -> None:
    """Print the means and the mean differences with intervals over the folds."""
    differences = second - first
    half = 1.96 * differences.std(axis=0, ddof=1) / len(differences) ** 0.5
    print(f"{len(first)} test folds")
    for column, figure in enumerate(FIGURES):
        before, after = first[:, column].mean(), second[:, column].mean()
        print(
            f"  {figure}: {before:.4f} -> {after:.4f}, {after - before:+.4f} ± {half[column]:.4f}"
        )


if __name__ == "__main__":
    main()
