"""A detector's training step and prediction beside a tutorial's loop, at the same input size.

    python benchmarks/detector_speed.py [--size 320] [--repeats 5]

Both sides get the same scenes, batches of 4 and fp32. The tutorial's model (`tutorial_detector.py`: torchvision's Faster R-CNN on
EfficientNet-Lite0) runs eagerly, as its loop does. tagbox runs the same heads on the same backbone, and its own default detector. A
step is forward, losses, backward, optimizer; a prediction is from the decoded picture to boxes, start-up and compilation apart.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tagbox.config import DataConfig, DetectorConfig, SynthConfig
from tagbox.data.dataset import Dataset
from tagbox.data.load import load_dataset
from tagbox.data.synthetic.generate import generate
from tagbox.data.training_boxes import training_boxes
from tagbox.images.decode import read_image
from tagbox.inference.detector import DetectorModel
from tagbox.models.bundle import DetectorBundle
from tagbox.models.detectors.create import create_detector
from tagbox.predictions.thresholds import ScoreThresholds
from tagbox.training.box_batches import BoxBatches
from tagbox.training.detection_task import DetectionTask
from tagbox.training.distributed import Runtime
from tagbox.training.loop import train_step
from tagbox.training.optim import Schedule
from tagbox.training.resolve_config import resolve_machine
from tagbox.training.task import TrainSetup
from timing import alternated, machine, ratio, report, seconds_of, summary
from tutorial_detector import BATCH, CocoDetection, build, collate

PICTURES = 16


def tutorial(path: Path, size: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """The tutorial's step on a batch, and its prediction of `PICTURES` pictures."""
    data = CocoDetection(path)
    model = build(max(data.coco.cats), size)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9, weight_decay=1e-4)
    images, targets = collate([data[row] for row in range(BATCH)])
    shown = [data[row][0] for row in range(PICTURES)]

    def step() -> None:
        model.train()
        losses: Any = sum(model(list(images), list(targets)).values())
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()

    def predict() -> None:
        model.eval()
        with torch.no_grad():
            for image in shown:
                model([image])

    return step, predict


def ours(
    dataset: Dataset, name: str, size: int
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The same of tagbox's loop and of its saved detectors' road."""
    config = DetectorConfig(detector=name, size=size, batch_size=BATCH)
    runtime = Runtime("cpu")
    detector = create_detector(config, dataset.categories.names)
    detector.freeze("all", train_norms=False)
    config = resolve_machine(config, runtime)
    if config.channels_last == "yes":
        detector.use_channels_last()
    truth = training_boxes(dataset)
    batches = BoxBatches(
        dataset,
        truth,
        size=size,
        multiple=detector.spec.multiple,
        batch_size=BATCH,
    )
    parts = next(batches.epoch(0))
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-5, momentum=0.9, weight_decay=1e-4)
    setup = TrainSetup(
        model=detector,
        task=DetectionTask(detector, truth.pixels),
        optimizer=optimizer,
        schedule=Schedule(optimizer, lambda _: (1.0, None)),
    )
    bundle = DetectorBundle(
        spec=detector.spec,
        weights={k: v.detach().numpy().copy() for k, v in detector.state_dict().items()},
        categories=dataset.categories,
        cuts=ScoreThresholds(),
    )
    model = DetectorModel(bundle)
    shown = [read_image(dataset.images.path(row)) for row in range(PICTURES)]

    def step() -> None:
        detector.train()
        train_step(setup, parts, setup.task.metrics(), runtime)

    def predict() -> None:
        list(model.stream(shown))

    return step, predict


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        side = options.size
        made = generate(
            Path(name) / "scenes", SynthConfig(images=PICTURES, width=side, height=side)
        )
        path = made.parts["train"]
        dataset = load_dataset(path, DataConfig())
        ways = {
            "tutorial": tutorial(path, side),
            "tagbox, fasterrcnn": ours(dataset, "fasterrcnn", side),
            "tagbox, dense": ours(dataset, "dense", side),
        }
        found: dict[str, Any] = {}
        for place, what in enumerate(("training step", "prediction")):
            for pair in ways.values():
                pair[place]()
            times = alternated(
                {way: (lambda work=pair[place]: seconds_of(work)) for way, pair in ways.items()},
                options.repeats,
            )
            found[what] = {
                "seconds": {way: summary(each) for way, each in times.items()},
                "times faster": {
                    way: ratio(times["tutorial"], each)
                    for way, each in times.items()
                    if way != "tutorial"
                },
            }
    report(
        {
            "machine": machine(["tagbox", "torch", "torchvision", "openvino"]),
            "pixels": options.size,
            "batch": BATCH,
            "pictures predicted": PICTURES,
            **found,
        }
    )


if __name__ == "__main__":
    main()
