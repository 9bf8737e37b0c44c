"""The base class of batches of images, which both kinds of model load."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.interrupts import end_with_parent

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

PREFETCHED = 4
"""Batches that each loading process prefetches."""
PADDING = -1
"""Row of an image that only pads a batch; none of its labels is known."""


class Loaded(Protocol):
    """A loaded image: its dataset row, and why it could not be read."""

    @property
    def row(self) -> int:
        """Dataset row, or `PADDING`."""

    @property
    def error(self) -> TagboxError | None:
        """None for an image that was read."""


Item = TypeVar("Item", bound=Loaded)
Part = TypeVar("Part")


def shared_rows(
    rows: NDArray[np.intp], *, processes: int = 1, rank: int = 0, parts: int = 1
) -> list[NDArray[np.intp]]:
    """This process's share of a batch's rows, an array for each part that it is computed in.

    All processes' parts together are the batch, each row once. Sizes differ by one at most; an empty
    part holds `PADDING`, because every process takes part in every gradient exchange.
    """
    pieces = np.array_split(rows, parts * processes)
    own = [pieces[part * processes + rank] for part in range(parts)]
    return [piece if len(piece) else np.array([PADDING]) for piece in own]


def shared_batches(
    order: NDArray[np.intp], batch_size: int, *, processes: int, rank: int, parts: int
) -> list[list[NDArray[np.intp]]]:
    """This process's parts, see `shared_rows`, of every batch of a pass in that order."""
    return [
        shared_rows(order[first : first + batch_size], processes=processes, rank=rank, parts=parts)
        for first in range(0, len(order), batch_size)
    ]


def image_loader(
    reader: Any, parts: Sequence[Sequence[tuple[int, int]]], workers: int
) -> DataLoader[Any]:
    """Loads the item of each (epoch, row) of each part, in `workers` processes, or in this one if 0."""
    import torch
    from torch.utils.data import DataLoader

    return DataLoader(
        reader,
        batch_sampler=parts,  # type: ignore[arg-type]
        collate_fn=list,
        num_workers=workers,
        prefetch_factor=PREFETCHED if workers else None,
        # DataLoader draws a base seed, unused here; from the global generator it would change dropout.
        generator=torch.Generator(),
        worker_init_fn=_begin_worker if workers else None,
    )


def _begin_worker(_: int) -> None:
    """Called in each loading process, of which no part of a terminal's Ctrl-C is heard."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


class LoadedBatches(ABC, Generic[Item, Part]):
    """Batches of images that a reader loads and augments anew in every epoch.

    Parameters
    ----------
    reader
        A map-style dataset of torch's: (epoch, row) to an item.
    rows
        Dataset rows of one pass, in validation order.
    batch_size, parts
        Images in a batch over all processes; parts that this process divides its share into.
    shuffle, seed
        Whether the order is drawn from (`seed`, epoch).
    processes, rank
        Of the group that shares each batch.
    workers
        Processes that load images; 0 loads in this process. It does not change the result.
    on_unreadable
        Called once for each image that cannot be read; it is left out, and the training continues.
    """

    def __init__(
        self,
        reader: Any,
        rows: NDArray[np.intp],
        *,
        batch_size: int,
        parts: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        processes: int = 1,
        rank: int = 0,
        workers: int = 0,
        on_unreadable: Callable[[TagboxError], object] = lambda _: None,
    ) -> None:
        self.reader, self.rows = reader, rows
        self.batch_size, self.parts = batch_size, parts
        self.shuffle, self.seed = shuffle, seed
        self.processes, self.rank, self.workers = processes, rank, workers
        self._on_unreadable = on_unreadable
        self._unreadable: set[int] = set()

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Part]]:
        """This process's parts of each batch, from batch `start` on."""
        order = self.rows
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(order)
        shares = shared_batches(
            order, self.batch_size, processes=self.processes, rank=self.rank, parts=self.parts
        )[start:]
        indices = [[(epoch, int(row)) for row in part] for batch in shares for part in batch]
        loader = iter(image_loader(self.reader, indices, self.workers))
        for number in range(start, start + len(shares)):
            yield [
                self._part(next(loader), (self.seed, epoch, number, part, self.rank))
                for part in range(self.parts)
            ]

    def _part(self, items: list[Item], seed: tuple[int, ...]) -> Part:
        for item in items:
            if item.error is not None and item.row not in self._unreadable:
                self._unreadable.add(item.row)
                self._on_unreadable(item.error)
        return self.collate(items, seed)

    @abstractmethod
    def collate(self, items: list[Item], seed: tuple[int, ...]) -> Part:
        """The items as one part of a batch; what is drawn for it follows from `seed`."""
