"""Trials a minute: `tagbox tune` over heads on cached features, beside a `tagbox train` for each trial.

    python benchmarks/tune_speed.py

Both sides find the features in a cache that a first, unmeasured training filled, and every process is measured
from its start to its exit. The search has the ranges of the recipe `frozen`, gives up trials that are behind, and
leaves out the trainings with other seeds at its end (`--repeats 0`). Beside it, the settings of some of its trials
that ran to their end (`--separate`, spread over the search) are trained by a process each, and that mean is taken
for every trial: separate processes know nothing of each other, so none of them is given up. They also tune
thresholds and write a report, which trials do not.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

from timing import alternated, machine, ratio, report, run, summary, tagbox_command
from train_speed import generate


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, help="COCO JSON, in place of generated scenes")
    parser.add_argument("--val", type=Path, help="COCO JSON that goes with it")
    parser.add_argument("--images", type=int, default=1000, help="a tenth of them for validation")
    parser.add_argument("--backbone", default="efficientnet_lite0@224")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--separate", type=int, default=5, help="trials trained by themselves")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if (options.train is None) != (options.val is None):
        parser.error("give both --train and --val, or neither")

    about = machine(["tagbox", "torch", "optuna", "openvino"])
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        train, val = options.train, options.val
        if train is None:
            parts = generate(work / "scenes", options.images, 640, 480, 1)
            train, val = parts.train, parts.val
        cache = {"TAGBOX_CACHE": str(work / "cache")}
        data = [train, "--val", val]
        settings = ["--recipe", "frozen", "--backbone", options.backbone]
        runs = ["--runs", work / "runs"]

        def training(name: str, config: Path | None = None) -> float:
            how = settings if config is None else ["--config", config]
            command = [*tagbox_command(), "train", "classifier", *data, "--name", name]
            return run([*command, *runs, *how, "--overwrite"], env=cache).seconds

        def searching(name: str) -> float:
            command = [*tagbox_command(), "tune", *data, "--name", name, *settings, "--json"]
            command += ["--trials", options.trials, "--repeats", 0, "--studies", work / "studies"]
            return run(command, env=cache).seconds

        training("warm")
        searching("first")
        first = work / "studies" / "first"
        configs = trained_configs(first, options.separate)
        turn = iter(range(options.repeats))
        seconds = alternated(
            {
                "separate": lambda: [training("one", config) for config in configs],
                "tune": lambda: searching(f"search-{next(turn)}"),
            },
            options.repeats,
        )
        searched: list[Any] = seconds["tune"]
        alone = [sum(each) / len(each) for each in seconds["separate"]]
        multiplied = [options.trials * each for each in alone]
        rows = list(csv.DictReader((first / "trials.csv").read_text().splitlines()))
        found = json.loads((first / "tune.json").read_text())
        report(
            {
                "machine": about,
                "data": "generated scenes" if options.train is None else str(options.train),
                "settings": {
                    name: getattr(options, name)
                    for name in ("images", "backbone", "trials", "separate", "repeats")
                },
                "trials": found["trials"],
                "epochs_of_all_trials": sum(int(row["epochs"]) for row in rows),
                "tune_seconds": summary(searched),
                "separate_seconds_a_trial": summary(alone),
                "separate_extrapolated": f"from {len(configs)} measured trainings a repeat to "
                f"{options.trials}, each to its end",
                "trials_a_minute": {
                    "tune": summary([60 * options.trials / each for each in searched]),
                    "separate": summary([60 / each for each in alone]),
                },
                "times_faster": ratio(multiplied, searched),
            }
        )


def trained_configs(study: Path, count: int) -> list[Path]:
    """Files with the settings of `count` trials that ran to their end, spread over the search."""
    import yaml

    rows = list(csv.DictReader((study / "trials.csv").read_text().splitlines()))
    ended = [row for row in rows if row["state"] == "complete"]
    chosen = [ended[i * len(ended) // count] for i in range(min(count, len(ended)))]
    best = yaml.safe_load((study / "best.yaml").read_text())
    paths = []
    for row in chosen:
        classifier = dict(best["classifier"])
        for name in json.loads((study / "tune.json").read_text())["search"]:
            classifier[name] = type(classifier[name])(row[name])
        paths.append(study / f"trial-{row['trial']}.yaml")
        paths[-1].write_text(yaml.safe_dump({"classifier": classifier}))
    return paths


if __name__ == "__main__":
    main()
