"""`tagbox tune detector` as a user would type it."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tagbox.config import SynthConfig
from tagbox.data.synthetic.generate import generate

pytestmark = pytest.mark.slow

Cli = Callable[..., subprocess.CompletedProcess[str]]
TRAIN, VAL, TEST = (
    f"scenes/annotations/instances_{side}.json" for side in ("train", "val", "test")
)
TUNE = ("tune", "detector", TRAIN, "--val", VAL, "--name", "one", "--test", TEST)
HOW = ("--size", 64, "--epochs", 1, "--batch-size", 4, "--metric", "val_loss")
MORE = ("--repeats", 1, "--augment.no-flip", "--trainable-layers", "none", "--engine", "torch")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    generate(folder / "scenes", SynthConfig(images=8, val=4, test=6, width=96, height=96, seed=5))
    return folder


def run(cli: Cli, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = cli(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_search_and_the_command_that_it_prints(place: Path, cli: Cli) -> None:
    fixed = ("--weight-decay", "0.01", "--search", "learning_rate=1e-3..4e-3:log")
    done = run(cli, place, *TUNE, *HOW, *MORE, *fixed, "--trials", 2)
    # The recipe that was not asked for is dense; a typed flag fixes its setting.
    assert "not searched: weight_decay stays 0.01" in done.stderr
    found = json.loads((place / "studies/one/tune.json").read_text())
    assert {"learning_rate", "backbone_rate", "ema", "augment.mosaic"} < set(found["search"])
    assert "weight_decay" not in found["search"]
    best = found["best"]
    value = f"{best['value']:.4f}"
    assert f"trial {best['trial']} had val_loss {value}, another seed gives" in done.stderr
    assert "6 test images" in done.stdout
    assert "(-)" in done.stdout
    assert "have no interval" in done.stderr
    settings = yaml.safe_load((place / "studies/one/best.yaml").read_text())
    assert settings["detector"]["weight_decay"] == 0.01
    assert settings["detector"]["augment"]["flip"] is False
    assert settings["detector"]["channels_last"] in ("yes", "no")

    words = done.stderr.partition("to train with the best: ")[2].splitlines()[0].split()
    assert words[:3] == ["tagbox", "train", "detector"]
    run(cli, place, *words[1:])
    history = list(csv.DictReader((place / "runs/one/history.csv").read_text().splitlines()))
    assert float(history[best["best_epoch"] - 1]["val_loss"]) == best["value"]

    again = run(cli, place, *TUNE, *HOW, *MORE, *fixed, "--trials", 2, "--json")
    unchanged = {name: value for name, value in found.items() if name != "command"}
    assert json.loads(again.stdout) | unchanged == json.loads(again.stdout)
