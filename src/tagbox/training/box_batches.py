"""Batches of pictures with boxes, read and varied anew in every epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import BoxAugmentConfig
from tagbox.data.boxes import ImageBoxes, TrainingBoxes, stated_sizes
from tagbox.data.dataset import Dataset
from tagbox.data.image_files import picture_size
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image
from tagbox.images.geometry import PAD_VALUE, Fit, train_state
from tagbox.training.batches import PADDING, picture_loader, shared_batches
from tagbox.training.box_augment import BoxAugment, Others
from tagbox.training.box_views import View, clipped, through

if TYPE_CHECKING:
    from torch import Tensor

    from tagbox.models.detectors.base import Target


@dataclass(frozen=True, eq=False)
class BoxBatch:
    """Some pictures with their boxes, all or a part of a batch on this process.

    Attributes
    ----------
    rows
        (B,) rows of the dataset. A part that nothing is left of holds one grey picture with row `PADDING`,
        all of it to be ignored.
    pictures
        (B, H, W, 3) uint8 RGB, each in the upper left corner of a grey canvas (`images.geometry.Fit`).
    sizes
        (height, width) of each picture in it.
    targets
        The truth in pixels of the batch.
    scales
        (B, 2) float64 xy pixels of the batch for one of the original picture. Where a picture is varied it
        is what it would be without.
    """

    rows: NDArray[np.intp]
    pictures: Tensor
    sizes: list[tuple[int, int]]
    targets: list[Target]
    scales: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReadBoxes:
    """A picture made ready: as it lies in the batch, or why it could not be read."""

    row: int
    image: NDArray[np.uint8]
    truth: ImageBoxes
    scale: tuple[float, float]
    error: TagboxError | None = None


class BoxReader:
    """Reads and augments single pictures; `torch.utils.data` calls it, in processes of its own or here.

    Parameters
    ----------
    dataset, truth
        The pictures, and what is in them.
    size, fixed
        As in `DetectorSpec`.
    augment, seed
        None reads pictures as they are, as validation does.
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

    def __getitem__(self, asked: tuple[int, int]) -> ReadBoxes:
        """The picture (epoch, row)."""
        epoch, row = asked
        if row == PADDING:
            return self._blank(row)
        try:
            real, stated = self._sizes(row)
            image, truth = self._read(row, real, stated)
        except TagboxError as error:
            return self._blank(row, error)
        own = real or (image.shape[1], image.shape[0])
        width, height = train_state(own[0], own[1], self.size, fixed=self.fixed)
        scale = width / stated[0], height / stated[1]
        if self.augment is not None:
            image, truth = self.augment(image, truth, epoch=epoch, row=row)
            return ReadBoxes(row, image, truth, scale)
        whole = (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
        image = through(View.of(image, truth), whole, (width, height)).image
        # From the original pixels at once: what the decoder rounded must not move a box.
        truth = self.truth[row].scaled(*scale)
        inside = (0, 0, width, height)
        boxes, ignore = clipped(truth.boxes, *inside), clipped(truth.ignore, *inside)
        return ReadBoxes(row, image, ImageBoxes(boxes, truth.labels, ignore), scale)

    def read(self, row: int) -> tuple[NDArray[np.uint8], ImageBoxes]:
        """The picture of a row as it is decoded, and its truth in pixels of that.

        Raises
        ------
        TagboxError
            The codes of `read_image`.
        """
        return self._read(row, *self._sizes(row))

    def _read(
        self, row: int, real: tuple[int, int] | None, stated: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], ImageBoxes]:
        shown = 1.0 if self.augment is None else self.augment.least_shown
        # A JPEG much larger than the network's input need not be decoded at full size.
        least = None
        if real:
            least = math.ceil(
                min(train_state(real[0], real[1], self.size, fixed=self.fixed)) / shown
            )
        image = read_image(self.dataset.images.path(row), min_size=least)
        height, width = image.shape[:2]
        return image, self.truth[row].scaled(width / stated[0], height / stated[1])

    def _sizes(self, row: int) -> tuple[tuple[int, int] | None, tuple[int, int]]:
        """Width and height of the file, None where its header is broken; and of what boxes are pixels of."""
        images = self.dataset.images
        real = picture_size(images.path(row))
        width, height = int(images.widths[row]), int(images.heights[row])
        known = real if real[0] and real[1] else None
        return known, (width or real[0] or 1, height or real[1] or 1)

    def _blank(self, row: int, error: TagboxError | None = None) -> ReadBoxes:
        image = np.full((self.size, self.size, 3), PAD_VALUE, np.uint8)
        everywhere = np.array([[0.0, 0.0, self.size, self.size]])
        nothing = ImageBoxes(np.zeros((0, 4)), np.zeros(0, np.int64), everywhere)
        return ReadBoxes(row, image, nothing, (1.0, 1.0), error)


