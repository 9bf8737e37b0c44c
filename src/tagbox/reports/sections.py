"""What each section of a report shows, as plain values and ready charts for the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.images.verdicts import verdicts
from tagbox.reports import exclusive
from tagbox.reports.categories import bars, category_table, confusion, together
from tagbox.reports.charts import Axis, Series, histogram, line_chart
from tagbox.reports.figures import baselines, curves, headline, history, thresholds
from tagbox.reports.pictures import ReportPicture, heat_layer, thumbnail
from tagbox.reports.words import count, figure, plain

if TYPE_CHECKING:
    from tagbox.reports.report import ReportData


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
        "curves": exclusive.calibration_chart(data) if data.exclusive else curves(data),
        "bars": bars(data),
        "table": category_table(data),
        "confusion": exclusive.confusion(data) if data.exclusive else confusion(data),
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
