"""Batches of cached features, and what every kind of batches has in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.training.classification_task import Batch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import DataLoader

PREFETCHED = 4
"""Batches each reading process is ahead."""
PADDING = -1
"""Row of a picture that only fills a batch up: none of its labels is known, so it takes no part."""


def shared_rows(
    rows: NDArray[np.intp], *, processes: int = 1, rank: int = 0, parts: int = 1
) -> list[NDArray[np.intp]]:
    """This process's share of a batch's rows, an array for each part that it is computed in.

    All processes' parts together are the batch, each row once. Sizes differ by one at most; an empty
    part holds `PADDING`, because every process takes part in every exchange.
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


def picture_loader(
    reader: Any, parts: Sequence[Sequence[tuple[int, int]]], workers: int
) -> DataLoader[Any]:
    """Reads what `reader` gives for each (epoch, row) of each part, in `workers` processes of its own or here."""
    import torch
    from torch.utils.data import DataLoader

    return DataLoader(
        reader,
        batch_sampler=parts,  # type: ignore[arg-type]
        collate_fn=list,
        num_workers=workers,
        prefetch_factor=PREFETCHED if workers else None,
        # It draws a seed that nothing here uses; from the global generator it would move dropout.
        generator=torch.Generator(),
    )


class FeatureBatches:
    """Passes over features that were encoded once.

    Parameters
    ----------
    features
        (N, V, ...) float32; V views of each image (view 0 is the picture as it is).
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    batch_size
        Images a batch; the last one of a pass may be smaller.
    shuffle
        With it, the order and the view of each image are drawn anew every epoch from (`seed`, epoch);
        without, the order is that of the rows and the view is 0.
    seed
        Of the order.
    targets
        (N, K) float32 to learn instead of the labels; see `training.teacher`.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        labels: NDArray[np.int8],
        *,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        targets: NDArray[np.float32] | None = None,
    ) -> None:
        import torch

        self.features = torch.from_numpy(features)
        self.truth = torch.from_numpy(labels.astype(np.float32))
        self.targets = self.truth if targets is None else torch.from_numpy(targets)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed

    def __len__(self) -> int:
        return -(-len(self.targets) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[list[Batch]]:
        """See `training.loop.Batches`; inputs are (B, ...) features."""
        import torch

        count, views = self.features.shape[:2]
        order, view = np.arange(count), torch.zeros(count, dtype=torch.long)
        if self.shuffle:
            random = np.random.default_rng([self.seed, epoch])
            order = random.permutation(count)
            view = torch.from_numpy(random.integers(views, size=count))
        for first in range(start * self.batch_size, count, self.batch_size):
            rows = order[first : first + self.batch_size]
            inputs = self.inputs(torch.from_numpy(rows), view[rows])
            yield [Batch(rows, inputs, self.targets[rows], self.truth[rows])]

    def inputs(self, rows: Tensor, views: Tensor) -> Tensor:
        """What the model takes for the images at `rows`."""
        return self.features[rows, views]
