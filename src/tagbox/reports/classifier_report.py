"""The HTML report: one file that opens offline, from one immutable value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_write
from tagbox.metrics.single_label import most_probable, one_said
from tagbox.predictions.thresholds import Thresholds
from tagbox.reports.page import page_bytes, render_page
from tagbox.reports.pictures import ReportPicture


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportData:
    """Everything a report says; only the first five are needed.

    Attributes
    ----------
    title
        The run's name.
    categories
        K names.
    truth
        (N, K) int8 of the validation images: 1 present, 0 absent, -1 unknown.
    probabilities, decisions
        (N, K) float32 and (N, K) bool; where only probabilities are given, `thresholds` decide.
    metrics
        What `evaluation.evaluate_labels.evaluate_labels` returned for them.
    thresholds
        `Thresholds.to_dict()` of the model.
    tuning
        `Tuned.report`: what tuning the thresholds promised and what cross-fitting found.
    history
        The rows of ``history.csv``; ``train_NAME`` and ``val_NAME`` share a chart.
    best_epoch
        The epoch whose model was kept.
    pictures
        The best and the worst (`reports.pictures.choose_pictures`).
    statistics
        `checks.statistics.statistics` of the training data.
    config
        Every setting of the run.
    baselines
        Other models' figures on the same images: name to metric to value.
    notes
        Sentences for the reader, such as what was left out and why.
    versions
        Library to version.
    command
        What reproduces the run.
    """

    title: str
    categories: Sequence[str]
    truth: NDArray[np.int8]
    metrics: Mapping[str, Any]
    probabilities: NDArray[np.float32] | None = None
    decisions: NDArray[np.bool_] | None = None
    thresholds: Mapping[str, Any] | None = None
    tuning: Mapping[str, Any] | None = None
    history: Sequence[Mapping[str, float | int | None]] = ()
    best_epoch: int | None = None
    pictures: Sequence[ReportPicture] = ()
    statistics: Mapping[str, Any] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    def __post_init__(self) -> None:
        if self.probabilities is None and self.decisions is None:
            raise ValueError("a report needs probabilities or decisions")
        shape = (len(self.truth), len(self.categories))
        for table in (self.truth, self.probabilities, self.decisions):
            if table is not None and table.shape != shape:
                raise ValueError(f"a table is {table.shape}, the report's are {shape}")

    @property
    def exclusive(self) -> bool:
        """Whether every picture has one category, as the metrics have it."""
        return self.metrics.get("labels") == "exclusive"

    @cached_property
    def said(self) -> NDArray[np.bool_]:
        """(N, K) bool; the decisions, or what the thresholds (or the maximum) make of the probabilities."""
        if self.decisions is not None:
            return self.decisions
        assert self.probabilities is not None
        if self.exclusive:
            return one_said(most_probable(self.probabilities), len(self.categories))
        return Thresholds.from_dict(self.thresholds or {}).decide(self.probabilities)


def render_report(data: ReportData) -> str:
    """The report as one HTML document without a reference to anything outside it."""
    from tagbox.reports.label_sections import sections

    return render_page("report.html.j2", sections(data))


def write_report(data: ReportData, path: Path) -> None:
    """Write the report of `data` to `path`, atomically.

    Raises
    ------
    TagboxError
        ``cannot-write`` when the operating system refuses.
    """
    atomic_write(path, page_bytes(render_report(data)))
