"""What validation images say of an ensemble: weights, thresholds, figures, and what each run adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Objective
from tagbox.data.dataset import UNKNOWN, Dataset
from tagbox.errors import TagboxError
from tagbox.evaluation.combine import Weighted, choose_weights, equal_weights, weighted_mean
from tagbox.evaluation.evaluate import evaluate_labels
from tagbox.evaluation.label_metrics import label_metrics
from tagbox.evaluation.ranking import average_precision, mean_average_precision
from tagbox.evaluation.thresholds import Thresholds
from tagbox.evaluation.tuning import Tuned, tune
from tagbox.inference.ensemble import ViewClaims
from tagbox.models.ensembles import Ensemble, Member, View
from tagbox.training.finish import nothing_to_tune

PLAIN = View()
"""The picture as the run was trained on it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Judged:
    """An ensemble and its figures; categories in the order of the dataset, but for `ensemble`.

    Attributes
    ----------
    ensemble
        With the weights and thresholds that were found.
    images
        The validation images that could be read and have a known label.
    probabilities
        (n, K) float32 of them, combined.
    weights
        `Weighted.report`.
    tuned
        Thresholds and what cross-fitting says of them.
    metrics
        `evaluate_labels` at the thresholds.
    members
        Of each member ``run``, ``weight``, ``map`` and ``challenge_f1`` (the run as it is, at its own
        thresholds) and ``views``: ``size``, ``mirror`` and ``map`` of each.
    """

    ensemble: Ensemble
    images: Dataset
    probabilities: NDArray[np.float32]
    weights: dict[str, Any]
    tuned: Tuned
    metrics: dict[str, Any]
    members: list[dict[str, Any]]


def with_plain(ensemble: Ensemble) -> Ensemble:
    """The ensemble as it is judged: after each member's views the picture as the run was trained on it."""
    members = (replace(member, views=(*member.views, PLAIN)) for member in ensemble.members)
    return replace(ensemble, members=tuple(members))


def judge(
    ensemble: Ensemble,
    claims: ViewClaims,
    dataset: Dataset,
    *,
    weights: Literal["auto", "equal"] = "auto",
    objective: Objective | None = None,
) -> Judged:
    """Find weights and thresholds, and evaluate; what that flatters stands in the reports.

    Parameters
    ----------
    ensemble
        The members and their views; its weights and thresholds are not looked at.
    claims
        What `with_plain` of it says of all images of `dataset`.
    dataset
        The validation data, with the ensemble's categories in any order.
    weights
        ``auto``: `evaluation.combine.choose_weights`.
    objective
        What thresholds are tuned for; with `at_least_one` and `top_k` that of the first member where None.

    Raises
    ------
    TagboxError
        ``no-readable-images``.
    """
    names = dataset.categories.names
    rows = np.flatnonzero(claims.ok & (dataset.labels != UNKNOWN).any(axis=1))
    if not len(rows):
        raise TagboxError(
            "no-readable-images",
            f"none of the {len(dataset)} validation pictures could be read and has labels",
            file=dataset.source.path,
            hint="run tagbox check on the dataset",
        )
    images = dataset.take(rows)
    order = np.array([ensemble.categories.index(name) for name in names], np.intp)
    tables = [[table[np.ix_(rows, order)] for table in views] for views in claims.tables]
    means = [weighted_mean(views[:-1]) for views in tables]
    if weights == "auto":
        weighted = choose_weights(images.labels, means)
    else:
        report = {"kept": "equal", "reason": "equal weights were asked for"}
        weighted = Weighted(weights=equal_weights(len(means)), report=report)
    probabilities = weighted_mean(means, weighted.weights)
    rules = ensemble.members[0].bundle.thresholds
    if ensemble.labels == "exclusive":
        tuned = nothing_to_tune()
    else:
        tuned = tune(
            images.labels,
            probabilities,
            objective or rules.objective,
            rates=_base_rates(ensemble, names),
            at_least_one=rules.at_least_one,
            top_k=rules.top_k,
        )
    members = tuple(
        replace(member, weight=weight)
        for member, weight in zip(ensemble.members, weighted.weights, strict=True)
    )
    return Judged(
        ensemble=replace(
            ensemble,
            members=members,
            thresholds=_in_order(tuned.thresholds, names, ensemble.categories),
            data_fingerprint=dataset.fingerprint,
        ),
        images=images,
        probabilities=probabilities,
        weights=weighted.report,
        tuned=tuned,
        metrics=evaluate_labels(
            images.labels,
            categories=names,
            probabilities=probabilities,
            thresholds=tuned.thresholds,
            labels=ensemble.labels,
        ),
        members=[_row(m, views, images) for m, views in zip(members, tables, strict=True)],
    )


def _row(member: Member, tables: Sequence[NDArray[np.float32]], images: Dataset) -> dict[str, Any]:
    """A member's own figures; the last table is that of the plain picture."""

    def ranked(table: NDArray[np.float32]) -> float | None:
        return mean_average_precision(average_precision(images.labels, table))

    *views, plain = tables
    own = member.bundle.categories.names
    thresholds = _in_order(member.bundle.thresholds, own, images.categories.names)
    return {
        "run": member.run,
        "weight": member.weight,
        "map": ranked(plain),
        "challenge_f1": label_metrics(images.labels, thresholds.decide(plain))["challenge_f1"],
        "views": [
            {"size": view.size, "mirror": view.mirror, "map": ranked(table)}
            for view, table in zip(member.views, views, strict=True)
        ],
    }


def _base_rates(ensemble: Ensemble, names: Sequence[str]) -> NDArray[np.float64] | None:
    """(K,) mean of the runs' training base rates in the order of `names`; None where no run knows its own."""
    rates = []
    for member in ensemble.members:
        if member.bundle.base_rates is not None:
            own = dict(zip(member.bundle.categories.names, member.bundle.base_rates, strict=True))
            rates.append([own[name] for name in names])
    return np.mean(rates, axis=0) if rates else None


def _in_order(thresholds: Thresholds, names: Sequence[str], wanted: Sequence[str]) -> Thresholds:
    """Thresholds of the categories `names` in the order `wanted`."""
    if thresholds.per_category is None:
        return thresholds
    own = dict(zip(names, thresholds.per_category, strict=True))
    return replace(thresholds, per_category=tuple(own[name] for name in wanted))
