"""`tagbox demo`: all steps on generated scenes, each step the command a user would type."""

from __future__ import annotations

import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from tagbox.cli.console import TerminalProgress, print_json, progress_bar, say
from tagbox.config import ClassifierConfig, DetectorConfig, SynthConfig, require
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from tagbox.api.run import Run

BACKBONE = "efficientnet_lite0@384"
VALIDATION, TEST, SHOWN = 150, 150, 12
DETECTOR_EPOCHS, DETECTOR_SCENES = 4, (320, 240)

demo = App(name="demo", help="Run all steps on generated scenes.", help_format="markdown")


@demo.default
def classifier(
    *, out: Path = Path("demo"), images: int = 600, seed: int = 0, json: bool = False
) -> None:
    """Run all steps on generated scenes: generate, check, show, train, evaluate, predict, report.

    Needs neither data nor a network connection. Ends with the path of an HTML report. A second run replaces
    the first once it is complete. `tagbox demo detector` does the same with boxes.

    Parameters
    ----------
    out
        Folder for everything the demo writes.
    images
        Number of training images.
    seed
        Random seed of the scenes and of the training.
    json
        Print the metrics as one JSON object.
    """
    from tagbox.api.train import train_classifier
    from tagbox.cli.check import check
    from tagbox.data.load import load_dataset
    from tagbox.training.color_baseline import colour_baseline
    from tagbox.training.requirements import require_trainable

    require_trainable(ClassifierConfig(backbone=BACKBONE))
    require(images >= 50, "images", images, "at least 50")
    start = time.perf_counter()
    runs = out / "runs"
    config = SynthConfig(images=images, val=VALIDATION, test=TEST, seed=seed)
    train, val, test = _generate(out, config)

    _step(f"tagbox check {train} {val}")
    with _tables(json):
        check(train, val)
    _show(train, out, json)

    say("\nFor comparison: logistic regression on colours and a 16x16 thumbnail")
    train_data, val_data = load_dataset(train), load_dataset(val)
    with progress_bar("colour baseline", len(train_data) + len(val_data)) as advance:
        baseline = colour_baseline(train_data, val_data, progress=advance)

    command = f"tagbox train classifier {train} --val {val} --name demo --backbone {BACKBONE}"
    command += f" --runs {runs}"
    _step(command)
    run = train_classifier(
        train,
        ClassifierConfig(val=val, backbone=BACKBONE, seed=seed),
        name="demo",
        runs=runs,
        overwrite=True,
        baselines={"colours and thumbnail": {"map": baseline}},
        command=command,
        progress=TerminalProgress(),
    )
    reached = run.metrics["validation"]["map"]
    say(
        f"validation mAP {reached:.4f}, {reached / baseline:.1f} times the colour baseline's "
        f"{baseline:.4f}"
    )
    _evaluate_and_predict(run, test, out, json, evidence=True)
    _end(run, {"map": reached, "colour_map": baseline}, start, json)


@demo.command
def detector(
    *, out: Path = Path("demo-detector"), images: int = 400, seed: int = 0, json: bool = False
) -> None:
    """Run the steps of a detector on generated scenes: generate, show, train, evaluate, predict, report.

    Needs neither data nor a network connection. Ends with the path of an HTML report. A second run replaces
    the first once it is complete.

    Parameters
    ----------
    out
        Folder for everything the demo writes.
    images
        Number of training images.
    seed
        Random seed of the scenes and of the training.
    json
        Print the metrics as one JSON object.
    """
    from tagbox.api.train import train_detector
    from tagbox.training.requirements import require_trainable

    require_trainable(DetectorConfig())
    require(images >= 50, "images", images, "at least 50")
    start = time.perf_counter()
    runs = out / "runs"
    width, height = DETECTOR_SCENES
    config = SynthConfig(
        images=images, val=VALIDATION, test=TEST, width=width, height=height, seed=seed
    )
    train, val, test = _generate(out, config, f" --width {width} --height {height}")
    _show(train, out, json)

    command = f"tagbox train detector {train} --val {val} --name demo --epochs {DETECTOR_EPOCHS}"
    # Fixed, so that the metrics do not depend on whether the processor has bf16.
    command += f" --precision fp32 --runs {runs}"
    _step(command)
    run = train_detector(
        train,
        DetectorConfig(val=val, epochs=DETECTOR_EPOCHS, precision="fp32", seed=seed),
        name="demo",
        runs=runs,
        overwrite=True,
        command=command,
        progress=TerminalProgress(),
    )
    reached = run.metrics["validation"]["ap"]
    say(f"validation AP {reached:.4f}")
    _evaluate_and_predict(run, test, out, json, evidence=False)
    _end(run, {"ap": reached}, start, json)


def _generate(out: Path, config: SynthConfig, size: str = "") -> list[Path]:
    """Generate the scenes; returns the annotation files of train, val and test."""
    from tagbox.data.synthetic.generate import generate

    for name in ("scenes.png", "evaluation.json"):
        if (out / name).exists() and not (out / "scenes").is_dir():
            raise TagboxError(
                "not-made-by-tagbox",
                "it would be replaced, and no earlier demo wrote it",
                file=out / name,
                where="--out",
                hint="choose another folder",
            )
    counts = f"--images {config.images} --val {config.val} --test {config.test}"
    _step(f"tagbox synth {out / 'scenes'} {counts}{size}")
    with progress_bar("drawing", config.images + config.val + config.test) as advance:
        generated = generate(
            out / "scenes", config, workers=os.cpu_count() or 1, overwrite=True, progress=advance
        )
    say(
        f"{generated.images} scenes, {generated.small:.0%} of the objects small, "
        f"{generated.covered:.0%} covered"
    )
    return [generated.parts[name] for name in ("train", "val", "test")]


def _show(train: Path, out: Path, json: bool) -> None:
    from tagbox.cli.show import show

    _step(f"tagbox show {train} --out {out / 'scenes.png'}")
    with _tables(json):
        show(train, out=out / "scenes.png", count=SHOWN)


def _evaluate_and_predict(run: Run, test: Path, out: Path, json: bool, *, evidence: bool) -> None:
    """Evaluate on the test images, and draw the predictions of the first of them."""
    from tagbox.cli.evaluate import evaluate
    from tagbox.cli.predict import predict

    _step(f"tagbox evaluate {run.folder} {test}")
    with _tables(json):
        evaluate([run.folder], test, per_category=False, out=out / "evaluation.json")

    images = [str(path) for path in sorted((out / "scenes/test").glob("*.jpg"))[:SHOWN]]
    saved = out / "predictions"
    command = f"tagbox predict {run.folder} {images[0]} … --save-images {saved}"
    _step(f"{command} --evidence" if evidence else command)
    with _tables(json):
        predict(
            run.folder, *images, save_images=saved, evidence=evidence, truth=test, cache=evidence
        )


def _tables(json: bool) -> AbstractContextManager[object]:
    """Send a command's tables to stderr where stdout is for JSON."""
    return redirect_stdout(sys.stderr) if json else nullcontext()


def _end(run: Run, metrics: dict[str, float], start: float, json: bool) -> None:
    seconds = time.perf_counter() - start
    if json:
        print_json({**metrics, "seconds": seconds})
    say(f"\nall steps took {seconds:.0f} s\n{run.report.resolve()}")


def _step(command: str) -> None:
    say(f"\n$ {command}")
