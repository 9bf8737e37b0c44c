"""The folder of a run: whole or not there, one writer, finished runs refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tagbox.api.train import train_classifier
from tagbox.config import ClassifierConfig
from tagbox.errors import TagboxError
from tagbox.progress import Silent
from tagbox.training.run_dir import run_folder


def test_appears_whole_on_a_clean_exit(tmp_path: Path) -> None:
    with run_folder(tmp_path / "runs", "a", overwrite=False) as run_dir:
        (run_dir / "model.json").write_text("{}")
        assert not (tmp_path / "runs" / "a").exists()
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["a"]
    assert (tmp_path / "runs" / "a" / "model.json").read_text() == "{}"


def test_an_error_leaves_the_old_run(tmp_path: Path) -> None:
    with run_folder(tmp_path, "a", overwrite=False) as run_dir:
        (run_dir / "kept").touch()
    with pytest.raises(RuntimeError), run_folder(tmp_path, "a", overwrite=True) as run_dir:
        (run_dir / "half").touch()
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [".tagbox", "kept"]


@pytest.mark.parametrize("keep", [False, True])
def test_a_finished_run_has_checkpoints_only_if_they_are_kept(tmp_path: Path, keep: bool) -> None:
    for _ in range(2):
        with run_folder(tmp_path, "a", overwrite=True, keep_checkpoints=keep) as run_dir:
            (run_dir / "checkpoints" / "000000004").mkdir(parents=True)
            (run_dir / "checkpoints" / "best-1.safetensors").touch()
            (run_dir / "model.json").touch()
        kept = sorted(path.name for path in (tmp_path / "a").iterdir())
        assert kept == [".tagbox", *(["checkpoints"] if keep else []), "model.json"]
    # A mark lists what is gone, too: what a killed command left of it is tagbox's own.
    (tmp_path / "a" / "checkpoints").mkdir(exist_ok=True)
    (tmp_path / "a" / "checkpoints" / "best-1.safetensors").touch()
    with run_folder(tmp_path, "a", overwrite=True):
        pass
    assert [path.name for path in (tmp_path / "a").iterdir()] == [".tagbox"]


def test_an_interruption_after_the_last_step_says_that_the_run_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = shutil.rmtree

    def interrupted(path: Path, **options: Any) -> None:
        if path.name == "checkpoints":
            raise KeyboardInterrupt
        remove(path, **options)

    with pytest.raises(KeyboardInterrupt) as raised, run_folder(tmp_path, "a", overwrite=False):
        monkeypatch.setattr("tagbox.training.run_dir.shutil.rmtree", interrupted)
    assert raised.value.__notes__[-1].endswith("a is finished")


def test_a_finished_run_is_refused_unless_overwritten(tmp_path: Path) -> None:
    for _ in range(2):
        with run_folder(tmp_path, "a", overwrite=True):
            pass
    with (
        pytest.raises(TagboxError, match="another --name") as raised,
        run_folder(tmp_path, "a", overwrite=False),
    ):
        pass
    assert raised.value.code == "run-exists"


def test_leftovers_of_a_killed_run_are_cleared(tmp_path: Path) -> None:
    (tmp_path / ".a.partial" / "tensorboard").mkdir(parents=True)
    (tmp_path / ".a.partial" / "half.tmp").touch()
    with run_folder(tmp_path, "a", overwrite=False) as run_dir:
        assert list(run_dir.iterdir()) == []


def test_a_run_moved_aside_by_a_killed_overwrite_is_put_back(tmp_path: Path) -> None:
    # SIGKILL between the two renames: the old run stands aside, the new one is not there yet.
    (tmp_path / ".a.old.tmp").mkdir()
    (tmp_path / ".a.old.tmp" / "kept").touch()
    with (
        pytest.raises(TagboxError, match="another --name"),
        run_folder(tmp_path, "a", overwrite=False),
    ):
        pass
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["kept"]


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from tagbox.training.run_dir import run_folder\n"
        "with run_folder(pathlib.Path(sys.argv[1]), 'a', overwrite=False):\n"
        "    print('writing', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "writing\n"
    with (
        pytest.raises(TagboxError) as raised,
        run_folder(tmp_path, "a", overwrite=False),
    ):
        pass
    assert raised.value.code == "run-busy"
    # Killed, it leaves its lock to nobody.
    first.kill()
    first.wait()
    with run_folder(tmp_path, "a", overwrite=False):
        pass


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a\0b"])
def test_names_that_are_no_plain_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(TagboxError) as raised, run_folder(tmp_path, name, overwrite=False):
        pass
    assert raised.value.code == "run-name"
    assert list(tmp_path.iterdir()) == []


class StoppedError(Exception):
    pass


class StopsInItsSecondEpoch(Silent):
    def say(self, message: str) -> None:
        if message.startswith("epoch 2"):
            raise StoppedError


def test_a_run_of_the_former_randaugment_is_not_resumed(
    scenes: Path, small: ClassifierConfig, tmp_path: Path
) -> None:
    config = replace(
        small,
        epochs=1,
        finetune=replace(small.finetune, unfreeze="1", epochs=2, checkpoint_seconds=0),
        augment=replace(small.augment, randaugment=1),
    )
    data = scenes / "annotations/instances_train.json"
    with pytest.raises(StoppedError):
        train_classifier(data, config, name="run", runs=tmp_path, progress=StopsInItsSecondEpoch())
    for path in (tmp_path / ".run.partial/checkpoints").glob("*/state.json"):
        content = path.read_text()
        assert '["randaugment","torchvision"],' in content
        path.write_text(content.replace('["randaugment","torchvision"],', ""))
        json.loads(path.read_text())
    with pytest.raises(TagboxError, match="an earlier RandAugment") as raised:
        train_classifier(data, config, name="run", runs=tmp_path, resume=True)
    assert (raised.value.code, raised.value.where) == ("resume-changed", "augment.randaugment")
    # What does not use it goes on.
    plain = replace(config, augment=small.augment)
    with pytest.raises(StoppedError):
        train_classifier(data, plain, name="plain", runs=tmp_path, progress=StopsInItsSecondEpoch())
    assert train_classifier(data, plain, name="plain", runs=tmp_path, resume=True).metrics
