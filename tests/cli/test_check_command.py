"""`tagbox check` as a person and a program meet it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two pictures; one annotation lacks its area: a note."""
    for index, name in enumerate(("a.png", "b.png")):
        pixels = np.random.default_rng(index).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    content = {
        "images": [
            {"id": 1, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 2, "file_name": "b.png", "width": 40, "height": 30},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 0},
            {
                "id": 2,
                "image_id": 2,
                "category_id": 1,
                "bbox": [1, 1, 5, 5],
                "area": 25,
                "iscrowd": 0,
            },
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    return path


def test_a_table_for_people(cli: Cli, dataset: Path) -> None:
    done = cli("check", dataset)
    assert done.returncode == 0
    assert "missing-area" in done.stdout and "annotations[0] (id 1)" in done.stdout
    assert "→ none needed here" in done.stdout
    assert "COCO JSON, 2 images" in done.stderr
    assert "0 errors, 0 warnings, 1 note" in done.stderr


def test_strict_counts_warnings(cli: Cli, dataset: Path) -> None:
    assert cli("check", dataset, "--strict").returncode == 0  # A note.
    content = json.loads(dataset.read_text())
    content["annotations"][0]["id"] = 0
    dataset.write_text(json.dumps(content))
    assert cli("check", dataset).returncode == 0
    assert cli("check", dataset, "--strict").returncode == 1


def test_notes_that_need_nothing_are_one_entry_with_one_example(cli: Cli, dataset: Path) -> None:
    """What the challenge's own document leaves out in every record."""
    content = json.loads(dataset.read_text())
    for annotation in content["annotations"]:
        annotation.pop("iscrowd")
        annotation.pop("area", None)
    dataset.write_text(json.dumps(content))
    done = cli("check", dataset)
    assert done.stdout.count("missing-area") == done.stdout.count("missing-iscrowd") == 1
    assert done.stdout.count("… and 1 more") == 2
    assert "0 errors, 0 warnings, 4 notes" in done.stderr


def test_json_for_programs(cli: Cli, dataset: Path) -> None:
    dataset.with_name("b.png").write_bytes(b"")
    done = cli("check", dataset, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert set(report) == {"counts", "codes", "findings", "datasets"}
    assert report["counts"] == {"error": 1, "warning": 0, "info": 1}
    assert report["codes"] == {"image-empty": 1, "missing-area": 1}
    assert report["findings"][0] == {
        "code": "image-empty",
        "severity": "error",
        "file": str(dataset.with_name("b.png")),
        "where": "image id 2",
        "found": "the image has 0 bytes",
        "hint": "replace the file or remove its record",
    }
    (checked,) = report["datasets"]
    assert checked["format"] == "coco" and checked["pictures_read"] == 1
    assert checked["statistics"]["images"] == 2
    assert cli("check", dataset, "--json", "--no-pictures").returncode == 0


def test_the_other_side_of_a_split(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    other = tmp_path / "val"
    other.mkdir()
    for name in ("a.png", "b.png", "labels.json"):
        (other / name).write_bytes((tmp_path / name).read_bytes())
    done = cli("check", dataset, other, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["codes"]["split-same-picture"] == 2


def test_what_is_no_dataset(cli: Cli, tmp_path: Path) -> None:
    done = cli("check", tmp_path / "nowhere.json")
    assert done.returncode == 1
    assert "file-missing" in done.stdout and "Traceback" not in done.stderr
