"""Batches of pictures with boxes: every row once, boxes on their pixels, nothing but numbers decides."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from tagbox.config import BoxAugmentConfig
from tagbox.data.dataset import Dataset
from tagbox.data.load import load_dataset
from tagbox.data.training_boxes import TrainingBoxes, training_boxes
from tagbox.errors import TagboxError
from tagbox.images.geometry import PAD_VALUE, Letterbox
from tagbox.training.batches import PADDING
from tagbox.training.box_batches import BoxBatch, BoxBatches, stacked

SIZES = [(100, 60), (60, 100), (320, 200), (40, 40), (300, 299), (90, 90), (700, 500)]
CROWD, NEGATIVE, UNLABELLED = 2, 3, 5


def box_of(number: int) -> list[int]:
    width, height = SIZES[number]
    return [width // 4, height // 5, width // 2, height // 2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, TrainingBoxes]:
    """Pictures of many sizes, a red rectangle in each; one with a crowd beside it, one without objects."""
    folder = tmp_path_factory.mktemp("boxes")
    annotations: list[dict[str, Any]] = []
    for number, (width, height) in enumerate(SIZES):
        image = np.full((height, width, 3), PAD_VALUE, np.uint8)
        x, y, w, h = box_of(number)
        if number != NEGATIVE:
            image[y : y + h, x : x + w] = (255, 0, 0)
            annotations.append({"image_id": number, "category_id": 4, "bbox": box_of(number)})
        Image.fromarray(image).save(folder / f"{number}.jpg", quality=95, subsampling=0)
    annotations.append({"image_id": CROWD, "category_id": 2, "bbox": [0, 0, 50, 20], "iscrowd": 1})
    content = {
        "images": [
            # Of the last, nobody states the size.
            {"id": n, "file_name": f"{n}.jpg"}
            | ({"width": w, "height": h} if n < len(SIZES) - 1 else {})
            for n, (w, h) in enumerate(SIZES)
        ],
        "categories": [{"id": 2, "name": "elk"}, {"id": 4, "name": "yak"}],
        "annotations": annotations,
    }
    (folder / "labels.json").write_text(json.dumps(content))
    dataset = load_dataset(folder / "labels.json")
    return dataset, training_boxes(dataset)


def batches(data: tuple[Dataset, TrainingBoxes], **how: Any) -> BoxBatches:
    return BoxBatches(*data, **{"size": 96, "batch_size": 3, "multiple": 32, **how})


def red(picture: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(picture[..., 0].astype(int) - picture[..., 1] > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("fixed", [False, True])
def test_validation_pictures_as_they_are(data: tuple[Dataset, TrainingBoxes], fixed: bool) -> None:
    passed = list(batches(data, fixed=fixed).epoch(0))
    assert len(passed) == len(batches(data)) == 3
    rows = np.concatenate([part.rows for parts in passed for part in parts])
    assert rows.tolist() == list(range(len(SIZES)))
    for (part,) in passed:
        assert part.images.dtype == torch.uint8
        assert part.images.shape[1] % 32 == part.images.shape[2] % 32 == 0
        for picture, row, size, target, scale in zip(
            part.images.numpy(), part.rows, part.sizes, part.targets, part.scales, strict=True
        ):
            width, height = SIZES[row]
            longest = max(width, height)
            wanted = 96 / longest if longest > 96 else 1.0
            expected = (96, 96) if fixed else (round(height * wanted), round(width * wanted))
            assert size == expected
            assert_allclose(scale, [size[1] / width, size[0] / height])
            # Grey outside the picture.
            assert (picture[size[0] :] == PAD_VALUE).all()
            assert (picture[:, size[1] :] == PAD_VALUE).all()
            assert target.boxes.dtype == target.ignore.dtype == torch.float32
            assert target.labels.dtype == torch.int64
            if row == NEGATIVE:
                assert target.boxes.shape == (0, 4) and target.labels.shape == (0,)
                continue
            assert target.labels.tolist() == [1]
            assert np.abs(np.array(red(picture)) - target.boxes[0].numpy()).max() <= 1
            # Back in pixels of the original.
            x, y, w, h = box_of(row)
            back = target.boxes[0].numpy() / np.tile(scale, 2)
            assert_allclose(back, [x, y, x + w, y + h], rtol=1e-5)
            assert len(target.ignore) == (row == CROWD)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_batch_is_shared_out_and_every_row_comes_once(
    data: tuple[Dataset, TrainingBoxes], processes: int, parts: int
) -> None:
    how: dict[str, Any] = {
        "augment": BoxAugmentConfig(iou_crop=0.5),
        "seed": 3,
        "processes": processes,
        "parts": parts,
    }
    alone = [part.rows for (part,) in batches(data, augment=how["augment"], seed=3).epoch(2)]
    ranks = [list(batches(data, rank=rank, **how).epoch(2)) for rank in range(processes)]
    for number, expected in enumerate(alone):
        shares = [part for rank in ranks for part in rank[number]]
        assert len(shares) == processes * parts
        rows = np.concatenate([part.rows for part in shares])
        assert sorted(rows[rows != PADDING]) == sorted(expected)
        for part in shares:
            if part.rows[0] == PADDING:
                assert len(part.rows) == 1 and len(part.targets[0].boxes) == 0
                assert part.targets[0].ignore.tolist() == [[0, 0, 96, 96]]
                assert (part.images == PAD_VALUE).all()


def same(a: BoxBatch, b: BoxBatch) -> bool:
    return (
        a.rows.tolist() == b.rows.tolist()
        and torch.equal(a.images, b.images)
        and a.sizes == b.sizes
        and all(
            torch.equal(x.boxes, y.boxes)
            and torch.equal(x.labels, y.labels)
            and torch.equal(x.ignore, y.ignore)
            for x, y in zip(a.targets, b.targets, strict=True)
        )
    )


def test_only_seed_and_epoch_decide(data: tuple[Dataset, TrainingBoxes]) -> None:
    config = BoxAugmentConfig(zoom_out=0.3, iou_crop=0.5, scale_jitter=0.2, mosaic=0.5, rotate=5)
    state = torch.get_rng_state()

    def passed(epoch: int, start: int = 0, **how: Any) -> list[BoxBatch]:
        made = batches(data, augment=config, **{"seed": 1, **how})
        return [part for parts in made.epoch(epoch, start) for part in parts]

    first = passed(1)
    assert torch.equal(torch.get_rng_state(), state)
    for again in (passed(1), passed(1, 1)):
        assert all(map(same, first[-len(again) :], again))
    for other in (passed(2), passed(1, seed=2)):
        assert not any(map(same, first, other))
    orders = {tuple(np.concatenate([part.rows for part in passed(e)])) for e in range(3)}
    assert len(orders) == 3


def test_processes_that_read_change_nothing(data: tuple[Dataset, TrainingBoxes]) -> None:
    """In a process of their own: forking this one, with every library's threads in it, is not safe."""
    script = """
import hashlib, sys
from pathlib import Path
from tagbox.config import BoxAugmentConfig
from tagbox.data.training_boxes import training_boxes
from tagbox.data.load import load_dataset
from tagbox.training.box_batches import BoxBatches

dataset = load_dataset(Path(sys.argv[1]))
augment = BoxAugmentConfig(zoom_out=0.3, iou_crop=0.5, scale_jitter=0.2, mosaic=0.5, rotate=5)
for workers in (0, 2):
    batches = BoxBatches(
        dataset, training_boxes(dataset), size=96, batch_size=4, augment=augment, workers=workers
    )
    digest = hashlib.sha256()
    for parts in batches.epoch(1):
        for part in parts:
            digest.update(part.rows.tobytes() + part.images.numpy().tobytes())
            for target in part.targets:
                digest.update(target.boxes.numpy().tobytes() + target.labels.numpy().tobytes())
    print(digest.hexdigest())
"""
    found = subprocess.run(
        [sys.executable, "-c", script, str(data[0].source.path)],
        capture_output=True,
        text=True,
        check=True,
    )
    here, apart = found.stdout.split()
    assert here == apart


