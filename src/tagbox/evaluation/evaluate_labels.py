"""Evaluation of a classifier as one JSON object; `docs/evaluate-json.md` documents its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind, Objective
from tagbox.config.arguments import checked_arguments
from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.errors import bad_value
from tagbox.evaluation.tuning import Tuned, cross_fitted_decisions, tune
from tagbox.metrics import intervals as interval_methods
from tagbox.metrics import single_label as exclusive
from tagbox.metrics.multilabel import (
    average_precision,
    count_labels,
    label_metrics,
    mean_average_precision,
    top_confusions,
)
from tagbox.predictions.predictions import same_labels
from tagbox.predictions.thresholds import Thresholds

SLACK = 1e-3
"""How far a probability may be from 0 to 1 by rounding."""
NO_PROBABILITIES = "needs probabilities, and there are only label sets"
NO_POSITIVES = "no category has a positive among the scored images"
NO_THRESHOLDS = "labels are exclusive: the most probable category is predicted"
NO_SUM = "needs probabilities that sum to 1 over the categories of an image"


@checked_arguments
def evaluate_labels(
    truth: NDArray[np.int8],
    *,
    categories: Sequence[str],
    probabilities: NDArray[np.floating[Any]] | None = None,
    decisions: NDArray[np.bool_] | None = None,
    thresholds: Thresholds | None = None,
    objective: Objective = "micro_f1",
    intervals: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    labels: LabelKind = "multi",
) -> dict[str, Any]:
    """Score probabilities, or label sets, against the truth.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    categories
        K names.
    probabilities, decisions
        (N, K) floats in [0, 1], or (N, K) bool; exactly one of the two.
    thresholds
        The model's, which the top-level metrics are at. Where None, those are at 0.5, and ``at_global`` and
        ``at_per_category`` are cross-fitted for `objective` on these images.
    objective
        What is tuned for when `thresholds` are not given.
    intervals
        Whether to compute intervals of the metrics at the top level.
    resamples
        Bootstrap resamples for that of the log loss; the others need none.
    seed
        Of folds and resamples.
    labels
        ``exclusive`` where every image has exactly one category: the most probable one is what counts, and
        `thresholds` and `objective` have no part.

    Returns
    -------
    dict
        Plain JSON values, no NaN. What cannot be computed is missing and named, with the reason, under ``absent``.

    Raises
    ------
    TagboxError
        ``config-value`` for a table of another shape or with other values.
    ValueError
        Neither or both of `probabilities` and `decisions`; exclusive labels of which an image has none or
        several.
    """
    if (probabilities is None) == (decisions is None):
        raise ValueError("give probabilities or decisions, one of the two")
    names = list(categories)
    _require_tables(truth, len(names), probabilities, decisions)
    result: dict[str, Any] = {
        "labels": labels,
        "images": len(truth),
        "categories": len(names),
        "positives": int(np.count_nonzero(truth == PRESENT)),
        "unknown_labels": int(np.count_nonzero(truth == UNKNOWN)),
        "no_support": [
            name
            for name, supported in zip(names, (truth == PRESENT).any(axis=0), strict=True)
            if not supported
        ],
    }
    if labels == "exclusive":
        return result | _exclusive(
            truth, names, probabilities, decisions, intervals, resamples, seed
        )
    absent: dict[str, str] = {}
    if probabilities is None:
        assert decisions is not None
        for key in ("map", "thresholds", "at_0.5", "at_global", "at_per_category"):
            absent[key] = NO_PROBABILITIES
        result |= label_metrics(truth, decisions)
        result["per_category"] = _category_table(truth, decisions, names, None, None)
    else:
        used = thresholds or Thresholds(objective=objective)
        decisions = used.decide(probabilities)
        ap = average_precision(truth, probabilities)
        ranking = _ranking(ap, names)
        if ranking["map"] is None:
            absent["map"] = NO_POSITIVES
        result |= ranking | label_metrics(truth, decisions)
        result["thresholds"] = used.to_dict() | {"source": "given" if thresholds else "default"}
        at = {"at_0.5": used.decide(probabilities, 0.5)}
        if thresholds is None:
            tuned = tune(truth, probabilities, objective, seed=seed)
            result["tuning"] = tuned.report
            crossed = cross_fitted_decisions(truth, probabilities, objective, seed=seed)
            at |= {f"at_{mode}": predicted for mode, predicted in crossed.items()}
        else:
            at["at_global"] = used.decide(probabilities, "global")
            if used.per_category is None:
                absent["at_per_category"] = "the thresholds hold none for single categories"
            else:
                at["at_per_category"] = used.decide(probabilities, "per_category")
        for key, predicted in at.items():
            result[key] = {
                "map": ranking["map"],
                **label_metrics(truth, predicted),
                "cross_fitted": thresholds is None and key != "at_0.5",
            }
        levels = used.levels(len(names))
        result["per_category"] = _category_table(truth, decisions, names, ap, levels)
    result["confusions"] = top_confusions(truth, decisions, names)
    result["reasons"] = _reasons(truth, decisions, names)
    if intervals:
        result["intervals"] = interval_methods.intervals(truth, decisions, probabilities, seed=seed)
        result |= _about_intervals(truth, names, resamples)
    result["absent"] = absent
    return result


def tune_and_evaluate(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.floating[Any]],
    *,
    categories: Sequence[str],
    labels: LabelKind,
    objective: Objective,
    rates: NDArray[np.float64] | None,
    seed: int = 0,
    at_least_one: bool,
    top_k: int | None,
) -> tuple[Tuned, dict[str, Any]]:
    """Tune a model's thresholds on its validation images, and evaluate it at them.

    Exclusive labels leave nothing to tune: the most probable category is predicted. The parameters are those of `tune`
    and of `evaluate_labels`.
    """
    if labels == "exclusive":
        tuned = Tuned(thresholds=exclusive.MOST_PROBABLE, report={"reason": NO_THRESHOLDS})
    else:
        tuned = tune(
            truth,
            probabilities,
            objective,
            rates=rates,
            seed=seed,
            at_least_one=at_least_one,
            top_k=top_k,
        )
    metrics = evaluate_labels(
        truth,
        categories=categories,
        probabilities=probabilities,
        thresholds=tuned.thresholds,
        seed=seed,
        labels=labels,
    )
    return tuned, metrics


def _require_tables(
    truth: NDArray[np.int8],
    categories: int,
    probabilities: NDArray[np.floating[Any]] | None,
    decisions: NDArray[np.bool_] | None,
) -> None:
    if truth.ndim != 2 or truth.shape[1] != categories or truth.dtype.kind not in "iub":
        found = f"an array of shape {truth.shape} and type {truth.dtype}"
        raise bad_value(found, f"whole numbers, one column for each of {categories} names", "truth")
    if len(truth) and not (truth.min() >= UNKNOWN and truth.max() <= PRESENT):
        raise bad_value(int(truth.max()), "1 present, 0 absent or -1 unknown", "truth")
    for name, table, kinds in (
        ("probabilities", probabilities, "f"),
        ("decisions", decisions, "b"),
    ):
        if table is not None and (table.shape != truth.shape or table.dtype.kind not in kinds):
            wanted = f"{'floats' if kinds == 'f' else 'bool'} of the truth's shape {truth.shape}"
            found = f"an array of shape {table.shape} and type {table.dtype}"
            raise bad_value(found, wanted, name)
    if probabilities is not None and probabilities.size:
        low, high = float(probabilities.min()), float(probabilities.max())
        if not (low >= -SLACK and high <= 1 + SLACK):
            odd = low if not low >= -SLACK else high
            raise bad_value(odd, "a probability from 0 to 1", "probabilities")


def _exclusive(
    truth: NDArray[np.int8],
    names: Sequence[str],
    probabilities: NDArray[np.floating[Any]] | None,
    decisions: NDArray[np.bool_] | None,
    intervals: bool,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The part of the result that is particular to exclusive labels."""
    true = exclusive.true_rows(truth)
    absent = dict.fromkeys(("thresholds", "at_0.5", "at_global", "at_per_category"), NO_THRESHOLDS)
    own: dict[str, Any] = {}
    ranking: dict[str, Any] = {}
    ap = None
    if probabilities is None:
        assert decisions is not None
        predicted = exclusive.predicted_rows(decisions)
        for key in ("map", "top5_accuracy", "log_loss", "calibration_error"):
            absent[key] = NO_PROBABILITIES
    else:
        predicted = exclusive.most_probable(probabilities)
        ap = average_precision(truth, probabilities)
        ranking = _ranking(ap, names)
        if ranking["map"] is None:
            absent["map"] = NO_POSITIVES
        if len(names) <= exclusive.TOP_K:
            absent["top5_accuracy"] = f"there are only {len(names)} categories"
        else:
            hits = exclusive.top_hits(true, probabilities, exclusive.TOP_K)
            own["top5_accuracy"] = _mean(hits)
        if exclusive.sums_to_one(probabilities):
            own["log_loss"] = _mean(exclusive.log_losses(true, probabilities))
            own["calibration_error"] = exclusive.calibration(true, probabilities).error
        else:
            absent["log_loss"] = absent["calibration_error"] = NO_SUM
    decisions = exclusive.one_hot(predicted, len(names))
    own = {"accuracy": _mean(predicted == true)} | own
    result = own | ranking | label_metrics(truth, decisions)
    result["confusion_matrix"] = exclusive.confusion_matrix(true, predicted, len(names)).tolist()
    result["per_category"] = _category_table(truth, decisions, names, ap, None)
    result["confusions"] = top_confusions(truth, decisions, names)
    result["reasons"] = _reasons(truth, decisions, names)
    if intervals:
        result["intervals"] = exclusive.single_label_intervals(
            truth, decisions, probabilities, own, resamples=resamples, seed=seed
        )
        result |= _about_intervals(truth, names, resamples)
    return result | {"absent": absent}


