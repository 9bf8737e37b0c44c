from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Cli = Callable[..., CompletedProcess[str]]


def test_scenes_are_written_and_described(tmp_path: Path, cli: Cli) -> None:
    flags = ["--images", 6, "--val", 2, "--width", 96, "--height", 64, "--seed", 3]
    done = cli("synth", "scenes", *flags, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["images"] == 8 and said["folder"] == "scenes"
    train = tmp_path / said["parts"]["train"]
    assert len(json.loads(train.read_bytes())["images"]) == 6
    before = train.read_bytes()

    again = cli("synth", "scenes", *flags, cwd=tmp_path)
    assert again.returncode == 1
    assert "[exists]" in again.stderr and "--overwrite" in again.stderr
    replaced = cli("synth", "scenes", *flags, "--overwrite", "--workers", 1, cwd=tmp_path)
    assert replaced.returncode == 0
    assert "8 images" in replaced.stderr and "annotations/instances_val.json" in replaced.stderr
    assert train.read_bytes() == before


def test_tagbox_check_finds_no_fault_in_the_scenes(tmp_path: Path, cli: Cli) -> None:
    assert cli("synth", tmp_path / "scenes", "--images", 40).returncode == 0
    done = cli("check", tmp_path / "scenes" / "annotations" / "instances_train.json", "--json")
    assert done.returncode == 0, done.stderr


def test_bad_values_are_named(tmp_path: Path, cli: Cli) -> None:
    done = cli("synth", tmp_path / "scenes", "--width", 5)
    assert done.returncode != 0
    assert "width" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "scenes").exists()
    for typed, near in [("butterfy", "butterfly"), ("Cup", "cup"), ("zzz", "house, tree")]:
        unknown = cli("synth", tmp_path / "scenes", "--categories", "cup", typed)
        assert unknown.returncode == 1 and "[unknown-category]" in unknown.stderr
        assert typed in unknown.stderr and near in unknown.stderr
        assert not (tmp_path / "scenes").exists()
    workers = cli("synth", tmp_path / "scenes", "--workers", 0)
    assert workers.returncode == 1 and "[config-value]" in workers.stderr
