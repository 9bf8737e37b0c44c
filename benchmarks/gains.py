"""What fine-tuning, the crop that knows boxes, and heads on feature maps are worth, on pictures nobody trained on.

    python benchmarks/gains.py [TRAIN.json VAL.json] [--study finetune crop heads] [--seeds 0 1 2]

Without files, 400 generated scenes train, 150 validate (they choose the epoch) and 400 test. With files, the
pictures of all of them are put together and split 55/15/30, stratified, with the split seed 0. The
difference between two ways is that of their mean test mAP over the seeds, with a paired interval over
resamples of the test pictures: `evaluation.comparison`.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cross_validate import merged
from tagbox.api.train import train_classifier
from tagbox.backends.feature_cache import FeatureCache
from tagbox.config import AugmentConfig, ClassifierConfig, DataConfig, FinetuneConfig, SynthConfig
from tagbox.data.dataset import Dataset
from tagbox.data.formats.coco_write import write_coco
from tagbox.data.load import load_dataset
from tagbox.data.split import stratified_split
from tagbox.data.synthetic.generate import generate
from tagbox.evaluation.comparison import paired_map_difference
from timing import machine, report, say

FINETUNE = FinetuneConfig(
    unfreeze="all", epochs=6, patience=6, batch_size=16, ema=0.99, checkpoint_seconds=1e9
)


@dataclass(frozen=True)
class Study:
    """Ways to train, each compared with the first."""

    ways: dict[str, ClassifierConfig]


def studies(base: ClassifierConfig, epochs: int) -> dict[str, Study]:
    """The comparisons that can be asked for."""
    tuned = replace(FINETUNE, epochs=epochs, patience=epochs)

    def whole(**augment: Any) -> ClassifierConfig:
        return replace(base, finetune=tuned, augment=AugmentConfig(**augment))

    return {
        "finetune": Study({"frozen": base, "fine-tuned": whole(crop="none")}),
        "crop": Study(
            {
                "plain crop": whole(crop="plain", crop_scale=0.3),
                "crop that knows boxes": whole(crop="boxes", crop_scale=0.3),
            }
        ),
        "heads": Study(
            {
                "linear": base,
                "csra": replace(base, head="csra"),
                "ml_decoder": replace(base, head="ml_decoder", hidden=256, dropout=0.1),
            }
        ),
    }


def scenes(folder: Path) -> tuple[Dataset, Path, Path | None, Dataset]:
    """Generated training, validation and test pictures."""
    made = generate(
        folder / "scenes", SynthConfig(images=400, val=150, test=400, width=192, height=144)
    )
    return (
        load_dataset(made.parts["train"]),
        made.parts["val"],
        None,
        load_dataset(made.parts["test"]),
    )


def real(paths: list[Path], folder: Path) -> tuple[Dataset, Path, Path | None, Dataset]:
    """The pictures of all files, split anew."""
    path, root = merged(paths, folder)
    whole = load_dataset(path, DataConfig(images=root))
    rest, test = stratified_split(whole.labels, 0.3, 0)
    kept, held = stratified_split(whole.labels[rest], 0.15 / 0.7, 0)
    write_coco(whole.take(rest[held]), folder / "val.json")
    return whole.take(rest[kept]), folder / "val.json", root, whole.take(test)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="*")
    parser.add_argument("--study", nargs="+", default=["finetune", "crop", "heads"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--backbone", default="efficientnet_lite0@96")
    parser.add_argument("--epochs", type=int, default=FINETUNE.epochs)
    options = parser.parse_args()

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, closing(FeatureCache()) as cache:
        folder = Path(name)
        split = real(options.data, folder) if options.data else scenes(folder)
        train, val, root, test = split
        base = ClassifierConfig(val=val, val_images=root, backbone=options.backbone)
        paths = [test.images.path(row) for row in range(len(test))]
        trained: dict[ClassifierConfig, np.ndarray] = {}
        for study in options.study:
            ways = studies(base, options.epochs)[study].ways
            scores: dict[str, list[np.ndarray]] = {}
            for way, config in ways.items():
                for seed in options.seeds:
                    seeded = replace(config, seed=seed)
                    if seeded not in trained:
                        run = train_classifier(
                            train, seeded, name=f"{study}-{len(trained)}", runs=folder / "runs"
                        )
                        trained[seeded] = run.classifier.predict(paths, cache=cache).probabilities
                    scores.setdefault(way, []).append(trained[seeded])
                    say(f"{study}: {way}, seed {seed} is trained")
            first, *others = ways
            for other in others:
                compared = paired_map_difference(test.labels, scores[first], scores[other])
                found[f"{other} against {first}"] = {
                    f"test mAP, {first}": round(compared.first, 4),
                    f"test mAP, {other}": round(compared.second, 4),
                    "difference": round(compared.difference, 4),
                    "interval of 95 %": [round(compared.low, 4), round(compared.high, 4)],
                    "verdict": compared.outcome,
                }
    report(
        {
            "machine": machine(["tagbox", "torch", "openvino"]),
            "data": [path.name for path in options.data] or "generated scenes",
            "pictures": {"train": len(train), "test": len(test)},
            "backbone": options.backbone,
            "fine-tuning epochs": options.epochs,
            "seeds": options.seeds,
            **found,
        }
    )


if __name__ == "__main__":
    main()
