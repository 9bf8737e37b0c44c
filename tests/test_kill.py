"""SIGKILL at ten moments of a training: nothing half-written, and the same command then finishes alike.

The moments are drawn uniformly over an undisturbed run, all ten again until at least three fall into
the encoding and two into the saving. Since no two runs take equally long, a moment is kept as "so many
seconds after this phase began", and phases are recognised from outside: encoding from the first row in
the cache, training from the last one, saving from the model's first file.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.name == "nt", reason="SIGKILL is for POSIX"),
]

SEED = 20260301
KILLS = 10
PHASES = ("starting", "encoding", "training", "saving")
TAGBOX = Path(sys.executable).with_name("tagbox")


class Training:
    """One run of the command in a process group of its own, watched through what it writes."""

    def __init__(self, folder: Path, data: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.cache = folder / "cache"
        self.work = folder / "runs" / ".one.partial"
        self.run = folder / "runs" / "one"
        labels = data / "annotations"
        command = [
            *(TAGBOX, "train", "classifier", labels / "instances_train.json"),
            *("--val", labels / "instances_val.json", "--name", "one", "--runs", "runs"),
            *("--backbone", "efficientnet_lite0@320", "--epochs", "12"),
        ]
        with (folder / "log.txt").open("w") as log:
            self.began = time.monotonic()
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, "TAGBOX_CACHE": str(self.cache)},
                start_new_session=True,
            )

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)

    def output(self) -> str:
        return (self.folder / "log.txt").read_text()

    def saving(self) -> bool:
        """Whether the model is being written, or the whole run is there."""
        return self.run.exists() or any(self.work.glob("*model*"))


def databases(cache: Path) -> list[Path]:
    """The SQLite files of a cache that something was written to."""
    return [file for file in cache.rglob("*.sqlite") if file.stat().st_size]


def rows_in(cache: Path) -> int:
    """Rows in all tables of the cache; 0 while there is no table."""
    rows = 0
    for file in databases(cache):
        with closing(sqlite3.connect(file, timeout=60)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in tables.fetchall():
                rows += database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
    return rows


@dataclass(frozen=True)
class Undisturbed:
    """Where the phases of a run that nobody killed began, in seconds, and what it left."""

    began: dict[str, float]
    end: float
    rows: int
    metrics: dict[str, Any]
    folder: Path

    def place(self, moment: float) -> tuple[str, float]:
        """The phase that `moment` falls into, and how many seconds into it."""
        phase = max((p for p in PHASES if self.began[p] <= moment), key=PHASES.index)
        return phase, moment - self.began[phase]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough pictures that encoding them is a good part of a run."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    subprocess.run([TAGBOX, "synth", folder, "--images", "240", "--val", "60"], check=True)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Undisturbed:
    training = Training(tmp_path_factory.mktemp("undisturbed"), data)
    began = {"starting": 0.0}
    rows = 0
    while training.running():
        if "saving" not in began:
            if training.saving():
                began["saving"] = training.seconds()
            elif (now := rows_in(training.cache)) > rows:
                rows, began["training"] = now, training.seconds()
                began.setdefault("encoding", began["training"])
        time.sleep(0.02)
    assert training.process.returncode == 0, training.output()
    assert set(began) == set(PHASES), f"phases not recognised: {began}"
    return Undisturbed(
        began,
        training.seconds(),
        rows_in(training.cache),
        json.loads((training.run / "metrics.json").read_text()),
        training.run,
    )


def drawn(run: Undisturbed) -> list[tuple[str, float]]:
    """Ten uniform moments of the run as (phase, seconds into it), three encoding and two saving."""
    dice = random.Random(SEED)
    while True:
        moments = sorted(dice.uniform(0, run.end) for _ in range(KILLS))
        places = [run.place(moment) for moment in moments]
        phases = [phase for phase, _ in places]
        if phases.count("encoding") >= 3 and phases.count("saving") >= 2:
            return places


def killed_at(folder: Path, data: Path, run: Undisturbed, phase: str, into: float) -> Training:
    """A training that was killed `into` seconds after `phase` began; sooner when that was over by then."""
    for attempt in range(8):
        training = Training(folder / f"attempt{attempt}", data)
        while training.running() and not has_begun(phase, training, run):
            time.sleep(0.002)
        time.sleep(into)
        if training.running():
            training.kill()
        killed = training.process.wait() == -signal.SIGKILL
        assert killed or training.process.returncode == 0, training.output()
        following = PHASES[PHASES.index(phase) + 1 :]
        if killed and not any(has_begun(later, training, run) for later in following):
            return training
        into /= 2
    raise AssertionError(f"{phase} was always over {into} s after it began")


def has_begun(phase: str, training: Training, run: Undisturbed) -> bool:
    """Whether what is on disk shows that a training has come to `phase`."""
    match phase:
        case "encoding":
            return rows_in(training.cache) > 0
        case "training":
            return rows_in(training.cache) >= run.rows
        case "saving":
            return training.saving()
    return True


def assert_readable(file: Path) -> None:
    """`file` is whole, by the rules of its format."""
    match file.suffix:
        case ".json":
            json.loads(file.read_bytes())
        case ".yaml":
            assert isinstance(yaml.safe_load(file.read_text()), dict)
        case ".csv":
            rows = list(csv.reader(file.open(newline="")))
            assert len({len(row) for row in rows}) == 1, f"{file}: rows of several lengths"
        case ".safetensors":
            from safetensors.numpy import load_file

            assert load_file(file)
        case ".html":
            assert file.read_text().rstrip().endswith("</html>")
        case ".png" | ".jpg" | ".jpeg":
            from PIL import Image

            Image.open(file).load()


def visible(folder: Path) -> list[Path]:
    """Files below `folder` of which no part of the path is hidden or temporary."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and not any(
            part.startswith(".") or part.endswith(".tmp") for part in file.relative_to(folder).parts
        )
    ]


