"""The charts of a run or an evaluation, which show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.reports.charts import Chart, history_chart
from tagbox.reports.page import metric_name

_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(340px,1fr));gap:12px"


class Charts(Mapping[str, Chart]):
    """Charts by name, in the order in which they are shown."""

    def __init__(self, charts: Mapping[str, Chart]) -> None:
        self._charts = dict(charts)

    def __getitem__(self, name: str) -> Chart:
        return self._charts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._charts)

    def __len__(self) -> int:
        return len(self._charts)

    def __repr__(self) -> str:
        return f"<Charts: {', '.join(self) or 'none'}>"

    def _repr_html_(self) -> str:
        return f'<div style="{_GRID}">{"".join(c._repr_html_() for c in self.values())}</div>'


def history_charts(rows: Sequence[Mapping[str, Any]], best_epoch: int | None) -> Charts:
    """Each metric of a history over the epochs, training and validation together; losses come first."""
    columns = dict.fromkeys(column for row in rows for column in row)
    sides = [c.partition("_")[2] for c in columns if c.startswith(("train_", "val_"))]
    names = sorted(dict.fromkeys(sides), key=lambda name: not name.startswith("loss"))
    charts = {}
    for name in names:
        both = {f"val_{name}": "validation", f"train_{name}": "training"}
        charts[name] = history_chart(metric_name(name), metric_name(name), both, rows, best_epoch)
    rate = {"learning_rate": "learning rate"}
    charts["learning_rate"] = history_chart("learning rate", "rate", rate, rows, None)
    return Charts({name: chart for name, chart in charts.items() if chart})


def evaluation_charts(
    result: Mapping[str, Any],
    truth: NDArray[np.int8] | None = None,
    probabilities: NDArray[np.floating[Any]] | None = None,
) -> Charts:
    """The charts of an evaluation: curves, calibration of detections, a confusion matrix where there is one.

    Parameters
    ----------
    truth, probabilities
        (N, K) of labels, which may go together in an image; without them their curves are left out.
    """
    charts: dict[str, Chart] = {}
    if truth is not None and result.get("labels") == "multi":
        from tagbox.reports.classifier_charts import threshold_charts

        names = ("precision_recall", "f1_threshold", "precision_recall_threshold")
        curves = threshold_charts(truth, probabilities, result.get("thresholds"))
        charts |= dict(zip(names, curves, strict=False))
    if result.get("task") == "detection":
        from tagbox.reports.detector_charts import score_charts

        names = ("precision_recall", "score_threshold", "calibration")
        charts |= dict(zip(names, score_charts(result), strict=False))
    categories, matrix = confusion_counts(result)
    if len(matrix):
        from tagbox.reports.matrix_chart import confusion_chart

        unit = "boxes" if result.get("task") == "detection" else "images"
        charts["confusion"] = confusion_chart(categories, np.array(matrix, np.int64), unit=unit)
    return Charts(charts)


def confusion_counts(result: Mapping[str, Any]) -> tuple[list[str], list[list[int]]]:
    """Names and rows of an evaluation's confusion matrix; both empty where there is none."""
    if "confusion_matrix" in result:
        return [row["name"] for row in result["per_category"]], result["confusion_matrix"]
    confusion = result.get("confusion") or {}
    return list(confusion.get("names", ())), list(confusion.get("matrix", ()))
