"""`tagbox split` as a person runs it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tagbox.data.load import load_dataset

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Twenty labelled pictures, in COCO JSON with fields of its own, one unlabelled test file."""
    images, annotations = [], []
    (tmp_path / "data/images").mkdir(parents=True)
    for number in range(1, 21):
        Image.new("RGB", (8, 6)).save(tmp_path / f"data/images/{number:04d}.png")
        images.append({"id": number, "file_name": f"{number:04d}.png", "width": 8, "height": 6})
        for category in {1 + number % 2, 2 + number % 3}:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "bbox": [1.0, 1, 3, 2.50],
                    "note": "é",
                }
            )
    categories = [{"id": n, "name": name} for n, name in enumerate(["a", "b", "c", "d", "e"], 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path = tmp_path / "data/all.json"
    path.write_text(json.dumps(content))
    return path


def test_parts_open_without_flags(cli: Cli, scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "parts"
    done = cli("split", scenes, "--out", out, "--fractions", "0.8", "0.1", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {p: e["images"] for p, e in said["parts"].items()} == {"train": 16, "val": 2, "test": 2}
    assert said["categories"]["e"] == {"train": 0, "val": 0, "test": 0}
    whole = load_dataset(scenes)
    found: list[int] = []
    for part, entry in said["parts"].items():
        dataset = load_dataset(entry["path"])
        found += dataset.images.ids.tolist()
        assert all(dataset.images.path(row).is_file() for row in range(len(dataset)))
        here = dict(zip(dataset.categories.names, dataset.labels.sum(0).tolist(), strict=True))
        assert here == {name: counts[part] for name, counts in said["categories"].items()}
    assert sorted(found) == whole.images.ids.tolist()


def test_saved_split_is_used_again(cli: Cli, scenes: Path, tmp_path: Path) -> None:
    assert cli("split", scenes, "--out", tmp_path / "a", "--seed", "3").returncode == 0
    again = cli("split", scenes, "--out", tmp_path / "b", "--split", tmp_path / "a/split.json")
    assert again.returncode == 0, again.stderr
    for name in ("train.json", "val.json", "split.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("pictures", ["link", "copy"])
def test_coco_with_its_pictures(cli: Cli, scenes: Path, tmp_path: Path, pictures: str) -> None:
    out = tmp_path / "moved"
    done = cli("split", scenes, "--out", tmp_path / "a", "--pictures", pictures)
    assert done.returncode == 0, done.stderr
    (tmp_path / "a").rename(out)
    dataset = load_dataset(out / "val.json")
    assert dataset.images.root == out / "images"
    assert dataset.images.path(0).is_symlink() is (pictures == "link")
    assert dataset.images.path(0).is_file()


@pytest.mark.parametrize(
    ("format", "part"),
    [
        ("cls", "val"),
        ("labels", "val.json"),
        ("csv", "val.csv"),
        ("yolo", "images/val"),
        ("labelme", "val"),
    ],
)
def test_other_formats(cli: Cli, scenes: Path, tmp_path: Path, format: str, part: str) -> None:
    out = tmp_path / "out"
    done = cli("split", scenes, "--out", out, "--val-fraction", "0.25", "--to", format)
    assert done.returncode == 0, done.stderr
    dataset = load_dataset(out / part)
    assert dataset.source.format == format
    assert dataset.categories.names == ("a", "b", "c", "d", "e")
    whole = load_dataset(scenes)
    stems = whole.images.stems.tolist()
    expected = whole.take([stems.index(stem) for stem in dataset.images.stems.tolist()])
    assert len(dataset) == 5
    assert dataset.labels.tolist() == expected.labels.tolist()
    assert dataset.images.path(0).is_file()


def test_folders(cli: Cli, tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / "in" / ("cat" if number % 2 else "dog") / "x" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    done = cli("split", tmp_path / "in", "--out", tmp_path / "out", "--val-fraction", "0.4")
    assert done.returncode == 0, done.stderr
    dataset = load_dataset(tmp_path / "out/val")
    assert dataset.source.format == "folders"
    assert dataset.labels.sum(0).tolist() == [2, 2]


def test_folds_and_the_table(cli: Cli, scenes: Path, tmp_path: Path) -> None:
    done = cli("split", scenes, "--out", tmp_path / "out", "--folds", "4")
    assert done.returncode == 0, done.stderr
    assert "fold4" in done.stdout
    assert "5 (25.0%)" in done.stdout
    held = [
        load_dataset(tmp_path / f"out/fold{k}-val.json").images.ids.tolist() for k in range(1, 5)
    ]
    assert sorted(i for fold in held for i in fold) == list(range(1, 21))


def test_absent_categories_are_named(cli: Cli, scenes: Path, tmp_path: Path) -> None:
    content = json.loads(scenes.read_text())
    content["annotations"].append({"id": 999, "image_id": 1, "category_id": 5})
    scenes.write_text(json.dumps(content))
    done = cli("split", scenes, "--out", tmp_path / "out")
    assert "val has no image of 1 categories: e" in done.stderr


def test_unlabelled_images_stay_out(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("image,labels\na.jpg,cat\nb.jpg,dog\nc.jpg,?\n")
    done = cli("split", tmp_path / "x.csv", "--out", tmp_path / "out", "--val-fraction", "0.5")
    assert done.returncode == 0, done.stderr
    assert "1 images without labels are left out" in done.stderr
    assert len(load_dataset(tmp_path / "out/val.csv")) == 1
    (tmp_path / "y.csv").write_text("image,labels\na.jpg,?\nb.jpg,?\n")
    done = cli("split", tmp_path / "y.csv", "--out", tmp_path / "out2")
    assert done.returncode == 1
    assert "[no-labels]" in done.stderr


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--fractions", "0.5", "0.6"], "config-value"),
        (["--fractions", "1.0"], "config-value"),
        (["--val-fraction", "1"], "config-value"),
        (["--folds", "1"], "config-value"),
        (["--folds", "2", "--val-fraction", "0.5"], "config-value"),
        (["--folds", "21"], "too-few-images"),
        (["--split", "none.json"], "file-missing"),
        (["--to", "cls", "--pictures", "reference"], "config-value"),
        (["--to", "folders"], "not-exclusive"),
    ],
)
def test_refused_with_nothing_written(
    cli: Cli, scenes: Path, tmp_path: Path, flags: list[str], code: str
) -> None:
    done = cli("split", scenes, "--out", tmp_path / "out", *flags)
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_a_full_folder_is_not_overwritten(cli: Cli, scenes: Path) -> None:
    before = scenes.read_bytes()
    done = cli("split", scenes, "--out", scenes.parent)
    assert done.returncode == 1
    assert "[exists]" in done.stderr
    assert scenes.read_bytes() == before
