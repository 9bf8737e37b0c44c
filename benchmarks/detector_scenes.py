"""A detector trained on generated scenes for some minutes, beside a tutorial's settings in the same time.

    python benchmarks/detector_scenes.py [--epochs 5] [--minutes 15] [--side 320]

1,000 scenes train and 200 validate, of `--side` x `--side` pixels, the 12 most frequent categories. tagbox trains from process start
to exit with default settings but for the number of epochs; the tutorial (`tutorial_detector.py`) trains as long as that
took, or for `--minutes`, and keeps its last weights. AP is COCO's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from timing import machine, report, run, say, tagbox_command

TUTORIAL = Path(__file__).with_name("tutorial_detector.py")
LEFT_OUT = ("mushroom", "clock")
"""The rarest of the fourteen categories."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--keep", type=Path, help="folder for scenes and run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        sides = ("--width", options.side, "--height", options.side)
        made = run(
            [
                *tagbox_command(),
                "synth",
                folder / "all",
                "--images",
                1000,
                "--val",
                200,
                *sides,
                "--json",
            ]
        ).json()
        parts = {}
        for part in ("train", "val"):
            parts[part] = folder / "all" / "annotations" / f"instances_{part}12.json"
            _without(Path(made["parts"][part]), parts[part])
        say("tagbox")
        ours = run(
            [
                *(*tagbox_command(), "train", "detector", parts["train"], "--val", parts["val"]),
                *("--name", "scenes", "--runs", folder / "runs", "--epochs", options.epochs),
                *("--size", options.side, "--images", folder / "all" / "train"),
                *("--val-images", folder / "all" / "val", "--overwrite", "--json"),
            ]
        )
        figures = ours.json()["validation"]
        say("tutorial")
        theirs = run(
            [
                *(sys.executable, TUTORIAL, parts["train"], parts["val"]),
                *("--minutes", options.minutes or ours.seconds / 60, "--size", options.side),
            ]
        ).json()
    report(
        {
            "machine": machine(["tagbox", "torch", "torchvision"]),
            "scenes": {"train": 1000, "validation": 200, "side": options.side, "categories": 12},
            "tagbox": {
                "minutes": round(ours.seconds / 60, 2),
                "epochs": options.epochs,
                **{name: round(figures[name], 4) for name in ("ap", "ap50", "ap75")},
            },
            "tutorial": theirs,
        }
    )


def _without(path: Path, target: Path) -> None:
    """The file without the categories in `LEFT_OUT`; ids from 1 without gaps, as the tutorial needs them."""
    import json

    content = json.loads(path.read_text())
    kept = [each for each in content["categories"] if each["name"] not in LEFT_OUT]
    new = {each["id"]: number for number, each in enumerate(kept, start=1)}
    content["categories"] = [{**each, "id": new[each["id"]]} for each in kept]
    content["annotations"] = [
        {**each, "category_id": new[each["category_id"]]}
        for each in content["annotations"]
        if each["category_id"] in new
    ]
    target.write_text(json.dumps(content))


if __name__ == "__main__":
    main()
