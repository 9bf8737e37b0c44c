"""Alignment of predictions with a dataset: categories by name, images by file, stem or id, never by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.config import DataConfig
from tagbox.data.categories import NAMES as COCO80
from tagbox.data.dataset import UNKNOWN, Annotations, Dataset
from tagbox.data.load import adapt
from tagbox.data.text import near, some
from tagbox.errors import TagboxError
from tagbox.predictions.coco_results import image_keys
from tagbox.predictions.predictions import Detections, Predictions

IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2", ".j2k", ".tga", ".mpo"),
    *(".heic", ".heif"),
}
_AMBIGUOUS = -2


@dataclass(frozen=True, eq=False, kw_only=True)
class Aligned:
    """Truth and predictions, row for row.

    Attributes
    ----------
    rows
        (n,) rows of the dataset that are scored: its images with at least one known label.
    categories
        K names, the dataset's.
    truth
        (n, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities, decisions
        (n, K) float32 or bool; one of them is None.
    missing
        Images without a prediction, which count as images without a predicted category.
    extra
        Predicted images and categories that the dataset does not have, left out.
    """

    rows: NDArray[np.intp]
    categories: tuple[str, ...]
    truth: NDArray[np.int8]
    probabilities: NDArray[np.float32] | None
    decisions: NDArray[np.bool_] | None
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()


def index_names(dataset: Dataset) -> tuple[str, ...]:
    """The names that category indices in a challenge JSON stand for.

    COCO's 80 in their official order when all of the dataset's categories are among them, whatever order
    or selection the dataset has; the dataset's own otherwise.
    """
    own = dataset.categories.names
    return tuple(COCO80) if set(own) <= set(COCO80) else own


def restrict(predictions: Predictions, names: Sequence[str]) -> Predictions:
    """The predictions of the categories in `names`, for a dataset of which only those were asked for."""
    kept = [column for column, name in enumerate(predictions.categories) if name in set(names)]
    table = predictions.table[:, kept]
    return replace(
        predictions,
        categories=tuple(predictions.categories[column] for column in kept),
        probabilities=None if predictions.probabilities is None else table.astype(np.float32),
        decisions=None if predictions.decisions is None else table.astype(bool),
    )


def align(
    predictions: Predictions,
    dataset: Dataset,
    missing: Literal["error", "empty"] = "error",
    extra: Literal["error", "ignore"] = "error",
) -> Aligned:
    """Align predictions with the dataset's labels.

    An image is found by its path as the dataset has it, else by its stem (``000000000139``, leading
    zeros apart), else by its id. Images without any known label are not scored, and need no prediction.

    Parameters
    ----------
    predictions, dataset
        Predicted and true labels.
    missing
        What to do about labelled images without a prediction: refuse, or count them as images without a
        predicted category (probability 0 everywhere).
    extra
        What to do about predicted images and categories that the dataset does not have.

    Raises
    ------
    TagboxError
        ``unknown-category``, ``missing-category``, ``unknown-image``, ``ambiguous-image``,
        ``duplicate-image``, ``missing-prediction``, ``nothing-labelled``.
    """
    columns, extra_categories = _columns(predictions, dataset, extra)
    row_of, unknown = image_rows_of(predictions.images, predictions.source, dataset)
    if unknown and extra == "error":
        raise TagboxError(
            "unknown-image",
            f"{_of(len(unknown), len(predictions))} not in the dataset, the first is {unknown[0]!r}",
            file=predictions.source,
            hint="check that this is the right dataset, or pass --extra ignore",
        )
    scored = np.flatnonzero((dataset.labels != UNKNOWN).any(axis=1))
    if not len(scored):
        raise TagboxError(
            "nothing-labelled",
            "none of its images is labelled, so there is nothing to score against",
            file=dataset.source.path,
            hint="give the dataset that holds the labels",
        )
    prediction_of = np.full(len(dataset), -1, np.intp)
    found = row_of >= 0
    prediction_of[row_of[found]] = np.flatnonzero(found)
    chosen = prediction_of[scored]
    without = dataset.images.stems[scored[chosen < 0]].tolist()
    if without and missing == "error":
        raise TagboxError(
            "missing-prediction",
            f"no prediction for {len(without):,} of {len(scored):,} images, the first is {without[0]!r}",
            file=predictions.source,
            hint="predict them, or pass --missing empty to count them as images without a predicted category",
        )
    table = predictions.table[np.ix_(np.maximum(chosen, 0), columns)] if len(predictions) else None
    if table is None:
        table = np.zeros((len(scored), len(columns)), predictions.table.dtype)
    table[chosen < 0] = 0
    has_probabilities = predictions.probabilities is not None
    return Aligned(
        rows=scored,
        categories=dataset.categories.names,
        truth=dataset.labels[scored],
        probabilities=table.astype(np.float32) if has_probabilities else None,
        decisions=None if has_probabilities else table.astype(bool),
        missing=tuple(without),
        extra=tuple(extra_categories + unknown),
    )


def _columns(
    predictions: Predictions, dataset: Dataset, extra: str
) -> tuple[NDArray[np.intp], list[str]]:
    """The predictions' column of each of the dataset's categories, and the predicted categories it lacks."""
    names = dataset.categories.names
    unknown = _unknown_categories(predictions, names, extra)
    column_of = {name: column for column, name in enumerate(predictions.categories)}
    without = [name for name in names if name not in column_of]
    if without:
        raise TagboxError(
            "missing-category",
            f"no prediction of the dataset's {'category' if len(without) == 1 else 'categories'} "
            f"{some([repr(name) for name in without])}",
            file=predictions.source,
            hint="predict every category, or keep the predicted ones with --categories",
        )
    return np.array([column_of[name] for name in names], np.intp), unknown


def _unknown_categories(
    predictions: Predictions | Detections, names: Sequence[str], extra: str
) -> list[str]:
    """The predicted categories that are not in `names`, refused unless `extra` is ``ignore``."""
    known = set(names)
    unknown = [name for name in predictions.categories if name not in known]
    if unknown and extra == "error":
        others = f" (nor {len(unknown) - 1} more of the {len(predictions.categories)} predicted)"
        raise TagboxError(
            "unknown-category",
            f"the dataset has no category {unknown[0]!r}{others if unknown[1:] else ''}",
            file=predictions.source,
            hint=near(unknown[0], names, noun="categories") + ", or pass --extra ignore",
        )
    return unknown


def image_rows_of(
    keys: Sequence[str], source: str, dataset: Dataset
) -> tuple[NDArray[np.intp], list[str]]:
    """The dataset's row of each key (a file, a stem or an id), -1 where there is none, and the keys without a row.

    Raises
    ------
    TagboxError
        ``ambiguous-image``, ``duplicate-image``; `source` is the file that they name.
    """
    files, stems = dataset.images.files.tolist(), dataset.images.stems.tolist()
    by_file = {name: row for row, name in enumerate(files)}
    by_stem = _index(stems)
    by_number = _index([_plain(stem) for stem in stems])
    texts = dataset.source.image_texts
    by_id = {
        texts.get(number, str(number)): row
        for row, number in enumerate(dataset.images.ids.tolist())
    }
    rows = np.full(len(keys), -1, np.intp)
    unknown: list[str] = []
    for position, key in enumerate(keys):
        row = by_file.get(key, -1)
        if row == -1:
            row = by_stem.get(_stem(key), -1)
        if row == -1:
            row = by_number.get(_plain(_stem(key)), -1)
        if row == -1:
            row = by_id.get(key, by_id.get(_plain(key), -1))
        if row == _AMBIGUOUS:
            same = [name for name in files if _plain(_stem(name)) == _plain(_stem(key))]
            raise TagboxError(
                "ambiguous-image",
                f"{key!r} may be any of {some([repr(name) for name in same], 3)}",
                file=source,
                hint="name images by their path as the dataset has it",
            )
        if row == -1:
            unknown.append(key)
        rows[position] = row
    _refuse_twice(rows, keys, source)
    return rows, unknown


def _refuse_twice(rows: NDArray[np.intp], keys: Sequence[str], source: str) -> None:
    matched = np.flatnonzero(rows >= 0)
    _, first = np.unique(rows[matched], return_index=True)
    if len(first) == len(matched):
        return
    again = np.setdiff1d(np.arange(len(matched)), first)[0]
    twin = np.flatnonzero(rows == rows[matched[again]])[0]
    raise TagboxError(
        "duplicate-image",
        f"{keys[twin]!r} and {keys[matched[again]]!r} are the same image",
        file=source,
        hint="keep one prediction for each image",
    )


def _index(keys: Sequence[str]) -> dict[str, int]:
    index: dict[str, int] = {}
    for row, key in enumerate(keys):
        index[key] = _AMBIGUOUS if key in index else row
    return index


def _stem(name: str) -> str:
    """The name without folders and without the extension of an image file (``v1.2`` keeps its dot)."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _plain(key: str) -> str:
    """``000000000139`` as ``139``; everything else as it is."""
    return key.lstrip("0") or "0" if key.isascii() and key.isdigit() else key


def _of(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} predicted images {'is' if part == 1 else 'are'}"


def align_detections(
    detections: Detections, dataset: Dataset, extra: Literal["error", "ignore"] = "error"
) -> tuple[Detections, tuple[str, ...]]:
    """The detections with the dataset's images and categories, and the names of what was left out.

    The detector may know fewer categories than the dataset.

    Parameters
    ----------
    detections, dataset
        Predicted and true boxes.
    extra
        What to do about images and categories that the dataset does not have.

    Raises
    ------
    TagboxError
        ``unknown-category``, ``unknown-image``, ``ambiguous-image``, ``duplicate-image``.
    """
    names = dataset.categories.names
    unknown_categories = _unknown_categories(detections, names, extra)
    row_of = {name: row for row, name in enumerate(names)}
    columns = np.array([row_of.get(name, -1) for name in detections.categories], np.int32)
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
    return _moved(detections, rows, columns, dataset), tuple(unknown_categories + unknown)


def adapt_detections(
    detections: Detections, original: Dataset, dataset: Dataset, config: DataConfig
) -> Detections:
    """Detections in `original` as detections in `dataset`, which is ``adapt(original, config)``.

    A results file has the file's own categories: they are renamed, merged and dropped as those of annotations are, and
    only the images that were sampled stay.
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
    source = replace(
        original.source, annotation_positions=np.arange(count, dtype=np.int64), reduced={}
    )
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
    return _moved(kept, rows, columns, dataset)


def _moved(
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
