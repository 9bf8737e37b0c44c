"""What each section of a report shows, as plain values and ready charts for the template."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tagbox.checks.statistics import co_occurrence_counts
from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN
from tagbox.evaluation.ranking import average_precision
from tagbox.images.verdicts import verdicts
from tagbox.reports.charts import Axis, Mark, Series, histogram, line_chart, matrix
from tagbox.reports.curves import precision_recall, threshold_curves
from tagbox.reports.pictures import ReportPicture, heat_layer, thumbnail

if TYPE_CHECKING:
    from tagbox.reports.report import ReportData

METRIC_NAMES = {
    "map": "mAP",
    "challenge_f1": "challenge F1",
    "challenge_precision": "challenge precision",
    "challenge_recall": "challenge recall",
    "challenge_accuracy": "challenge accuracy",
    "micro_f1": "micro F1",
    "micro_precision": "micro precision",
    "micro_recall": "micro recall",
    "macro_f1": "macro F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "weighted_f1": "weighted F1",
    "samples_f1": "samples F1",
    "cf1": "CF1",
    "of1": "OF1",
    "hamming_loss": "Hamming loss",
    "subset_accuracy": "subset accuracy",
    "loss": "loss",
}
"""Metrics as people write them; others show with spaces for underscores."""

MEANINGS = {
    "map": "mean average precision over the categories",
    "challenge_f1": "weighted towards rare categories",
    "micro_f1": "all labels alike; also OF1",
    "macro_f1": "mean of the categories' F1",
    "cf1": "F1 of mean precision and mean recall",
    "samples_f1": "mean of the images' F1",
    "hamming_loss": "share of wrong label decisions; lower is better",
    "subset_accuracy": "share of images with every label right",
}

_HEADLINE = tuple(MEANINGS)
_TABLE = ("challenge_f1", "challenge_precision", "challenge_recall", "micro_f1", "macro_f1", "cf1")
_TABLE += ("samples_f1", "hamming_loss")
_MATRIX_MOST = 14


def sections(data: ReportData) -> dict[str, Any]:
    """The template's values."""
    return {
        "title": data.title,
        "facts": _facts(data),
        "headline": _headline(data.metrics),
        "absent": data.metrics.get("absent") or {},
        "skipped": data.metrics.get("map_skipped") or [],
        "baselines": _baselines(data),
        "notes": list(data.notes),
        "history": _history(data),
        "thresholds": _thresholds(data),
        "curves": _curves(data),
        "bars": _bars(data),
        "table": _category_table(data),
        "confusion": _confusion(data),
        "together": _together(data),
        "pictures": _pictures(data.pictures),
        "statistics": _statistics(data.statistics),
        "config": [(name, _plain(value)) for name, value in data.config.items()],
        "versions": list(data.versions.items()),
        "command": data.command,
    }


def metric_name(key: str) -> str:
    """``challenge_f1`` as ``challenge F1``."""
    return METRIC_NAMES.get(key, key.replace("_", " "))


