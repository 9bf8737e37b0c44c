"""`tagbox tune` as a user would type it."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
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
TUNE = ("tune", TRAIN, "--val", VAL, "--backbone", "efficientnet_lite0@64", "--epochs", "6")
TRIALS = 15


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    generate(
        folder / "scenes", SynthConfig(images=60, val=40, test=30, width=96, height=96, seed=5)
    )
    return folder


def run(cli: Cli, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = cli(*arguments, cwd=folder, env={"TAGBOX_CACHE": str(folder / "cache")})
    assert "Traceback" not in done.stderr
    return done


def trials(study: Path) -> list[dict[str, str]]:
    """The rows of ``trials.csv`` without what the clock says."""
    rows = list(csv.DictReader((study / "trials.csv").read_text().splitlines()))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def tuned(place: Path, cli: Cli) -> subprocess.CompletedProcess[str]:
    done = run(
        cli,
        place,
        *TUNE,
        *("--name", "one", "--recipe", "frozen", "--trials", TRIALS, "--repeats", 1),
        *("--search", "dropout=0.1..0.2", "--weight-decay", "0.01", "--no-mirror"),
        *("--test", TEST),
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_search_and_what_it_says(tuned: subprocess.CompletedProcess[str], place: Path) -> None:
    rows = trials(place / "studies/one")
    assert len(rows) == TRIALS
    assert all(0.1 <= float(row["dropout"]) <= 0.2 for row in rows)
    # A typed flag fixes its setting, and that is said.
    assert "weight_decay" not in rows[0]
    assert "not searched: weight_decay stays 0.01" in tuned.stderr
    assert "weight_decay" not in tuned.stdout
    best = json.loads((place / "studies/one/tune.json").read_text())
    value = f"{best['best']['value']:.4f}"
    assert f"trial {best['best']['trial']} had val_map {value}, another seed gives" in tuned.stderr
    assert f"the best of {TRIALS} trials" in tuned.stdout
    assert value in tuned.stdout
    assert "30 test images" in tuned.stdout
    settings = yaml.safe_load((place / "studies/one/best.yaml").read_text())
    assert settings["classifier"]["weight_decay"] == 0.01
    assert settings["classifier"]["mirror"] is False
    assert settings["command"].startswith("tagbox tune ")


def test_the_command_that_is_printed_trains_to_the_very_figure(
    tuned: subprocess.CompletedProcess[str], place: Path, cli: Cli
) -> None:
    said = tuned.stderr.partition("to train with the best: ")[2]
    words = said.splitlines()[0].split()
    assert words[0] == "tagbox"
    done = run(cli, place, *words[1:])
    assert done.returncode == 0, done.stderr
    found = json.loads((place / "studies/one/tune.json").read_text())
    history = list(csv.DictReader((place / "runs/one/history.csv").read_text().splitlines()))
    best = found["best"]
    assert float(history[best["best_epoch"] - 1]["val_map"]) == best["value"]
    # And on the third dataset, scored by the other command.
    scored = run(cli, place, "evaluate", "runs/one", TEST, "--json")
    figures = json.loads(scored.stdout)
    for name in ("map", "challenge_f1", "micro_f1", "hamming_loss"):
        assert figures[name] == pytest.approx(found["test"]["best"][name], abs=1e-6)
        paired = found["test"]["differences"][name]
        both = found["test"]["best"][name] - found["test"]["start"][name]
        assert paired["difference"] == pytest.approx(both, abs=1e-6)
        assert paired["low"] <= paired["high"]


def test_the_same_command_again_searches_no_further(
    tuned: subprocess.CompletedProcess[str], place: Path, cli: Cli
) -> None:
    before = trials(place / "studies/one")
    words = yaml.safe_load((place / "studies/one/best.yaml").read_text())["command"].split()
    # And by its whole name.
    done = run(cli, place, "tune", "classifier", *words[2:], "--json")
    assert done.returncode == 0, done.stderr
    assert trials(place / "studies/one") == before
    assert json.loads(done.stdout)["trials"]["total"] == TRIALS


def test_a_kill_loses_the_trial_under_way_and_nothing_else(place: Path, cli: Cli) -> None:
    """SIGKILL, then SIGINT; the third go ends as a search that nobody disturbed."""
    words = [*TUNE, "--recipe", "frozen", "--trials", str(TRIALS), "--repeats", "0"]
    assert run(cli, place, *words, "--name", "calm").returncode == 0
    words += ["--name", "killed"]
    database = place / "studies/killed/study.db"
    command = [str(Path(sys.executable).with_name("tagbox")), *words]
    for signalled, reach in ((signal.SIGKILL, 4), (signal.SIGINT, 8)):
        process = subprocess.Popen(
            command,
            cwd=place,
            env={**os.environ, "TAGBOX_CACHE": str(place / "cache")},
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 200
        while _count(database) < reach and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signalled)
        said = process.communicate()[1]
        assert "Traceback" not in said
        assert _count(database) >= reach
    if process.returncode:  # Unless it was done before the signal came.
        assert process.returncode == 130
        assert f"stopped with {_count(database)} trials" in said
        assert len(trials(place / "studies/killed")) == _count(database)
    assert run(cli, place, *words).returncode == 0
    assert trials(place / "studies/killed") == trials(place / "studies/calm")


def _count(database: Path) -> int:
    if not database.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as opened:
            return int(opened.execute("SELECT count(*) FROM trials").fetchone()[0])
    except sqlite3.Error:  # Its tables are not there yet.
        return 0


def test_without_optuna_one_sentence_says_what_to_install(place: Path) -> None:
    script = (
        "import sys; sys.modules['optuna'] = None\n"
        "from tagbox.cli.app import main\n"
        f"sys.argv = {['tagbox', *TUNE, '--name', 'none']!r}\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=place, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("tagbox: error [extra-missing]: ")
    assert 'pip install "tagbox[tune]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (place / "studies/none").exists()


def test_two_searches_in_one_folder(place: Path, cli: Cli) -> None:
    fcntl = pytest.importorskip("fcntl")
    folder = place / "studies" / "busy"
    folder.mkdir(parents=True)
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    done = run(cli, place, *TUNE, "--name", "busy")
    os.close(held)
    assert done.returncode == 1
    assert "[study-busy]" in done.stderr
    assert not any(folder.iterdir())


def test_one_process_searches(place: Path, cli: Cli) -> None:
    environment = {"WORLD_SIZE": "2", "RANK": "0", "TAGBOX_CACHE": str(place / "cache")}
    done = cli(*TUNE, "--name", "two", cwd=place, env=environment)
    assert done.returncode == 1
    assert "[study-processes]" in done.stderr
    assert not (place / "studies/two").exists()
