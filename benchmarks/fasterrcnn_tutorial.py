"""Faster R-CNN as a beginners' tutorial uses it: 50 scenes to train on and 10 to validate, one category, two cores.

    python benchmarks/fasterrcnn_tutorial.py [--size 512] [--epochs 12] [--category butterfly]

First a training step of 4 pictures is timed: of the tutorial's network, torchvision's Faster R-CNN on MobileNetV3-Large, whose
own transform enlarges 640x360 to 1333x749, and of `--detector fasterrcnn` at `--size`. Both have random weights, which does
not change the time. Then tagbox trains from the packaged ImageNet weights of its backbone, with the detector's own
settings but for the tutorial's batch of 4. It prints one JSON object: seconds a step, minutes and CPU minutes, AP50, AP and
the losses of the first, the best and the last epoch.
"""

from __future__ import annotations

import argparse
import csv
import resource
import tempfile
from pathlib import Path
from typing import Any

from timing import machine, report, run, say, seconds_of, summary, tagbox_command

BATCH, WIDTH, HEIGHT = 4, 640, 360
TUTORIAL, OURS = "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--category", default="butterfly")
    parser.add_argument("--repeats", type=int, default=3, help="of each training step")
    parser.add_argument("--keep", type=Path, help="folder for scenes and run")
    options = parser.parse_args()
    say("training steps")
    steps = {
        f"{TUTORIAL}, 1333x749": summary(_tutorial_steps(options.repeats)),
        f"{OURS}, {options.size} px": summary(_steps(options.size, options.repeats)),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        scenes = ("--images", 50, "--val", 10, "--width", WIDTH, "--height", HEIGHT)
        made = run(
            [
                *(*tagbox_command(), "synth", folder / "scenes", *scenes),
                *("--categories", options.category, "--overwrite", "--json"),
            ]
        ).json()
        before = _children_seconds()
        trained = run(
            [
                *(*tagbox_command(), "train", "detector", made["parts"]["train"]),
                *("--val", made["parts"]["val"], "--name", "tutorial", "--runs", folder / "runs"),
                *("--detector", OURS, "--size", options.size, "--batch-size", BATCH),
                *("--epochs", options.epochs, "--overwrite", "--json"),
            ]
        )
        cpu_seconds = _children_seconds() - before
        metrics = trained.json()
        with open(folder / "runs/tutorial/history.csv", newline="") as file:
            history = list(csv.DictReader(file))
    best = metrics["best_epoch"]
    report(
        {
            "machine": machine(["tagbox", "torch", "torchvision"]),
            "seconds_a_step_of_4": steps,
            "scenes": {"train": 50, "validation": 10, "category": options.category},
            "epochs": len(history),
            "minutes": round(trained.seconds / 60, 2),
            "cpu_minutes": round(cpu_seconds / 60, 2),
            "ap50": round(metrics["validation"]["ap50"], 4),
            "ap": round(metrics["validation"]["ap"], 4),
            "losses": {
                row["epoch"]: {
                    name: round(float(row[name]), 3) for name in ("train_loss", "val_loss")
                }
                for row in (history[0], history[best - 1], history[-1])
            },
        }
    )


def _children_seconds() -> float:
    """CPU seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _tutorial_steps(repeats: int) -> list[float]:
    """Seconds of each training step of the tutorial's network, in torchvision's own way."""
    import torch
    from torchvision.models import detection

    model = getattr(detection, TUTORIAL)(weights=None, weights_backbone=None, num_classes=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9, weight_decay=1e-4)
    images = [torch.rand(3, HEIGHT, WIDTH) for _ in range(BATCH)]
    targets = [{"boxes": _box(WIDTH, HEIGHT), "labels": torch.tensor([1])} for _ in images]

    def step() -> None:
        optimizer.zero_grad()
        sum(model(images, targets).values()).backward()
        optimizer.step()

    return _timed(model, step, repeats)


def _steps(size: int, repeats: int) -> list[float]:
    """Seconds of each training step of ours."""
    import torch

    from tagbox.config import DetectorConfig
    from tagbox.models.detectors.base import Target
    from tagbox.models.detectors.create import create_detector

    config = DetectorConfig(detector=OURS, size=size, weights="none", batch_size=BATCH)
    model: Any = create_detector(config, ["object"])
    model.freeze("all", train_norms=False)
    model.use_channels_last()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9, nesterov=True)
    height = round(size * HEIGHT / WIDTH)
    padded = -(-height // model.spec.multiple) * model.spec.multiple
    images = torch.randint(0, 255, (BATCH, padded, size, 3), dtype=torch.uint8)
    none = torch.zeros(0, 4)
    targets = [
        Target(boxes=_box(size, height), labels=torch.tensor([0]), ignore=none) for _ in images
    ]

    def step() -> None:
        optimizer.zero_grad()
        losses, _ = model(images, [(height, size)] * BATCH, targets)
        (sum(losses.values()) / BATCH).backward()
        optimizer.step()

    return _timed(model, step, repeats)


def _box(width: int, height: int) -> Any:
    import torch

    return torch.tensor([[0.4 * width, 0.3 * height, 0.6 * width, 0.6 * height]])


def _timed(model: Any, step: Any, repeats: int) -> list[float]:
    """Seconds of `repeats` steps, after one that warms up."""
    model.train()
    step()
    return [seconds_of(step) for _ in range(repeats)]


if __name__ == "__main__":
    main()
