"""From the start of the process to the boxes drawn on one photo: `tagbox predict photo.jpg`, which needs no run.

    make weights
    python benchmarks/predict_startup.py [--repeats 5] [--photo photo.jpg]

Beside it the same on torch, and a process that only imports torch and torchvision, which any detector in torch
does before it begins. Seconds of the clock, and those of the processor, which other work on the machine
changes less. Whether torch is imported while OpenVINO computes is looked up in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from timing import alternated, machine, ratio, report, run, summary, tagbox_command

LOADED = """
import sys
sys.argv = ["tagbox", "predict", sys.argv[1], "--json", "--out", "boxes.json"]
from tagbox.cli.app import main
try:
    main()
except SystemExit:
    print("true" if "torch" in sys.modules else "false")
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--photo", type=Path, help="by default noise of 640 x 480 pixels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        photo = place / "photo.jpg"
        if options.photo is None:
            noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
            Image.fromarray(noise).save(photo)
        else:
            photo.write_bytes(options.photo.read_bytes())
        predict = [*tagbox_command(), "predict", "photo.jpg"]
        commands = {
            "tagbox predict photo.jpg": predict,
            "tagbox predict photo.jpg --engine torch": [*predict, "--engine", "torch"],
            "import torch, torchvision": [sys.executable, "-c", "import torch, torchvision"],
        }

        def seconds(words: list[str]) -> tuple[float, float]:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            clock = run(words, cwd=place).seconds
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        for (
            words
        ) in commands.values():  # once unmeasured: bytecode and disk cache are warm after it
            seconds(words)
        times = alternated(
            {name: partial(seconds, words) for name, words in commands.items()}, options.repeats
        )
        loaded = run([sys.executable, "-c", LOADED, "photo.jpg"], cwd=place).json()
    clock, processor = ({n: [t[k] for t in v] for n, v in times.items()} for k in (0, 1))
    ours, least = "tagbox predict photo.jpg", "import torch, torchvision"
    report(
        {
            "machine": machine(["tagbox", "torch", "torchvision", "openvino"]),
            "seconds": {name: summary(values) for name, values in clock.items()},
            "processor_seconds": {name: summary(values) for name, values in processor.items()},
            "times_the_imports": ratio(clock[ours], clock[least]),
            "times_the_imports_of_the_processor": ratio(processor[ours], processor[least]),
            "torch_is_imported": loaded,
        }
    )


if __name__ == "__main__":
    main()
