"""What a recipe costs is said before it begins, and what a CPU would take hours for is left out there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from tagbox.config import SynthConfig
from tagbox.data.synthetic.generate import generate

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_challenge_s_recipe_stays_frozen_on_a_cpu_and_says_its_cost(
    tmp_path: Path, cli: Cli
) -> None:
    generate(tmp_path / "scenes", SynthConfig(images=24, val=12, width=64, height=64, format="cls"))
    flags = ("--val", "scenes/val", "--backbone", "efficientnet_lite0@64", "--device", "cpu")
    named = ("train", "classifier", "scenes", *flags, "--recipe", "challenge", "--epochs", 1)
    named += ("--keep-checkpoints",)
    env = {"TAGBOX_CACHE": str(tmp_path / "cache")}
    done = cli(*named, "--name", "one", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("recipe challenge: nothing is downloaded"), done.stderr
    for words in ("half an hour", "stays frozen"):
        assert words in " ".join(done.stderr.split()), done.stderr
    used = yaml.safe_load((tmp_path / "runs/one/config.yaml").read_text())["classifier"]
    assert used["finetune"]["unfreeze"] == "none"
    assert used["finetune"]["keep_checkpoints"] is True
    assert (used["best_by"], used["objective"]) == ("challenge_f1", "challenge_f1")


def test_faults_of_both_groups_of_settings_are_named(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "own.yaml").write_text(
        "classifier: {epochs: 0, finetune: {unfreeze: all}}\non_cpu: {finetune: {unfreeze: some}}\n"
    )
    done = cli("recipes", tmp_path / "own.yaml")
    assert done.returncode == 1 and "[config-value]" in done.stderr and "epochs" in done.stderr
    (tmp_path / "own.yaml").write_text("classifier: {}\non_cpu: {finetune: {unfreeze: some}}\n")
    done = cli("recipes", tmp_path / "own.yaml")
    assert done.returncode == 1 and "unfreeze" in done.stderr


def test_recipes_name_their_downloads(cli: Cli) -> None:
    done = cli("recipes", "--json")
    found = {recipe["name"]: recipe["downloads"] for recipe in json.loads(done.stdout)}
    assert found["frozen"] == found["challenge"] == found["dense"] == "nothing"
    assert "167 MB" in found["fasterrcnn"]
    for columns in ("80", "200"):
        listed = cli("recipes", env={"COLUMNS": columns}).stdout
        assert "fasterrcnn (detector; downloads 167 MB from download.pytorch.org)" in listed
        assert max(map(len, listed.splitlines())) <= min(int(columns), 110)
