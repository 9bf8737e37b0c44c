"""`tagbox train classifier` against the tutorials' training loop, process start to exit.

    python benchmarks/train_speed.py

Both sides get the same generated pictures, the same split, EfficientNet-Lite0 with the same packaged
weights, squashed to 224, and as many epochs. The baseline (tutorial_classifier.py) is a process that
runs `--measure-epochs` epochs; its total for E epochs is what the process took outside its epochs plus E
times the mean epoch; it is measured at both tutorials' batch sizes, and the quicker counts. tagbox runs all its epochs, each time in a new process: with an empty cache, then
with the cache that this first run left. Sides take turns; medians count.

The accuracy of both comes from runs of `--accuracy-epochs` epochs (the baseline's without its measuring
passes over the training set, which change no weight), on the same validation pictures and on a test set that neither saw: tagbox tunes its thresholds on the validation set, which
flatters it there, so the test figure is the one to compare.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from timing import Run, alternated, machine, ratio, report, run, say, summary, tagbox_command

HERE = Path(__file__).resolve().parent
BASELINE = [sys.executable, HERE / "tutorial_classifier.py"]
SAME_WORK = ("--backbone", "efficientnet_lite0@224", "--geometry", "squash", "--no-mirror")
F1_KEYS = ("map", "challenge_f1")


class Parts(NamedTuple):
    train: Path
    val: Path
    test: Path


class Trained(NamedTuple):
    """One training by tagbox with an empty cache and once more with the cache it left."""

    empty: float
    warm: float
    run: Path


def tutorial(batch_size: int) -> str:
    return f"tutorial, batch {batch_size}"


def tagbox(precision: str, epochs: int) -> str:
    return f"tagbox, {precision}, {epochs} epochs"


def generate(folder: Path, images: int, width: int, height: int, test: int) -> Parts:
    """`images` scenes, a tenth of them for validation, and a test set."""
    val = max(1, images // 10)
    sizes = ("--images", images - val, "--val", val, "--test", test)
    command = [*tagbox_command(), "synth", folder, *sizes, "--width", width, "--height", height]
    parts = run([*command, "--json"]).json()["parts"]
    return Parts(*(Path(parts[name]) for name in Parts._fields))


def train(parts: Parts, work: Path, precision: str, epochs: int, flags: list[str]) -> Trained:
    """Train twice in new processes; patience is set so that no epoch is saved by stopping early."""
    folder = Path(tempfile.mkdtemp(dir=work))
    command = [
        *(*tagbox_command(), "train", "classifier", parts.train, "--val", parts.val),
        *(*SAME_WORK, "--precision", precision, "--epochs", epochs, "--patience", epochs),
        *("--runs", folder / "runs", *flags),
    ]
    environment = {"TAGBOX_CACHE": str(folder / "cache")}
    empty = run([*command, "--name", "empty"], env=environment).seconds
    warm = run([*command, "--name", "warm"], env=environment).seconds
    return Trained(empty, warm, folder / "runs" / "empty")


def total(baseline: Run, epochs: int) -> float:
    """Seconds the baseline's process would take for `epochs` epochs."""
    measured = baseline.json()
    outside = baseline.seconds - measured["epochs_run"] * measured["epoch_seconds"]
    return outside + epochs * measured["epoch_seconds"]


def evaluate(trained: Trained, labels: Path) -> dict[str, Any]:
    cache = {"TAGBOX_CACHE": str(trained.run.parent.parent / "cache")}
    command = [*tagbox_command(), "evaluate", trained.run, labels, "--json"]
    scores = run(command, env=cache).json()
    return {
        **{key: round(scores[key], 4) for key in F1_KEYS},
        "challenge_f1_at_0.5": round(scores["at_0.5"]["challenge_f1"], 4),
    }


