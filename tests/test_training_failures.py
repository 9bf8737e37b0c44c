"""What goes wrong in a long training: one sentence, or on as documented; nothing that was saved is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tagbox.config import SynthConfig
from tagbox.data.synthetic.generate import generate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TAGBOX = Path(sys.executable).with_name("tagbox")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "scenes"
    generate(folder, SynthConfig(images=40, val=13, width=160, height=120, seed=5))
    return folder / "annotations"


def words(data: Path, name: str, *settings: str) -> list[str]:
    """The command; `settings` come in the place of the ones here."""
    flags = {
        "--backbone": "efficientnet_lite0@64",
        "--finetune.epochs": "5",
        "--finetune.batch-size": "8",
        "--finetune.channels-last": "no",
        **dict(zip(settings[::2], settings[1::2], strict=True)),
    }
    return [
        *("train", "classifier", str(data / "instances_train.json"), "--recipe", "finetune"),
        *("--val", str(data / "instances_val.json"), "--name", name, "--epochs", "2"),
        *(word for flag in flags.items() for word in flag),
    ]


class Started:
    """A command that runs, and what it has said so far."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.log = folder / "log.txt"
        self.checkpoints = folder / "runs" / ".one.partial" / "checkpoints"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)

    def until(self, happened: Callable[[], object]) -> None:
        while not happened():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.01)

    def saved(self) -> bool:
        return any(self.checkpoints.glob("0*"))

    def says(self, text: str) -> bool:
        return text in self.log.read_text()

    def fails_with(self, code: str) -> None:
        assert self.process.wait() == 1, self.log.read_text()
        text = self.log.read_text()
        assert f"error [{code}]" in text, text
        assert "Traceback" not in text


def finish(folder: Path, command: list[str]) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def history(folder: Path, name: str) -> bytes:
    return (folder / "runs" / name / "history.csv").read_bytes()


def test_a_reading_process_is_killed(data: Path, tmp_path: Path) -> None:
    each = ("--finetune.checkpoint-seconds", "0")
    training = Started(
        tmp_path, [str(TAGBOX), *words(data, "one", *each, "--finetune.workers", "1")]
    )
    training.until(training.saved)
    training.until(lambda: reader_of(training.process.pid))
    os.kill(int(reader_of(training.process.pid)), signal.SIGKILL)
    training.fails_with("worker-killed")
    # The number of reading processes changes no figure, so the run goes on without any.
    finish(tmp_path, [str(TAGBOX), *words(data, "one", *each), "--resume"])
    finish(tmp_path, [str(TAGBOX), *words(data, "two", *each)])
    assert history(tmp_path, "one") == history(tmp_path, "two")


def reader_of(process: int) -> str:
    """The reading process that a training has started, or nothing."""
    children = Path(f"/proc/{process}/task/{process}/children")
    return (children.read_text().split() or [""])[0] if children.exists() else ""


def test_memory_runs_out(data: Path, tmp_path: Path) -> None:
    # From the first checkpoint on the process gets no more memory.
    script = tmp_path / "limited.py"
    script.write_text(
        "import pathlib, re, resource, threading, time\n"
        "from tagbox.cli.app import main\n"
        "def limit():\n"
        "    while not list(pathlib.Path('runs/.one.partial/checkpoints').glob('0*')):\n"
        "        time.sleep(0.01)\n"
        "    status = pathlib.Path('/proc/self/status').read_text()\n"
        "    used = int(re.search(r'VmData:\\s+(\\d+)', status)[1]) << 10\n"
        "    resource.setrlimit(resource.RLIMIT_DATA, (used // 2, resource.RLIM_INFINITY))\n"
        "threading.Thread(target=limit, daemon=True).start()\n"
        "main()\n"
    )
    settings = (
        *("--backbone", "efficientnet_lite0@128", "--finetune.batch-size", "20"),
        *("--finetune.checkpoint-seconds", "0"),
    )
    training = Started(tmp_path, [sys.executable, str(script), *words(data, "one", *settings)])
    training.fails_with("memory-full")
    assert training.saved()
    finish(tmp_path, [str(TAGBOX), *words(data, "one", *settings), "--resume"])


def test_a_head_larger_than_any_memory(data: Path, tmp_path: Path) -> None:
    wide = ("--head", "mlp", "--hidden", "4000000000")
    training = Started(tmp_path, [str(TAGBOX), *words(data, "one", *wide)])
    training.fails_with("memory-full")


def test_a_loss_that_is_not_finite(data: Path, tmp_path: Path) -> None:
    wild = ("--finetune.learning-rate", "1e30", "--finetune.clip", "0")
    training = Started(tmp_path, [str(TAGBOX), *words(data, "one", *wild)])
    training.fails_with("loss-not-finite")
    assert training.says("in epoch 3, batch")
    assert training.says("lower --learning-rate")


def test_a_picture_is_damaged_in_the_third_epoch(data: Path, tmp_path: Path) -> None:
    training = Started(tmp_path, [str(TAGBOX), *words(data, "one", "--finetune.epochs", "8")])
    # Two epochs of the head, then the network's first two.
    training.until(lambda: training.says("epoch 4:"))
    picture = sorted((tmp_path / "scenes" / "train").iterdir())[7]
    picture.write_bytes(picture.read_bytes()[:200])
    assert training.process.wait() == 0, training.log.read_text()
    text = training.log.read_text()
    assert text.count("left out: ") == 1
    assert picture.name in text
    assert len(history(tmp_path, "one").splitlines()) == 1 + 2 + 8
    metrics = json.loads((tmp_path / "runs" / "one" / "metrics.json").read_text())
    assert picture.name in metrics["left_out"][0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_the_disk_is_full(data: Path, small_disk: Path) -> None:
    frozen = ("--finetune.unfreeze", "none")
    finish(small_disk, [str(TAGBOX), *words(data, "before", *frozen)])
    before = {
        path: path.read_bytes()
        for path in (small_disk / "runs" / "before").rglob("*")
        if path.is_file()
    }
    training = Started(small_disk, [str(TAGBOX), *words(data, "one", "--finetune.ema", "0.9")])
    training.fails_with("cannot-write")
    assert training.says("the disk has room")
    for path, content in before.items():
        assert path.read_bytes() == content
    assert not [p for p in small_disk.rglob("*") if p.name.endswith(".tmp")]
    checked = ["evaluate", "runs/before", str(data / "instances_val.json"), "--json"]
    finish(small_disk, [str(TAGBOX), *checked])
