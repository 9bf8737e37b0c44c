"""What is compared of a model, or of several runs of a recipe: metrics, what each image contributes to them, and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.data.dataset import ABSENT, PRESENT, Dataset
from tagbox.evaluation.box_matching import Matches, match_boxes
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.evaluation.coco_metrics import category_scores, score_boxes, twelve_numbers
from tagbox.evaluation.detection_intervals import WeightedAP
from tagbox.evaluation.evaluate_detections import tune_score_thresholds
from tagbox.evaluation.evaluate_labels import NO_POSITIVES, NO_PROBABILITIES, NO_SUM
from tagbox.metrics import single_label
from tagbox.metrics.intervals import RankedScores
from tagbox.metrics.jackknife import group_weights, with_one_more, without_each
from tagbox.metrics.multilabel import (
    average_precision,
    count_labels,
    label_metrics,
    mean_average_precision,
)
from tagbox.predictions.predictions import Detections
from tagbox.predictions.thresholds import ScoreThresholds, Thresholds

Array = NDArray[np.float64]

COMPARED_BOX_METRICS = ("ap", "ap50", "ap75")
NO_PAIRED_INTERVAL = "its differences have no interval whose coverage is known"
ONE_GROUP = "it needs two images, and positives in more than one group of images"


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredImages:
    """The images that models are compared on.

    Attributes
    ----------
    names
        N files.
    categories
        K names.
    support
        (K,) positives, or boxes to find, of each category.
    unit
        What `support` counts.
    """

    names: Sequence[str]
    categories: Sequence[str]
    support: NDArray[np.integer[Any]]
    unit: str = "positives"


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelOutcomes:
    """A model on N scored images with K categories; of a recipe the means over its runs.

    Attributes
    ----------
    name
        As it is shown.
    values
        Metrics.
    without
        Of each metric that can be compared its (n,) values without each image, or group of images, in turn. Models that
        are compared leave out the same ones.
    more
        Of metrics of counts their (4, K) values after one more label, see `metrics.jackknife.with_one_more`.
    missed, false
        (N, K) positives that are not found, and what is falsely predicted, in each image and category.
    category_values
        (K,) F1 of labels or AP of boxes; NaN without support.
    absent
        Metrics that there are not, or that cannot be compared, and why.
    runs
        How many runs the means are over.
    spread
        Of each metric the variance of its mean over the runs, of a recipe.
    """

    name: str
    values: Mapping[str, float]
    without: Mapping[str, Array]
    more: Mapping[str, Array]
    missed: NDArray[Any]
    false: NDArray[Any]
    category_values: Array
    absent: Mapping[str, str] = field(default_factory=dict)
    runs: int = 1
    spread: Mapping[str, float] = field(default_factory=dict)

    @property
    def errors(self) -> Array:
        """(N, K) errors of each image and category."""
        return np.asarray(self.missed + self.false.astype(np.float64), np.float64)


def label_outcomes(
    name: str,
    truth: NDArray[np.int8],
    *,
    probabilities: NDArray[np.float32] | None = None,
    decisions: NDArray[np.bool_] | None = None,
    thresholds: Thresholds | None = None,
    labels: LabelKind = "multi",
    seed: int = 0,
) -> ModelOutcomes:
    """The outcomes of predicted labels, with the values that `evaluate_labels` gives.

    Parameters
    ----------
    name
        Of the model.
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities, decisions
        (N, K) float32, or (N, K) bool label sets.
    thresholds
        Of the probabilities; 0.5 where None.
    labels
        ``exclusive`` where every image has one category.
    seed
        Of the groups of images that mAP's jackknife leaves out.
    """
    absent: dict[str, str] = {}
    values: dict[str, float] = {}
    without: dict[str, Array] = {}
    if probabilities is None:
        absent["map"] = NO_PROBABILITIES
    else:
        mean = mean_average_precision(average_precision(truth, probabilities))
        ranked = RankedScores(truth, probabilities)
        groups = ranked.mean_average_precision(group_weights(np.ones(len(truth), bool), seed))
        if mean is None:
            absent["map"] = NO_POSITIVES
        else:
            values["map"] = mean
            if len(groups) < 3 or np.isnan(groups).any():
                absent["map"] = ONE_GROUP
            else:
                without["map"] = groups[1:]
    if labels == "exclusive":
        decisions = _add_exclusive(truth, probabilities, decisions, values, without, absent)
    elif decisions is None:
        assert probabilities is not None
        decisions = (thresholds or Thresholds()).decide(probabilities)
    values |= label_metrics(truth, decisions)
    without |= without_each(truth, decisions, fixed_weights=True)
    counts = count_labels(truth, decisions)
    return ModelOutcomes(
        name=name,
        values=values,
        without=without,
        more=with_one_more(truth, decisions, fixed_weights=True),
        missed=(truth == PRESENT) & ~decisions,
        false=(truth == ABSENT) & decisions,
        category_values=np.where(counts.support > 0, counts.f1, np.nan),
        absent=absent,
    )


def _add_exclusive(
    truth: NDArray[np.int8],
    probabilities: NDArray[np.float32] | None,
    decisions: NDArray[np.bool_] | None,
    values: dict[str, float],
    without: dict[str, Array],
    absent: dict[str, str],
) -> NDArray[np.bool_]:
    """Add accuracies and the log loss of exclusive labels; the (N, K) predicted labels."""
    true, categories = single_label.true_rows(truth), truth.shape[1]
    images: dict[str, NDArray[Any]] = {}
    if probabilities is None:
        assert decisions is not None
        predicted = single_label.predicted_rows(decisions)
        absent |= dict.fromkeys(
            ("top5_accuracy", "log_loss", "calibration_error"), NO_PROBABILITIES
        )
    else:
        predicted = single_label.most_probable(probabilities)
        if categories > single_label.TOP_K:
            hits = single_label.top_hits(true, probabilities, single_label.TOP_K)
            images["top5_accuracy"] = hits
        else:
            absent["top5_accuracy"] = f"there are only {categories} categories"
        if single_label.sums_to_one(probabilities):
            images["log_loss"] = single_label.log_losses(true, probabilities)
            values["calibration_error"] = single_label.calibration(true, probabilities).error
            absent["calibration_error"] = NO_PAIRED_INTERVAL
        else:
            absent |= dict.fromkeys(("log_loss", "calibration_error"), NO_SUM)
    images["accuracy"] = predicted == true
    for name, each in images.items():
        values[name] = float(each.mean())
        without[name] = (each.sum(dtype=np.float64) - each) / max(len(each) - 1, 1)
    return single_label.one_hot(predicted, categories)


def box_outcomes(
    name: str,
    dataset: Dataset,
    detections: Detections,
    thresholds: ScoreThresholds | None = None,
    *,
    seed: int = 0,
) -> ModelOutcomes:
    """The outcomes of detections, with the values that `evaluate_boxes` gives; errors are at the score thresholds.

    Parameters
    ----------
    name
        Of the model.
    dataset, detections
        Aligned with each other.
    thresholds
        Score thresholds; where None those of best F1 on these images.
    seed
        Of the groups of images that AP's jackknife leaves out.

    Raises
    ------
    TagboxError
        ``nothing-labelled``, ``no-boxes``, ``score-cuts-invalid``.
    """
    truth = ground_truth(dataset)
    scores = score_boxes(truth, detections)
    numbers, absent = twelve_numbers(scores)
    values = {key: value for key, value in numbers.items() if value is not None}
    matches = match_boxes(truth, detections)
    groups = WeightedAP(matches).averages(group_weights(truth.scored, seed))
    without = {}
    for key in values:
        if key not in COMPARED_BOX_METRICS:
            absent[key] = NO_PAIRED_INTERVAL
        elif len(groups[key]) < 3 or np.isnan(groups[key]).any():
            absent[key] = ONE_GROUP
        else:
            without[key] = groups[key][1:]
    used = thresholds or tune_score_thresholds(matches) or ScoreThresholds()
    missed, false = _box_errors(matches, used.levels(len(dataset.categories)))
    rows = [row["ap"] for row in category_scores(scores)]
    return ModelOutcomes(
        name=name,
        values=values,
        without=without,
        more={},
        missed=missed[truth.scored],
        false=false[truth.scored],
        category_values=np.array([np.nan if ap is None else ap for ap in rows]),
        absent=absent,
    )


def _box_errors(matches: Matches, levels: Array) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(N, K) boxes that no detection at its threshold finds at an IoU of 0.5, and false detections."""
    truth = matches.truth
    shape = len(truth.scored), len(levels)
    shown = matches.scores >= levels[matches.category_rows]
    right = matches.right[0] & shown
    wanted = matches.counted & truth.scored[truth.image_rows]
    wanted[matches.found[0][right]] = False
    missed, false = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    np.add.at(missed, (truth.image_rows[wanted], truth.category_rows[wanted]), 1)
    wrong = shown & ~matches.right[0] & ~matches.ignored[0]
    np.add.at(false, (matches.image_rows[wrong], matches.category_rows[wrong]), 1)
    return missed, false


def recipe_outcomes(name: str, runs: Sequence[ModelOutcomes]) -> ModelOutcomes:
    """The means over at least two runs of a recipe, and how far those would vary with other runs."""

    def means(field_name: str) -> dict[str, Any]:
        tables = [getattr(run, field_name) for run in runs]
        shared = [key for key in tables[0] if all(key in table for table in tables)]
        return {key: np.mean([table[key] for table in tables], axis=0) for key in shared}

    values = {key: float(value) for key, value in means("values").items()}
    spread = {key: float(np.var([run.values[key] for run in runs], ddof=1)) for key in values}
    # An image's error in half of the runs counts half.
    return replace(
        runs[0],
        name=name,
        values=values,
        without=means("without"),
        more=means("more"),
        missed=np.stack([run.missed for run in runs]).mean(axis=0, dtype=np.float32),
        false=np.stack([run.false for run in runs]).mean(axis=0, dtype=np.float32),
        category_values=np.mean([run.category_values for run in runs], axis=0),
        absent={key: why for run in runs for key, why in run.absent.items()},
        runs=len(runs),
        spread={key: variance / len(runs) for key, variance in spread.items()},
    )
