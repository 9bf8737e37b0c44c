"""A CPU's training step with channels last in memory beside one with channels first.

    python benchmarks/memory_layout.py [--backbones resnet50 vgg11 ...] [--images 16]

What `--finetune.channels-last auto` rests on: it is yes on a CPU, unmeasured. Forward and backward pass of the whole
network in fp32 on the same noise at 224 pixels, the two in turns; random weights, on which no time depends.
"""

from __future__ import annotations

import argparse

from step_speed import SIZE, whole_network
from tagbox.training.network import on_noise
from tagbox.training.speed import Way, step_seconds
from timing import machine, report, say

BACKBONES = (
    *("efficientnet_lite0", "mobilenet_v3_large", "resnet18", "resnet50", "regnet_y_400mf"),
    *("densenet121", "convnext_tiny", "swin_t", "vit_b_16", "vgg11"),
)
FIRST: Way = ("fp32", False)
LAST: Way = ("fp32", True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--images", type=int, default=16)
    options = parser.parse_args()
    found = {}
    for name in options.backbones:
        times = step_seconds(
            whole_network(name), on_noise(options.images, SIZE), [FIRST, LAST], device="cpu"
        )
        found[name] = {
            "channels first, seconds": times[FIRST],
            "channels last, seconds": times[LAST],
            "times faster": times[FIRST] / times[LAST],
        }
        say(f"{name}: {found[name]['times faster']:.2f}")
    report({"machine": machine(["tagbox", "torch", "torchvision"]), "backbones": found})


if __name__ == "__main__":
    main()
