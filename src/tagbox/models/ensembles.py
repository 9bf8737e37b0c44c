"""Ensembles, saved as ``ensemble.json`` and a complete bundle of each member in ``members/N``.

The folder refers to nothing outside it, so the runs of the members may be moved or removed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tagbox.atomic_io import atomic_write, sha256_of
from tagbox.config import LabelKind, require
from tagbox.config.classifier import SIZES
from tagbox.errors import TagboxError
from tagbox.models.bundle import (
    ENSEMBLE_NAME,
    WEIGHTS_NAME,
    ClassifierBundle,
    is_ensemble,
)
from tagbox.models.bundle_files import read_description
from tagbox.predictions.thresholds import Thresholds

FORMAT, FORMAT_VERSION = "tagbox-ensemble", 1
MEMBERS_NAME = "members"


@dataclass(frozen=True, kw_only=True)
class View:
    """A test-time view of an image.

    Attributes
    ----------
    size
        Side in pixels of the square input of each backbone; its own where None.
    mirror
        Whether the image is mirrored left to right.
    """

    size: int | None = None
    mirror: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Member:
    """A model of an ensemble.

    Attributes
    ----------
    bundle
        The model.
    run
        The run directory it was taken from.
    weight
        Of its probabilities; at least 0.
    views
        Its probabilities are the mean over these.
    """

    bundle: ClassifierBundle
    run: str
    weight: float
    views: tuple[View, ...] = (View(),)


@dataclass(frozen=True, eq=False, kw_only=True)
class Ensemble:
    """Models whose probabilities are averaged.

    Attributes
    ----------
    members
        One or more, with the same categories in any order; the first one's order is the ensemble's.
    thresholds
        From combined probabilities to labels.
    versions
        Library to version when it was made.
    data_fingerprint
        `Dataset.fingerprint` of the images that weights and thresholds were fitted on.
    """

    members: tuple[Member, ...]
    thresholds: Thresholds
    versions: dict[str, str] = field(default_factory=dict)
    data_fingerprint: str = ""

    @property
    def categories(self) -> tuple[str, ...]:
        """K names, in the order of the columns of probabilities."""
        return self.members[0].bundle.categories.names

    @property
    def labels(self) -> LabelKind:
        """Whether categories exclude each other; the same for all members."""
        return self.members[0].bundle.labels

    @property
    def transfer(self) -> str | None:
        """What the first member says that uses what was trained on COCO; None where none does."""
        said = (member.bundle.transfer for member in self.members)
        return next((transfer for transfer in said if transfer), None)


class _View(msgspec.Struct, forbid_unknown_fields=True):
    size: int | None
    mirror: bool


class _Member(msgspec.Struct, forbid_unknown_fields=True):
    run: str
    weight: float
    views: list[_View]
    weights_sha256: str


class _Description(msgspec.Struct, forbid_unknown_fields=True):
    """`ensemble.json`, field for field."""

    format: str
    format_version: int
    members: list[_Member]
    categories: list[str]
    thresholds: dict[str, Any]
    data_fingerprint: str
    versions: dict[str, str]


def views_of(sizes: Sequence[int], *, mirrored: bool) -> tuple[View, ...]:
    """A view at each size, or at a run's own without `sizes`, and with `mirrored` the mirrored one of each."""
    mirrors = (False, True) if mirrored else (False,)
    return tuple(View(size=s, mirror=m) for s in dict.fromkeys(sizes or (None,)) for m in mirrors)


def combine_runs(folders: Sequence[Path], views: tuple[View, ...]) -> Ensemble:
    """The runs in `folders` with equal weights and thresholds of 0.5; of an ensemble, its members.

    Raises
    ------
    TagboxError
        ``config-value`` where there is no folder; ``categories-differ`` with a category that only one of two
        runs has; ``labels-differ``; the codes of `load_ensemble`.
    """
    require(len(folders) > 0, "members", [], "at least one run")
    found: list[tuple[str, ClassifierBundle]] = []
    for folder in folders:
        if is_ensemble(folder):
            for index, member in enumerate(load_ensemble(folder).members):
                found.append((str(member_folder(folder, index)), member.bundle))
        else:
            found.append((str(folder), ClassifierBundle.load(folder)))
    first, names = found[0][0], found[0][1].categories.names
    for run, bundle in found[1:]:
        other = differing_name(names, bundle.categories.names)
        if other is not None:
            has, lacks = (first, run) if other in names else (run, first)
            raise TagboxError(
                "categories-differ",
                f"{has} has the category {other!r}, {lacks} has not",
                file=run,
                where="categories",
                hint="combine runs that were trained on the same categories",
            )
        if bundle.labels != found[0][1].labels:
            raise TagboxError(
                "labels-differ",
                f"its labels are {bundle.labels}, those of {first} are {found[0][1].labels}",
                file=run,
                where="labels",
                hint="combine runs that were trained with the same --labels",
            )
    weights = (1 / len(found),) * len(found)
    members = tuple(
        Member(bundle=bundle, run=run, weight=weight, views=views)
        for (run, bundle), weight in zip(found, weights, strict=True)
    )
    return Ensemble(members=members, thresholds=Thresholds())


