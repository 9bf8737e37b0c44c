"""Detectors fine-tuned on categories that none of them knows, each in the same CPU time of one thread.

    python benchmarks/nanodet_finetune.py [--minutes 4] [--coco TRAIN.json VAL.json]

`nanodet_g`, `dense` and `fasterrcnn` (`--detectors NAME@SIZE ...`) train with their own settings on 50 scenes of one category,
10 more choose the epoch, and 100 others are the test. With `--coco` they train on nine tenths of TRAIN instead, a tenth
chooses the epoch, and VAL is the test: eight categories of COCO under other names, so that `nanodet_g` looks up no scores. Its weights were
trained on all of COCO train2017, also on the images of TRAIN with all their boxes; those of the other two on ImageNet only.

Before each training two of its steps are timed, and `--minutes` are divided into the epochs that fit best, at least one: schedules fall
to their end. The CPU minutes that the whole command took then, start, validation and report included, stand in the result.
One thread (`OMP_NUM_THREADS=1`); CPU time, because other processes change it less than the time on the wall.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import machine, report, run, say, tagbox_command

DETECTORS = ("nanodet_g", "dense", "fasterrcnn")
SEEN = {"nanodet_g": "COCO train2017, boxes"}
"""What the weights at the beginning were trained on, where it is not ImageNet."""
BATCH, STEPS = 8, 2
NAMES = {
    "person": "human",
    "bottle": "flask",
    "car": "automobile",
    "chair": "seat",
    "book": "volume",
    "cup": "mug",
    "bowl": "basin",
    "dining table": "board",
}
"""Of the frequent categories of COCO, and the names that they get."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=4.0, help="CPU minutes a detector")
    parser.add_argument("--coco", type=Path, nargs=2, metavar=("TRAIN", "VAL"))
    parser.add_argument("--detectors", nargs="+", default=DETECTORS, metavar="NAME@SIZE")
    parser.add_argument("--category", default="butterfly", help="of the scenes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=Path, help="folder for runs, and scenes, which are used again"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        data = _coco(options.coco, folder) if options.coco else _scenes(options.category, folder)
        rows = {}
        for detector in options.detectors:
            rows[detector] = _trained(detector, data, folder / "runs", options)
            say(f"{detector}: {rows[detector]}")
    report(
        {
            "machine": machine(["tagbox", "torch", "torchvision"]),
            "data": data["about"],
            "cpu_minutes_to_spend": options.minutes,
            "detectors": rows,
        }
    )


def _scenes(category: str, folder: Path) -> dict[str, Any]:
    counts = ("--images", 50, "--val", 10, "--test", 100, "--width", 640, "--height", 360)
    scenes = folder / category
    if not scenes.exists():
        run([*tagbox_command(), "synth", scenes, *counts, "--categories", category])
    parts = (scenes / f"annotations/instances_{part}.json" for part in ("train", "val", "test"))
    train, val, test = parts
    return {
        "about": f"50 scenes of {category} to train on, 10 to choose the epoch, 100 to test",
        "train": [train, "--val", val],
        "test": [test],
    }


def _coco(paths: list[Path], folder: Path) -> dict[str, Any]:
    mapping = folder / "names.yaml"
    mapping.write_text("".join(f"{old}: {new}\n" for old, new in NAMES.items()))
    kept = ("--mapping", mapping, "--categories", *NAMES.values())
    return {
        "about": f"{paths[0].name}, {len(NAMES)} categories under other names, and {paths[1].name} to test",
        "train": [paths[0], *kept],
        "test": [paths[1], *kept],
    }


def _trained(
    detector: str, data: dict[str, Any], runs: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Train one, and its AP on the test images."""
    name, _, size = detector.partition("@")
    sized = ("--size", size) if size else ()
    images = _training_images(data["train"])
    seconds = _seconds_of_step(name, int(size) if size else None, data["train"])
    epochs = max(1, round(60 * options.minutes / (seconds * -(-images // BATCH))))
    say(f"{detector}: {seconds:.2f} CPU seconds a step, {epochs} epochs")
    before = _children_seconds()
    trained = run(
        [
            *(*tagbox_command(), "train", "detector", *data["train"]),
            *("--name", detector.replace("@", "-"), "--runs", runs, "--detector", name, *sized),
            *("--epochs", epochs, "--patience", epochs, "--batch-size", BATCH),
            *("--seed", options.seed, "--overwrite", "--json"),
        ],
        env=ONE_THREAD,
    )
    cpu_seconds = _children_seconds() - before
    tested = run(
        [
            *(*tagbox_command(), "evaluate", detector.replace("@", "-"), *data["test"]),
            *("--runs", runs, "--json"),
        ],
        env=ONE_THREAD,
    ).json()
    intervals = tested["intervals"]
    return {
        "seconds_a_step": round(seconds, 2),
        "epochs": epochs,
        "best_epoch": trained.json()["best_epoch"],
        "cpu_minutes": round(cpu_seconds / 60, 2),
        "wall_minutes": round(trained.seconds / 60, 2),
        **{metric: round(tested[metric], 4) for metric in ("ap", "ap50", "ap75")},
        "interval_of_ap": intervals["ap"],
        "weights_trained_on": SEEN.get(name, "ImageNet, labels"),
    }


def _read(arguments: list[Any]) -> Any:
    from tagbox.config import DataConfig
    from tagbox.data.load import load_dataset

    if "--mapping" not in arguments:
        return load_dataset(Path(arguments[0]), DataConfig())
    source = DataConfig(mapping=arguments[2], categories=tuple(NAMES.values()))
    return load_dataset(Path(arguments[0]), source)


def _training_images(arguments: list[Any]) -> int:
    """Number of images that are trained on; without validation data a tenth is held out."""
    count = len(_read(arguments))
    return count if "--val" in arguments else round(0.9 * count)


def _seconds_of_step(name: str, size: int | None, arguments: list[Any]) -> float:
    """CPU seconds of a training step on the first batches, after one that warms up."""
    import torch

    from tagbox.config import DetectorConfig
    from tagbox.data.training_boxes import training_boxes
    from tagbox.models.detectors.create import create_detector
    from tagbox.training.box_batches import BoxBatches
    from tagbox.training.detection_task import DetectionTask
    from tagbox.training.distributed import Runtime
    from tagbox.training.loop import train_step
    from tagbox.training.optim import Schedule
    from tagbox.training.task import TrainSetup

    torch.set_num_threads(1)
    dataset = _read(arguments)
    # Random weights do not change the time.
    config = DetectorConfig(detector=name, size=size, weights="none")
    detector = create_detector(config, dataset.categories.names)
    detector.freeze("all", train_norms=False)
    detector.use_channels_last()
    truth, spec = training_boxes(dataset), detector.spec
    letterbox: Any = {"size": spec.size, "multiple": spec.multiple, "fixed": spec.fixed}
    batches = BoxBatches(dataset, truth, augment=config.augment, batch_size=BATCH, **letterbox)
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-6)
    setup = TrainSetup(
        model=detector,
        task=DetectionTask(detector, truth.pixels),
        optimizer=optimizer,
        schedule=Schedule(optimizer, lambda _: (1.0, None)),
    )
    runtime, seconds = Runtime("cpu"), []
    detector.train()
    for parts, _ in zip(batches.epoch(0), range(STEPS + 1), strict=False):
        start = time.process_time()
        train_step(setup, parts, setup.task.metrics(), runtime)
        seconds.append(time.process_time() - start)
    return sum(seconds[1:]) / STEPS


def _children_seconds() -> float:
    """CPU seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