def names(run: Path) -> list[str]:
    """What files a run holds; TensorBoard's without the time and process in their names."""
    found = (file.relative_to(run).as_posix() for file in visible(run))
    return sorted(re.sub(r"(/events\.out\.tfevents)\..*", r"\1", name) for name in found)


def test_killed_at_ten_moments(tmp_path: Path, data: Path, undisturbed: Undisturbed) -> None:
    places = drawn(undisturbed)
    print(f"seed {SEED}; phases began {undisturbed.began}, end {undisturbed.end:.2f}")
    cut_short = saving = 0
    for number, (phase, into) in enumerate(places):
        training = killed_at(tmp_path / str(number), data, undisturbed, phase, into)
        alive, finished = training.seconds(), training.run.exists()
        saving += training.saving()

        for file in visible(training.folder / "runs"):
            assert_readable(file)
        if finished:
            assert names(training.run) == names(undisturbed.folder)
        for file in databases(training.cache):
            with closing(sqlite3.connect(file)) as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        survived = rows_in(training.cache)
        cut_short += 0 < survived < undisturbed.rows
        print(
            f"kill {number + 1}: {into:.2f} s into {phase}, {alive:.2f} s after the start, "
            f"{survived} of {undisturbed.rows} rows cached, run {'whole' if finished else 'not there'}"
        )

        again = Training(training.folder, data)
        code = again.process.wait()
        if finished:  # a finished run of that name is refused, and is already what it should be
            assert code == 1, again.output()
            assert "run-exists" in again.output()
        else:
            assert code == 0, again.output()
        assert "Traceback" not in again.output()
        assert json.loads((again.run / "metrics.json").read_text()) == undisturbed.metrics
        assert rows_in(again.cache) == undisturbed.rows
        assert [left.name for left in (training.folder / "runs").iterdir()] == ["one"]
    assert cut_short >= 3, "fewer than three kills left a part of the encoding"
    assert saving >= 2, "fewer than two kills fell into the saving"