class BoxPictureBatches:
    """Passes over pictures with boxes.

    Parameters
    ----------
    dataset, truth
        The pictures, and `training_boxes` of them; ``truth.rows`` are passed over.
    size, fixed, multiple
        Of the detector: `DetectorSpec`.
    batch_size, parts
        Images a batch over all processes; parts that this process computes its share in.
    augment
        How training pictures are varied; None for validation, whose order is that of canvases and rows, so
        that each is detected in the canvas that prediction takes, but in the batch between two kinds.
    seed
        Of order and augmentation.
    processes, rank
        Of the group that shares each batch.
    workers
        Processes that read; 0 reads here. It changes no number.
    on_unreadable
        Told once of each picture that cannot be read; it is left out, and the training goes on.
    """

    def __init__(
        self,
        dataset: Dataset,
        truth: TrainingBoxes,
        *,
        size: int,
        fixed: bool = False,
        multiple: int = 1,
        batch_size: int,
        parts: int = 1,
        augment: BoxAugmentConfig | None = None,
        seed: int = 0,
        processes: int = 1,
        rank: int = 0,
        workers: int = 0,
        on_unreadable: Callable[[TagboxError], object] = lambda _: None,
    ) -> None:
        self.dataset, self.truth = dataset, truth
        self.fit = Fit(size=size, fixed=fixed, multiple=multiple)
        self.batch_size, self.parts = batch_size, parts
        self.shuffled, self.seed = augment is not None, seed
        self.processes, self.rank, self.workers = processes, rank, workers
        self._on_unreadable = on_unreadable
        self._unreadable: set[int] = set()
        self.reader = BoxReader(dataset, truth, size, fixed=fixed, augment=augment, seed=seed)

    def __len__(self) -> int:
        return -(-len(self.truth.rows) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[BoxBatch]]:
        """One pass from batch `start` on: this process's parts of each batch."""
        batches = self._rows(epoch)[start:]
        parts = [[(epoch, int(row)) for row in part] for batch in batches for part in batch]
        loader = iter(picture_loader(self.reader, parts, self.workers))
        for _ in batches:
            yield [self._batch(next(loader)) for _ in range(self.parts)]

    def _rows(self, epoch: int) -> list[list[NDArray[np.intp]]]:
        """This process's parts of every batch of the epoch."""
        if self.shuffled:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.truth.rows)
        else:
            order = self._by_canvas
        return shared_batches(
            order, self.batch_size, processes=self.processes, rank=self.rank, parts=self.parts
        )

    @cached_property
    def _by_canvas(self) -> NDArray[np.intp]:
        """The rows, those of one canvas together."""
        rows = self.truth.rows
        sizes = stated_sizes(self.dataset, rows)[rows].astype(int).tolist()
        canvases = [
            self.fit.canvas(*self.fit.inner(width or 1, height or 1)) for width, height in sizes
        ]
        return rows[np.lexsort(np.array(canvases, int).reshape(-1, 2).T)]

    def _batch(self, read: list[ReadBoxes]) -> BoxBatch:
        import torch

        for each in read:
            if each.error is not None and each.row not in self._unreadable:
                self._unreadable.add(each.row)
                self._on_unreadable(each.error)
        kept = [each for each in read if each.error is None] or read[:1]
        return BoxBatch(
            rows=np.array([PADDING if each.error else each.row for each in kept]),
            pictures=torch.from_numpy(stacked([each.image for each in kept], self.fit)),
            sizes=[(each.image.shape[0], each.image.shape[1]) for each in kept],
            targets=[_target(each.truth) for each in kept],
            scales=np.array([each.scale for each in kept], np.float64),
        )


def _target(truth: ImageBoxes) -> Target:
    import torch

    from tagbox.models.detectors.base import Target

    boxes, ignore = truth.boxes.astype(np.float32), truth.ignore.astype(np.float32)
    # A side that float32 cannot tell from none is none.
    sided = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Target(
        torch.from_numpy(boxes[sided]),
        torch.from_numpy(truth.labels[sided].astype(np.int64)),
        torch.from_numpy(ignore),
    )


def stacked(images: Sequence[NDArray[np.uint8]], fit: Fit) -> NDArray[np.uint8]:
    """(B, H, W, 3) uint8 of pictures of any size on the canvas that holds them all, grey around them."""
    largest = [max(image.shape[side] for image in images) for side in (1, 0)]
    width, height = fit.canvas(*largest)
    batch = np.full((len(images), height, width, 3), PAD_VALUE, np.uint8)
    for place, image in zip(batch, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return batch
