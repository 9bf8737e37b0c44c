"""SIGKILL at ten moments of a fine-tuning, or of a detector's training, then `--resume`: bit for bit the run that nobody killed.

The moments are drawn uniformly over an undisturbed run; the seed is printed, and TAGBOX_KILL_SEED repeats it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.name == "nt", reason="SIGKILL is for POSIX"),
]

TAGBOX = Path(sys.executable).with_name("tagbox")
KILLS = 10
FROM_CHECKPOINTS = 3
"""More are killed until so many had something to go on from."""
EQUAL = ("model.safetensors", "history.csv", "metrics.json")
FINETUNE = (
    *("--backbone", "efficientnet_lite0@64", "--epochs", "2", "--recipe", "finetune"),
    *("--finetune.epochs", "4", "--finetune.batch-size", "12"),
    # A clock decides neither.
    *("--finetune.channels-last", "no", "--finetune.precision", "fp32"),
)
PLAIN = ("--finetune.ema", "0", "--augment.mixup", "0.2", "--dropout", "0.2")
AVERAGED = ("--finetune.ema", "0.9", "--finetune.accumulate", "3", "--finetune.batch-norm", "train")
DETECTOR = (
    *("--size", "64", "--epochs", "4", "--batch-size", "12"),
    *("--channels-last", "no", "--precision", "fp32"),
    *("--augment.mosaic", "0.3", "--augment.scale-jitter", "0.3", "--accumulate", "2"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    size = ("--width", "160", "--height", "120")
    subprocess.run([TAGBOX, "synth", folder, "--images", "36", "--val", "13", *size], check=True)
    return folder / "annotations"


def command(data: Path, task: str, settings: tuple[str, ...], seconds: str = "0.3") -> list[str]:
    often = "--checkpoint-seconds" if task == "detector" else "--finetune.checkpoint-seconds"
    return [
        *(str(TAGBOX), "train", task, str(data / "instances_train.json")),
        *("--val", str(data / "instances_val.json"), "--name", "run", often, seconds, *settings),
    ]


def assert_same(folder: Path, undisturbed: Path, task: str, what: str = "") -> None:
    predictions = "predictions.json" if task == "detector" else "predictions.csv"
    for name in (*EQUAL, predictions):
        ours, theirs = (where / "runs" / "run" / name for where in (folder, undisturbed))
        assert ours.read_bytes() == theirs.read_bytes(), f"{name} {what}"


def begin(folder: Path, words: list[str]) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, start_new_session=True)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("classifier", (*FINETUNE, *PLAIN)),
        ("classifier", (*FINETUNE, *AVERAGED)),
        ("detector", DETECTOR),
    ],
    ids=["mixup", "ema and accumulation", "detector"],
)
def test_resumed_runs_are_the_undisturbed_one(
    data: Path, task: str, settings: tuple[str, ...], tmp_path: Path
) -> None:
    seed = int(os.environ.get("TAGBOX_KILL_SEED", random.SystemRandom().randrange(10**9)))
    print(f"\nTAGBOX_KILL_SEED={seed}")
    words = command(data, task, settings)
    undisturbed = tmp_path / "undisturbed"
    began = time.monotonic()
    assert begin(undisturbed, words).wait() == 0, (undisturbed / "log.txt").read_text()
    seconds = time.monotonic() - began
    dice = random.Random(seed)
    killed = resumed = 0
    while killed < KILLS or resumed < FROM_CHECKPOINTS:
        moment = dice.uniform(0, seconds)
        folder = tmp_path / f"killed{killed}"
        began, process = time.monotonic(), begin(folder, words)
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode != -signal.SIGKILL:
            # The machine has become quicker: the moments to come are of a run of this length.
            seconds = min(seconds, time.monotonic() - began)
            shutil.rmtree(folder)
            continue
        killed += 1
        saved = sorted(folder.glob("runs/.run.partial/checkpoints/0*"))
        place = f"after step {int(saved[-1].name)}" if saved else "before the first checkpoint"
        print(f"killed after {moment:.2f} of {seconds:.2f} s, {place}")
        resumed += bool(saved)
        assert begin(folder, [*words, "--resume"]).wait() == 0, (folder / "log.txt").read_text()
        assert_same(folder, undisturbed, task, f"after {moment:.2f} s")
        assert not list(folder.glob("runs/.run.partial"))
    print(f"{resumed} of {killed} went on from a checkpoint")


def test_a_damaged_newest_checkpoint_is_passed_over(data: Path, tmp_path: Path) -> None:
    words = command(data, "classifier", (*FINETUNE, *PLAIN), seconds="0")
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "killed"
    assert begin(undisturbed, words).wait() == 0
    process = begin(folder, words)
    checkpoints = folder / "runs" / ".run.partial" / "checkpoints"
    while (
        len(list(checkpoints.glob("0*"))) < 2
        or max(int(path.name) for path in checkpoints.glob("0*")) < 6
    ):
        assert process.poll() is None, (folder / "log.txt").read_text()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    newest = sorted(checkpoints.glob("0*"))[-1] / "state.safetensors"
    with newest.open("r+b") as opened:
        opened.truncate(newest.stat().st_size // 2)
    assert begin(folder, [*words, "--resume"]).wait() == 0, (folder / "log.txt").read_text()
    assert f"passed over: {newest.parent.relative_to(folder)}" in (folder / "log.txt").read_text()
    assert_same(folder, undisturbed, "classifier")