def test_varied_pictures_keep_their_boxes(data: tuple[Dataset, TrainingBoxes]) -> None:
    config = BoxAugmentConfig(zoom_out=0.3, iou_crop=0.5, scale_jitter=0.3, photometric=0)
    judged = 0
    for epoch in range(8):
        for (part,) in batches(data, augment=config, fixed=False).epoch(epoch):
            for picture, target in zip(part.images.numpy(), part.targets, strict=True):
                if len(target.boxes) and min(target.boxes[0, 2:] - target.boxes[0, :2]) > 4:
                    # JPEG smears an edge by a little more than the resizing does.
                    assert np.abs(red(picture) - target.boxes[0].numpy()).max() <= 1.5
                    judged += 1
    assert judged > 20


def test_large_pictures_are_decoded_small(data: tuple[Dataset, TrainingBoxes]) -> None:
    image, truth = batches(data).reader.read(len(SIZES) - 1)
    assert image.shape[:2] == (125, 175)  # a quarter of 700 x 500, at least 96 x 69
    x, y, w, h = (side / 4 for side in box_of(len(SIZES) - 1))
    assert_allclose(truth.boxes, [[x, y, x + w, y + h]])
    crops = batches(data, augment=BoxAugmentConfig(iou_crop=1)).reader.read(len(SIZES) - 1)[0]
    assert min(crops.shape[:2]) >= 69 / 0.3


