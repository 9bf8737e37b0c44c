"""The default recipe by cross-validation: every picture is a test picture once per seed.

    python benchmarks/cross_validate.py TRAIN.json VAL.json [--folds 5] [--seeds 0 1 2]

The pictures of all files given are put together. Each fold in turn is the third file that neither the
head, the epoch nor the thresholds have seen. The rest is trained on in several ways: by the trained and by the ridge head
in five folds within it, with thresholds for micro F1 and for the challenge F1, and as the defaults were once (a quarter
validates and chooses the epoch by mAP and thresholds for the challenge F1). Prints a line a fold, the mean and standard
deviation over all folds and seeds, and the mean differences to another way (`--base`) with a 95 % interval over the
folds. Features are cached, so that seeds after the first cost seconds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from tagbox.api.train import train_classifier
from tagbox.backends.feature_cache import FeatureCache
from tagbox.config import ClassifierConfig, DataConfig
from tagbox.data.load import load_dataset
from tagbox.data.split import stratified_folds
from tagbox.evaluation.evaluate_labels import evaluate_labels

FIGURES = ("map", "challenge_f1", "micro_f1", "hamming_loss")


def merged(paths: list[Path], folder: Path) -> tuple[Path, Path]:
    """One COCO JSON of all files, and the folder that its file names are relative to."""
    datasets = [load_dataset(path) for path in paths]
    root = Path(*_common([d.images.root.resolve() for d in datasets]))
    images, annotations = [], []
    for path, dataset in zip(paths, datasets, strict=True):
        content = json.loads(path.read_text())
        inside = dataset.images.root.resolve().relative_to(root)
        images += [{**i, "file_name": str(inside / i["file_name"])} for i in content["images"]]
        annotations += content["annotations"]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    target = folder / "merged.json"
    content |= {"images": images, "annotations": annotations}
    target.write_text(json.dumps(content))
    return target, root


def _common(paths: list[Path]) -> list[str]:
    shared = []
    for parts in zip(*(path.parts for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared


WAYS = {
    "linear": {"head": "linear"},
    "linear, thresholds for the challenge F1": {"head": "linear", "objective": "challenge_f1"},
    "ridge": {"head": "ridge"},
    "ridge, thresholds for the challenge F1": {"head": "ridge", "objective": "challenge_f1"},
    "a quarter held out, as before": {
        "folds": 0,
        "val_fraction": 0.25,
        "best_by": "map",
        "objective": "challenge_f1",
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--base", choices=WAYS, help="the last way when not given")
    parser.add_argument("--backbone", default=ClassifierConfig().backbone)
    arguments = parser.parse_args()

    rows: dict[str, list[list[float]]] = {way: [] for way in arguments.ways}
    with tempfile.TemporaryDirectory() as name, closing(FeatureCache()) as cache:
        folder = Path(name)
        path, root = merged(arguments.data, folder)
        whole = load_dataset(path, DataConfig(images=root))
        for seed in arguments.seeds:
            folds = stratified_folds(whole.labels, arguments.folds, seed)
            for number, (rest, test_rows) in enumerate(folds):
                test = whole.take(test_rows)
                paths = [test.images.path(row) for row in range(len(test))]
                for way in arguments.ways:
                    settings = WAYS[way]
                    config = ClassifierConfig(backbone=arguments.backbone, seed=seed, **settings)
                    run = train_classifier(
                        whole.take(rest), config, name="run", runs=folder, overwrite=True
                    )
                    classifier = run.classifier
                    outputs = classifier.predict(paths, cache=cache)
                    scored = evaluate_labels(
                        test.labels,
                        categories=classifier.categories,
                        probabilities=outputs.probabilities,
                        thresholds=classifier.thresholds,
                        intervals=False,
                    )
                    rows[way].append([scored[figure] for figure in FIGURES])
                    said = ", ".join(f"{f} {scored[f]:.4f}" for f in FIGURES)
                    print(f"seed {seed} fold {number}, {way}: {said}", flush=True)
    base = arguments.base or arguments.ways[-1]
    others = np.array(rows[base])
    for way, found in rows.items():
        table = np.array(found)
        print(way)
        for column, figure in enumerate(FIGURES):
            values, differences = table[:, column], table[:, column] - others[:, column]
            half = 1.96 * differences.std(ddof=1) / len(differences) ** 0.5
            print(
                f"  {figure}: mean {values.mean():.4f}, standard deviation over folds {values.std():.4f}; "
                f"{differences.mean():+.4f} ± {half:.4f} to {base}"
            )


if __name__ == "__main__":
    main()
