"""`Evaluation`: the metrics of a model or of predictions, with tables and charts that show themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from tagbox.api.charts import Charts, confusion_counts, evaluation_charts
from tagbox.errors import visible
from tagbox.evaluation.score import notes
from tagbox.tables import Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Evaluation(Mapping[str, Any]):
    """What `tagbox evaluate --json` prints, as a mapping: ``evaluation["map"]``; `docs/evaluate-json.md` has the keys.

    Parameters
    ----------
    result
        As `evaluate_labels` and `evaluate_boxes` return it.
    truth, probabilities
        (N, K) int8 (1 present, 0 absent, -1 unknown) and (N, K) floats of the images, from which the curves of labels
        are drawn.
    """

    def __init__(
        self,
        result: Mapping[str, Any],
        *,
        truth: NDArray[np.int8] | None = None,
        probabilities: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        self._result = dict(result)
        self._truth, self._probabilities = truth, probabilities

    def with_keys(self, more: Mapping[str, Any]) -> Evaluation:
        """The same evaluation with more keys."""
        result = {**self._result, **more}
        return Evaluation(result, truth=self._truth, probabilities=self._probabilities)

    def __getitem__(self, key: str) -> Any:
        return self._result[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._result)

    def __len__(self) -> int:
        return len(self._result)

    @property
    def headline(self) -> dict[str, float]:
        """The metrics to look at first."""
        if self.get("task") == "detection":
            from tagbox.evaluation.evaluate_detections import box_headline

            return box_headline(self)
        from tagbox.evaluation.evaluate_labels import headline

        return headline(self)

    @property
    def metrics(self) -> Table:
        """Every number of the whole, with its confidence interval where there is one."""
        intervals = self.get("intervals", {})
        return Table(
            [self._row(n, intervals) for n, v in self.items() if _is_metric(n, v)], _METRIC
        )

    @property
    def per_category(self) -> Table:
        """A row a category: name, support, precision, recall, F1 and so on."""
        return Table(self.get("per_category", ()))

    @property
    def confusions(self) -> Table:
        """Which category was taken for which, the most frequent first.

        Of labels that exclude each other and of detections: ``true``, ``predicted``, ``count`` (``background`` for a
        box that was missed or invented). Of others, which have no confusion matrix: ``missed``, ``said``, ``images``,
        ``share``, ``excess``.
        """
        names, matrix = confusion_counts(self)
        if not names:
            return Table(
                self.get("confusions", ()), ("missed", "said", "images", "share", "excess")
            )
        rows: list[dict[str, Any]] = [
            {"true": names[i], "predicted": names[j], "count": count}
            for i, row in enumerate(matrix)
            for j, count in enumerate(row)
            if i != j and count
        ]
        rows.sort(key=lambda row: -row["count"])
        return Table(rows, ("true", "predicted", "count"))

    @property
    def confusion_matrix(self) -> Table:
        """A row a true category, a column a predicted one; empty where labels do not exclude each other."""
        names, matrix = confusion_counts(self)
        rows = [
            {"true": n, **dict(zip(names, row, strict=True))}
            for n, row in zip(names, matrix, strict=True)
        ]
        return Table(rows, ("true", *names) if names else ())

    @property
    def errors(self) -> Table:
        """TIDE's types of errors of detections: how many, and the AP50 that each costs; empty for labels."""
        found = self.get("errors", {})
        return Table([{"error": n, **row} for n, row in found.items()], ("error", "ap50", "count"))

    @property
    def notes(self) -> list[str]:
        """What must be known to read the metrics, in sentences."""
        # Of arrays that were aligned, nothing is missing.
        return notes({"missing": 0, "extra": 0, **self})

    @property
    def charts(self) -> Charts:
        """Precision and recall, metrics over the threshold, calibration, the confusion matrix: those that there are."""
        return evaluation_charts(self, self._truth, self._probabilities)

    def _headline(self) -> Table:
        intervals = self.get("intervals", {})
        images = self.get("images", 0)
        title = f"{images:,} images, {self.get('categories', 0)} categories"
        return Table([self._row(name, intervals) for name in self.headline], _METRIC, title)

    def _row(self, name: str, intervals: Mapping[str, Any]) -> dict[str, Any]:
        interval = intervals.get(name, {})
        ends = {end: interval.get(end) for end in ("low", "high")}
        return {"metric": name, "value": self[name], **ends, "reliable": interval.get("reliable")}

    def __repr__(self) -> str:
        return "\n".join([repr(self._headline()), *self.notes])

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{escape(visible(note))}</p>" for note in self.notes)
        return f"<div>{self._headline()._repr_html_()}{said}{self.per_category._repr_html_()}</div>"


_METRIC = ("metric", "value", "low", "high", "reliable")
_COUNTS = frozenset(
    ("images", "categories", "positives", "unknown_labels", "missing", "extra", "resamples")
)


def _is_metric(name: str, value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and name not in _COUNTS
