"""`tagbox demo`: all steps on generated scenes, each step the command a user would type."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from tagbox.cli.console import TerminalProgress, print_json, progress_bar, say
from tagbox.config import ClassifierConfig, DetectorConfig, SynthConfig, require

if TYPE_CHECKING:
    from tagbox.api import Run

BACKBONE = "efficientnet_lite0@384"
VALIDATION, TEST, SHOWN = 150, 150, 12
BOX_EPOCHS, BOX_SIDES = 4, (320, 240)

demo = App(name="demo", help="All steps on generated scenes.", help_format="markdown")


@demo.default
def classifier(
    *, out: Path = Path("demo"), images: int = 600, seed: int = 0, json: bool = False
) -> None:
    """All steps on generated scenes: make, check, show, train, evaluate, predict, report.

    Needs no data and no network. Ends with the path of an HTML report. A second run replaces the
    first once it is complete. `tagbox demo detector` does the same with boxes.

    Parameters
    ----------
    out
        Folder of everything the demo writes.
    images
        Training scenes.
    seed
        Seed of the scenes and of the training.
    json
        Print the metrics as one JSON object.
    """
    from tagbox.api import train_classifier
    from tagbox.cli.check import check
    from tagbox.cli.evaluate import evaluate
    from tagbox.cli.predict import predict
    from tagbox.cli.show import show
    from tagbox.data.load import load_dataset
    from tagbox.training.color_baseline import colour_baseline

    require(images >= 50, "images", images, "at least 50")
    start = time.perf_counter()
    scenes, runs = out / "scenes", out / "runs"
    train, val, test = _paint(
        scenes, SynthConfig(images=images, val=VALIDATION, test=TEST, seed=seed)
    )

    _step(f"tagbox check {train} {val}")
    with _shown(json):
        check(train, val)

    _step(f"tagbox show {train} --out {out / 'scenes.png'}")
    with _shown(json):
        show(train, out=out / "scenes.png", count=SHOWN)

    say("\nFor comparison: logistic regression on colours and a 16x16 thumbnail")
    train_data, val_data = load_dataset(train), load_dataset(val)
    with progress_bar("colour baseline", len(train_data) + len(val_data)) as advance:
        colours = colour_baseline(train_data, val_data, progress=advance)

    command = f"tagbox train classifier {train} --val {val} --name demo --backbone {BACKBONE}"
    _step(f"{command} --runs {runs}")
    run = train_classifier(
        train,
        ClassifierConfig(val=val, backbone=BACKBONE, seed=seed),
        name="demo",
        runs=runs,
        overwrite=True,
        baselines={"colours and thumbnail": {"map": colours}},
        command=f"{command} --runs {runs}",
        progress=TerminalProgress(),
    )
    reached = run.metrics["validation"]["map"]
    say(
        f"validation mAP {reached:.4f}, {reached / colours:.1f} times the colour baseline's "
        f"{colours:.4f}"
    )

    _step(f"tagbox evaluate {run.folder} {test}")
    with _shown(json):
        evaluate([run.folder], test, per_category=False, out=out / "evaluation.json")

    pictures, saved = _chosen(run, scenes, out, " --evidence")
    with _shown(json):
        predict(run.folder, *pictures, save_images=saved, evidence=True, truth=test, cache=True)

    _end(run, {"map": reached, "colour_map": colours}, start, json)


@demo.command
def detector(
    *, out: Path = Path("demo-detector"), images: int = 400, seed: int = 0, json: bool = False
) -> None:
    """The road of a detector on generated scenes: make, show, train, evaluate, predict, report.

    Needs no data and no network. Ends with the path of an HTML report. A second run replaces the
    first once it is complete.

    Parameters
    ----------
    out
        Folder of everything the demo writes.
    images
        Training scenes.
    seed
        Seed of the scenes and of the training.
    json
        Print the metrics as one JSON object.
    """
    from tagbox.api import train_detector
    from tagbox.cli.evaluate import evaluate
    from tagbox.cli.predict import predict
    from tagbox.cli.show import show

    require(images >= 50, "images", images, "at least 50")
    start = time.perf_counter()
    scenes, runs = out / "scenes", out / "runs"
    width, height = BOX_SIDES
    train, val, test = _paint(
        scenes,
        SynthConfig(
            images=images, val=VALIDATION, test=TEST, width=width, height=height, seed=seed
        ),
        f" --width {width} --height {height}",
    )

    _step(f"tagbox show {train} --out {out / 'scenes.png'}")
    with _shown(json):
        show(train, out=out / "scenes.png", count=SHOWN)

    command = f"tagbox train detector {train} --val {val} --name demo --epochs {BOX_EPOCHS}"
    # Fixed, so that the metrics do not depend on whether the processor has bf16.
    command += " --precision fp32"
    _step(f"{command} --runs {runs}")
    run = train_detector(
        train,
        DetectorConfig(val=val, epochs=BOX_EPOCHS, precision="fp32", seed=seed),
        name="demo",
        runs=runs,
        overwrite=True,
        command=f"{command} --runs {runs}",
        progress=TerminalProgress(),
    )
    reached = run.metrics["validation"]["ap"]
    say(f"validation AP {reached:.4f}")

    _step(f"tagbox evaluate {run.folder} {test}")
    with _shown(json):
        evaluate([run.folder], test, per_category=False, out=out / "evaluation.json")

    pictures, saved = _chosen(run, scenes, out, "")
    with _shown(json):
        predict(run.folder, *pictures, save_images=saved, truth=test)

    _end(run, {"ap": reached}, start, json)


def _paint(scenes: Path, config: SynthConfig, sides: str = "") -> list[Path]:
    """Generate the scenes; returns the annotation files of train, val and test."""
    from tagbox.data.synthetic.generate import generate

    counts = f"--images {config.images} --val {config.val} --test {config.test}"
    _step(f"tagbox synth {scenes} {counts}{sides}")
    with progress_bar("painting", config.images + config.val + config.test) as advance:
        made = generate(
            scenes, config, workers=os.cpu_count() or 1, overwrite=True, progress=advance
        )
    say(f"{made.images} scenes, {made.small:.0%} of the objects small, {made.covered:.0%} covered")
    return [made.parts[name] for name in ("train", "val", "test")]


def _chosen(run: Run, scenes: Path, out: Path, more: str) -> tuple[list[str], Path]:
    """The first test images, and an empty folder for the drawn predictions."""
    pictures = [str(path) for path in sorted((scenes / "test").glob("*.jpg"))[:SHOWN]]
    saved = out / "predictions"
    shutil.rmtree(saved, ignore_errors=True)
    _step(f"tagbox predict {run.folder} {pictures[0]} … --save-images {saved}{more}")
    return pictures, saved


def _shown(json: bool) -> AbstractContextManager[object]:
    """Send a command's tables to stderr where stdout is for JSON."""
    return redirect_stdout(sys.stderr) if json else nullcontext()


def _end(run: Run, metrics: dict[str, float], start: float, json: bool) -> None:
    seconds = time.perf_counter() - start
    if json:
        print_json({**metrics, "seconds": seconds})
    say(f"\nall steps took {seconds:.0f} s\n{run.report.resolve()}")


def _step(command: str) -> None:
    say(f"\n$ {command}")
