"""Small datasets and predictions that the evaluation's tests share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tagbox.data.dataset import Annotations, Categories, Dataset, Images, memory_source


def dataset(
    files: Sequence[str],
    labels: Sequence[Sequence[int]],
    categories: Sequence[str] = ("cat", "dog", "hat"),
    ids: Sequence[int] | None = None,
    labelled: Sequence[bool] | None = None,
) -> Dataset:
    """Images by file name, the category rows present in each."""
    pairs = [(row, column) for row, columns in enumerate(labels) for column in columns]
    images, columns = np.array(pairs, np.int32).reshape(-1, 2).T
    count = len(files)
    return Dataset(
        images=Images(
            ids=np.array(ids if ids is not None else range(1, count + 1), np.int64),
            files=np.array(files, np.str_),
            widths=np.zeros(count, np.int32),
            heights=np.zeros(count, np.int32),
            labelled=np.array(labelled if labelled is not None else [True] * count),
            root=Path("pictures"),
        ),
        categories=Categories.from_names(categories),
        annotations=Annotations.from_labels(images, columns),
        source=memory_source(count, len(pairs)),
    )
