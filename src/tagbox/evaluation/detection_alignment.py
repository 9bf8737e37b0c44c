"""Detections laid beside a dataset: categories by name, images by file, stem or id, never by position."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.config import DataConfig
from tagbox.data.dataset import Annotations, Dataset
from tagbox.data.load import adapt
from tagbox.data.text import near
from tagbox.errors import TagboxError
from tagbox.evaluation.alignment import image_rows_of
from tagbox.evaluation.coco_results import image_keys
from tagbox.evaluation.detections import Detections


def align_detections(
    detections: Detections, dataset: Dataset, extra: Literal["error", "ignore"] = "error"
) -> tuple[Detections, tuple[str, ...]]:
    """The detections with the dataset's images and categories as theirs, and what was left out.

    A category that nobody detects needs no mention: the detector may know fewer.

    Parameters
    ----------
    detections, dataset
        The claims and the truth.
    extra
        What to do about images and categories that the dataset does not have.

    Raises
    ------
    TagboxError
        ``unknown-category``, ``unknown-image``, ``ambiguous-image``, ``duplicate-image``.
    """
    place = {name: row for row, name in enumerate(dataset.categories.names)}
    columns = np.array([place.get(name, -1) for name in detections.categories], np.int32)
    strange = [name for name in detections.categories if name not in place]
    if strange and extra == "error":
        raise TagboxError(
            "unknown-category",
            f"the dataset has no category {strange[0]!r}",
            file=detections.source,
            hint=near(strange[0], dataset.categories.names, noun="categories")
            + ", or pass --extra ignore",
        )
    keys = image_keys(dataset)
    rows = np.arange(len(keys), dtype=np.int32)
    unknown: list[str] = []
    if detections.images != keys:
        found, unknown = image_rows_of(detections.images, detections.source, dataset)
        rows = found.astype(np.int32)
    if unknown and extra == "error":
        raise TagboxError(
            "unknown-image",
            f"{len(unknown):,} of {len(detections.images):,} images are not in the dataset, the first is "
            f"{unknown[0]!r}",
            file=detections.source,
            hint="check that this is the right dataset, or pass --extra ignore",
        )
    return _placed(detections, rows, columns, dataset), tuple(strange + unknown)


def adapt_detections(
    detections: Detections, original: Dataset, dataset: Dataset, config: DataConfig
) -> Detections:
    """What becomes of detections in `original` where `dataset` is `adapt(original, config)`.

    A results file speaks of the file's own categories: they are renamed, merged and dropped as the annotations'
    are, and only the images that were sampled stay.
    """
    count = len(detections)
    as_annotations = Annotations(
        image_rows=detections.image_rows,
        category_rows=detections.category_rows,
        boxes=detections.boxes,
        has_box=np.ones(count, bool),
        areas=np.full(count, np.nan),
        crowd=np.zeros(count, bool),
        ids=np.arange(count, dtype=np.int64),
    )
    source = replace(original.source, annotation_positions=np.arange(count, dtype=np.int64))
    carried = replace(original, annotations=as_annotations, source=source)
    changed = adapt(carried, replace(config, max_images=None))
    kept = detections.take(changed.annotations.ids.astype(np.intp))
    kept = replace(
        kept,
        categories=changed.categories.names,
        category_rows=changed.annotations.category_rows,
    )
    row_of = {number: row for row, number in enumerate(dataset.images.ids.tolist())}
    rows = np.array([row_of.get(number, -1) for number in original.images.ids.tolist()], np.int32)
    columns = np.arange(len(kept.categories), dtype=np.int32)
    return _placed(kept, rows, columns, dataset)


def _placed(
    detections: Detections,
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    dataset: Dataset,
) -> Detections:
    """The detections whose image has a row and whose category a column, in their order."""
    image_rows, category_rows = rows[detections.image_rows], columns[detections.category_rows]
    kept = (image_rows >= 0) & (category_rows >= 0)
    return Detections(
        images=image_keys(dataset),
        categories=dataset.categories.names,
        image_rows=image_rows[kept],
        category_rows=category_rows[kept],
        boxes=detections.boxes[kept],
        scores=detections.scores[kept],
        source=detections.source,
    )
