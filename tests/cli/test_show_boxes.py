"""`tagbox show --augmented --task detector`: the very pictures and boxes of training."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from tagbox.cli.augmented import hatched
from tagbox.config import BoxAugmentConfig
from tagbox.data.load import load_dataset
from tagbox.data.training_boxes import training_boxes
from tagbox.images.box_drawing import category_colours
from tagbox.training.box_batches import BoxBatches

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six grey pictures of 200 x 100 with a cat each; the last is broken."""
    folder = tmp_path_factory.mktemp("boxes")
    for i in range(6):
        Image.new("RGB", (200, 100), (90, 90, 90)).save(folder / f"{i}.png")
    (folder / "5.png").write_bytes(b"no picture")
    content = {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": 200, "height": 100} for i in range(6)
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [20, 20, 60, 60]} for i in range(6)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "data.json").write_text(json.dumps(content))
    return folder / "data.json"


def test_pictures_and_boxes_are_those_of_training(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "show.png"
    flags = ("--box-augment.iou-crop", 1, "--size", 128, "--epoch", 3, "--json", "--out", out)
    done = cli("show", dataset, "--augmented", "--task", "detector", *flags)
    # The broken picture is named and has its place.
    assert done.returncode == 1 and "5.png" in done.stderr and "Traceback" not in done.stderr
    answer = json.loads(done.stdout)
    assert answer["labels"][5] is None
    data = load_dataset(dataset)
    config = BoxAugmentConfig(iou_crop=1)
    made = BoxBatches(data, training_boxes(data), size=128, batch_size=9, augment=config)
    ((part,),) = list(made.epoch(3))
    boxes = 0
    for row, target in zip(part.rows.tolist(), part.targets, strict=True):
        said = answer["labels"][row]
        found = np.array([box["bbox"] for box in said["boxes"]]).reshape(-1, 4)
        found[:, 2:] += found[:, :2]
        assert_allclose(found, target.boxes.numpy(), atol=1e-4)
        assert_allclose(np.reshape(said["ignored"], (-1, 4)), target.ignore.numpy(), atol=1e-4)
        boxes += len(found)
    assert boxes > 3
    sheet = np.asarray(Image.open(out))
    colour = tuple(int(category_colours(["cat"])["cat"][i : i + 2], 16) for i in (1, 3, 5))
    assert (sheet == colour).all(axis=-1).any()


@pytest.mark.parametrize(
    ("arguments", "where", "hint"),
    [
        (("--task", "detector"), "--task", "add --augmented"),
        (("--box-augment.mosaic", 1), "--box-augment.mosaic", "add --augmented"),
        (("--augmented", "--box-augment.zoom-out", 1), "--box-augment.zoom-out", "--task detector"),
        (
            ("--augmented", "--task", "detector", "--augment.crop-scale", 0.1),
            "--augment.crop-scale",
            "--box-augment",
        ),
        (("--augmented", "--task", "detector", "--geometry", "pad"), "--geometry", "leave it out"),
    ],
)
def test_what_belongs_to_the_other_task_is_refused(
    cli: Cli, dataset: Path, tmp_path: Path, arguments: tuple[object, ...], where: str, hint: str
) -> None:
    done = cli("show", dataset, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert "[option-alone]" in done.stderr and where in done.stderr and hint in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_regions_to_ignore_are_hatched() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    striped = hatched(image, np.array([[10.0, 10.0, 30.0, 20.0]]))
    changed = (striped != image).any(axis=-1)
    assert not changed[:10].any() and not changed[20:].any() and not changed[:, 30:].any()
    assert 0.3 < changed[10:20, 10:30].mean() < 0.7


def test_a_detectors_augmentation_is_spelt_as_in_its_training(
    cli: Cli, dataset: Path, tmp_path: Path
) -> None:
    def shown(*flags: object) -> bytes:
        out = tmp_path / "show.png"
        out.unlink(missing_ok=True)
        done = cli("show", dataset, "--augmented", *flags, "--size", 64, "--out", out)
        assert "5.png" in done.stderr, done.stderr
        return out.read_bytes()

    own = shown("--task", "detector", "--box-augment.iou-crop", 1, "--box-augment.no-flip")
    assert shown("--task=detector", "--augment.iou-crop=1", "--augment.no-flip") == own
    assert shown("--task", "detector", "--augment.flip") != own


@pytest.mark.parametrize(
    ("flags", "code", "hint"),
    [
        (("--augment.mosaic", 1), "option-unknown", "it is a detector's; add --task detector"),
        (("--task", "detector", "--augment.color", 0.1), "option-alone", "--augment.color"),
    ],
)
def test_an_augmentation_of_the_other_task_is_told(
    cli: Cli, dataset: Path, flags: tuple[object, ...], code: str, hint: str
) -> None:
    done = cli("show", dataset, "--augmented", *flags)
    assert done.returncode in (1, 2)
    assert f"[{code}]" in done.stderr and hint in done.stderr
