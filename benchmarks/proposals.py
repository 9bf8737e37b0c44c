"""What Faster R-CNN's AP loses, and how much time it saves, when its second stage looks at fewer proposals.

    python benchmarks/proposals.py [--images 150] [--epochs 3] [--side 256]

One network, trained by tagbox on generated scenes, detects in 100 others with 100, 300 and 1,000 proposals a picture: COCO's
AP and the seconds of a pass over the pictures, start-up and compilation apart.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import tagbox
from tagbox.config import SynthConfig
from tagbox.data.load import load_dataset
from tagbox.data.synthetic.generate import generate
from tagbox.inference.detector import DetectorModel
from tagbox.models.bundle import DetectorBundle
from tagbox.predictions.predictions import Detections
from timing import alternated, machine, ratio, report, run, seconds_of, summary, tagbox_command

PROPOSALS = (100, 300, 1000)
VALIDATION = 100


def looking_at(bundle: DetectorBundle, proposals: int) -> DetectorModel:
    """The detector with so many proposals."""
    options = {**bundle.spec.options, "proposals": proposals}
    return DetectorModel(replace(bundle, spec=replace(bundle.spec, options=options)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, side = Path(name), options.side
        made = generate(
            folder / "scenes",
            SynthConfig(images=options.images, val=VALIDATION, width=side, height=side),
        )
        run(
            [
                *(*tagbox_command(), "train", "detector", made.parts["train"]),
                *("--val", made.parts["val"], "--name", "scenes", "--runs", folder / "runs"),
                *("--detector", "fasterrcnn", "--size", side, "--epochs", options.epochs),
                *("--batch-size", 2, "--learning-rate", 5e-4),
            ]
        )
        bundle = DetectorBundle.load(folder / "runs" / "scenes")
        validation = load_dataset(made.parts["val"])
        paths = [validation.images.path(row) for row in range(len(validation))]
        figures, ways = {}, {}
        for proposals in PROPOSALS:
            model = looking_at(bundle, proposals)
            found = model.detect(paths).detections
            seen = replace(found, images=tuple(validation.images.files.tolist()))
            figures[proposals] = tagbox.evaluate_boxes(validation, seen)
            ways[str(proposals)] = _pass(model, paths)
        times = alternated(ways, options.repeats)
    report(
        {
            "machine": machine(["tagbox", "torch", "torchvision", "openvino"]),
            "pixels": side,
            "ap": {str(k): round(each["ap"], 4) for k, each in figures.items()},
            "ar100": {str(k): round(each["ar100"], 4) for k, each in figures.items()},
            "seconds": {k: summary(each) for k, each in times.items()},
            "times faster than 1000": {
                str(k): ratio(times["1000"], times[str(k)]) for k in PROPOSALS[:-1]
            },
        }
    )


def _pass(model: DetectorModel, paths: list[Path]) -> Callable[[], float]:
    def work() -> Detections:
        return model.detect(paths).detections

    return lambda: seconds_of(work)


if __name__ == "__main__":
    main()
