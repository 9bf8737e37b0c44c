"""Two processes on loopback train as one does: same batches, same gradients, each image counted once."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tagbox.config import SynthConfig
from tagbox.data.synthetic.generate import generate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 training and 17 validation scenes: neither divides into two processes or into the batch."""
    folder = tmp_path_factory.mktemp("processes") / "scenes"
    generate(folder, SynthConfig(images=50, val=17, width=160, height=120, seed=5))
    return folder / "annotations"


def words(data: Path, name: str, *settings: str) -> list[str]:
    """BatchNorm in eval, no dropout, nothing mixed: what makes the number of processes invisible."""
    flags = {
        "--finetune.epochs": "3",
        "--finetune.batch-size": "12",
        # AdamW divides a rounding by the size of a small gradient, and does not see a gradient of the wrong scale.
        "--finetune.optimizer": "sgd",
        "--finetune.learning-rate": "0.01",
        # A clock decides neither.
        "--finetune.channels-last": "no",
        "--finetune.precision": "fp32",
        **dict(zip(settings[::2], settings[1::2], strict=True)),
    }
    return [
        *("train", "classifier", str(data / "instances_train.json")),
        *("--val", str(data / "instances_val.json"), "--name", name, "--recipe", "finetune"),
        *("--backbone", "efficientnet_lite0@64", "--epochs", "2"),
        *(word for flag in flags.items() for word in flag),
    ]


def launch(
    folder: Path, command: list[str], *, restarts: int = 0, port: int = 0
) -> subprocess.Popen[str]:
    torchrun = [
        *(str(BIN / "torchrun"), "--nproc-per-node", "2", "--max-restarts", str(restarts)),
        *("--master-addr", "127.0.0.1", "--master-port", str(port or free_port())),
        str(BIN / "tagbox"),
    ]
    return start(folder, [*torchrun, *command])


def start(folder: Path, command: list[str], **variables: str) -> subprocess.Popen[str]:
    log = (folder / "log.txt").open("a")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=log,
        stderr=log,
        env=environment,
        start_new_session=True,
        text=True,
    )


def finish(process: subprocess.Popen[str], folder: Path) -> str:
    code = process.wait(timeout=600)
    log = (folder / "log.txt").read_text()
    assert code == 0, log
    return log


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def column(run: Path, name: str) -> list[float]:
    with (run / "history.csv").open(newline="") as opened:
        return [float(row[name]) for row in csv.DictReader(opened)]


def probabilities(run: Path) -> np.ndarray:
    with (run / "predictions.csv").open(newline="") as opened:
        return np.array([[float(v) for v in row[1:]] for row in list(csv.reader(opened))[1:]])


def assert_alike(one: Path, two: Path) -> None:
    # Two processes add in another order, and each step makes the rounding larger.
    for name in ("train_loss", "val_loss"):
        np.testing.assert_allclose(column(two, name), column(one, name), rtol=5e-5, err_msg=name)
    np.testing.assert_allclose(probabilities(two), probabilities(one), atol=2e-4)
    # Seventeen images over two processes: each counted once, the metrics of the same scores.
    assert probabilities(two).shape == probabilities(one).shape == (17, 14)


