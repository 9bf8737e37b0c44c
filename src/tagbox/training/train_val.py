"""The training and the validation data: two datasets, or one that is split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagbox.checks.training_checks import training_warnings
from tagbox.config import ClassifierConfig, DataConfig, DetectorConfig
from tagbox.config.classifier import POOLED_HEADS, VAL_FRACTION
from tagbox.data.categories import alike, apart
from tagbox.data.dataset import Dataset
from tagbox.data.load import describe, load_dataset, stated_names
from tagbox.data.seen_images import digests_of, shared_images
from tagbox.data.split import Split, stratified_folds, stratified_split
from tagbox.data.split_names import choose, role
from tagbox.data.text import some
from tagbox.errors import TagboxError, no_labels
from tagbox.progress import Progress

FOLDS, MOST_IN_FOLDS = 5, 5000
"""Folds where none are asked for, and images up to which there are any: a tenth of more is enough to choose by."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainVal:
    """The labelled training images, and the validation images for choosing epochs and thresholds.

    Attributes
    ----------
    split
        Where one dataset was split: both parts, or the folds; None where two datasets were given.
    fold_of
        (N,) the fold of each image, from 0, where a head is trained in folds: then both sides are all images.
    """

    train: Dataset
    validation: Dataset
    split: Split | None
    fold_of: NDArray[np.intp] | None = None

    @property
    def folds(self) -> int:
        """The number of folds; 0 where there are none."""
        return 0 if self.fold_of is None else int(self.fold_of.max()) + 1


def load_train_val(
    data: Path | Dataset,
    config: ClassifierConfig | DetectorConfig,
    source: DataConfig,
    progress: Progress,
    validation: Dataset | None = None,
) -> TrainVal:
    """Read the training and the validation data, or split a stratified part off the former.

    `progress` is told what of them will make the training or its metrics worthless.

    Of data that states splits, ``train`` is the training data, and ``val`` the validation data where the config
    names no other. `validation` is in memory, and taken in place of what the config names.

    Raises
    ------
    TagboxError
        What the readers raise; ``images-not-found``; ``too-few-images``; ``config-value`` for folds of data
        that states its validation images; ``no-labels`` where no image has labels;
        ``categories-differ`` where the two do not have the same categories; ``split-overlap`` where images are
        on both sides and the config does not allow it.
    """
    val, val_source = config.val, source
    if validation is not None:
        val = validation.source.path
    if isinstance(data, Path):
        names = stated_names(data, source)
        source, stated_val = _stated_sides(data, names, source)
        if val is None and stated_val is not None:
            val, val_source = data, replace(source, split=stated_val)
        if source.split is not None:
            progress.say(f"{data} states its splits, {some(names)}: training on {source.split}")
    loaded = load_dataset(data, source) if isinstance(data, Path) else data
    progress.say(describe(loaded))
    loaded = _labelled(loaded)
    if val is not None and isinstance(config, ClassifierConfig) and config.folds not in ("auto", 0):
        raise TagboxError(
            "config-value",
            f"the data states its validation images, and {config.folds} folds need none",
            file=val,
            where="folds",
            hint="leave --folds out, or give the training images alone",
        )
    fold_of = _fold_of(config, loaded) if val is None else None
    if fold_of is not None:
        rows = {f"fold{fold + 1}": np.flatnonzero(fold_of == fold) for fold in np.unique(fold_of)}
        split = Split.of(loaded, rows, seed=config.seed, folds=True)
        return _told(
            TrainVal(train=loaded, validation=loaded, split=split, fold_of=fold_of),
            config,
            progress,
        )
    if val is None:
        train_rows, val_rows = stratified_split(loaded.labels, config.val_fraction, config.seed)
        rows = {"train": train_rows, "validation": val_rows}
        split = Split.of(loaded, rows, seed=config.seed)
        parts = TrainVal(
            train=loaded.take(train_rows), validation=loaded.take(val_rows), split=split
        )
        overlap = _overlap(parts.train, parts.validation, "validation")
        if overlap is not None:
            progress.say(f"warning: {overlap}, so metrics will be too good")
        return _told(parts, config, progress)
    if validation is not None:
        progress.say(f"validation: {describe(validation)}")
        val_data = _labelled(_same_categories(validation, loaded, val, stated=False))
    elif config.val is None:
        val_data = load_dataset(val, replace(val_source, max_images=None))
        progress.say(f"validation: {describe(val_data)}, the split {val_source.split}")
        val_data = _labelled(_same_categories(val_data, loaded, val, stated=True))
    else:
        val_data = load_beside(val, config.val_images, source, loaded, "validation", progress)
    require_apart(loaded, val_data, "validation", config, progress)
    return _told(TrainVal(train=loaded, validation=val_data, split=None), config, progress)


