"""`Dataset.torch_dataset`: what torch's loader, torchvision's transforms and its detectors make of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import tagbox
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError


@pytest.fixture(scope="module")
def dataset(scenes: Path) -> Dataset:
    return tagbox.load_dataset(scenes / "annotations" / "instances_val.json")


def half(image: torch.Tensor) -> torch.Tensor:
    return v2.functional.resize(image, [72, 96]).float() / 255


def test_labels_are_multi_hot_and_images_are_the_files(dataset: Dataset) -> None:
    data = dataset.torch_dataset()
    assert isinstance(data, torch.utils.data.Dataset) and len(data) == len(dataset)
    image, target = data[3]
    assert image.dtype == torch.uint8 and target.dtype == torch.float32
    expected = np.asarray(Image.open(dataset.images.path(3)).convert("RGB"))
    # Two JPEG decoders may differ by a rounding.
    assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 3
    assert target.tolist() == dataset.labels[3].tolist()
    assert torch.equal(data[-1][0], data[len(data) - 1][0])
    with pytest.raises(IndexError):
        data[len(data)]


def test_unknown_labels_are_nan_and_unlabelled_images_left_out(dataset: Dataset) -> None:
    labelled = dataset.images.labelled.copy()
    labelled[0] = False
    unsure = replace(
        dataset,
        images=replace(dataset.images, labelled=labelled),
        unknown=np.array([[1, int(np.flatnonzero(dataset.labels[1] == 0)[0])]], np.int32),
    )
    data = unsure.torch_dataset()
    assert len(data) == len(dataset) - 1
    target = data[0][1]
    assert (
        target.isnan().tolist() == (unsure.labels[1] == -1).tolist() and target.isnan().sum() == 1
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_with_workers_gives_batches_in_order(dataset: Dataset, workers: int) -> None:
    loader = DataLoader(dataset.torch_dataset(half), batch_size=8, num_workers=workers)
    batches = list(loader)
    assert batches[0][0].shape == (8, 3, 72, 96)
    assert torch.equal(
        torch.cat([b[1] for b in batches]),
        torch.tensor(dataset.labels.tolist(), dtype=torch.float32),
    )


@pytest.mark.slow
def test_workers_that_are_not_forked_read_the_same(dataset: Dataset) -> None:
    loader = DataLoader(
        dataset.torch_dataset(half), batch_size=10, num_workers=1, multiprocessing_context="spawn"
    )
    assert torch.equal(
        torch.cat([b[1] for b in loader]),
        torch.tensor(dataset.labels.tolist(), dtype=torch.float32),
    )


def test_boxes_are_those_of_the_records_as_corners(dataset: Dataset) -> None:
    data = dataset.torch_dataset(target="boxes")
    for index in range(3):
        image, target = data[index]
        record = dataset[index]
        expected = record.boxes.copy()
        expected[:, 2:] += expected[:, :2]
        assert np.abs(target["boxes"].numpy() - expected).max(initial=0) < 1e-4
        assert target["boxes"].dtype == torch.float32
        names = dataset.categories.names
        assert [names[label - 1] for label in target["labels"].tolist()] == list(record.names)
        assert target["image_id"] == record.id
        assert tuple(image.shape[1:]) == (record.height, record.width)


def test_transforms_v2_move_images_and_boxes_together(dataset: Dataset) -> None:
    flip = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.ToDtype(torch.float32, scale=True)])
    plain, flipped = (
        dataset.torch_dataset(target="boxes"),
        dataset.torch_dataset(flip, target="boxes"),
    )
    (image, before), (mirrored, after) = plain[0], flipped[0]
    assert torch.allclose(mirrored, image.flip(-1) / 255)
    left = image.shape[-1] - before["boxes"][:, 2]
    assert torch.allclose(
        after["boxes"][:, 0].as_subclass(torch.Tensor), left.as_subclass(torch.Tensor)
    )
    cut = dataset.torch_dataset(
        v2.Compose([v2.CenterCrop([60, 60]), v2.SanitizeBoundingBoxes()]), target="boxes"
    )
    target = cut[0][1]
    assert len(target["boxes"]) == len(target["labels"])


def test_torchvisions_detector_trains_on_a_batch(dataset: Dataset) -> None:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    data = dataset.torch_dataset(
        v2.Compose([v2.ToDtype(torch.float32, scale=True)]), target="boxes"
    )
    torch.manual_seed(0)
    model = ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=len(dataset.categories) + 1
    )
    images, targets = next(iter(DataLoader(data, batch_size=2, collate_fn=data.collate)))  # type: ignore[attr-defined]
    losses = model(images, targets)
    assert all(torch.isfinite(value) for value in losses.values())


def test_faulty_boxes_are_refused_or_dropped(dataset: Dataset) -> None:
    boxes = dataset.annotations.boxes.copy()
    boxes[0, 2] = 0
    faulty = replace(dataset, annotations=replace(dataset.annotations, boxes=boxes))
    with pytest.raises(TagboxError) as caught:
        faulty.torch_dataset(target="boxes")
    assert caught.value.code == "box-degenerate"
    row = int(dataset.annotations.image_rows[0])
    kept = faulty.torch_dataset(target="boxes", boxes="drop")[row][1]
    assert len(kept["boxes"]) == len(dataset[row].boxes) - 1
    with pytest.raises(TagboxError) as caught:
        dataset.torch_dataset(target="masks")  # type: ignore[arg-type]
    assert caught.value.code == "config-value"
