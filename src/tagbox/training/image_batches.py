"""Batches of pictures, read and varied anew in every epoch, while the whole network is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import AugmentConfig, Geometry
from tagbox.data.dataset import UNKNOWN, Dataset
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image
from tagbox.images.geometry import PAD_VALUE, to_square
from tagbox.training.augment import Augment
from tagbox.training.batches import PADDING, picture_loader, shared_batches
from tagbox.training.classification_task import Batch
from tagbox.training.crop import Objects, ObjectsByImage, resolve_crop
from tagbox.training.mixing import mix

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False)
class Read:
    """A picture made ready: its square, its labels as they now are, or why it could not be read."""

    row: int
    square: NDArray[np.uint8]
    labels: NDArray[np.int8]
    error: TagboxError | None = None


class Reader:
    """Reads and augments single pictures; `torch.utils.data` calls it, in processes of its own or here.

    Parameters
    ----------
    augment
        None reads pictures as they are, as validation does.
    """

    def __init__(
        self, dataset: Dataset, size: int, geometry: Geometry, augment: Augment | None
    ) -> None:
        self.dataset, self.size, self.geometry, self.augment = dataset, size, geometry, augment
        self.labels = dataset.labels
        # A crop shows less than all of a picture, so the decoder may not scale it down as far.
        crops = augment is not None and augment.crop != "none"
        shown = augment.config.crop_scale if augment is not None and crops else 1.0
        self._least_side = math.ceil(size / math.sqrt(shown))
        self._objects = ObjectsByImage(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, asked: tuple[int, int]) -> Read:
        """The picture (epoch, row)."""
        epoch, row = asked
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
        """The picture's objects, in pixels of `image`, which the decoder may have scaled down."""
        objects = self._objects[row]
        height, width = image.shape[:2]
        images = self.dataset.images
        stated = images.widths[row] or width, images.heights[row] or height
        scale = np.array([width / stated[0], height / stated[1]] * 2)
        return replace(objects, boxes=objects.boxes * scale)

    def _blank(self, row: int, error: TagboxError | None = None) -> Read:
        square = np.full((self.size, self.size, 3), PAD_VALUE, np.uint8)
        return Read(row, square, np.full(self.labels.shape[1], UNKNOWN, np.int8), error)


class PictureBatches:
    """Passes over pictures.

    Parameters
    ----------
    dataset
        Labelled images.
    size, geometry
        Of the squares.
    batch_size, parts
        Images a batch over all processes; parts that this process computes its share in.
    augment
        How training pictures are varied; None for validation, whose order is that of the rows.
    seed
        Of order and augmentation.
    processes, rank
        Of the group that shares each batch.
    workers
        Processes that read; 0 reads here. It changes no number.
    targets
        (N, K) float32 to learn instead of the labels; see `training.teacher`.
    on_unreadable
        Told once of each picture that cannot be read; it is left out, and the training goes on.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: int,
        geometry: Geometry,
        *,
        batch_size: int,
        parts: int = 1,
        augment: AugmentConfig | None = None,
        seed: int = 0,
        processes: int = 1,
        rank: int = 0,
        workers: int = 0,
        targets: NDArray[np.float32] | None = None,
        on_unreadable: Callable[[TagboxError], object] = lambda _: None,
    ) -> None:
        self.dataset, self.batch_size, self.parts = dataset, batch_size, parts
        self.config, self.seed = augment, seed
        self.processes, self.rank, self.workers = processes, rank, workers
        self.targets, self._on_unreadable = targets, on_unreadable
        self._unreadable: set[int] = set()
        varied = None
        if augment is not None:
            crop = resolve_crop(augment.crop, bool(dataset.annotations.has_box.any()))
            varied = Augment(augment, size, geometry, seed=seed, crop=crop)
        self.reader = Reader(dataset, size, geometry, varied)

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """See `training.loop.Batches`; inputs are (B, S, S, 3) uint8, or float32 where pictures are mixed."""
        batches = self._rows(epoch)[start:]
        parts = [[(epoch, int(row)) for row in part] for batch in batches for part in batch]
        loader = iter(picture_loader(self.reader, parts, self.workers))
        for number in range(start, start + len(batches)):
            yield [
                self._batch(next(loader), (self.seed, epoch, number, part, self.rank))
                for part in range(self.parts)
            ]

    def _rows(self, epoch: int) -> list[list[NDArray[np.intp]]]:
        """This process's parts of every batch of the epoch."""
        order = np.arange(len(self.dataset))
        if self.config is not None:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(order))
        return shared_batches(
            order, self.batch_size, processes=self.processes, rank=self.rank, parts=self.parts
        )

    def _batch(self, read: list[Read], seed: tuple[int, ...]) -> Batch:
        import torch

        for each in read:
            if each.error is not None and each.row not in self._unreadable:
                self._unreadable.add(each.row)
                self._on_unreadable(each.error)
        asked = np.array([each.row for each in read])
        labels = np.stack([each.labels for each in read])
        inputs = torch.from_numpy(np.stack([each.square for each in read]))
        truth = torch.from_numpy(labels.astype(np.float32))
        targets = truth
        if self.targets is not None:
            # Where the crop changed a label, the teacher has seen another picture.
            same = torch.from_numpy(labels == self.reader.labels[asked])
            targets = torch.where(same, torch.from_numpy(self.targets[asked]), truth)
        # What could not be read fills the batch, with labels all unknown, and stands in no figure.
        rows = np.where([each.error is None for each in read], asked, PADDING)
        if self.config is not None:
            inputs, mixed, was_mixed = mix(inputs, targets, self.config, seed=seed)
            if was_mixed:
                return Batch(rows, inputs, mixed, None)
        return Batch(rows, inputs, targets, truth)
