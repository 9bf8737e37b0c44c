"""Seeded splits, stratified by the labels, and the file ``split.json`` that saves one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_write
from tagbox.config import DataConfig
from tagbox.data.dataset import Dataset, spells_number
from tagbox.data.stratify import sizes, stratify
from tagbox.data.text import some
from tagbox.errors import TagboxError
from tagbox.paths import is_plain_name
from tagbox.text_files import read_json_as
from tagbox.text_output import encode_json, written

Rows = NDArray[np.intp]
SPLIT_VERSION = 1


def stratified_split(labels: NDArray[np.int8], fraction: float, seed: int = 0) -> tuple[Rows, Rows]:
    """Hold out a part of the images with its share of every category.

    Parameters
    ----------
    labels
        (N, K) int8; 1 present, others count as absent.
    fraction
        Share of the images to hold out, between 0 and 1.
    seed
        Seed of the split.

    Returns
    -------
    kept, held_out : (A,), (B,) intp
        Ascending rows; neither is empty when N > 1.

    Raises
    ------
    TagboxError
        ``too-few-images`` for fewer than two images.
    """
    _enough(len(labels), 2)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    wanted = sizes(len(labels), (1 - fraction, fraction))[1]
    # Neither side may be empty, however small the fraction.
    share = min(max(wanted, 1), len(labels) - 1) / len(labels)
    side = stratify(labels, (1 - share, share), seed)
    return np.flatnonzero(side == 0), np.flatnonzero(side == 1)


def stratified_parts(
    labels: NDArray[np.int8], fractions: Sequence[float], seed: int = 0
) -> list[Rows]:
    """Rows of several parts, one for each fraction; the fractions sum to 1."""
    _enough(len(labels), len(fractions))
    side = stratify(labels, fractions, seed)
    return [np.flatnonzero(side == part) for part in range(len(fractions))]


def stratified_folds(
    labels: NDArray[np.int8], folds: int, seed: int = 0
) -> list[tuple[Rows, Rows]]:
    """(training rows, validation rows) of each fold; every image is in the validation part of one fold.

    Raises
    ------
    TagboxError
        ``too-few-images`` for fewer images than folds.
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    _enough(len(labels), folds)
    side = stratify(labels, [1 / folds] * folds, seed)
    return [(np.flatnonzero(side != fold), np.flatnonzero(side == fold)) for fold in range(folds)]


def sample(dataset: Dataset, count: int, seed: int = 0) -> Dataset:
    """`count` images in their order, stratified by category; all when there are not more."""
    if count >= len(dataset):
        return dataset
    share = count / len(dataset)
    return dataset.take(np.flatnonzero(stratify(dataset.labels, (share, 1 - share), seed) == 0))


def _enough(count: int, least: int) -> None:
    if count < least:
        raise TagboxError(
            "too-few-images",
            f"{count} labelled images cannot be split into {least} parts",
            hint="give more images or ask for fewer parts",
        )


