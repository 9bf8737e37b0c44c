"""The default recipe by cross-validation: every picture is a test picture once per seed.

    python benchmarks/cross_validate.py TRAIN.json VAL.json [--folds 5] [--seeds 0 1 2]

The pictures of all files given are put together. Each fold in turn is the third file that neither the
head, the epoch nor the thresholds have seen; a quarter of the rest validates. Prints a line a fold and
the mean and standard deviation over all folds and seeds. Features are cached, so that seeds after the
first cost seconds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from tagbox.api.train import train_classifier
from tagbox.backends.feature_cache import FeatureCache
from tagbox.config import ClassifierConfig, DataConfig
from tagbox.data.formats.coco_write import write_coco
from tagbox.data.load import load_dataset
from tagbox.data.split import stratified_folds, stratified_split
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--backbone", default=ClassifierConfig().backbone)
    arguments = parser.parse_args()

    rows = []
    with tempfile.TemporaryDirectory() as name, closing(FeatureCache()) as cache:
        folder = Path(name)
        path, root = merged(arguments.data, folder)
        whole = load_dataset(path, DataConfig(images=root))
        for seed in arguments.seeds:
            folds = stratified_folds(whole.labels, arguments.folds, seed)
            for number, (rest, test_rows) in enumerate(folds):
                kept, held = stratified_split(whole.labels[rest], 0.25, seed)
                validation = folder / f"val-{seed}-{number}.json"
                write_coco(whole.take(rest[held]), validation)
                config = replace(
                    ClassifierConfig(),
                    val=validation,
                    val_images=root,
                    backbone=arguments.backbone,
                    seed=seed,
                )
                run = train_classifier(
                    whole.take(rest[kept]), config, name=f"{seed}-{number}", runs=folder
                )
                test = whole.take(test_rows)
                paths = [test.images.path(row) for row in range(len(test))]
                classifier = run.classifier
                outputs = classifier.predict(paths, cache=cache)
                scored = evaluate_labels(
                    test.labels,
                    categories=classifier.categories,
                    probabilities=outputs.probabilities,
                    thresholds=classifier.thresholds,
                    intervals=False,
                )
                rows.append([scored[figure] for figure in FIGURES])
                said = ", ".join(f"{f} {scored[f]:.4f}" for f in FIGURES)
                print(f"seed {seed} fold {number}: {said}", flush=True)
    table = np.array(rows)
    for figure, mean, spread in zip(FIGURES, table.mean(0), table.std(0), strict=True):
        print(f"{figure}: mean {mean:.4f}, standard deviation over folds {spread:.4f}")


if __name__ == "__main__":
    main()
