"""A training step as tagbox takes it beside the tutorials' eager fp32 step: batch 32, 224 pixels.

    python benchmarks/step_speed.py [--backbones mobilenet_v3_large resnet50] [--precision auto] [--repeats 5]

Both sides run forward, loss, backward and Adam's step of the whole network on the same noise. tagbox's is in
the precision and memory layout that ``auto`` chooses on this machine, or ``--precision``, which is printed with the flags that
decide whether bf16 is computed or imitated. Random weights: a step's time does not depend on them.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch

from tagbox.config import ClassifierConfig, FinetuneConfig
from tagbox.models.backbones import BackboneRequest, create_backbone
from tagbox.models.classifier_network import Network
from tagbox.models.heads import FeatureScale, create_head
from tagbox.training.batches import PADDING
from tagbox.training.classification_task import Batch, ClassificationMetrics, ClassificationTask
from tagbox.training.distributed import Runtime
from tagbox.training.finetune import create_optimizer
from tagbox.training.loop import train_step
from tagbox.training.losses import create_loss
from tagbox.training.optim import Schedule
from tagbox.training.resolve_config import resolve_machine
from tagbox.training.task import TrainSetup
from timing import alternated, machine, ratio, report, seconds_of, summary

BATCH, SIZE, CATEGORIES = 32, 224, 80


def tutorial_step(name: str) -> Any:
    """The tutorials' step: the model as torchvision makes it, contiguous, float32."""
    import torchvision

    model = torchvision.models.get_model(name, weights=None, num_classes=CATEGORIES)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    loss = torch.nn.BCEWithLogitsLoss()
    images, targets = torch.randn(BATCH, 3, SIZE, SIZE), torch.zeros(BATCH, CATEGORIES)

    def step() -> None:
        optimizer.zero_grad()
        loss(model(images), targets).backward()
        optimizer.step()

    return step


def whole_network(name: str) -> Network:
    """A backbone with random weights under a linear head, all of it trained."""
    backbone = create_backbone(BackboneRequest(name, SIZE), "none")
    width = backbone.spec.dim
    scale = FeatureScale(mean=np.zeros(width, np.float32), scale=np.ones(width, np.float32))
    head = create_head("linear", scale, np.full(CATEGORIES, 0.1))
    return Network(
        backbone, head, head_kind="linear", pooling="mean", unfreeze="all", train_norms=True
    )


def our_step(name: str, precision: Any) -> tuple[Any, FinetuneConfig]:
    """The loop's own step, as ``auto`` decides it here."""
    network = whole_network(name)
    whole = ClassifierConfig(finetune=FinetuneConfig(unfreeze="all", precision=precision))
    config = resolve_machine(whole, Runtime("cpu")).finetune
    if config.channels_last == "yes":
        network.use_channels_last()
    optimizer = create_optimizer(network, config)
    loss = create_loss("bce", torch.full((CATEGORIES,), 0.1))
    setup = TrainSetup(
        model=network.train(),
        task=ClassificationTask(loss, loss),
        optimizer=optimizer,
        schedule=Schedule(optimizer, lambda _: (1.0, None)),
    )
    squares = torch.randint(0, 256, (BATCH, SIZE, SIZE, 3)).to(torch.uint8)
    targets = torch.zeros(BATCH, CATEGORIES)
    batch = Batch(np.full(BATCH, PADDING), squares, targets, None)
    runtime = Runtime("cpu", config.precision)  # type: ignore[arg-type]
    return lambda: train_step(setup, [batch], ClassificationMetrics(), runtime), config


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", nargs="+", default=["mobilenet_v3_large", "resnet50"])
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    found = {}
    for name in options.backbones:
        ours, config = our_step(name, options.precision)
        ways = {"tutorial, eager fp32": tutorial_step(name), "tagbox": ours}
        for step in ways.values():
            step()
        times = alternated(
            {way: lambda step=step: seconds_of(step) for way, step in ways.items()}, options.repeats
        )
        found[name] = {
            "precision": f"{config.precision}, channels last: {config.channels_last}",
            "seconds": {way: summary(seconds) for way, seconds in times.items()},
            "times faster": ratio(times["tutorial, eager fp32"], times["tagbox"]),
        }
    report(
        {
            "machine": machine(["tagbox", "torch", "torchvision"]),
            "batch": BATCH,
            "pixels": SIZE,
            **found,
        }
    )


if __name__ == "__main__":
    main()
