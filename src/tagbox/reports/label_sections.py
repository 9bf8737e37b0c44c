"""What each section of a report shows, as plain values and ready charts for the template.

What a report says where every picture has one category.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.images.outcomes import verdicts
from tagbox.metrics.single_label import (
    calibration,
    confusion_matrix,
    said_rows,
    sums_to_one,
    true_rows,
)
from tagbox.reports.categories import bars, category_table, together
from tagbox.reports.categories import confusion as label_confusion
from tagbox.reports.charts import Axis, Series, histogram, line_chart
from tagbox.reports.confusion_chart import confusion_chart
from tagbox.reports.label_charts import baselines, curves, headline, history, thresholds
from tagbox.reports.page import count, figure, plain
from tagbox.reports.pictures import ReportPicture, heat_layer, thumbnail

if TYPE_CHECKING:
    from tagbox.reports.classifier_report import ReportData

PAIRS = 14
BESIDE = 16
"""Categories up to which the matrix leaves room for the table beside it."""


def confusion(data: ReportData) -> dict[str, Any]:
    """The whole matrix, and which category was most often taken for which."""
    names = data.categories
    there = true_rows(data.truth)
    counts = confusion_matrix(there, said_rows(data.said), len(names))
    off = counts * (1 - np.eye(len(names), dtype=np.int64))
    order = np.argsort(-off, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(flat), len(names)) for flat in order]
    support = np.bincount(there, minlength=len(names))
    return {
        "matrix": confusion_chart(names, counts) if counts.any() else None,
        "beside": len(names) <= BESIDE,
        "rows": [
            (names[i], names[j], int(off[i, j]), int(support[i])) for i, j in pairs if off[i, j]
        ],
    }


def calibration_chart(data: ReportData) -> list[Markup]:
    """How often the said category is right, against how sure the model was."""
    if data.probabilities is None or not len(data.truth) or not sums_to_one(data.probabilities):
        return []
    found = calibration(true_rows(data.truth), data.probabilities)
    filled = found.counts > 0
    return [
        line_chart(
            "How sure, and how often right",
            [
                Series(name="as sure as right", x=[0.0, 1.0], y=[0.0, 1.0], style="faint"),
                Series(
                    name="this model",
                    x=found.confidence[filled],
                    y=found.accuracy[filled],
                    dots=True,
                ),
            ],
            x=Axis(label="probability of what was said", low=0.0, high=1.0),
            y=Axis(label="share that is right", low=0.0, high=1.0),
        )
    ]


def sections(data: ReportData) -> dict[str, Any]:
    """The template's values."""
    return {
        "title": data.title,
        "facts": _facts(data),
        "headline": headline(data.metrics),
        "exclusive": data.exclusive,
        "absent": _absent(data),
        "skipped": data.metrics.get("map_skipped") or [],
        "baselines": baselines(data),
        "notes": list(data.notes),
        "history": history(data),
        "thresholds": None if data.exclusive else thresholds(data),
        "curves": calibration_chart(data) if data.exclusive else curves(data),
        "bars": bars(data),
        "table": category_table(data),
        "confusion": confusion(data) if data.exclusive else label_confusion(data),
        "together": {"rows": []} if data.exclusive else together(data),
        "pictures": _pictures(data.pictures, scores=not data.exclusive),
        "evidence": any(picture.evidence for picture in data.pictures),
        "statistics": statistics_values(data.statistics, histograms=not data.exclusive),
        "config": [(name, plain(value)) for name, value in data.config.items()],
        "versions": list(data.versions.items()),
        "command": data.command,
    }


def _facts(data: ReportData) -> list[str]:
    images, categories = data.truth.shape
    positives = int((data.truth == PRESENT).sum())
    facts = [
        count(images, "validation image"),
        count(categories, "category", "categories"),
        "one category a picture" if data.exclusive else count(positives, "label"),
    ]
    unknown = int((data.truth == UNKNOWN).sum())
    return [*facts, f"{unknown} unknown labels left out"] if unknown else facts


def _absent(data: ReportData) -> dict[str, str]:
    """What is not there and why; of exclusive labels nobody expects thresholds."""
    absent = data.metrics.get("absent") or {}
    hidden = ("thresholds", "at_0.5", "at_global", "at_per_category") if data.exclusive else ()
    return {name: reason for name, reason in absent.items() if name not in hidden}


def _pictures(pictures: Sequence[ReportPicture], *, scores: bool) -> list[dict[str, Any]]:
    groups = []
    for kind, words in (("worst", "Where it fails"), ("best", "Where it works")):
        cards = [
            _card(picture, f"{kind}{i}", score=scores)
            for i, picture in enumerate(p for p in pictures if p.kind == kind)
        ]
        if cards:
            groups.append({"title": words, "cards": cards})
    return groups


def _card(picture: ReportPicture, key: str, *, score: bool) -> dict[str, Any]:
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
        "score": figure(picture.score, 2) if score else None,
        "labels": labels,
        "evidence": [(name, heat_layer(heat)) for name, heat in picture.evidence[:3]],
    }


def statistics_values(
    statistics: Mapping[str, Any] | None, *, histograms: bool
) -> dict[str, Any] | None:
    """What a page says of the training data, from `checks.statistics.statistics` of it."""
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
        if counts and histograms
        else None,
        "frequencies": _frequency_chart(names) if len(names) > 1 else None,
        "pairs": [
            (p["a"], p["b"], p["images"], f"{p['lift']:.1f}")
            for p in statistics.get("co_occurrence") or []
        ][:10],
    }


def _frequency_chart(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """How many images each category has, the most frequent first: the long tail."""
    counts = [float(row["images"]) for row in rows]
    return line_chart(
        "Images a category, most frequent first",
        [Series(name="images", x=list(range(1, len(counts) + 1)), y=counts, style="s0")],
        x=Axis(label="category, by frequency", whole=True),
        y=Axis(label="images", low=0.0),
    )
