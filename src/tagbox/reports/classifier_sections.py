"""The report of a multi-label or single-label classifier: its data and its sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tagbox.checks.statistics import co_occurrence_counts
from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN
from tagbox.data.text import some
from tagbox.metrics.intervals import IMAGES, THIN
from tagbox.metrics.single_label import (
    calibration,
    confusion_matrix,
    most_probable,
    one_hot,
    predicted_rows,
    sums_to_one,
    true_rows,
)
from tagbox.predictions.thresholds import Thresholds
from tagbox.reports.charts import calibration_chart
from tagbox.reports.classifier_charts import threshold_charts
from tagbox.reports.matrix_chart import co_occurrence_chart
from tagbox.reports.metrics_section import metrics_section
from tagbox.reports.page import block, count, metric_name, number
from tagbox.reports.report import Report, Section
from tagbox.reports.shared_sections import (
    category_section,
    confusion_section,
    data_section,
    examples_section,
    top_pairs,
)
from tagbox.reports.training_section import training_section

_HEADLINE = (
    "map",
    "micro_f1",
    "macro_f1",
    "samples_f1",
    "challenge_f1",
    "cf1",
    "hamming_loss",
    "subset_accuracy",
)
_SINGLE_LABEL_HEADLINE = (
    "accuracy",
    "top5_accuracy",
    "macro_f1",
    "log_loss",
    "calibration_error",
    "map",
)
_SINGLE_LABEL_HISTORY = ("macro_f1", "map", "macro_precision", "macro_recall", "weighted_f1")
"""Metrics beside the accuracy that have a chart over the epochs; most others equal the accuracy."""
_THRESHOLD_METRICS = (
    "challenge_f1",
    "challenge_precision",
    "challenge_recall",
    "micro_f1",
    "macro_f1",
    "cf1",
    "samples_f1",
    "hamming_loss",
)
_COLUMNS = {
    "support": "support",
    "ap": "AP",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "threshold": "threshold",
    "tp": "TP",
    "fp": "FP",
    "fn": "FN",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassifierReport(Report):
    """The report of a classifier.

    Attributes
    ----------
    metrics
        As `evaluation.evaluate_labels.evaluate_labels` returns them.
    truth
        (N, K) int8 of the validation images: 1 present, 0 absent, -1 unknown.
    probabilities, decisions
        (N, K) float32 and (N, K) bool; at least one of them. Without decisions, `thresholds` decide.
    thresholds
        `Thresholds.to_dict()` of the model.
    tuning
        `Tuned.report`: the objective at the tuned thresholds, and cross-fitted.
    baselines
        Metrics of other models on the same images: model to metric to value.
    transfer
        ``COCO transfer (…)`` where the model uses what was trained on COCO; shown in the header.
    """

    truth: NDArray[np.int8]
    probabilities: NDArray[np.float32] | None = None
    decisions: NDArray[np.bool_] | None = None
    thresholds: Mapping[str, Any] | None = None
    tuning: Mapping[str, Any] | None = None
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    transfer: str | None = None

    def __post_init__(self) -> None:
        if self.probabilities is None and self.decisions is None:
            raise ValueError("a report needs probabilities or decisions")
        shape = (len(self.truth), len(self.categories))
        for table in (self.truth, self.probabilities, self.decisions):
            if table is not None and table.shape != shape:
                raise ValueError(f"a table is {table.shape}, the report's are {shape}")

    @property
    def single_label(self) -> bool:
        """Whether every image has exactly one category."""
        return self.metrics.get("labels") == "exclusive"

    @property
    def closed_form(self) -> bool:
        """Whether the head was computed without epochs, so that there is no history to draw."""
        return bool(self.history) and "penalty" in self.history[-1]

    @cached_property
    def predicted(self) -> NDArray[np.bool_]:
        """(N, K) bool predicted labels: the decisions, else probabilities at the thresholds, or their maximum."""
        if self.decisions is not None:
            return self.decisions
        assert self.probabilities is not None
        if self.single_label:
            return one_hot(most_probable(self.probabilities), len(self.categories))
        return Thresholds.from_dict(self.thresholds or {}).decide(self.probabilities)

    def facts(self) -> list[str]:
        """Number of images, categories and labels, and what else the metrics are due to."""
        images, categories = self.truth.shape
        positives = int((self.truth == PRESENT).sum())
        unknown = int((self.truth == UNKNOWN).sum())
        facts = [
            count(images, "image" if self.out_of_fold else "validation image"),
            count(categories, "category", "categories"),
            "one category per image" if self.single_label else count(positives, "label"),
        ]
        facts += [f"{count(unknown, 'unknown label')} ignored"] if unknown else []
        return facts if self.transfer is None else [*facts, self.transfer]

    def sections(self) -> list[Section]:
        """Metrics, examples, training, thresholds or calibration, categories, confusion, data."""
        single = self.single_label
        absent = ("thresholds", "at_0.5", "at_global", "at_per_category")
        history = training_section(
            self,
            "accuracy" if single else "map",
            only=_SINGLE_LABEL_HISTORY if single else None,
        )
        return [
            metrics_section(
                self,
                _SINGLE_LABEL_HEADLINE if single else _HEADLINE,
                tables=[_baselines(self)],
                notes=_notes(self.metrics),
                doubts=_doubts(self.metrics),
                hidden=absent if single else (),
            ),
            _examples(self),
            *([] if self.closed_form else [history]),
            _calibration(self) if single else _thresholds(self),
            _categories(self),
            _confusion(self) if single else _co_occurrence(self),
            data_section(self, histogram_of_labels=not single),
        ]


def _notes(metrics: Mapping[str, Any]) -> list[str]:
    """Which categories mAP leaves out."""
    skipped = metrics.get("map_skipped")
    if not skipped:
        return []
    categories = count(len(skipped), "category", "categories")
    return [f"mAP leaves out {categories} without a positive image: {some(skipped, 5)}."]


def _doubts(metrics: Mapping[str, Any]) -> list[str]:
    """Why the intervals of labels may be unreliable, in numbers."""
    doubts = []
    images, thin = metrics.get("images") or 0, metrics.get("thin_categories") or ()
    if images < IMAGES:
        doubts.append(f"there are {count(images, 'image')}, fewer than {IMAGES}")
    if thin:
        doubts.append(
            f"{count(len(thin), 'category has', 'categories have')} fewer than {THIN} positive images"
        )
    return doubts


def _baselines(report: ClassifierReport) -> Markup:
    """The metrics of other models beside those of this one."""
    if not report.baselines:
        return Markup()
    keys = list(dict.fromkeys(key for metrics in report.baselines.values() for key in metrics))
    models = {"this model": report.metrics, **report.baselines}
    return block(
        "table",
        caption="Comparison with other models on the same images",
        headers=("model", *map(metric_name, keys)),
        rows=[(name, *(number(m.get(key)) for key in keys)) for name, m in models.items()],
    )


def _examples(report: ClassifierReport) -> Section:
    single = report.single_label
    text = "Ordered by log loss." if single else "Ordered by the F1 of the image's labels."
    if any(image.evidence for image in report.images):
        text += " The maps show which regions of the image support a label"
        # The labels are those of a fold's head, which is not kept.
        text += (
            " in the saved model, which was trained on all images." if report.out_of_fold else "."
        )
    return examples_section(report, text, shown=4, scores=not single)


def _calibration(report: ClassifierReport) -> Section:
    """How often the predicted category is correct, against its probability."""
    blocks = []
    probabilities = report.probabilities
    if probabilities is not None and len(report.truth) and sums_to_one(probabilities):
        bins = calibration(true_rows(report.truth), probabilities)
        filled = bins.counts > 0
        chart = calibration_chart(
            bins.confidence[filled],
            bins.accuracy[filled],
            x="mean probability of the predicted category",
            y="accuracy",
        )
        text = (
            "Points below the diagonal are overconfident predictions, points above it underconfident "
            "ones. Points of few images are noisy."
        )
        blocks = [block("paragraph", text=text), block("charts", figures=[chart])]
    return Section(id="calibration", label="Calibration", title="Calibration", blocks=blocks)


def _thresholds(report: ClassifierReport) -> Section:
    """The metrics over one threshold, at each kind of threshold, and how far tuning overstates them."""
    blocks = []
    thresholds = report.thresholds or {}
    if thresholds:
        value = number(thresholds.get("value"))
        text = (
            "A label is predicted when its probability reaches the threshold of its category (in the "
            f"table below); the best single threshold is {value}."
            if thresholds.get("use_per_category")
            else f"A label is predicted when its probability is at least {value}."
        )
        blocks.append(block("paragraph", text=text, style=""))
    if charts := threshold_charts(report.truth, report.probabilities, thresholds):
        blocks.append(block("charts", figures=charts))
    tuning = report.tuning or report.metrics.get("tuning") or {}
    tuned = [
        (
            words,
            *(number(tuning[key].get(name)) for name in ("tuned", "cross_fitted", "overstated")),
            "✓" if tuning.get("kept") == key else "",
        )
        for key, words in (("global", "one for all"), ("per_category", "per category"))
        if isinstance(tuning.get(key), Mapping)
    ]
    objective = metric_name(str(tuning.get("objective", "")))
    if tuned:
        caption = f"Tuned {objective}, and its estimate on images that were not used for tuning"
        columns = ("thresholds", "tuned", "cross-fitted", "difference", "selected")
        blocks.append(block("table", caption=caption, headers=columns, rows=tuned))
    if tuning.get("reason"):
        reason = str(tuning["reason"]).replace(str(tuning.get("objective")), objective)
        text = f"Selected: {tuning['kept'].replace('_', ' ')} ({reason})."
        blocks.append(block("paragraph", text=text, style="note"))
    compared = _at_thresholds(report, str(tuning.get("kept", "")))
    if len(compared) > 1:
        caption = "Metrics at different thresholds; tuned ones are evaluated on the images used for tuning"
        rows = [
            (metric_name(name), *(number(metrics.get(name)) for metrics in compared.values()))
            for name in _THRESHOLD_METRICS
            if any(metrics.get(name) is not None for metrics in compared.values())
        ]
        headers = ("metric", *compared)
        blocks.append(block("table", caption=caption, headers=headers, rows=rows))
    return Section(id="thresholds", label="Thresholds", title="Thresholds", blocks=blocks)


def _at_thresholds(report: ClassifierReport, kept: str) -> dict[str, Mapping[str, Any]]:
    """The metrics at each kind of threshold by its name; those of the model are not repeated."""
    metrics = report.metrics
    saved, others = "of the model", {}
    for key, words in (
        ("at_0.5", "0.5 for all"),
        ("at_global", "tuned, one for all"),
        ("at_per_category", "tuned per category"),
    ):
        other = metrics.get(key)
        if not other:
            continue
        if key == f"at_{kept}" and all(other.get(n) == metrics.get(n) for n in _THRESHOLD_METRICS):
            saved += f" ({words})"
        else:
            others[words] = other
    return {saved: metrics, **others}


def _categories(report: ClassifierReport) -> Section:
    """Average precision is the bar; F1 where there are only label sets, or for single labels."""
    precision = report.probabilities is not None and not report.single_label
    chance: dict[str, float] = {}
    if precision:
        support = (report.truth == PRESENT).sum(axis=0)
        known = np.maximum((report.truth != UNKNOWN).sum(axis=0), 1)
        chance = dict(zip(report.categories, (support / known).tolist(), strict=True))
    return category_section(
        report,
        _COLUMNS,
        bar="ap" if precision else "f1",
        unit="images" if report.out_of_fold else "validation images",
        statistic=("images", "training images"),
        chance=chance,
    )


def _confusion(report: ClassifierReport) -> Section:
    true = true_rows(report.truth)
    count_of = len(report.categories)
    return confusion_section(
        report.categories,
        confusion_matrix(true, predicted_rows(report.predicted), count_of),
        np.bincount(true, minlength=count_of),
        unit="images",
    )


def _co_occurrence(report: ClassifierReport) -> Section:
    """Which category is predicted where another is missed, and which categories share images."""
    names, predicted = report.categories, report.predicted
    missed = ((report.truth == PRESENT) & ~predicted).astype(np.float32)
    wrong = ((report.truth == ABSENT) & predicted).astype(np.float32)
    confused = (missed.T @ wrong).astype(np.int64)
    truth = co_occurrence_counts(report.truth == PRESENT)
    both = co_occurrence_counts(predicted & (report.truth != UNKNOWN))
    blocks = []
    for chart, caption, headers, rows in (
        (
            co_occurrence_chart(
                "False positives in images with a missed category",
                names,
                confused,
                row="missed",
                column="false positive",
                describe=lambda row, column: f"{row} missed, {column} predicted",
            ),
            "Most frequent false positives where a category is missed",
            ("missed", "false positive", "images", "all missed"),
            [
                (names[i], names[j], int(confused[i, j]), int(missed[:, i].sum()))
                for i, j in top_pairs(confused)
            ],
        ),
        (
            co_occurrence_chart(
                "Co-occurrence in the truth",
                names,
                truth * (1 - np.eye(len(truth), dtype=np.int64)),
                row="category",
                column="with",
                describe=lambda row, column: f"{row} and {column}",
            ),
            "Images with both categories",
            ("category", "other category", "true", "predicted"),
            [
                (names[i], names[j], int(truth[i, j]), int(both[i, j]))
                for i, j in top_pairs(np.triu(truth, 1))
            ],
        ),
    ):
        if rows:
            table = block("table", caption=caption, headers=headers, rows=rows, text=(1,))
            blocks.append(block("pair", blocks=[chart, table]))
    title = "Confusion and co-occurrence"
    return Section(id="confusion", label="Confusion", title=title, blocks=blocks)
