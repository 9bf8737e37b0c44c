"""The weights and thresholds of an ensemble, fitted on validation images, and its metrics there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Objective
from tagbox.data.dataset import UNKNOWN, Dataset
from tagbox.data.split import Split
from tagbox.errors import TagboxError, no_readable_images
from tagbox.evaluation.ensemble_weights import Weighted, choose_weights
from tagbox.evaluation.evaluate_labels import tune_and_evaluate
from tagbox.evaluation.tuning import Tuned
from tagbox.inference.ensemble import ViewOutput
from tagbox.metrics.multilabel import average_precision, label_metrics, mean_average_precision
from tagbox.models.ensembles import Ensemble, Member, View
from tagbox.predictions.files import read_predictions
from tagbox.predictions.predictions import equal_weights, weighted_mean

PLAIN = View()
"""The image as the run was trained on it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class EnsembleEvaluation:
    """An ensemble and its metrics; categories in the order of the dataset, except those of `ensemble`.

    Attributes
    ----------
    ensemble
        With fitted weights and tuned thresholds.
    images
        The readable validation images with a known label.
    probabilities
        (N, K) float32 of these images, combined.
    weights
        `Weighted.report`.
    tuned
        Thresholds and their cross-fitted metrics.
    metrics
        `evaluate_labels` at the thresholds.
    members
        For each member ``run``, ``weight``, ``map`` and ``challenge_f1`` (of the plain image, at the run's
        own thresholds) and ``views``: ``size``, ``mirror`` and ``map`` of each.
    """

    ensemble: Ensemble
    images: Dataset
    probabilities: NDArray[np.float32]
    weights: dict[str, Any]
    tuned: Tuned
    metrics: dict[str, Any]
    members: list[dict[str, Any]]


def with_plain(ensemble: Ensemble) -> Ensemble:
    """`ensemble` with the plain image as the last view of each member, for `evaluate_ensemble`."""
    members = (replace(member, views=(*member.views, PLAIN)) for member in ensemble.members)
    return replace(ensemble, members=tuple(members))


def out_of_fold_outputs(ensemble: Ensemble, dataset: Dataset) -> ViewOutput | None:
    """What `evaluate_ensemble` takes, from the out-of-fold predictions of runs that were trained on this very data.

    The runs themselves have seen these images in the end, so that weights and thresholds fitted on what they predict
    now would be too good. None where a run was not trained in folds of this dataset, or is no longer there, and where
    views are asked for, which folds have not predicted.
    """
    if any(member.views != (PLAIN,) for member in ensemble.members):
        return None
    stems = {str(stem): row for row, stem in enumerate(dataset.images.stems.tolist())}
    ok = np.ones(len(dataset), bool)
    tables = []
    for member in ensemble.members:
        run = Path(member.run)
        try:
            split = Split.load(run / "split.json")
            split.rows(dataset)
            if not split.folds or split.key != "stem":
                return None
            found = read_predictions(run / "predictions.csv", ())
        except TagboxError:
            return None
        rows = [stems[image] for image in found.images]
        columns = [found.categories.index(name) for name in ensemble.categories]
        table = np.zeros((len(dataset), len(columns)), np.float32)
        table[rows] = found.table[:, columns]
        ok &= np.isin(np.arange(len(dataset)), rows)
        tables.append([table, table])
    return ViewOutput(tables=tables, ok=ok, errors=[])


def evaluate_ensemble(
    ensemble: Ensemble,
    outputs: ViewOutput,
    dataset: Dataset,
    *,
    weights: Literal["auto", "equal"] = "auto",
    objective: Objective | None = None,
) -> EnsembleEvaluation:
    """Fit weights, tune thresholds, and evaluate; the reports in the result state the optimism of both.

    Parameters
    ----------
    ensemble
        The members and their views; its weights and thresholds are not used.
    outputs
        Of `with_plain(ensemble)`, for all images of `dataset`; or `out_of_fold_outputs`.
    dataset
        The validation data, with the ensemble's categories in any order.
    weights
        ``auto``: `evaluation.ensemble_weights.choose_weights`.
    objective
        Metric that thresholds are tuned for; that of the first member where None, as `at_least_one` and
        `top_k` always are.

    Raises
    ------
    TagboxError
        ``no-readable-images``.
    """
    names = dataset.categories.names
    rows = np.flatnonzero(outputs.ok & (dataset.labels != UNKNOWN).any(axis=1))
    if not len(rows):
        which = f"{len(dataset)} validation pictures could be read and has labels"
        raise no_readable_images(which, dataset.source.path)
    images = dataset.take(rows)
    order = np.array([ensemble.categories.index(name) for name in names], np.intp)
    tables = [[table[np.ix_(rows, order)] for table in views] for views in outputs.tables]
    means = [weighted_mean(views[:-1]) for views in tables]
    if weights == "auto":
        weighted = choose_weights(images.labels, means)
    else:
        report = {"kept": "equal", "reason": "equal weights were requested"}
        weighted = Weighted(weights=equal_weights(len(means)), report=report)
    probabilities = weighted_mean(means, weighted.weights)
    rules = ensemble.members[0].bundle.thresholds
    tuned, metrics = tune_and_evaluate(
        images.labels,
        probabilities,
        categories=names,
        labels=ensemble.labels,
        objective=objective or rules.objective,
        rates=_base_rates(ensemble, names),
        at_least_one=rules.at_least_one,
        top_k=rules.top_k,
    )
    members = tuple(
        replace(member, weight=weight)
        for member, weight in zip(ensemble.members, weighted.weights, strict=True)
    )
    return EnsembleEvaluation(
        ensemble=replace(
            ensemble,
            members=members,
            thresholds=tuned.thresholds.reordered(names, ensemble.categories),
            data_fingerprint=dataset.fingerprint,
        ),
        images=images,
        probabilities=probabilities,
        weights=weighted.report,
        tuned=tuned,
        metrics=metrics,
        members=[_row(m, views, images) for m, views in zip(members, tables, strict=True)],
    )


def _row(member: Member, tables: Sequence[NDArray[np.float32]], images: Dataset) -> dict[str, Any]:
    """A member's own metrics; the last table is that of the plain image."""

    def map_of(table: NDArray[np.float32]) -> float | None:
        return mean_average_precision(average_precision(images.labels, table))

    *views, plain = tables
    own = member.bundle.categories.names
    thresholds = member.bundle.thresholds.reordered(own, images.categories.names)
    return {
        "run": member.run,
        "weight": member.weight,
        "map": map_of(plain),
        "challenge_f1": label_metrics(images.labels, thresholds.decide(plain))["challenge_f1"],
        "views": [
            {"size": view.size, "mirror": view.mirror, "map": map_of(table)}
            for view, table in zip(member.views, views, strict=True)
        ],
    }


def _base_rates(ensemble: Ensemble, names: Sequence[str]) -> NDArray[np.float64] | None:
    """(K,) mean of the runs' training base rates in the order of `names`; None where no run has them."""
    rates = []
    for member in ensemble.members:
        if member.bundle.base_rates is not None:
            own = dict(zip(member.bundle.categories.names, member.bundle.base_rates, strict=True))
            rates.append([own[name] for name in names])
    return np.mean(rates, axis=0) if rates else None
