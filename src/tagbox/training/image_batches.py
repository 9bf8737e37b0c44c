"""Batches of images with labels, loaded and augmented anew in every epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import AugmentConfig, Geometry
from tagbox.config.augment import resolve_crop
from tagbox.data.dataset import UNKNOWN, Dataset
from tagbox.data.record_pixels import record_pixels
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image
from tagbox.images.geometry import PAD_VALUE, to_square
from tagbox.training.augment import Augment
from tagbox.training.batches import PADDING, LoadedBatches
from tagbox.training.classification_task import Batch
from tagbox.training.crop import Objects, ObjectsByImage
from tagbox.training.mixup import mix


@dataclass(frozen=True, eq=False)
class Read:
    """An augmented image: its square, its labels after cropping, or why it could not be read."""

    row: int
    square: NDArray[np.uint8]
    labels: NDArray[np.int8]
    error: TagboxError | None = None


class Reader:
    """Reads and augments single images, as a map-style dataset of `torch.utils.data`.

    Parameters
    ----------
    augment
        None for validation: images are only resized.
    """

    def __init__(
        self, dataset: Dataset, size: int, geometry: Geometry, augment: Augment | None
    ) -> None:
        self.dataset, self.size, self.geometry, self.augment = dataset, size, geometry, augment
        self.labels = dataset.labels
        # A crop shows a part of the image, so the decoder must keep more pixels of it.
        crops = augment is not None and augment.crop != "none"
        shown = augment.config.crop_scale if augment is not None and crops else 1.0
        self._least_side = math.ceil(size / math.sqrt(shown))
        # Boxes matter for crops alone; without any, no header is read.
        boxed = crops and bool(dataset.annotations.has_box.any())
        self._pixels = record_pixels(dataset) if boxed else None
        self._objects = ObjectsByImage(self._pixels.in_file() if self._pixels else dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> Read:
        """The image of (epoch, row)."""
        epoch, row = key
        if row == PADDING:
            return self._blank(row)
        try:
            image = read_image(self.dataset.images.path(row), min_size=self._least_side)
        except TagboxError as error:
            return self._blank(row, error)
        if self.augment is None:
            return Read(row, to_square(image, self.size, self.geometry), self.labels[row])
        square, labels = self.augment(
            image, self._objects_in(row, image), self.labels[row], epoch=epoch, row=row
        )
        return Read(row, square, labels)

    def _objects_in(self, row: int, image: NDArray[np.uint8]) -> Objects:
        """The image's objects, in pixels of `image`, which the decoder may have scaled down."""
        objects = self._objects[row]
        height, width = image.shape[:2]
        if self._pixels is None:
            return objects
        own = np.where(self._pixels.sizes[row] > 0, self._pixels.sizes[row], (width, height))
        scale = np.tile(np.array([width, height]) / own, 2)
        return replace(objects, boxes=objects.boxes * scale)

    def _blank(self, row: int, error: TagboxError | None = None) -> Read:
        square = np.full((self.size, self.size, 3), PAD_VALUE, np.uint8)
        return Read(row, square, np.full(self.labels.shape[1], UNKNOWN, np.int8), error)


class ImageBatches(LoadedBatches[Read, Batch]):
    """Batches of images with labels.

    Parameters
    ----------
    dataset, size, geometry
        Images become (size, size) squares.
    augment
        Augmentation of training images, which are shuffled; None for validation.
    targets
        (N, K) float32 targets of the loss instead of the labels; see `training.teacher`.
    loading
        As in `LoadedBatches`.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: int,
        geometry: Geometry,
        *,
        augment: AugmentConfig | None = None,
        seed: int = 0,
        targets: NDArray[np.float32] | None = None,
        **loading: Any,
    ) -> None:
        self.config, self.targets = augment, targets
        augmented = None
        if augment is not None:
            crop = resolve_crop(augment.crop, bool(dataset.annotations.has_box.any()))
            augmented = Augment(augment, size, geometry, seed=seed, crop=crop)
        reader = Reader(dataset, size, geometry, augmented)
        rows = np.arange(len(dataset))
        super().__init__(reader, rows, shuffle=augment is not None, seed=seed, **loading)

    def collate(self, items: list[Read], seed: tuple[int, ...]) -> Batch:
        """Inputs (B, S, S, 3) uint8, or float32 where images are mixed."""
        import torch

        rows_read = np.array([item.row for item in items])
        labels = np.stack([item.labels for item in items])
        inputs = torch.from_numpy(np.stack([item.square for item in items]))
        truth = torch.from_numpy(labels.astype(np.float32))
        targets = truth
        if self.targets is not None:
            # Where the crop changed a label, the teacher saw another image: its targets do not apply.
            same = torch.from_numpy(labels == self.reader.labels[rows_read])
            targets = torch.where(same, torch.from_numpy(self.targets[rows_read]), truth)
        # Unreadable images are padding: their labels are unknown, and they count in no metric.
        rows = np.where([item.error is None for item in items], rows_read, PADDING)
        if self.config is not None:
            inputs, mixed, was_mixed = mix(inputs, targets, self.config, seed=seed)
            if was_mixed:
                return Batch(rows, inputs, mixed, None)
        return Batch(rows, inputs, targets, truth)
