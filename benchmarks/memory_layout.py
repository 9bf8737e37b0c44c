"""A CPU's training step with channels last in memory beside one with channels first.

    python benchmarks/memory_layout.py [--backbones resnet50 vgg11 ...] [--images 16]

What `--finetune.channels-last auto` rests on: it is yes on a CPU. Forward and backward pass of the whole
network in fp32 on the same noise at 224 pixels, the two in turns; random weights, on which no time depends.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from step_speed import SIZE, whole_network
from timing import alternated, machine, report, say, seconds_of

BACKBONES = (
    *("efficientnet_lite0", "mobilenet_v3_large", "resnet18", "resnet50", "regnet_y_400mf"),
    *("densenet121", "convnext_tiny", "swin_t", "vit_b_16", "vgg11"),
)
REPEATS = 3


def pass_on(name: str, images: int, *, channels_last: bool) -> Callable[[], None]:
    """Forward and backward pass of a network on noise."""
    network = whole_network(name).train()
    if channels_last:
        network.use_channels_last()
    noise = torch.randint(0, 256, (images, SIZE, SIZE, 3)).to(torch.uint8)

    def step() -> None:
        network.zero_grad()
        network(noise).square().mean().backward()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--images", type=int, default=16)
    options = parser.parse_args()
    found = {}
    for name in options.backbones:
        passes = {last: pass_on(name, options.images, channels_last=last) for last in (False, True)}
        for step in passes.values():
            step()
        times = alternated(
            {last: lambda step=step: seconds_of(step) for last, step in passes.items()}, REPEATS
        )
        first, last = min(times[False]), min(times[True])
        found[name] = {
            "channels first, seconds": first,
            "channels last, seconds": last,
            "times faster": first / last,
        }
        say(f"{name}: {found[name]['times faster']:.2f}")
    report({"machine": machine(["tagbox", "torch", "torchvision"]), "backbones": found})


if __name__ == "__main__":
    main()
