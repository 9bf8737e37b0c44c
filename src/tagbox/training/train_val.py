"""The training and the validation data: two datasets, or one that is split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tagbox.config import ClassifierConfig, DataConfig, DetectorConfig
from tagbox.data.dataset import Dataset
from tagbox.data.load import describe, load_dataset
from tagbox.data.split import Split, stratified_split
from tagbox.errors import TagboxError, no_labels
from tagbox.progress import Progress


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainVal:
    """The labelled training images, and the validation images for choosing epochs and thresholds.

    `split` has both where one dataset was split; it is None where two were given.
    """

    train: Dataset
    validation: Dataset
    split: Split | None


def load_train_val(
    data: Path | Dataset,
    config: ClassifierConfig | DetectorConfig,
    source: DataConfig,
    progress: Progress,
) -> TrainVal:
    """Read the training and the validation data, or split a stratified part off the former.

    Raises
    ------
    TagboxError
        What the readers raise; ``images-not-found``; ``no-labels`` where no image has labels;
        ``categories-differ`` where the two do not have the same categories.
    """
    loaded = load_dataset(data, source) if isinstance(data, Path) else data
    progress.say(describe(loaded))
    loaded = _labelled(loaded)
    if config.val is None:
        train_rows, val_rows = stratified_split(loaded.labels, config.val_fraction, config.seed)
        rows = {"train": train_rows, "validation": val_rows}
        split = Split.of(loaded, rows, seed=config.seed)
        return TrainVal(
            train=loaded.take(train_rows), validation=loaded.take(val_rows), split=split
        )
    validation = load_beside(config.val, config.val_images, source, loaded, "validation", progress)
    return TrainVal(train=loaded, validation=validation, split=None)


def load_beside(
    path: Path,
    images: Path | None,
    source: DataConfig,
    like: Dataset,
    name: str,
    progress: Progress,
) -> Dataset:
    """The labelled images of another dataset, its categories in the order of `like`.

    Parameters
    ----------
    images
        Folder of its images.
    source
        How the training data is read; of this dataset all images are, in whatever format.
    name
        What it is, for `progress`.

    Raises
    ------
    TagboxError
        What the readers raise; ``no-labels``; ``categories-differ``.
    """
    loaded = load_dataset(path, replace(source, images=images, format="auto", max_images=None))
    progress.say(f"{name}: {describe(loaded)}")
    return _labelled(_same_categories(loaded, like, path))


def _labelled(dataset: Dataset) -> Dataset:
    rows = np.flatnonzero(dataset.images.labelled)
    if not len(rows):
        hint = "train, validate and test on labelled images"
        raise no_labels(len(dataset), dataset.source.path, hint)
    return dataset if len(rows) == len(dataset) else dataset.take(rows)


def _same_categories(dataset: Dataset, like: Dataset, path: Path) -> Dataset:
    """`dataset` with its categories in the order of `like`, matched by name.

    Raises
    ------
    TagboxError
        ``categories-differ``.
    """
    ours, theirs = like.categories.names, dataset.categories.names
    if ours == theirs:
        return dataset
    if set(ours) != set(theirs):
        only = sorted(set(ours) ^ set(theirs))
        raise TagboxError(
            "categories-differ",
            f"{len(only)} categories are in one dataset only, such as {only[0]!r}",
            file=path,
            where="categories",
            hint="give both datasets the same categories, for example with --categories or --mapping",
        )
    row = np.array([ours.index(name) for name in theirs], np.int32)
    unknown = dataset.unknown.copy()
    unknown[:, 1] = row[unknown[:, 1]]
    annotations = replace(dataset.annotations, category_rows=row[dataset.annotations.category_rows])
    return replace(dataset, categories=like.categories, annotations=annotations, unknown=unknown)