def test_unlabelled_and_unreadable_pictures_are_left_out(
    data: tuple[Dataset, TrainingBoxes], tmp_path: Path
) -> None:
    from dataclasses import replace

    dataset, _ = data
    for number in range(len(SIZES)):
        content = dataset.images.path(number).read_bytes()
        (tmp_path / f"{number}.jpg").write_bytes(content if number != 1 else content[:100])
    labelled = np.arange(len(SIZES)) != UNLABELLED
    images = replace(dataset.images, root=tmp_path, labelled=labelled)
    broken = replace(dataset, images=images)
    told: list[TagboxError] = []
    made = batches((broken, training_boxes(broken)), on_unreadable=told.append)
    for _ in range(2):
        rows = np.concatenate([part.rows for parts in made.epoch(0) for part in parts])
        assert sorted(rows.tolist()) == [0, 2, 3, 4, 6]
    assert [Path(error.file or "").name for error in told] == ["1.jpg"]
    # A part that nothing is left of.
    alone = batches((broken, training_boxes(broken)), batch_size=1)
    part = list(alone.epoch(0))[1][0]
    assert part.rows.tolist() == [PADDING] and len(part.targets[0].ignore) == 1


def test_pictures_side_by_side() -> None:
    images = [np.full((h, w, 3), 9, np.uint8) for h, w in ((50, 90), (80, 20))]
    batch = stacked(images, Letterbox(size=96, fixed=False, multiple=4))
    assert batch.shape == (2, 96, 96, 3)
    assert (batch[0, :50, :90] == 9).all() and (batch[1, :80, :20] == 9).all()
    assert_array_equal(np.unique(batch[1, :, 20:]), [PAD_VALUE])


def test_validation_has_the_shapes_of_prediction(data: tuple[Dataset, TrainingBoxes]) -> None:
    """One kind of letterbox after the other: no batch but at a border mixes them."""
    _, truth = data
    made = batches(data, batch_size=1)
    letterbox = Letterbox(size=96, fixed=False, multiple=32)
    shapes = []
    for parts in made.epoch(0):
        (part,) = parts
        (row,) = part.rows.tolist()
        expected = letterbox.outer(*letterbox.inner(*SIZES[row]))
        assert part.images.shape[1:3] == expected[::-1]
        shapes.append(expected)
    assert len(shapes) == len(truth.rows)
    changes = sum(one != other for one, other in pairwise(shapes))
    assert changes == len(set(shapes)) - 1
