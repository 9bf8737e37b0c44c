"""The HTML report of a detector's run: one file that opens offline, from one immutable value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_write
from tagbox.reports.detection_pictures import BoxPicture
from tagbox.reports.page import page_bytes, render_page


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectorReportData:
    """Everything a detector's report says; only the first three are needed.

    Attributes
    ----------
    title
        The run's name.
    categories
        K names.
    metrics
        What `evaluation.evaluate_detections.evaluate_boxes` returned for the validation images. A section whose
        keys are missing or None is left out.
    history
        The rows of ``history.csv``.
    best_epoch
        The epoch that was kept.
    pictures
        The best and the worst (`reports.detection_pictures.choose_box_pictures`, `box_pictures.make_box_picture`).
    statistics
        `checks.statistics.statistics` of the training data.
    box_sides
        (M, 2) float64; width and height of the training data's boxes in pixels of their pictures.
    config
        Every setting of the run.
    notes
        Sentences for the reader, such as what was left out and why.
    versions
        Library to version.
    command
        What reproduces the run.
    """

    title: str
    categories: Sequence[str]
    metrics: Mapping[str, Any]
    history: Sequence[Mapping[str, float | int | None]] = ()
    best_epoch: int | None = None
    pictures: Sequence[BoxPicture] = ()
    statistics: Mapping[str, Any] | None = None
    box_sides: NDArray[np.float64] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    def __post_init__(self) -> None:
        if self.box_sides is not None and self.box_sides.shape[1:] != (2,):
            raise ValueError(f"box sides must be (M, 2), got {self.box_sides.shape}")
        confusion = self.metrics.get("confusion")
        if confusion:
            shape, sides = np.shape(confusion["matrix"]), len(self.categories) + 1
            if shape != (sides, sides) or len(confusion["names"]) != sides:
                raise ValueError(
                    f"the confusion matrix must be ({sides}, {sides}) with as many names, got {shape}"
                )


def render_detector_report(data: DetectorReportData) -> str:
    """The report as one HTML document without a reference to anything outside it."""
    from tagbox.reports.detection_sections import detector_sections

    return render_page("detector.html.j2", detector_sections(data))


def write_detector_report(data: DetectorReportData, path: Path) -> None:
    """Write the report of `data` to `path`, atomically.

    Raises
    ------
    TagboxError
        ``cannot-write`` when the operating system refuses.
    """
    atomic_write(path, page_bytes(render_detector_report(data)))