def accuracies(
    parts: Parts, batch_sizes: list[int], epochs: int, trained: dict[str, Trained], folder: Path
) -> dict[str, Any]:
    """Complete runs of the baseline at each batch size, and tagbox's runs, on validation and test."""
    result: dict[str, Any] = {"epochs": epochs}
    for size in batch_sizes:
        say(f"{tutorial(size)}: all {epochs} epochs, for its accuracy")
        words = ("--epochs", epochs, "--batch-size", size, "--test", parts.test, "--accuracy-only")
        done = run([*BASELINE, parts.train, parts.val, *words, "--save", folder / f"{size}.pth"])
        complete = done.json()
        result[tutorial(size)] = {
            "val": complete["last_epoch"],
            "val_best_of_all_epochs": {
                "map": complete["best_map"],
                "challenge_f1": complete["best_challenge_f1"],
            },
            "test": complete["test"],
        }
    for precision, run_folder in trained.items():
        result[f"tagbox {precision}"] = {
            "val": evaluate(run_folder, parts.val),
            "test": evaluate(run_folder, parts.test),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000, help="a tenth of them for validation")
    parser.add_argument("--test-images", type=int, default=500)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--epochs", type=int, nargs="+", default=[2, 5, 20, 50])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure-epochs", type=int, default=1, help="of the baseline, per repeat")
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[512, 16], help="of the baseline"
    )
    parser.add_argument(
        "--accuracy-epochs", type=int, default=20, help="0 leaves the accuracies out"
    )
    parser.add_argument("--train-flags", nargs="+", default=[], help="more flags for tagbox train")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave everything there")
    options = parser.parse_args()

    about = machine(["tagbox", "torch", "timm", "openvino"])
    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        parts = generate(
            work / "scenes", options.images, options.width, options.height, options.test_images
        )

        def baseline(size: int) -> Run:
            measured = ("--measure-epochs", options.measure_epochs, "--epochs", max(options.epochs))
            return run([*BASELINE, parts.train, parts.val, *measured, "--batch-size", size])

        def ours(precision: str, epochs: int) -> Trained:
            return train(parts, work, precision, epochs, options.train_flags)

        cases = [
            (precision, epochs) for precision in options.precisions for epochs in options.epochs
        ]
        runs: dict[str, list[Any]] = alternated(
            {
                **{
                    tutorial(size): lambda size=size: baseline(size) for size in options.batch_sizes
                },
                **{tagbox(*case): lambda case=case: ours(*case) for case in cases},
            },
            options.repeats,
        )
        epoch = {
            size: median(done.json()["epoch_seconds"] for done in runs[tutorial(size)])
            for size in options.batch_sizes
        }
        quicker = min(epoch, key=lambda size: epoch[size])
        figures = {}
        for precision, epochs in cases:
            theirs = [total(done, epochs) for done in runs[tutorial(quicker)]]
            empty, warm = (
                [getattr(t, kind) for t in runs[tagbox(precision, epochs)]]
                for kind in ("empty", "warm")
            )
            figures[f"{epochs} epochs, {precision}"] = {
                "tutorial_seconds": summary(theirs),
                "tagbox_seconds_empty_cache": summary(empty),
                "tagbox_seconds_warm_cache": summary(warm),
                "times_faster_empty_cache": ratio(theirs, empty),
                "times_faster_warm_cache": ratio(theirs, warm),
            }
        result: dict[str, Any] = {
            "machine": about,
            "bf16": (
                "this processor multiplies bf16 itself"
                if about["bf16_flags"]
                else "this processor has no bf16 arithmetic: tagbox encodes in fp32 instead and says so,"
                " so the bf16 rows are fp32 once more and say nothing of a processor that has it"
            ),
            "settings": {
                name: getattr(options, name)
                for name in ("images", "width", "height", "repeats", "measure_epochs")
            },
            "baseline_extrapolated": f"from {options.measure_epochs} measured epochs a repeat",
            "baseline_epoch_seconds_by_batch_size": epoch,
            "baseline_batch_size": quicker,
            "baseline_epoch_phases": runs[tutorial(quicker)][0].json()["phase_seconds"],
            "figures": figures,
        }
        if options.accuracy_epochs:
            trained = {
                precision: ours(precision, options.accuracy_epochs)
                for precision in options.precisions
            }
            result["accuracy"] = accuracies(
                parts, options.batch_sizes, options.accuracy_epochs, trained, work
            )
        report(result)


if __name__ == "__main__":
    main()
