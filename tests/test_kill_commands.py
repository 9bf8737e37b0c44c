"""SIGKILL, SIGTERM and SIGINT at random moments of commands: no orphan, no leftover, the old results whole.

The moments are drawn uniformly over an undisturbed run of the same command; the seed is printed, and
TAGBOX_KILL_SEED repeats it; TAGBOX_KILLS is how many.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from user_files import hashes

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.name == "nt", reason="the signals are POSIX's"),
]

TAGBOX = str(Path(sys.executable).with_name("tagbox"))
SEED = int(os.environ.get("TAGBOX_KILL_SEED", "20261126"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SIZE = ("--width", "64", "--height", "64")
VAL = "scenes/annotations/instances_val.json"
TRAIN = "scenes/annotations/instances_train.json"
QUICK = ("--backbone", "efficientnet_lite0@32", "--epochs", "2")
MOMENTS = int(os.environ.get("TAGBOX_KILLS", "20"))
FIRST_SECONDS = 0.1
"""Before that it is Python that starts, not yet the command."""

COMMANDS: dict[str, list[str]] = {
    "synth": ["synth", "out", "--images", "200", *SIZE, "--workers", "2", "--overwrite"],
    "split": ["split", TRAIN, "--out", "parts", "--pictures", "copy", "--overwrite"],
    "train": ["train", "classifier", TRAIN, "--val", VAL, "--name", "out", *QUICK, "--overwrite"],
    "predict": ["predict", "runs/out", "scenes/val", "--save-images", "drawn", "--out", "p.json"],
    "tune": ["tune", TRAIN, "--val", VAL, "--name", "t", *QUICK, "--trials", "2", "--repeats", "0"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kill")
    assert run(folder, ["synth", "scenes", "--images", "24", "--val", "8", *SIZE]) == 0
    return folder


def start(folder: Path, words: list[str]) -> subprocess.Popen[bytes]:
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(
            [TAGBOX, *words],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "TAGBOX_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        )


def run(folder: Path, words: list[str]) -> int:
    return start(folder, words).wait()


def session(leader: int) -> list[psutil.Process]:
    """Living processes of the session that a command opened."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders, wherever they are."""
    ends = (".tagbox-tmp", ".old.tmp", ".partial", ".tagbox-new", ".tagbox-aside", ".tagbox-ready")
    return [str(path) for path in folder.rglob(".*") if path.name.endswith(ends)]


def result(folder: Path, command: str) -> dict[str, str]:
    """What is whole before and after: of a run and a folder everything, of predictions the file."""
    if command == "train":
        return hashes(folder / "runs/out")
    if command in ("synth", "split"):
        return hashes(folder / ("out" if command == "synth" else "parts"))
    return {name: h for name, h in hashes(folder).items() if name.endswith("/p.json")}


def attack(place: Path, command: str, moments: int, signals: tuple[signal.Signals, ...]) -> None:
    words, dice = COMMANDS[command], random.Random(f"{SEED} {command}")
    if command == "predict" and not (place / "runs/out").exists():
        assert run(place, COMMANDS["train"]) == 0
    began = time.monotonic()
    assert run(place, words) == 0, (place / "log.txt").read_text()
    seconds = time.monotonic() - began
    for number in range(moments):
        kind = signals[number % len(signals)]
        moment = dice.uniform(FIRST_SECONDS, seconds)
        about = f"seed {SEED}: {command}, {kind.name} after {moment:.2f} of {seconds:.2f} s"
        print(about)
        before = result(place, command)
        process = start(place, words)
        time.sleep(moment)
        running = process.poll() is None
        if running and kind == signal.SIGINT:  # A terminal sends it to all.
            os.killpg(process.pid, kind)
        else:
            process.send_signal(kind)
        code = process.wait(60)
        deadline = time.monotonic() + 5
        while (orphans := session(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not orphans, about
        said = (place / "log.txt").read_text()
        # Python's own start of a worker process speaks where SIGKILL takes the parent in the middle of it.
        assert kind == signal.SIGKILL or "Traceback" not in said, f"{about}: {said}"
        if running and kind != signal.SIGKILL and code != 0:
            assert code == 128 + kind, f"{about}: {said}"
            assert said.strip().splitlines()[-1].startswith("tagbox: "), f"{about}: {said}"
            assert sum("the same command" in line for line in said.splitlines()) == 1, said
        assert before == result(place, command) or command in ("train", "synth", "split"), about
        whole(place, command, about)
        assert run(place, ["synth", "small", "--images", "1", *SIZE, "--overwrite"]) == 0
        assert run(place, words) == 0, f"{about}: {(place / 'log.txt').read_text()}"
        assert not leftovers(place), about


def whole(place: Path, command: str, about: str) -> None:
    """The old result or the new one is there, complete."""
    expected: dict[str, Callable[[], bool]] = {
        "synth": lambda: (
            len(list((place / "out/train").glob("*.jpg"))) == 200
            and (place / "out/annotations/instances_train.json").is_file()
        ),
        "split": lambda: (
            len(list((place / "parts/images").iterdir())) == 24
            and (place / "parts/split.json").is_file()
        ),
        "train": lambda: (
            (place / "runs/out/report.html").is_file()
            and (place / "runs/out/model.safetensors").is_file()
        ),
        "predict": lambda: (place / "p.json").stat().st_size > 0,
        "tune": lambda: (place / "studies/t/study.db").is_file(),
    }
    assert expected[command](), about


@pytest.mark.parametrize("command", ["synth", "split"])
def test_a_few_moments(place: Path, command: str) -> None:
    attack(place, command, 3, SIGNALS)


@pytest.mark.slow
@pytest.mark.parametrize("command", list(COMMANDS))
def test_twenty_moments(place: Path, command: str) -> None:
    """The three signals in turn."""
    attack(place, command, MOMENTS, SIGNALS)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_between_the_start_of_a_process_and_its_task(
    tmp_path: Path, kind: signal.Signals
) -> None:
    """Sent right after each start, before the task's message is written to the process; Ctrl-C to that too."""
    script = (
        "import multiprocessing.util as util, os, signal, sys\n"
        "from tagbox.cli.app import main\n"
        "start = util.spawnv_passfds\n"
        "def start_and_signal(path, words, descriptors):\n"
        "    child = start(path, words, descriptors)\n"
        "    if any('spawn_main' in str(word) for word in words):\n"
        f"        os.kill(os.getpid(), {kind:d})\n"
        f"        {'os.kill(child, 2)' if kind == signal.SIGINT else ''}\n"
        "    return child\n"
        "util.spawnv_passfds = start_and_signal\n"
        "sys.argv[0] = 'tagbox'\n"
        # Tests run in the background by a shell ignore Ctrl-C, and so would this process.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "main()\n"
    )
    words = ["synth", "out", "--images", "200", *SIZE, "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 128 + kind
    assert done.stderr.splitlines()[-1].startswith("tagbox: "), done.stderr
    assert "Traceback" not in done.stderr
    assert "leaked" not in done.stderr
    assert list(tmp_path.iterdir()) == []