@pytest.mark.parametrize("settings", [(), ("--finetune.accumulate", "2")], ids=["plain", "parts"])
def test_two_processes_train_as_one_does(
    data: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    finish(start(tmp_path, [str(BIN / "tagbox"), *words(data, "one", *settings)]), tmp_path)
    log = finish(launch(tmp_path, words(data, "two", *settings)), tmp_path)
    runs = tmp_path / "runs"
    assert_alike(runs / "one", runs / "two")
    assert sorted(p.name for p in (runs / "one").iterdir()) == sorted(
        p.name for p in (runs / "two").iterdir()
    )
    # One process speaks, and one writes.
    assert log.count("report: runs/two/report.html") == 1
    assert len(list((runs / "two" / "tensorboard" / "train").iterdir())) == 1


def test_two_processes_train_a_detector_as_one_does(data: Path, tmp_path: Path) -> None:
    """Normalised by groups, so that only the order of sums differs; detections counted once each."""

    def words(name: str) -> list[str]:
        return [
            *("train", "detector", str(data / "instances_train.json")),
            *("--val", str(data / "instances_val.json"), "--name", name, "--size", "96"),
            *("--epochs", "2", "--batch-size", "12", "--channels-last", "no", "--ema", "0"),
            *("--learning-rate", "1e-4", "--precision", "fp32"),
        ]

    finish(start(tmp_path, [str(BIN / "tagbox"), *words("one")]), tmp_path)
    finish(launch(tmp_path, words("two")), tmp_path)
    one, two = (tmp_path / "runs" / name for name in ("one", "two"))
    for name in ("train_loss", "train_loss_box", "train_loss_score", "val_loss"):
        np.testing.assert_allclose(column(two, name), column(one, name), rtol=5e-5, err_msg=name)
    found = [json.loads((run / "predictions.json").read_text()) for run in (one, two)]
    best = [sorted((each["score"] for each in run), reverse=True)[:100] for run in found]
    np.testing.assert_allclose(best[1], best[0], atol=1e-4)


def test_ap_of_gathered_detections_is_that_of_the_detections(data: Path, tmp_path: Path) -> None:
    """The same detections, shared by two processes in an uneven way: exactly the same figures."""
    script = tmp_path / "gather.py"
    script.write_text(
        "import json, sys\n"
        "import numpy as np, torch\n"
        "from pathlib import Path\n"
        "from tagbox.data.load import load_dataset\n"
        "from tagbox.data.record_pixels import record_pixels\n"
        "from tagbox.models.detectors.base import Found\n"
        "from tagbox.training.batches import shared_rows\n"
        "from tagbox.training.detection_task import DetectionMetrics, DetectionOutputs\n"
        "from tagbox.training.distributed import Runtime\n"
        "runtime = Runtime('cpu')\n"
        "dataset = load_dataset(Path(sys.argv[1]))\n"
        "at = dataset.annotations\n"
        "def found(row):\n"
        "    random = np.random.default_rng(row)\n"
        "    own = at.image_rows == row\n"
        "    boxes = np.concatenate([at.boxes[own, :2], at.boxes[own, :2] + at.boxes[own, 2:]], 1)\n"
        "    boxes = boxes + random.normal(0, 2, boxes.shape)\n"
        "    labels = torch.from_numpy(at.category_rows[own]).long()\n"
        "    scores = torch.from_numpy(random.random(len(labels)).astype(np.float32))\n"
        "    return Found(torch.from_numpy(boxes).float(), scores, labels)\n"
        "seen = DetectionMetrics(record_pixels(dataset))\n"
        "for first in range(0, 17, 4):\n"
        "    share = {'processes': runtime.processes, 'rank': runtime.rank}\n"
        "    for rows in shared_rows(np.arange(17)[first : first + 4], **share):\n"
        "        said = [found(row) for row in rows if row >= 0]\n"
        "        real = rows[rows >= 0]\n"
        "        seen.add(None, DetectionOutputs({'box': 1.0}, said, real, np.ones((len(real), 2))))\n"
        "whole = seen.gathered(runtime)\n"
        "if runtime.main:\n"
        "    figures = {k: v for k, v in whole.scores().items() if 'loss' not in k}\n"
        "    print(json.dumps([figures, whole.detections.image_rows.tolist()]))\n"
    )
    path = str(data / "instances_val.json")
    alone = subprocess.run(
        [sys.executable, script, path], capture_output=True, text=True, check=True
    )
    both = subprocess.run(
        [
            *(BIN / "torchrun", "--nproc-per-node", "2", "--master-port", str(free_port())),
            *(script, path),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert both.stdout == alone.stdout
    assert json.loads(alone.stdout)[0]["ap"] > 0.1


def test_metrics_of_gathered_scores_are_those_of_the_scores(tmp_path: Path) -> None:
    """The same rows, shared by two processes in an uneven way: exactly the same figures."""
    script = tmp_path / "gather.py"
    script.write_text(
        "import json, sys\n"
        "import numpy as np, torch\n"
        "from tagbox.training.classification_task import Batch\n"
        "from tagbox.training.classification_task import ClassificationMetrics\n"
        "from tagbox.training.distributed import Runtime\n"
        "from tagbox.training.batches import shared_rows\n"
        "runtime = Runtime('cpu')\n"
        "random = np.random.default_rng(3)\n"
        "logits = random.normal(size=(17, 5)).astype(np.float32)\n"
        "truth = (random.random((17, 5)) < 0.4).astype(np.float32)\n"
        "seen = ClassificationMetrics()\n"
        "for first in range(0, 17, 4):\n"
        "    rows = np.arange(17)[first : first + 4]\n"
        "    share = {'processes': runtime.processes, 'rank': runtime.rank}\n"
        "    for part in shared_rows(rows, **share):\n"
        "        said, there = torch.from_numpy(logits[part]), torch.from_numpy(truth[part])\n"
        "        seen.add(Batch(part, said, there, there), said)\n"
        "whole = seen.gathered(runtime)\n"
        "if runtime.main:\n"
        "    print(json.dumps([whole.scores(), whole.order.tolist()]))\n"
    )
    alone = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    both = subprocess.run(
        [BIN / "torchrun", "--nproc-per-node", "2", "--master-port", str(free_port()), script],
        capture_output=True,
        text=True,
        check=True,
    )
    assert both.stdout == alone.stdout
    assert list(range(17)) == json.loads(alone.stdout)[1]


@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="needs the kernel's list of threads"
)
def test_no_thread_of_the_group_outlives_it(tmp_path: Path) -> None:
    """One that does can abort a process that has finished: rarely, so that the threads are counted, not the aborts."""
    script = tmp_path / "leave.py"
    script.write_text(
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from tagbox.training.distributed import Runtime, leave_processes\n"
        "def threads():\n"
        "    names = [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]\n"
        "    return sum('gloo' in name for name in names)\n"
        "def train():\n"
        "    runtime = Runtime('cpu')\n"
        "    model = runtime.distribute(torch.nn.Linear(3, 3))\n"
        "    model(torch.ones(2, 3)).sum().backward()\n"
        "    runtime.from_main(runtime.gather(1))\n"
        "    return runtime.rank\n"
        "rank = train()\n"
        "before = threads()\n"
        "leave_processes()\n"
        "Path(sys.argv[1], str(rank)).write_text(f'{before > 0} {threads()}')\n"
    )
    process = start(
        tmp_path,
        [
            *(str(BIN / "torchrun"), "--nproc-per-node", "2", "--master-port", str(free_port())),
            *(str(script), str(tmp_path)),
        ],
    )
    finish(process, tmp_path)
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["True 0", "True 0"]


def test_a_killed_process_is_started_again_and_the_run_ends_right(
    data: Path, tmp_path: Path
) -> None:
    settings = ("--finetune.checkpoint-seconds", "0", "--finetune.epochs", "6")
    finish(launch(tmp_path, words(data, "undisturbed", *settings)), tmp_path)
    process = launch(tmp_path, words(data, "killed", *settings), restarts=2)
    checkpoints = tmp_path / "runs" / ".killed.partial" / "checkpoints"
    while not list(checkpoints.glob("00000000[3-9]")):
        assert process.poll() is None, (tmp_path / "log.txt").read_text()
        time.sleep(0.02)
    os.kill(second_process(process.pid), signal.SIGKILL)
    finish(process, tmp_path)
    runs = [tmp_path / "runs" / name for name in ("undisturbed", "killed")]
    assert (runs[0] / "history.csv").read_bytes() == (runs[1] / "history.csv").read_bytes()
    ours, theirs = (load_file(run / "model.safetensors") for run in runs)
    for name, value in ours.items():
        assert np.array_equal(value, theirs[name]), name


def test_a_restarted_group_sees_nothing_of_the_one_before(tmp_path: Path) -> None:
    """Addresses of dead processes among it: who reads one waits for ever, though rarely."""
    script = tmp_path / "again.py"
    script.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from torch.distributed.distributed_c10d import _get_default_store\n"
        "from tagbox.training.distributed import Runtime, was_restarted\n"
        "runtime = Runtime('cpu')\n"
        "store = _get_default_store()\n"
        "if not was_restarted():\n"
        "    store.set('left', 'behind')\n"
        "    runtime.gather(1)\n"
        "    os._exit(1)\n"
        "seen = store.check(['left'])\n"
        "Path(sys.argv[1], str(runtime.rank)).write_text(f'{seen} {runtime.gather(1)}')\n"
    )
    torchrun = (str(BIN / "torchrun"), "--nproc-per-node", "2", "--max-restarts", "2")
    where = ("--master-addr", "127.0.0.1", "--master-port", str(free_port()))
    finish(start(tmp_path, [*torchrun, *where, str(script), str(tmp_path)]), tmp_path)
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["False [1, 1]"] * 2


def second_process(launcher: int) -> int:
    """The process of rank 1 under torchrun."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in children:
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if b"RANK=1" in environment:
            return int(child)
    raise AssertionError(f"no process of rank 1 among {children}")


@pytest.fixture
def two_hosts() -> Iterator[list[tuple[str, str]]]:
    """Two network namespaces joined by a cable, with the name of its end in each: 10.77.0.1 and 10.77.0.2."""
    names = (f"tagbox-a-{os.getpid()}", f"tagbox-b-{os.getpid()}")
    ends = (f"tba{os.getpid() % 10**6}", f"tbb{os.getpid() % 10**6}")
    steps = [
        *(["ip", "netns", "add", name] for name in names),
        ["ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1]],
        *(["ip", "link", "set", end, "netns", name] for end, name in zip(ends, names, strict=True)),
    ]
    for host, (name, end) in enumerate(zip(names, ends, strict=True), start=1):
        inside = ["ip", "-n", name]
        steps += [
            [*inside, "addr", "add", f"10.77.0.{host}/24", "dev", end],
            [*inside, "link", "set", end, "up"],
            [*inside, "link", "set", "lo", "up"],
        ]
    try:
        for step in steps:
            try:
                done = subprocess.run(step, capture_output=True, text=True, check=False)
            except FileNotFoundError:
                pytest.skip("iproute2 is not installed")
            if done.returncode:
                pytest.skip(f"network namespaces cannot be made here: {done.stderr.strip()}")
        yield list(zip(names, ends, strict=True))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def test_two_nodes_train_as_one_process_does(
    data: Path, tmp_path: Path, two_hosts: list[tuple[str, str]]
) -> None:
    finish(start(tmp_path, [str(BIN / "tagbox"), *words(data, "one")]), tmp_path)
    nodes = []
    for rank, (host, end) in enumerate(two_hosts):
        torchrun = [
            *("ip", "netns", "exec", host, str(BIN / "torchrun"), "--nnodes", "2"),
            *("--node-rank", str(rank), "--nproc-per-node", "1"),
            *("--master-addr", "10.77.0.1", "--master-port", "29400", str(BIN / "tagbox")),
        ]
        # A host's name says nothing of the cable here.
        command = [*torchrun, *words(data, "two")]
        nodes.append(start(tmp_path, command, GLOO_SOCKET_IFNAME=end))
    for node in nodes:
        finish(node, tmp_path)
    assert_alike(tmp_path / "runs" / "one", tmp_path / "runs" / "two")
