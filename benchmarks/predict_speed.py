"""`tagbox predict` over a folder of pictures against the tutorial's loop, both in fp32.

    python benchmarks/predict_speed.py

Both sides get the same pictures and the same EfficientNet-Lite0 at 224 with a linear head. Each is
timed from process start to exit over all pictures and over a few; the difference, over the difference
in pictures, is the rate once started, and what is left is start-up. Caches are empty each time, so
every picture is decoded and every forward pass is made. Sides take turns; medians count.

The shares of decode and forward are measured apart, one after the other on all pictures in one process;
in the real loops they overlap. The accuracies are on the same pictures.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from timing import alternated, machine, ratio, report, run, say, summary, tagbox_command
from train_speed import BASELINE, HERE, SAME_WORK, Parts, Trained, evaluate, generate

PREDICT = [sys.executable, HERE / "tutorial_predict.py"]


class Timed(NamedTuple):
    few: float
    all: float


def train_both(parts: Parts, work: Path, epochs: int) -> tuple[Path, Trained]:
    """The baseline's state file and tagbox's run; short, for the timing needs no good model."""
    say("training both sides for the timing")
    state = work / "head.pth"
    words = ("--epochs", epochs, "--batch-size", 16, "--save", state)
    run([*BASELINE, parts.train, parts.val, *words])
    run(
        [
            *(*tagbox_command(), "train", "classifier", parts.train, "--val", parts.val),
            *(*SAME_WORK, "--name", "speed", "--runs", work / "runs"),
        ],
        env={"TAGBOX_CACHE": str(work / "cache")},
    )
    return state, Trained(0.0, 0.0, work / "runs" / "speed")


def some_pictures(pictures: Path, count: int, work: Path) -> Path:
    folder = work / "few"
    folder.mkdir()
    for file in sorted(pictures.iterdir())[:count]:
        shutil.copy(file, folder)
    return folder


def timed(command: Callable[[Path], list[object]], few: Path, pictures: Path, work: Path) -> Timed:
    def seconds(folder: Path) -> float:
        with tempfile.TemporaryDirectory(dir=work) as cache:
            return run(command(folder), env={"TAGBOX_CACHE": cache}).seconds

    return Timed(seconds(few), seconds(pictures))


def shares(pictures: Path, batch_size: int = 64) -> dict[str, float]:
    """Seconds of tagbox's decode (file to 224 square) and forward, each on its own."""
    import numpy as np

    from tagbox.backends.create import create_encoder
    from tagbox.images.decode import read_image
    from tagbox.images.geometry import to_square
    from tagbox.models.backbones import create_backbone, parse_backbones

    (request,) = parse_backbones("efficientnet_lite0@224")
    encoder = create_encoder(create_backbone(request), geometry="squash", precision="fp32")
    encoder.encode(np.zeros((1, 224, 224, 3), np.uint8))  # compiled when first asked: start-up
    files = sorted(pictures.iterdir())
    decode = forward = 0.0
    for first in range(0, len(files), batch_size):
        start = time.perf_counter()
        batch = np.stack(
            [
                to_square(read_image(file, min_size=224), 224, "squash")
                for file in files[first : first + batch_size]
            ]
        )
        middle = time.perf_counter()
        encoder.encode(batch)
        decode += middle - start
        forward += time.perf_counter() - middle
    return {"decode_seconds": round(decode, 3), "forward_seconds": round(forward, 3)}


def with_percent(parts: dict[str, float]) -> dict[str, float]:
    both = parts["decode_seconds"] + parts["forward_seconds"]
    return {**parts, "decode_share": round(parts["decode_seconds"] / both, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--few", type=int, default=20)
    parser.add_argument("--train-images", type=int, default=300)
    parser.add_argument("--baseline-epochs", type=int, default=2)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--predict-flags", nargs="+", default=[], help="more for tagbox predict")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave everything there")
    options = parser.parse_args()

    about = machine(["tagbox", "torch", "timm", "openvino"])
    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        parts = generate(
            work / "scenes", options.train_images, options.width, options.height, options.images
        )
        pictures = parts.test.parent.parent / "test"
        few = some_pictures(pictures, options.few, work)
        state, trained = train_both(parts, work, options.baseline_epochs)

        def tutorial(folder: Path) -> list[object]:
            return [*PREDICT, folder, "--state", state, "--out", work / "answer.json"]

        def ours(folder: Path) -> list[object]:
            return [
                *tagbox_command(),
                "predict",
                trained.run,
                folder,
                "--json",
                *options.predict_flags,
            ]

        times = alternated(
            {
                name: (lambda command=command: timed(command, few, pictures, work))
                for name, command in (("tutorial", tutorial), ("tagbox", ours))
            },
            options.repeats,
        )
        loops = {name: [t.all - t.few for t in values] for name, values in times.items()}
        more = options.images - options.few
        apart = {
            "tutorial": run(
                [*PREDICT, pictures, "--state", state, "--shares", "--truth", parts.test]
            ).json(),
            "tagbox": shares(pictures),
        }
        result: dict[str, Any] = {
            "machine": about,
            "images": options.images,
            "precision": "fp32 on both sides",
            "times_faster_once_started": ratio(loops["tutorial"], loops["tagbox"]),
            "times_faster_start_to_exit": ratio(
                [t.all for t in times["tutorial"]], [t.all for t in times["tagbox"]]
            ),
        }
        for name, values in times.items():
            rate = more / median(loops[name])
            result[name] = {
                "seconds_start_to_exit": summary([t.all for t in values]),
                "images_per_second_once_started": round(rate, 1),
                "start_up_seconds": round(median(t.few for t in values) - options.few / rate, 3),
                **with_percent(
                    {key: apart[name][key] for key in ("decode_seconds", "forward_seconds")}
                ),
            }
        result["accuracy"] = {
            f"tutorial, {options.baseline_epochs} epochs": {
                key: apart["tutorial"][key] for key in ("map", "challenge_f1")
            },
            "tagbox": evaluate(trained, parts.test),
        }
        report(result)


if __name__ == "__main__":
    main()
