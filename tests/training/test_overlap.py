"""Images on both sides are refused, and a run knows which images it was trained on."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tagbox import ClassifierConfig, DataConfig, TagboxError
from tagbox.data.load import load_dataset
from tagbox.data.seen_images import SEEN, digest, seen_images, shared_images
from tagbox.progress import Silent
from tagbox.training.train_val import load_train_val

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def draw(path: Path, seed: int, size: tuple[int, int] = (48, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``images/train`` with 12 images and ``images/val`` with 6, of two categories, stated in ``data.yaml``."""
    root = tmp_path_factory.mktemp("stated")
    for split, count, start in (("train", 12, 0), ("val", 6, 100)):
        for number in range(start, start + count):
            draw(root / f"images/{split}/{number:03}.png", number)
            label = root / f"labels/{split}/{number:03}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            second = f"{(number // 2) % 2} 0.3 0.3 0.2 0.2\n"
            label.write_text(f"{number % 2} 0.5 0.5 0.4 0.4\n{second}")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return root


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_stated_val_is_the_default(yolo: Path) -> None:
    said = Said()
    found = load_train_val(yolo / "data.yaml", ClassifierConfig(), DataConfig(), said)
    assert (len(found.train), len(found.validation), found.split) == (12, 6, None)
    assert found.train.images.root == yolo / "images/train"
    assert any("the split val" in line for line in said.lines)
    for given in (yolo, yolo / "images/val"):
        named = load_train_val(yolo, ClassifierConfig(val=given), DataConfig(), Silent())
        assert (len(named.train), len(named.validation)) == (12, 6)
    config = ClassifierConfig(folds=0)
    only = load_train_val(yolo, config, DataConfig(split="val"), Silent())
    assert len(only.train) + len(only.validation) == 6


def test_test_split_is_left_alone(tmp_path: Path) -> None:
    for split in ("Training", "Testing"):
        for number in range(8):
            name = f"{split}/{'cat' if number % 2 else 'dog'}/{number}.png"
            draw(tmp_path / name, number + 100 * (split == "Testing"))
    found = load_train_val(tmp_path, ClassifierConfig(val_fraction=0.25), DataConfig(), Silent())
    assert (len(found.train), len(found.validation)) == (6, 2)
    assert found.validation.images.root == tmp_path / "Training"


def test_same_dataset_on_both_sides_is_refused(yolo: Path) -> None:
    train = yolo / "images/train"
    with pytest.raises(TagboxError, match="12 of the 12 validation images are training") as caught:
        load_train_val(train, ClassifierConfig(val=train), DataConfig(), Silent())
    assert caught.value.code == "split-overlap"
    assert "--allow-overlap" in str(caught.value)
    said = Said()
    allowed = ClassifierConfig(val=train, allow_overlap=True)
    assert len(load_train_val(train, allowed, DataConfig(), said).train) == 12
    assert any("warning: 12 of the 12" in line for line in said.lines)


@pytest.mark.parametrize("how", ["copy", "symlink", "hardlink"])
def test_one_picture_under_another_name_is_refused(tmp_path: Path, how: str) -> None:
    for side, start in (("a", 0), ("b", 10)):
        for number in range(start, start + 4):
            draw(tmp_path / side / ("cat" if number % 2 else "dog") / f"{number}.png", number)
    source, target = tmp_path / "a/cat/1.png", tmp_path / "b/cat/other.png"
    if how == "copy":
        shutil.copy(source, target)
    elif how == "symlink":
        target.symlink_to(source)
    else:
        target.hardlink_to(source)
    config = ClassifierConfig(val=tmp_path / "b")
    with pytest.raises(TagboxError, match=r"1 of the 5 validation images .*other.png"):
        load_train_val(tmp_path / "a", config, DataConfig(), Silent())
    target.unlink()
    assert len(load_train_val(tmp_path / "a", config, DataConfig(), Silent()).validation) == 4


def test_large_pictures_that_differ_in_one_byte_are_apart(tmp_path: Path) -> None:
    content = bytes(500_000)
    for name, last in (("a/x/1.png", 0), ("b/x/1.png", 1), ("b/x/2.png", 0)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[:200_001] + bytes([last]) + content[200_002:])
    sides = [load_dataset(tmp_path / side, DataConfig(format="folders")) for side in "ab"]
    assert shared_images(*sides) == [(0, 1)]
    assert digest(tmp_path / "a/x/1.png") == digest(tmp_path / "b/x/2.png") != ""
    assert digest(tmp_path / "nothing") == ""


@pytest.fixture(scope="module")
def run(yolo: Path, cli: Cli) -> Path:
    """A classifier trained on the stated train, validated on the stated val."""
    flags = ["--recipe", "frozen", "--backbone", "efficientnet_lite0@96", "--epochs", "2"]
    runs = yolo.parent / f"{yolo.name}-runs"
    done = cli("train", "classifier", yolo, "--name", "r", "--runs", runs, *flags)
    assert done.returncode == 0, done.stderr
    return runs / "r"


def evaluated(cli: Cli, run: Path, data: Path, *flags: str) -> tuple[dict[str, object], str]:
    done = cli("evaluate", run, data, "--json", "--no-intervals", *flags)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_evaluate_says_what_trained_the_run(
    yolo: Path, run: Path, cli: Cli, tmp_path: Path
) -> None:
    found, said = evaluated(cli, run, yolo, "--split", "train")
    assert found["seen"] == {"training": 12, "validation": 0, "held_out": False}
    assert "trained on 12 of these 12 images" in said
    found, said = evaluated(cli, run, yolo, "--split", "val")
    assert found["seen"] == {"training": 0, "validation": 6, "held_out": False}
    assert "warning" not in said
    # Elsewhere and under other names: two training images among three new ones.
    for number in range(3):
        draw(tmp_path / f"images/new{number}.png", 1000 + number)
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / f"labels/new{number}.txt").write_text(f"{number % 2} 0.5 0.5 0.4 0.4\n")
    for number in (3, 4):
        shutil.copy(yolo / f"images/train/{number:03}.png", tmp_path / f"images/old{number}.png")
        (tmp_path / f"labels/old{number}.txt").write_text(f"{number % 2} 0.5 0.5 0.4 0.4\n")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\n")
    found, said = evaluated(cli, run, tmp_path)
    assert (found["seen"], found["images"]) == (
        {"training": 2, "validation": 0, "held_out": False},
        5,
    )
    found, said = evaluated(cli, run, tmp_path, "--held-out")
    assert (found["seen"], found["images"]) == (
        {"training": 2, "validation": 0, "held_out": True},
        3,
    )
    assert "left out: 2 of 5 images" in said
    headline = cli("evaluate", run, tmp_path, "--no-intervals", env={"COLUMNS": "160"})
    assert "the run was trained on 2 of the images" in headline.stdout
    nothing = cli("evaluate", run, yolo, "--split", "train", "--held-out")
    assert nothing.returncode != 0
    assert "trained on all 12 images" in nothing.stderr
    whole = cli("evaluate", run, yolo)
    assert whole.returncode != 0
    assert "states the splits train, val" in whole.stderr


def test_runs_without_the_record(yolo: Path, run: Path, tmp_path: Path, cli: Cli) -> None:
    dataset = load_dataset(yolo, split="train")
    old = tmp_path / "old"
    shutil.copytree(run, old)
    (old / SEEN).unlink()
    seen = seen_images(old, dataset)
    assert seen is not None and seen.training.all()
    assert seen_images(old, load_dataset(yolo, split="val")) is None
    # One dataset that was split: its part is proven by the fingerprint.
    config = ClassifierConfig(folds=0)
    split = load_train_val(yolo / "images/train", config, DataConfig(), Silent())
    assert split.split is not None
    split.split.save(old / "split.json")
    description = json.loads((old / "model.json").read_text())
    description["data_fingerprint"] = split.train.fingerprint
    (old / "model.json").write_text(json.dumps(description))
    seen = seen_images(old, dataset)
    assert seen is not None
    assert int(seen.training.sum()) == len(split.train)
    assert (seen.training ^ seen.validation).all()
    folds = load_train_val(yolo / "images/train", ClassifierConfig(), DataConfig(), Silent())
    assert folds.split is not None and folds.split.folds
    folds.split.save(old / "split.json")
    assert seen_images(old, dataset) is None  # Another fingerprint: those were not its images.
    done = cli("evaluate", old, yolo, "--split", "val", "--held-out")
    assert done.returncode != 0
    assert "no record of the images it was trained on" in done.stderr


def test_damaged_record(run: Path, yolo: Path, tmp_path: Path) -> None:
    (tmp_path / SEEN).write_text('{"version": 1, "training": 3}')
    with pytest.raises(TagboxError) as caught:
        seen_images(tmp_path, load_dataset(yolo, split="val"))
    assert (caught.value.code, caught.value.where) == ("seen-images", "training")