def _fold_of(config: ClassifierConfig | DetectorConfig, data: Dataset) -> NDArray[np.intp] | None:
    """(N,) the fold of each image, copies of a file in the same one; None where a part is held out instead.

    Raises
    ------
    TagboxError
        ``too-few-images`` for fewer different images than folds were asked for.
    """
    if isinstance(config, DetectorConfig) or config.folds == 0:
        return None
    folds = config.folds
    if folds == "auto":
        pooled = config.head in (*POOLED_HEADS, "auto") and not config.finetune.active
        if not pooled or config.val_fraction != VAL_FRACTION or len(data) > MOST_IN_FOLDS:
            return None
        folds = FOLDS
    first: dict[str, int] = {}
    same = [first.setdefault(found or str(row), row) for row, found in enumerate(digests_of(data))]
    if len(first) < folds and config.folds == "auto":
        return None
    fold_of = np.zeros(len(data), np.intp)
    originals = np.array(sorted(set(same)), np.intp)
    for fold, (_, held) in enumerate(stratified_folds(data.labels[originals], folds, config.seed)):
        fold_of[originals[held]] = fold
    return fold_of[same]


def _told(
    data: TrainVal, config: ClassifierConfig | DetectorConfig, progress: Progress
) -> TrainVal:
    for sentence in training_warnings(
        data.train,
        data.validation,
        boxes=isinstance(config, DetectorConfig),
        drawn=data.split is not None,
    ):
        progress.say(f"warning: {sentence}")
    return data


def require_apart(
    train: Dataset,
    other: Dataset,
    name: str,
    config: ClassifierConfig | DetectorConfig,
    progress: Progress,
) -> None:
    """Refuse other data with images of the training data, or warn where the config allows them; `name` is what it is.

    Raises
    ------
    TagboxError
        ``split-overlap``.
    """
    overlap = _overlap(train, other, name)
    if overlap is not None and not config.allow_overlap:
        raise TagboxError(
            "split-overlap",
            overlap,
            file=other.source.path,
            hint="give other images, or pass --allow-overlap",
        )
    if overlap is not None:
        progress.say(f"warning: {overlap}, so metrics will be too good")


def _overlap(train: Dataset, validation: Dataset, name: str) -> str | None:
    """In words how many images are on both sides, as the same file or with the same bytes; None if none is."""
    pairs = shared_images(train, validation)
    if not pairs:
        return None
    one, other = train.images.path(pairs[0][0]), validation.images.path(pairs[0][1])
    which = str(one) if one == other else f"{other}, which is {one}"
    return (
        f"{len(pairs):,} of the {len(validation):,} {name} images are training images too, "
        f"such as {which}"
    )


def _stated_sides(
    data: Path, names: tuple[str, ...], source: DataConfig
) -> tuple[DataConfig, str | None]:
    """How the training data is read, and which of its splits is for validation, if any."""
    if source.split is not None:
        training = choose(source.split, names, data)
    elif "train" in names:
        training = "train"
    else:
        return source, None
    return replace(source, split=training), "val" if "val" in set(names) - {training} else None


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
        What it is, ``validation`` or ``test``: also the split that is read where the dataset states several.

    Raises
    ------
    TagboxError
        What the readers raise; ``no-labels``; ``categories-differ``.
    """
    source = replace(source, images=images, format="auto", max_images=None, split=None)
    names = stated_names(path, source)
    wanted = next((split for split in names if split == role(name)), None)
    loaded = load_dataset(path, source, split=wanted if len(names) > 1 else None)
    progress.say(f"{name}: {describe(loaded)}")
    return _labelled(_same_categories(loaded, like, path))


def _labelled(dataset: Dataset) -> Dataset:
    rows = np.flatnonzero(dataset.images.labelled)
    if not len(rows):
        hint = "train, validate and test on labelled images"
        raise no_labels(len(dataset), dataset.source.path, hint)
    return dataset if len(rows) == len(dataset) else dataset.take(rows)


def _same_categories(
    dataset: Dataset, like: Dataset, path: Path, *, stated: bool = False
) -> Dataset:
    """`dataset` with its categories in the order of `like`, matched by name.

    A `stated` split may lack categories: formats without a list of names know those that occur.

    Raises
    ------
    TagboxError
        ``categories-differ``.
    """
    ours, theirs = like.categories.names, dataset.categories.names
    if ours == theirs:
        return dataset
    if set(ours) != set(theirs) and not (stated and set(theirs) < set(ours)):
        only = sorted(set(ours) ^ set(theirs))
        same = alike([name for name in theirs if name not in ours], ours)
        here, there = apart(same[0][1], same[0][0]) if same else (repr(only[0]), "")
        spelt = f", which the other spells {there}" if same else ""
        raise TagboxError(
            "categories-differ",
            f"{len(only)} categories are in one dataset only, such as {here}{spelt}",
            file=path,
            where="categories",
            hint="rename them in one of the two, or select those of both with --categories",
        )
    row = np.array([ours.index(name) for name in theirs], np.int32)
    unknown = dataset.unknown.copy()
    unknown[:, 1] = row[unknown[:, 1]]
    annotations = replace(dataset.annotations, category_rows=row[dataset.annotations.category_rows])
    return replace(dataset, categories=like.categories, annotations=annotations, unknown=unknown)