def figure(value: float | None, digits: int = 3) -> str:
    """A number for the page; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def _facts(data: ReportData) -> list[str]:
    images, categories = data.truth.shape
    positives = int((data.truth == PRESENT).sum())
    facts = [
        _count(images, "validation image"),
        _count(categories, "category", "categories"),
        _count(positives, "label"),
    ]
    unknown = int((data.truth == UNKNOWN).sum())
    return [*facts, f"{unknown} unknown labels left out"] if unknown else facts


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _headline(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    intervals = metrics.get("intervals") or {}
    tiles = []
    for key in _HEADLINE:
        if metrics.get(key) is None:
            continue
        interval = intervals.get(key) or {}
        low, high = interval.get("low"), interval.get("high")
        tiles.append(
            {
                "name": metric_name(key),
                "value": figure(metrics[key]),
                "share": 100 * min(max(float(metrics[key]), 0.0), 1.0),
                "low": None if low is None else 100 * min(max(low, 0.0), 1.0),
                "high": None if high is None else 100 * min(max(high, 0.0), 1.0),
                "interval": None if low is None else f"{figure(low)} to {figure(high)}",
                "unreliable": interval.get("reliable") is False,
                "why": interval.get("reason") or interval.get("note") or "",
                "meaning": MEANINGS[key],
            }
        )
    return tiles


def _baselines(data: ReportData) -> dict[str, Any]:
    keys = list(dict.fromkeys(key for figures in data.baselines.values() for key in figures))
    rows = [(name, [figure(f.get(key)) for key in keys]) for name, f in data.baselines.items()]
    if rows:
        rows.insert(0, ("this model", [figure(data.metrics.get(key)) for key in keys]))
    return {"keys": [metric_name(key) for key in keys], "rows": rows}


def _history(data: ReportData) -> list[Markup]:
    """One chart for each figure that training or validation has; both sides on it."""
    rows = data.history
    names = dict.fromkeys(
        name.partition("_")[2]
        for row in rows
        for name in row
        if name.startswith(("train_", "val_"))
    )
    epochs = [float(row.get("epoch") or index + 1) for index, row in enumerate(rows)]
    marks = [] if data.best_epoch is None else [Mark(x=data.best_epoch, label="kept")]
    charts = []
    for name in names:
        series = []
        for side, words, style in (("train", "training", "s1"), ("val", "validation", "s0")):
            values = [_number(row.get(f"{side}_{name}")) for row in rows]
            if any(map(math.isfinite, values)):
                series.append(
                    Series(name=words, x=epochs, y=values, style=style, dots=len(rows) <= 120)
                )
        if series:
            title = metric_name(name)
            charts.append(
                line_chart(
                    title[0].upper() + title[1:] if title != "mAP" else title,
                    series,
                    x=Axis(label="epoch", whole=True),
                    y=Axis(label=title, low=0.0),
                    marks=marks,
                )
            )
    return charts


def _thresholds(data: ReportData) -> dict[str, Any]:
    rows = []
    for key, words in (
        ("", "as saved with the model"),
        ("at_0.5", "0.5 for all"),
        ("at_global", "one tuned threshold"),
        ("at_per_category", "one a category"),
    ):
        figures = data.metrics if not key else data.metrics.get(key)
        if figures and any(figures.get(name) is not None for name in _TABLE):
            rows.append((words, [figure(figures.get(name)) for name in _TABLE]))
    tuning = data.tuning or data.metrics.get("tuning") or {}
    tuned = [
        (
            words,
            figure(tuning[key].get("tuned")),
            figure(tuning[key].get("cross_fitted")),
            figure(tuning[key].get("overstated")),
            tuning.get("kept") == key,
        )
        for key, words in (("global", "one for all"), ("per_category", "one a category"))
        if isinstance(tuning.get(key), Mapping)
    ]
    return {
        "names": [metric_name(name) for name in _TABLE],
        "rows": rows if len(rows) > 1 else [],
        "tuned": tuned,
        "tuning": tuning,
        "objective": metric_name(str(tuning.get("objective", ""))),
        "value": None if not data.thresholds else figure(data.thresholds.get("value")),
        "per_category": bool(data.thresholds and data.thresholds.get("use_per_category")),
    }


def _curves(data: ReportData) -> list[Markup]:
    if data.probabilities is None:
        return []
    micro = precision_recall(data.truth, data.probabilities)
    if micro is None:
        return []
    thin = []
    for k in np.flatnonzero((data.truth == PRESENT).sum(axis=0) >= 5)[:100]:
        curve = precision_recall(data.truth[:, k], data.probabilities[:, k])
        if curve is not None:
            curve = curve.thinned(30)
            thin.append(Series(name="", x=curve.recall, y=curve.precision, style="faint"))
    if thin:
        # One of them speaks for all in the legend.
        head = Series(
            name="one category (5 or more labels)", x=thin[0].x, y=thin[0].y, style="faint"
        )
        thin[0] = head
    micro = micro.thinned(150)
    unit = Axis(label="recall", low=0.0, high=1.0)
    total = Series(name="all labels together", x=micro.recall, y=micro.precision, style="s0")
    curves = [
        line_chart(
            "Precision and recall",
            [*thin, total],
            x=unit,
            y=Axis(label="precision", low=0.0, high=1.0),
        )
    ]
    swept = threshold_curves(data.truth, data.probabilities)
    value = (data.thresholds or {}).get("value")
    marks = [] if value is None else [Mark(x=float(value), label=f"tuned {value:.3f}")]
    for title, keys in (
        ("F1 against one threshold", ("challenge_f1", "micro_f1", "macro_f1")),
        (
            "Precision and recall against one threshold",
            ("micro_precision", "micro_recall", "challenge_precision", "challenge_recall"),
        ),
    ):
        lines = [
            Series(name=metric_name(key), x=swept.thresholds, y=swept.metrics[key], style=f"s{i}")
            for i, key in enumerate(keys)
        ]
        axis = Axis(label="threshold", low=0.0, high=1.0)
        curves.append(
            line_chart(title, lines, x=axis, y=Axis(label="score", low=0.0, high=1.0), marks=marks)
        )
    return curves


def _bars(data: ReportData) -> dict[str, Any]:
    """Average precision of each category, or its F1 where there are only label sets."""
    support = (data.truth == PRESENT).sum(axis=0)
    known = np.maximum((data.truth != UNKNOWN).sum(axis=0), 1)
    if data.probabilities is not None:
        values, name = average_precision(data.truth, data.probabilities), "average precision"
    else:
        rows = data.metrics.get("per_category") or []
        by_name = {row["name"]: row for row in rows}
        values = np.array([by_name.get(n, {}).get("f1", np.nan) for n in data.categories])
        values, name = np.where(support > 0, values, np.nan), "F1"
    order = np.argsort(-np.nan_to_num(values, nan=-1.0), kind="stable")
    return {
        "name": name,
        "chance": data.probabilities is not None,
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


def _category_table(data: ReportData) -> dict[str, Any]:
    rows = data.metrics.get("per_category") or []
    trained = {
        row["name"]: row["images"] for row in (data.statistics or {}).get("categories") or []
    }
    columns = [("support", "labels"), ("ap", "AP"), ("f1", "F1"), ("precision", "precision")]
    columns += [("recall", "recall"), ("threshold", "threshold")]
    columns += [("tp", "right"), ("fp", "wrong"), ("fn", "missed")]
    columns = [
        (key, words) for key, words in columns if any(row.get(key) is not None for row in rows)
    ]
    body = []
    for row in rows:
        cells: list[float | int | None] = [row.get(key) for key, _ in columns]
        if trained:
            cells.insert(0, trained.get(row["name"]))
        body.append((row["name"], [(_cell(value), value) for value in cells]))
    headers = [words for _, words in columns]
    return {"headers": ["training images", *headers] if trained else headers, "rows": body}


def _cell(value: float | int | None) -> str:
    return figure(value) if isinstance(value, float) or value is None else f"{value:,}"


def _confusion(data: ReportData) -> dict[str, Any]:
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
        "rows": rows,
        "chart": _matrix(
            data.categories,
            counts,
            "Said where another was missed",
            ("missed", "said"),
            "{row} missed, {column} said: {value} images",
        ),
    }


def _together(data: ReportData) -> dict[str, Any]:
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
            ("with", "and"),
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


def _pictures(pictures: Sequence[ReportPicture]) -> list[dict[str, Any]]:
    groups = []
    for kind, words in (("worst", "Where it fails"), ("best", "Where it works")):
        cards = [
            _card(picture, f"{kind}{i}")
            for i, picture in enumerate(p for p in pictures if p.kind == kind)
        ]
        if cards:
            groups.append({"title": words, "cards": cards})
    return groups


def _card(picture: ReportPicture, key: str) -> dict[str, Any]:
    uri, width, height = thumbnail(picture.image)
    missed = dict(picture.missed)
    labels = [
        (v, missed.get(v.name) if v.outcome == "missed" else v.probability)
        for v in verdicts(picture.truth, picture.predicted)
    ]
    return {
        "key": key,
        "uri": uri,
        "width": width,
        "height": height,
        "name": picture.name,
        "score": figure(picture.score, 2),
        "labels": labels,
        "evidence": [(name, heat_layer(heat)) for name, heat in picture.evidence[:3]],
    }


def _statistics(statistics: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not statistics:
        return None
    per_image = statistics.get("labels_per_image") or {}
    facts = [
        ("images", statistics.get("images")),
        ("with labels known", statistics.get("labelled_images")),
        ("without any label", statistics.get("empty_images")),
        ("annotations", statistics.get("annotations")),
        ("boxes", statistics.get("boxes")),
        ("crowd regions", statistics.get("crowds")),
        ("labels an image, mean", per_image.get("mean")),
        ("most frequent : rarest", statistics.get("imbalance")),
    ]
    sizes = [
        f"{side} {spread['min']} to {spread['max']} px, median {spread['median']}"
        for side in ("widths", "heights")
        if (spread := statistics.get(side))
    ]
    objects = statistics.get("objects") or {}
    counts = per_image.get("histogram") or []
    names = sorted(statistics.get("categories") or [], key=lambda row: row["images"], reverse=True)
    return {
        "facts": [
            (name, f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")
            for name, value in facts
            if value is not None
        ],
        "sizes": sizes,
        "objects": [(name, f"{count:,}") for name, count in objects.items()],
        "histogram": histogram("Labels in an image", counts, x="labels", y="images")
        if counts
        else None,
        "frequencies": histogram_of_frequencies(names) if len(names) > 1 else None,
        "pairs": [
            (p["a"], p["b"], p["images"], f"{p['lift']:.1f}")
            for p in statistics.get("co_occurrence") or []
        ][:10],
    }


def histogram_of_frequencies(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """How many images each category has, the most frequent first: the long tail."""
    counts = [float(row["images"]) for row in rows]
    return line_chart(
        "Images a category, most frequent first",
        [Series(name="images", x=list(range(1, len(counts) + 1)), y=counts, style="s0")],
        x=Axis(label="category, by frequency", whole=True),
        y=Axis(label="images", low=0.0),
    )


def _number(value: float | int | None) -> float:
    return math.nan if value is None else float(value)


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(v)}" for name, v in value.items()) or "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    return str(value)