@dataclass(frozen=True, kw_only=True)
class Split:
    """Named parts of a dataset, by keys of images that do not depend on the folder of the files.

    Attributes
    ----------
    parts
        Part name to the keys of its images; of folds, their validation parts.
    key
        What the keys are: ``stem`` (file names without folder and extension) where those are
        unique, else ``id`` (COCO) or ``file``.
    seed
        The seed of the split.
    folds
        Whether the parts are folds: each is the validation part to the others.
    source
        Name of the file or folder that was split.
    images
        The folder of the images, relative to the saved file; None where unknown.
    """

    parts: Mapping[str, tuple[str, ...]]
    key: Literal["stem", "id", "file"]
    seed: int
    folds: bool = False
    source: str = ""
    images: str | None = None

    @classmethod
    def of(
        cls, dataset: Dataset, rows: Mapping[str, Rows], *, seed: int, folds: bool = False
    ) -> Split:
        """The split whose parts are the images at ``rows[part]``."""
        if len(set(dataset.images.stems.tolist())) == len(dataset):
            kind: Literal["stem", "id", "file"] = "stem"
        else:
            kind = "id" if dataset.source.format == "coco" else "file"
        keys = _keys(dataset, kind)
        return cls(
            parts={part: tuple(keys[row] for row in r.tolist()) for part, r in rows.items()},
            key=kind,
            seed=seed,
            folds=folds,
            source=dataset.source.path.name,
        )

    def rows(self, dataset: Dataset) -> dict[str, Rows]:
        """Rows of each part in a dataset, ascending.

        Raises
        ------
        TagboxError
            ``split-images`` when the dataset lacks an image of the split, or holds a labelled one
            that the split does not name.
        """
        row_of = {key: row for row, key in enumerate(_keys(dataset, self.key))}
        named = {key for keys in self.parts.values() for key in keys}
        missing = [key for keys in self.parts.values() for key in keys if key not in row_of]
        labelled = dataset.images.labelled.tolist()
        extra = [key for key, row in row_of.items() if labelled[row] and key not in named]
        for keys, verb, which in (
            (missing, "lacks", "that the split names"),
            (extra, "holds", "that the split does not name"),
        ):
            if keys:
                raise TagboxError(
                    "split-images",
                    f"the dataset {verb} {len(keys):,} images {which}: {some(keys)}",
                    file=dataset.source.path,
                    hint="use the dataset that was split, or make a new split",
                )
        return {
            part: np.array(sorted(row_of[key] for key in keys), np.intp)
            for part, keys in self.parts.items()
        }

    def written_rows(self, dataset: Dataset) -> dict[str, Rows]:
        """Rows of each part that is written: of folds, ``fold1-train`` and ``fold1-val`` and so on."""
        rows = self.rows(dataset)
        if not self.folds:
            return rows
        result = {}
        for part, validation in rows.items():
            others = [r for name, r in rows.items() if name != part]
            result[f"{part}-train"] = np.sort(np.concatenate(others))
            result[f"{part}-val"] = validation
        return result

    def apply(self, dataset: Dataset) -> dict[str, Dataset]:
        """The `written_rows` as datasets."""
        return {part: dataset.take(rows) for part, rows in self.written_rows(dataset).items()}

    def save(self, path: Path) -> None:
        """Write ``split.json``, atomically."""
        content = {"version": SPLIT_VERSION, **asdict(self)}
        atomic_write(path, msgspec.json.format(encode_json(content), indent=1) + b"\n")

    @classmethod
    def load(cls, path: Path) -> Split:
        """Read a saved split.

        Raises
        ------
        TagboxError
            ``file-missing``, ``json-syntax``, ``split-file`` with the path of the wrong value.
        """
        saved = read_json_as(path, _Saved, "split-file", "make it with 'tagbox split'")
        keys = [key for part in saved.parts.values() for key in part]
        fault = None
        odd = next((part for part in saved.parts if not is_plain_name(part)), None)
        if odd is not None:
            raise TagboxError(
                "split-file",
                f"{odd[:80]!r} is not a plain name of a part",
                file=path,
                where="parts",
                hint="use letters, digits, dots, dashes and underscores, such as train",
            )
        if saved.version != SPLIT_VERSION:
            fault = f"version {saved.version} is not known, only {SPLIT_VERSION}"
        elif len(set(keys)) < len(keys):
            fault = "an image stands in two parts"
        elif len({part.casefold() for part in saved.parts}) < len(saved.parts):
            fault = "two parts have the same name but for its case"
        if fault is not None:
            hint = "make it with this version's 'tagbox split'"
            raise TagboxError("split-file", fault, file=path, hint=hint)
        return cls(**{f.name: getattr(saved, f.name) for f in fields(cls)})


def saved_split(config: DataConfig) -> tuple[Path | None, DataConfig]:
    """The path of a saved split, where ``config.split`` is one, and the config without it."""
    if config.split is None or not config.split.lower().endswith(".json"):
        return None, config
    return Path(config.split), replace(config, split=None)


def made_by_split(folder: Path) -> Callable[[str], bool] | None:
    """Which files of a folder without a mark an earlier ``tagbox split`` wrote; None for other folders."""
    try:
        saved = Split.load(folder / "split.json")
    except TagboxError:
        return None
    sides = ("-train", "-val") if saved.folds else ("",)
    parts = [part + side for part in saved.parts for side in sides]
    files = {"split.json", "classes.txt", "data.yaml"}
    files.update(f"{part}{suffix}" for part in parts for suffix in (".json", ".csv"))
    folders = {"images", "labels", *parts}
    return lambda name: name in files or ("/" in name and name.partition("/")[0] in folders)


@dataclass(frozen=True, kw_only=True)
class _Saved(Split):
    version: int


def _keys(dataset: Dataset, kind: Literal["stem", "id", "file"]) -> list[str]:
    if kind == "stem":
        return [written(stem) for stem in dataset.images.stems.tolist()]
    if kind == "file":
        return [written(file) for file in dataset.images.files.tolist()]
    # Digits in quotes are the number; for another text the dataset has a number of its own.
    texts = {n: t for n, t in dataset.source.image_texts.items() if not spells_number(t, n)}
    return [texts.get(number, str(number)) for number in dataset.images.ids.tolist()]
