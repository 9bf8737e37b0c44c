"""Batches of images with boxes, loaded and augmented anew in every epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import BoxAugmentConfig
from tagbox.data.dataset import Dataset
from tagbox.data.training_boxes import ImageBoxes, TrainingBoxes
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image
from tagbox.images.geometry import PAD_VALUE, Letterbox, fitted_size
from tagbox.training.batches import PADDING, LoadedBatches
from tagbox.training.box_augment import BoxAugment, Others
from tagbox.training.box_views import View, clipped, crop_and_resize

if TYPE_CHECKING:
    from torch import Tensor

    from tagbox.models.detectors.base import Target


@dataclass(frozen=True, eq=False)
class BoxBatch:
    """Some images with their boxes: this process's share of a batch, or a part of it.

    Attributes
    ----------
    rows
        (B,) rows of the dataset. A part without readable images holds one grey image with row `PADDING`,
        an ignore region all over.
    images
        (B, H, W, 3) uint8 RGB, each in the upper left corner of a grey letterbox (`images.geometry.Letterbox`).
    sizes
        (height, width) of each image in it.
    targets
        Ground truth in pixels of the batch.
    scales
        (B, 2) float64 xy pixels of the batch per pixel of the upright file, before augmentation.
    """

    rows: NDArray[np.intp]
    images: Tensor
    sizes: list[tuple[int, int]]
    targets: list[Target]
    scales: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReadBoxes:
    """A loaded image at its size in the batch, or why it could not be read."""

    row: int
    image: NDArray[np.uint8]
    truth: ImageBoxes
    scale: tuple[float, float]
    error: TagboxError | None = None


class BoxReader:
    """Reads and augments single images, as a map-style dataset of `torch.utils.data`.

    Parameters
    ----------
    dataset, truth
        The images, and their boxes.
    size, fixed
        As in `DetectorSpec`.
    augment, seed
        None for validation: images are only resized.
    """

    def __init__(
        self,
        dataset: Dataset,
        truth: TrainingBoxes,
        size: int,
        *,
        fixed: bool = False,
        augment: BoxAugmentConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.dataset, self.truth, self.size, self.fixed = dataset, truth, size, fixed
        self.augment = None
        if augment is not None:
            others = Others(truth.rows, self.read)
            self.augment = BoxAugment(augment, size, seed=seed, fixed=fixed, others=others)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> ReadBoxes:
        """The image of (epoch, row)."""
        epoch, row = key
        if row == PADDING:
            return self._blank(row)
        try:
            image, truth = self.read(row)
        except TagboxError as error:
            return self._blank(row, error)
        own = self._size(row) or (image.shape[1], image.shape[0])
        width, height = fitted_size(own[0], own[1], self.size, fixed=self.fixed)
        scale = width / own[0], height / own[1]
        if self.augment is not None:
            image, truth = self.augment(image, truth, epoch=epoch, row=row)
            return ReadBoxes(row, image, truth, scale)
        whole = (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
        image = crop_and_resize(View.of(image, truth), whole, (width, height)).image
        # Boxes are scaled from original pixels directly: the decoder rounds sizes.
        truth = self.truth[row].scaled(*scale)
        inside = (0, 0, width, height)
        boxes, ignore = clipped(truth.boxes, *inside), clipped(truth.ignore, *inside)
        return ReadBoxes(row, image, ImageBoxes(boxes, truth.labels, ignore), scale)

    def read(self, row: int) -> tuple[NDArray[np.uint8], ImageBoxes]:
        """The decoded image of a row, and its boxes in pixels of that.

        Raises
        ------
        TagboxError
            The codes of `read_image`.
        """
        size = self._size(row)
        shown = 1.0 if self.augment is None else self.augment.least_shown
        # A JPEG much larger than the network's input need not be decoded at full size.
        least = None
        if size:
            least = math.ceil(min(fitted_size(*size, self.size, fixed=self.fixed)) / shown)
        image = read_image(self.dataset.images.path(row), min_size=least)
        height, width = image.shape[:2]
        own = size or (width, height)
        return image, self.truth[row].scaled(width / own[0], height / own[1])

    def _size(self, row: int) -> tuple[int, int] | None:
        """Width and height of the upright file, to which boxes refer; None where neither is known."""
        width, height = self.truth.pixels.sizes[row].astype(int).tolist()
        return (width, height) if width and height else None

    def _blank(self, row: int, error: TagboxError | None = None) -> ReadBoxes:
        image = np.full((self.size, self.size, 3), PAD_VALUE, np.uint8)
        everywhere = np.array([[0.0, 0.0, self.size, self.size]])
        nothing = ImageBoxes(np.zeros((0, 4)), np.zeros(0, np.int64), everywhere)
        return ReadBoxes(row, image, nothing, (1.0, 1.0), error)


class BoxBatches(LoadedBatches[ReadBoxes, BoxBatch]):
    """Batches of images with boxes.

    Parameters
    ----------
    dataset, truth
        The images, and their `training_boxes`; only ``truth.rows`` are loaded.
    size, fixed, multiple
        Of the detector: `DetectorSpec`.
    augment
        Augmentation of training images, which are shuffled; None for validation, sorted by letterbox and row,
        so that each image is detected in the letterbox that prediction uses, except in batches where the
        letterbox changes.
    loading
        As in `LoadedBatches`.
    """

    def __init__(
        self,
        dataset: Dataset,
        truth: TrainingBoxes,
        *,
        size: int,
        fixed: bool = False,
        multiple: int = 1,
        augment: BoxAugmentConfig | None = None,
        seed: int = 0,
        **loading: Any,
    ) -> None:
        self.letterbox = Letterbox(size=size, fixed=fixed, multiple=multiple)
        reader = BoxReader(dataset, truth, size, fixed=fixed, augment=augment, seed=seed)
        rows = truth.rows if augment is not None else _by_letterbox(truth, self.letterbox)
        super().__init__(reader, rows, shuffle=augment is not None, seed=seed, **loading)

    def collate(self, items: list[ReadBoxes], seed: tuple[int, ...]) -> BoxBatch:
        """The readable images in one letterbox; no random numbers are drawn."""
        import torch

        kept = [item for item in items if item.error is None] or items[:1]
        return BoxBatch(
            rows=np.array([PADDING if item.error else item.row for item in kept]),
            images=torch.from_numpy(stacked([item.image for item in kept], self.letterbox)),
            sizes=[(item.image.shape[0], item.image.shape[1]) for item in kept],
            targets=[_target(item.truth) for item in kept],
            scales=np.array([item.scale for item in kept], np.float64),
        )


def _by_letterbox(truth: TrainingBoxes, letterbox: Letterbox) -> NDArray[np.intp]:
    """The rows to train on, sorted by letterbox."""
    rows = truth.rows
    sizes = truth.pixels.sizes[rows].astype(int).tolist()
    shapes = [letterbox.outer(*letterbox.inner(width or 1, height or 1)) for width, height in sizes]
    return rows[np.lexsort(np.array(shapes, int).reshape(-1, 2).T)]


def _target(truth: ImageBoxes) -> Target:
    import torch

    from tagbox.models.detectors.base import Target

    boxes, ignore = truth.boxes.astype(np.float32), truth.ignore.astype(np.float32)
    # Boxes whose width or height is 0 in float32 are dropped.
    sided = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Target(
        torch.from_numpy(boxes[sided]),
        torch.from_numpy(truth.labels[sided].astype(np.int64)),
        torch.from_numpy(ignore),
    )


def stacked(images: Sequence[NDArray[np.uint8]], letterbox: Letterbox) -> NDArray[np.uint8]:
    """(B, H, W, 3) uint8: images of any size on the smallest common letterbox, padded with grey."""
    largest = [max(image.shape[side] for image in images) for side in (1, 0)]
    width, height = letterbox.outer(*largest)
    batch = np.full((len(images), height, width, 3), PAD_VALUE, np.uint8)
    for padded, image in zip(batch, images, strict=True):
        padded[: image.shape[0], : image.shape[1]] = image
    return batch