def _reasons(
    truth: NDArray[np.int8], decisions: NDArray[np.bool_], names: Sequence[str]
) -> list[str]:
    """A sentence where all images get the same labels although their true ones differ."""
    same = same_labels(decisions, names)
    present, known = truth == PRESENT, truth != UNKNOWN
    differ = (present.any(axis=0) & (known & ~present).any(axis=0)).any()
    if same is None or not differ:
        return []
    return [
        f"{same[0].upper()}{same[1:]}. Their true labels differ, so the model tells them not apart at these thresholds."
    ]


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _about_intervals(
    truth: NDArray[np.int8], names: Sequence[str], resamples: int
) -> dict[str, Any]:
    thin = interval_methods.thin_categories((truth == PRESENT).sum(axis=0))
    return {
        "resamples": interval_methods.allowed_resamples(truth.shape, resamples),
        "thin_categories": [names[k] for k in thin],
    }


def _ranking(ap: NDArray[np.float64], names: Sequence[str]) -> dict[str, Any]:
    skipped = [name for name, value in zip(names, ap, strict=True) if np.isnan(value)]
    return {"map": mean_average_precision(ap), "map_skipped": skipped}


def _category_table(
    truth: NDArray[np.int8],
    decisions: NDArray[np.bool_],
    names: Sequence[str],
    ap: NDArray[np.float64] | None,
    levels: NDArray[np.float32] | None,
) -> list[dict[str, Any]]:
    counts = count_labels(truth, decisions)
    rows = []
    for k, name in enumerate(names):
        row: dict[str, Any] = {
            "name": name,
            "support": int(counts.support[k]),
            "precision": float(counts.precision[k]),
            "recall": float(counts.recall[k]),
            "f1": float(counts.f1[k]),
            "tp": int(counts.tp[k]),
            "fp": int(counts.fp[k]),
            "fn": int(counts.fn[k]),
        }
        if ap is not None:
            row["ap"] = None if np.isnan(ap[k]) else float(ap[k])
        if levels is not None:
            row["threshold"] = float(levels[k])
        rows.append(row)
    return rows


def headline(result: Mapping[str, Any]) -> dict[str, float]:
    """The metrics to show first, those that there are; OF1 is micro F1."""
    keys: tuple[str, ...] = ("map", "micro_f1", "macro_f1", "hamming_loss", "challenge_f1", "cf1")
    if result.get("labels") == "exclusive":
        keys = ("accuracy", "top5_accuracy", "macro_f1", "log_loss", "calibration_error", "map")
    return {key: result[key] for key in keys if result.get(key) is not None}
