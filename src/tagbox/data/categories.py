"""The 80 categories of COCO instances, and keeping, renaming and merging the categories of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np

from tagbox.data.dataset import Categories, Dataset
from tagbox.data.text import near
from tagbox.errors import TagboxError
from tagbox.yaml_files import read_yaml

_GROUPS = {
    "person": "person",
    "vehicle": "bicycle,car,motorcycle,airplane,bus,train,truck,boat",
    "outdoor": "traffic light,fire hydrant,stop sign,parking meter,bench",
    "animal": "bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe",
    "accessory": "backpack,umbrella,handbag,tie,suitcase",
    "sports": "frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,"
    "surfboard,tennis racket",
    "kitchen": "bottle,wine glass,cup,fork,knife,spoon,bowl",
    "food": "banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake",
    "furniture": "chair,couch,potted plant,bed,dining table,toilet",
    "electronic": "tv,laptop,mouse,remote,keyboard,cell phone",
    "appliance": "microwave,oven,toaster,sink,refrigerator",
    "indoor": "book,clock,vase,scissors,teddy bear,hair drier,toothbrush",
}

NAMES: tuple[str, ...] = tuple(name for group in _GROUPS.values() for name in group.split(","))
"""In the order of the indices of ``.cls`` files and submissions."""
SUPERCATEGORIES: tuple[str, ...] = tuple(
    supercategory for supercategory, group in _GROUPS.items() for _ in group.split(",")
)


def categories() -> Categories:
    """COCO's 80 categories with the ids 0..79 of the challenge, not COCO's own 1..90."""
    return Categories(
        names=NAMES, ids=np.arange(len(NAMES), dtype=np.int64), supercategories=SUPERCATEGORIES
    )


def keep(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Keep only the categories `names`, in the order of the dataset, and all images.

    Raises
    ------
    TagboxError
        ``unknown-category`` with the nearest names.
    """
    _check_known(names, dataset.categories.names, dataset.source.path, "--categories")
    kept = set(names)
    return regroup(dataset, {name: name for name in dataset.categories.names if name in kept})


def group_by_supercategory(dataset: Dataset) -> Dataset:
    """Merge categories into their supercategories; a category without one keeps its name.

    Where the source has no supercategories and all names are among COCO's 80, COCO's supercategories are used.

    Raises
    ------
    TagboxError
        ``no-supercategories`` when there are none.
    """
    categories = dataset.categories
    coco = dict(zip(NAMES, SUPERCATEGORIES, strict=True))
    if not any(categories.supercategories) and all(name in coco for name in categories.names):
        groups = tuple(coco[name] for name in categories.names)
        categories = replace(categories, supercategories=groups)
        dataset = replace(dataset, categories=categories)
    if not any(categories.supercategories):
        raise TagboxError(
            "no-supercategories",
            "its categories have no supercategories",
            file=dataset.source.path,
            hint="merge categories with a --mapping file instead of --group-by",
        )
    grouped = regroup(
        dataset,
        {
            name: group or name
            for name, group in zip(categories.names, categories.supercategories, strict=True)
        },
    )
    blank = ("",) * len(grouped.categories)
    return replace(grouped, categories=replace(grouped.categories, supercategories=blank))


def apply_mapping(dataset: Dataset, mapping: Mapping[str, str | None], file: Path) -> Dataset:
    """Rename and merge categories; those mapped to None are dropped, those not named are kept.

    A category that a reader told apart from an earlier one, as ``name (id N)``, is mapped as ``name`` is, unless it is
    named itself.

    Raises
    ------
    TagboxError
        ``unknown-category`` for a name the dataset does not have, with the nearest names.
    """
    _check_known(list(mapping), dataset.categories.names, file, None)
    texts, names = dataset.source.category_texts, {}
    for name, number in zip(dataset.categories.names, dataset.categories.ids.tolist(), strict=True):
        earlier = name.removesuffix(f" (id {texts.get(number, number)})")
        names[name] = mapping.get(name, mapping.get(earlier, name))
    return regroup(dataset, {old: new for old, new in names.items() if new is not None})


def read_mapping(path: Path) -> dict[str, str | None]:
    """Read a YAML file of ``old name: new name``, null to drop.

    Raises
    ------
    TagboxError
        ``mapping-file`` for other content, ``file-missing``.
    """
    values = read_yaml(path, "mapping-file", "write one 'old name: new name' a line")
    if not isinstance(values, dict) or not values:
        raise TagboxError(
            "mapping-file",
            "expected lines 'old name: new name'",
            file=path,
            hint="write null as the new name to drop a category",
        )
    for old, new in values.items():
        if not isinstance(old, str) or not isinstance(new, (str, type(None))):
            raise TagboxError(
                "mapping-file",
                f"{old!r}: {new!r} is not a pair of names",
                file=path,
                where=str(old),
                hint="put names that look like numbers, yes or no in quotes",
            )
    return values


def regroup(dataset: Dataset, new_names: Mapping[str, str]) -> Dataset:
    """Rename categories; those with equal new names are merged, absent ones dropped with their annotations.

    A merged category has the id, supercategory and position of the first of its members. It is unknown in
    an image where a member is unknown and none is present.

    Parameters
    ----------
    new_names
        Old name to new name.
    """
    old = dataset.categories
    names = list(dict.fromkeys(new_names[name] for name in old.names if name in new_names))
    row_of = {name: row for row, name in enumerate(names)}
    new_row = np.array(
        [row_of[new_names[name]] if name in new_names else -1 for name in old.names], np.int32
    )
    first = [int(np.flatnonzero(new_row == row)[0]) for row in range(len(names))]
    kept = np.flatnonzero(new_row[dataset.annotations.category_rows] >= 0)
    annotations = dataset.annotations.take(kept)
    unknown = dataset.unknown[new_row[dataset.unknown[:, 1]] >= 0]
    unknown = np.column_stack([unknown[:, 0], new_row[unknown[:, 1]]]).astype(np.int32)
    return replace(
        dataset,
        categories=Categories(
            names=tuple(names),
            ids=old.ids[first],
            supercategories=tuple(old.supercategories[row] for row in first),
        ),
        annotations=replace(annotations, category_rows=new_row[annotations.category_rows]),
        unknown=np.unique(unknown, axis=0),
        source=dataset.source.take_annotations(kept),
    )


def _check_known(names: Sequence[str], known: Sequence[str], file: Path, where: str | None) -> None:
    for name in names:
        if name not in known:
            raise TagboxError(
                "unknown-category",
                f"there is no category {name!r}",
                file=file,
                where=where or name,
                hint=near(name, known, noun="categories"),
            )


def alike(names: Iterable[str], others: Iterable[str] | None = None) -> list[tuple[str, str]]:
    """Pairs of names that differ only in case, spaces or the form of Unicode; of `names` with `others`, if given.

    Names of one letter are never alike: where letters are recognised, their case counts.
    """
    known: dict[str, str] = {}
    pairs = []
    for name in names if others is None else others:
        known.setdefault(folded(name), name)
    for name in names:
        other = known.get(folded(name))
        if other is not None and other != name and len(name) > 1:
            pairs.append((other, name))
    return pairs


def apart(one: str, other: str) -> tuple[str, str]:
    """Two names as they are shown, in ASCII where they would look the same."""
    show = ascii if normalize("NFC", one) == normalize("NFC", other) else repr
    return show(one), show(other)


def folded(name: str) -> str:
    """A name without differences in case, spaces and the form of Unicode."""
    return " ".join(normalize("NFKC", name).casefold().replace("_", " ").split())
