"""What the generated scenes are like: painted a second, shares, and how far colour alone solves them.

    python benchmarks/scenes.py

The speed stands beside what a program cannot avoid: encoding the same pictures as JPEG, and decoding
them again. The colour baseline's mAP stands beside the share of positives, which is what guessing
reaches. A classifier's mAP on the same scenes is printed by `tagbox demo`.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

from PIL import Image

from tagbox.config import SynthConfig
from tagbox.data.load import load_dataset
from tagbox.data.synthetic.generate import generate
from tagbox.data.synthetic.scene import make_scene
from tagbox.training.color_baseline import colour_baseline
from timing import machine, report


def speeds(count: int) -> dict[str, float]:
    """Pictures a second of CPU time on one core, three kinds of work taken in turn."""
    seconds = {"paint": 0.0, "encode JPEG": 0.0, "decode JPEG": 0.0}
    for index in range(count):
        start = time.process_time()
        picture = make_scene(0, 0, index, 640, 480).picture
        painted = time.process_time()
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=90)
        encoded = time.process_time()
        Image.open(content).load()
        seconds["paint"] += painted - start
        seconds["encode JPEG"] += encoded - painted
        seconds["decode JPEG"] += time.process_time() - encoded
    return {name: round(count / value, 1) for name, value in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--val", type=int, default=240)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = SynthConfig(images=options.images, val=options.val)
        done = generate(Path(folder) / "scenes", config)
        train, val = (load_dataset(done.parts[part]) for part in ("train", "val"))
        baseline = colour_baseline(train, val)
    counts = (train.labels == 1).sum(0)
    report(
        {
            "machine": machine(["tagbox", "numpy", "pillow", "torch"]),
            "images a CPU second": speeds(100),
            "images": done.images,
            "objects": done.objects,
            "share small": round(done.small, 3),
            "share partly covered": round(done.covered, 3),
            "categories": len(train.categories),
            "training images with the most and the least frequent": [
                int(counts.max()),
                int(counts.min()),
            ],
            "colour baseline mAP": round(baseline, 4),
            "guessing (share of positives)": round(float((val.labels == 1).mean()), 4),
        }
    )


if __name__ == "__main__":
    main()
