"""Exclusive labels: every picture has exactly one category, as in a folder a class."""

from __future__ import annotations

import numpy as np

from tagbox.data.dataset import PRESENT, Dataset
from tagbox.errors import TagboxError


def exclusive(dataset: Dataset) -> bool:
    """Whether the data says "one category an image": no boxes, and exactly one label everywhere.

    Where there are boxes, objects are what was annotated; that each picture has one may be chance.
    """
    one_each = len(_without_one(dataset)) == 0 and len(dataset) > 0
    boxes = bool(dataset.annotations.has_box.any())
    return one_each and not boxes and len(dataset.categories) > 1


def require_single_label(dataset: Dataset) -> None:
    """Refuse data in which an image has no category, several, or unknown ones.

    Raises
    ------
    TagboxError
        ``labels-not-exclusive``, which names the first such image.
    """
    wrong = _without_one(dataset)
    if len(wrong):
        row = int(wrong[0])
        count = int((dataset.labels[row] == PRESENT).sum())
        raise TagboxError(
            "labels-not-exclusive",
            f"{len(wrong):,} of {len(dataset):,} images do not have exactly one category, "
            f"such as {dataset.images.files[row]} with {count if count != 1 else 'unknown ones'}",
            file=dataset.source.path,
            hint="give every image one category, or pass --labels multi",
        )


def _without_one(dataset: Dataset) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Rows of the images that do not have exactly one category and all others absent."""
    labels = dataset.labels
    one = ((labels == PRESENT).sum(axis=1) == 1) & (labels >= 0).all(axis=1)
    return np.flatnonzero(~one)