def save_ensemble(ensemble: Ensemble, folder: Path) -> None:
    """Write the members, then the description, into `folder`."""
    rows = []
    for index, member in enumerate(ensemble.members):
        inside = member_folder(folder, index)
        inside.mkdir(parents=True)
        member.bundle.save(inside)
        rows.append(
            {
                "run": member.run,
                "weight": member.weight,
                "views": [{"size": v.size, "mirror": v.mirror} for v in member.views],
                "weights_sha256": sha256_of(inside / WEIGHTS_NAME),
            }
        )
    description = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "members": rows,
        "categories": list(ensemble.categories),
        "thresholds": ensemble.thresholds.to_dict(),
        "data_fingerprint": ensemble.data_fingerprint,
        "versions": ensemble.versions,
    }
    content = msgspec.json.format(msgspec.json.encode(description), indent=2)
    atomic_write(folder / ENSEMBLE_NAME, content)


def load_ensemble(folder: Path) -> Ensemble:
    """Read an ensemble's folder.

    Raises
    ------
    TagboxError
        ``bundle-missing``, ``bundle-json`` and ``bundle-version`` for the description or a member's;
        ``bundle-mismatch`` where a member is not the one that was saved; the other codes of
        `models.bundle.Bundle.load`; ``thresholds-invalid``.
    """
    path = folder / ENSEMBLE_NAME
    description = read_description(path, _Description, FORMAT, FORMAT_VERSION)
    _check(description, path)
    members = []
    for index, saved in enumerate(description.members):
        inside = member_folder(folder, index)
        bundle = ClassifierBundle.load(inside)
        found = sha256_of(inside / WEIGHTS_NAME)
        if found != saved.weights_sha256:
            raise _mismatch(
                path,
                f"members[{index}].weights_sha256",
                f"the SHA-256 of {inside / WEIGHTS_NAME} begins {found[:12]}, not "
                f"{saved.weights_sha256[:12]}",
            )
        names = bundle.categories.names
        if set(names) != set(description.categories) or (
            index == 0 and list(names) != description.categories
        ):
            raise _mismatch(path, "categories", f"not those of {inside}")
        views = tuple(View(size=view.size, mirror=view.mirror) for view in saved.views)
        member = Member(bundle=bundle, run=saved.run, weight=saved.weight, views=views)
        members.append(member)
    return Ensemble(
        members=tuple(members),
        thresholds=_thresholds(description, path),
        versions=description.versions,
        data_fingerprint=description.data_fingerprint,
    )


def member_folder(folder: Path, index: int) -> Path:
    """The folder of member `index` in an ensemble's, which can itself be used as a run."""
    return folder / MEMBERS_NAME / str(index)


def differing_name(names: Sequence[str], others: Sequence[str]) -> str | None:
    """A name that is in only one of the two lists; None where they have the same names."""
    only = sorted(set(names) ^ set(others))
    return only[0] if only else None


def _check(description: _Description, path: Path) -> None:
    """Refuse invalid members, views and weights."""
    if not description.members:
        raise _json_error(path, "members", "there is none")
    for index, member in enumerate(description.members):
        if not 0 <= member.weight <= 1:
            found = f"{member.weight} is not a number from 0 to 1"
            raise _json_error(path, f"members[{index}].weight", found)
        if not member.views:
            raise _json_error(path, f"members[{index}].views", "there is none")
        for number, view in enumerate(member.views):
            if view.size is not None and view.size not in SIZES:
                found = f"{view.size} is not a number of pixels from {SIZES[0]} to {SIZES[-1]}"
                raise _json_error(path, f"members[{index}].views[{number}].size", found)
    total = math.fsum(member.weight for member in description.members)
    if abs(total - 1) > 1e-6:
        raise _json_error(path, "members", f"their weights sum to {total:.6g}, not to 1")


def _thresholds(description: _Description, path: Path) -> Thresholds:
    thresholds = Thresholds.from_dict(description.thresholds, file=path)
    levels, names = thresholds.per_category, description.categories
    if levels is not None and len(levels) != len(names):
        found = f"{len(levels)} thresholds for {len(names)} categories"
        raise _json_error(path, "thresholds.per_category", found)
    return thresholds


def _json_error(path: Path, where: str, found: str) -> TagboxError:
    hint = "restore the file, or make the ensemble again"
    return TagboxError("bundle-json", found, file=path, where=where, hint=hint)


def _mismatch(path: Path, where: str, found: str) -> TagboxError:
    hint = "restore the whole folder, or make the ensemble again"
    return TagboxError("bundle-mismatch", found, file=path, where=where, hint=hint)
