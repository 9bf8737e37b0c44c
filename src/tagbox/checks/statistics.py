"""Statistics of a dataset: labels per image, categories, co-occurrence, sizes of images and objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.box_faults import without_area
from tagbox.data.dataset import PRESENT, UNKNOWN, Dataset

SMALL, LARGE = 32.0**2, 96.0**2
"""COCO's area limits in pixels²: below the first an object is small, above the second large."""


def statistics(dataset: Dataset, *, pairs: int = 20) -> dict[str, Any]:
    """Statistics of a dataset.

    Parameters
    ----------
    dataset
        Any dataset; image files are not opened.
    pairs
        Number of pairs of categories under ``co_occurrence``.

    Returns
    -------
    dict
        Plain values with stable keys:

        ``images``, ``labelled_images``, ``empty_images`` (labelled, with no category),
        ``annotations``, ``boxes``, ``crowds``: counts.

        ``labels_per_image``: ``mean``, ``median``, ``max`` and ``histogram`` (images with 0, 1, 2,
        ... categories), over the labelled images.

        ``categories``: one ``{"name", "supercategory", "images", "annotations", "share"}`` for each
        category in row order; ``share`` is the part of the labelled images that hold it.

        ``imbalance``: images of the most frequent category over images of the rarest used one, or
        None without labels.

        ``co_occurrence``: the `pairs` most frequent pairs as ``{"a", "b", "images", "lift"}``;
        lift is P(a and b) / (P(a) P(b)), 1 for independent categories.

        ``widths``, ``heights``: ``min``, ``median``, ``max`` in pixels over the images whose source
        states them, or None. ``objects``: boxes by COCO's ``small``, ``medium``, ``large``.

        ``boxes_per_image``: ``mean``, ``median``, ``max`` over the labelled images. ``box_sides``: the
        square root of width times height, in pixels, and ``aspect_ratios``: width over height; each
        as ``p5``, ``p25``, ``median``, ``p75``, ``p95`` over the boxes with an area. None without
        such boxes.
    """
    labels, annotations = dataset.labels, dataset.annotations
    present = labels == PRESENT
    labelled = dataset.images.labelled
    known = np.maximum((labels[labelled] != UNKNOWN).sum(axis=0), 1)
    images_of = present.sum(axis=0)
    annotations_of = np.bincount(annotations.category_rows, minlength=len(dataset.categories))
    per_image = present[labelled].sum(axis=1)
    used = images_of[images_of > 0]
    return {
        "images": len(dataset),
        "labelled_images": int(labelled.sum()),
        "empty_images": int((per_image == 0).sum()),
        "annotations": len(annotations),
        "boxes": int(annotations.has_box.sum()),
        "crowds": int(annotations.crowd.sum()),
        "labels_per_image": {
            "mean": float(per_image.mean()) if len(per_image) else None,
            "median": float(np.median(per_image)) if len(per_image) else None,
            "max": int(per_image.max()) if len(per_image) else None,
            "histogram": np.bincount(per_image).tolist(),
        },
        "categories": [
            {
                "name": name,
                "supercategory": supercategory,
                "images": int(images),
                "annotations": int(count),
                "share": float(images / total),
            }
            for name, supercategory, images, count, total in zip(
                dataset.categories.names,
                dataset.categories.supercategories,
                images_of,
                annotations_of,
                known,
                strict=True,
            )
        ],
        "imbalance": float(used.max() / used.min()) if len(used) else None,
        "co_occurrence": _co_occurrence(present[labelled], dataset.categories.names, pairs),
        "widths": _spread(dataset.images.widths),
        "heights": _spread(dataset.images.heights),
        "objects": _object_sizes(annotations.boxes[annotations.has_box]),
        **_box_shapes(dataset),
    }


def co_occurrence_counts(present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(K, K) int64: images that hold both categories; the diagonal counts each alone.

    Parameters
    ----------
    present
        (N, K) bool.
    """
    # BLAS multiplies float32, which counts exactly up to 2^24, far faster than NumPy does integers.
    total = np.zeros((present.shape[1], present.shape[1]), np.int64)
    for start in range(0, len(present), 1 << 16):
        block = present[start : start + (1 << 16)].astype(np.float32)
        total += (block.T @ block).astype(np.int64)
    return total


def _co_occurrence(
    present: NDArray[np.bool_], names: tuple[str, ...], pairs: int
) -> list[dict[str, Any]]:
    together = co_occurrence_counts(present)
    alone = together.diagonal()
    first, second = np.triu_indices(len(names), 1)
    counts = together[first, second]
    order = np.argsort(-counts, kind="stable")[:pairs]
    return [
        {
            "a": names[a],
            "b": names[b],
            "images": int(together[a, b]),
            "lift": float(together[a, b] * len(present) / (alone[a] * alone[b])),
        }
        for a, b in zip(first[order], second[order], strict=True)
        if together[a, b]
    ]


def _spread(sizes: NDArray[np.int32]) -> dict[str, int] | None:
    known = sizes[sizes > 0]
    if not len(known):
        return None
    return {"min": int(known.min()), "median": int(np.median(known)), "max": int(known.max())}


def _object_sizes(boxes: NDArray[np.float64]) -> dict[str, int]:
    areas = boxes[:, 2] * boxes[:, 3]
    small, large = int((areas < SMALL).sum()), int((areas > LARGE).sum())
    return {"small": small, "medium": len(areas) - small - large, "large": large}


_QUANTILES = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95}


def _box_shapes(dataset: Dataset) -> dict[str, dict[str, float] | None]:
    """Number of boxes per image, their sizes and aspect ratios."""
    annotations, labelled = dataset.annotations, dataset.images.labelled
    sound = annotations.has_box & ~without_area(annotations.boxes)
    if not (sound & labelled[annotations.image_rows]).any():
        return {"boxes_per_image": None, "box_sides": None, "aspect_ratios": None}
    per_image = np.bincount(annotations.image_rows[sound], minlength=len(dataset))[labelled]
    width, height = annotations.boxes[sound, 2:].T
    return {
        "boxes_per_image": {
            "mean": float(per_image.mean()),
            "median": float(np.median(per_image)),
            "max": float(per_image.max()),
        },
        "box_sides": _quantiles(np.sqrt(width) * np.sqrt(height)),
        "aspect_ratios": _quantiles(width / height),
    }


def _quantiles(values: NDArray[np.float64]) -> dict[str, float]:
    found = np.percentile(values, list(_QUANTILES.values())).tolist()
    return dict(zip(_QUANTILES, found, strict=True))
