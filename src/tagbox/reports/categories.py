"""The report's categories: average precision, the table, confusion, co-occurrence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tagbox.checks.statistics import co_occurrence_counts
from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN
from tagbox.metrics.multilabel import average_precision
from tagbox.reports.charts import matrix
from tagbox.reports.page import figure

if TYPE_CHECKING:
    from tagbox.reports.classifier_report import ReportData

_MATRIX_MOST = 14


def bars(data: ReportData) -> dict[str, Any]:
    """Average precision of each category; its F1 where there are only label sets, or labels are exclusive."""
    support = (data.truth == PRESENT).sum(axis=0)
    known = np.maximum((data.truth != UNKNOWN).sum(axis=0), 1)
    ranked = data.probabilities is not None and not data.exclusive
    if ranked:
        assert data.probabilities is not None
        values, name = average_precision(data.truth, data.probabilities), "average precision"
    else:
        rows = data.metrics.get("per_category") or []
        by_name = {row["name"]: row for row in rows}
        values = np.array([by_name.get(n, {}).get("f1", np.nan) for n in data.categories])
        values, name = np.where(support > 0, values, np.nan), "F1"
    order = np.argsort(-np.nan_to_num(values, nan=-1.0), kind="stable")
    return {
        "name": name,
        "chance": ranked,
        "rows": [
            {
                "name": data.categories[k],
                "value": figure(values[k], 2),
                "width": 0.0 if np.isnan(values[k]) else 100 * float(values[k]),
                "chance": 100 * float(support[k] / known[k]),
                "support": int(support[k]),
            }
            for k in order
        ],
    }


def category_table(data: ReportData) -> dict[str, Any]:
    """Every category with its support, scores, threshold and counts."""
    columns = [("support", "labels"), ("ap", "AP"), ("f1", "F1"), ("precision", "precision")]
    columns += [("recall", "recall"), ("threshold", "threshold")]
    columns += [("tp", "right"), ("fp", "wrong"), ("fn", "missed")]
    trained = {
        row["name"]: row["images"] for row in (data.statistics or {}).get("categories") or []
    }
    rows = data.metrics.get("per_category") or []
    return table_of(rows, columns, trained, "training images")


def table_of(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[tuple[str, str]],
    trained: Mapping[str, int],
    trained_words: str,
) -> dict[str, Any]:
    """A row a category; columns nobody has are left out.

    Parameters
    ----------
    rows
        ``per_category`` of the metrics.
    columns
        Keys of `rows` and how they are called.
    trained, trained_words
        By category what training had of it, and how that is called.
    """
    kept = [(key, words) for key, words in columns if any(row.get(key) is not None for row in rows)]
    body = []
    for row in rows:
        cells: list[float | int | None] = [row.get(key) for key, _ in kept]
        if trained:
            cells.insert(0, trained.get(row["name"]))
        body.append((row["name"], [(_cell(value), value) for value in cells]))
    headers = [words for _, words in kept]
    return {"headers": [trained_words, *headers] if trained else headers, "rows": body}


def _cell(value: float | int | None) -> str:
    return figure(value) if isinstance(value, float) or value is None else f"{value:,}"


def confusion(data: ReportData) -> dict[str, Any]:
    """Which category was said where another was missed, in the same image."""
    missed = ((data.truth == PRESENT) & ~data.said).astype(np.float32)
    wrong = ((data.truth == ABSENT) & data.said).astype(np.float32)
    counts = (missed.T @ wrong).astype(np.int64)
    pairs = _top_pairs(counts, 14)
    rows = [
        (data.categories[i], data.categories[j], int(counts[i, j]), int(missed[:, i].sum()))
        for i, j in pairs
    ]
    return {
        "matrix": None,
        "rows": rows,
        "chart": _matrix(
            data.categories,
            counts,
            "Said where another was missed",
            ("missed", "said"),
            "{row} missed, {column} said: {value} images",
        ),
    }


def together(data: ReportData) -> dict[str, Any]:
    """Which categories share images, in truth and in what was said."""
    truth = co_occurrence_counts(data.truth == PRESENT)
    said = co_occurrence_counts(data.said & (data.truth != UNKNOWN))
    upper = np.triu(truth, 1)
    rows = [
        (data.categories[i], data.categories[j], int(truth[i, j]), int(said[i, j]))
        for i, j in _top_pairs(upper, 14)
    ]
    return {
        "rows": rows,
        "chart": _matrix(
            data.categories,
            truth * (1 - np.eye(len(truth), dtype=np.int64)),
            "Labels of the same image",
            ("category", "with"),
            "{row} and {column}: {value} images",
        ),
    }


def _top_pairs(counts: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, counts.shape)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if counts[i, j] > 0]


def _matrix(
    names: Sequence[str],
    counts: NDArray[np.int64],
    title: str,
    sides: tuple[str, str],
    tip: str,
) -> Markup | None:
    """The categories with most in their row and column; None where there is nothing to show."""
    if not counts.any() or len(names) < 3:
        return None
    weight = counts.sum(axis=0) + counts.sum(axis=1)
    kept = np.argsort(-weight, kind="stable")[:_MATRIX_MOST]
    kept = kept[weight[kept] > 0]
    return matrix(
        title,
        [names[k] for k in kept],
        counts[np.ix_(kept, kept)],
        row=sides[0],
        column=sides[1],
        tip=tip,
    )
