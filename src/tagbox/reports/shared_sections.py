"""Sections that the reports of all kinds of model have: examples, categories, confusion, data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tagbox.images.captions import LabelOutcome, Outcome
from tagbox.metrics.intervals import THIN
from tagbox.reports.charts import Axis, Series, histogram, line_chart
from tagbox.reports.matrix_chart import confusion_chart
from tagbox.reports.metrics_section import percentage
from tagbox.reports.page import block, count, number
from tagbox.reports.report import Report, Section

MOST_PAIRS = 14
"""Rows of a table of category pairs."""
_SET = ("threshold", "cut")
"""Columns that are settings of the model."""
_BESIDE = 16
"""Categories up to which a confusion matrix leaves room for a table beside it."""


def examples_section(
    report: Report, legend: str, *, shown: int, scores: bool = True, boxes: bool = False
) -> Section:
    """Example images with their labels.

    Parameters
    ----------
    legend
        What the images show and how they are ordered.
    shown
        Cards of the best and of the worst predictions before the rest is folded.
    scores
        Whether the score of an image is shown.
    boxes
        Whether the images have boxes, which the legend then explains.
    """
    blocks = []
    for kind, title in (("worst", "Worst predictions"), ("best", "Best predictions")):
        images = [image for image in report.images if image.kind == kind]
        cards = [image.card(f"{kind}{i}") for i, image in enumerate(images)]
        if cards:
            blocks.append(block("subtitle", text=title))
            blocks.append(block("cards", cards=cards[:shown], scores=scores, boxes=boxes))
        if len(cards) > shown:
            rest = block("cards", cards=cards[shown:], scores=scores, boxes=boxes)
            blocks.append(block("details", summary=f"{len(cards) - shown} more", block=rest))
    outcomes: tuple[Outcome, ...] = ("true positive", "false positive", "missed")
    labels = [LabelOutcome(outcome, None, outcome) for outcome in outcomes]
    text = block("legend", labels=labels, text=legend, boxes=boxes)
    return Section(
        id="examples",
        label="Examples",
        title="Example predictions",
        blocks=[text, *blocks] if blocks else [],
    )


def category_section(
    report: Report,
    columns: Mapping[str, str],
    *,
    bar: str,
    unit: str,
    statistic: tuple[str, str],
    chance: Mapping[str, float] = MappingProxyType({}),
) -> Section:
    """A row per category of ``per_category`` of the metrics, with one metric as a bar, the highest first.

    Rows with fewer than `THIN` positives are faded and follow the others; those without any are folded.

    Parameters
    ----------
    columns
        Keys of the rows and their headers; one without a value is left out, and so is a threshold that is
        the same for all.
    bar
        Key of the metric, from 0 to 1, that is drawn as a bar.
    unit
        What the support counts, in the plural.
    statistic
        Key of a category in the statistics of the training data, and the header of that column.
    chance
        Category to the value that random scores would have, marked in its bar.
    """
    rows = report.metrics.get("per_category") or []
    distinct = {key: {row.get(key) for row in rows} - {None} for key in columns}
    kept = [
        key
        for key, values in distinct.items()
        if values and not (key in _SET and len(values) == 1 < len(rows))
    ]
    # In folds the support is of the training images.
    trained = (not report.out_of_fold and (report.statistics or {}).get("categories")) or ()
    counts = {row["name"]: row[statistic[0]] for row in trained}
    headers = ["category", *([statistic[1]] if trained else []), *(columns[key] for key in kept)]

    def order(row: Mapping[str, Any]) -> tuple[int, float]:
        support, value = row.get("support") or 0, row.get(bar)
        return (support < THIN) + (support == 0), math.inf if value is None else -value

    def cell(row: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = row.get(key)
        shown = {"text": _cell(value), "value": value, "width": None, "chance": None}
        if key == bar and value is not None:
            random = chance.get(row["name"])
            shown |= {"width": percentage(value)}
            shown |= {"chance": None if random is None else percentage(random)}
        return shown

    table = []
    for row in sorted(rows, key=order):
        cells = [cell(row, key) for key in kept]
        if trained:
            value = counts.get(row["name"])
            cells.insert(0, {"text": _cell(value), "value": value, "width": None, "chance": None})
        style = ("", " thin", " thin none")[order(row)[0]]
        table.append({"name": row["name"], "cells": cells, "style": style})
    thin = sum(row["style"] == " thin" for row in table)
    none = sum(row["style"] == " thin none" for row in table)
    text = f"The bar is the {columns[bar]}; support counts the {unit} of the category."
    text += " The line in a bar is the value of random scores." if chance else ""
    if thin:
        text += f" Faded: fewer than {THIN} {unit}, too few for a reliable value."
    fold = f"Show {count(none, 'category', 'categories')} without any of the {unit}" if none else ""
    if none == len(table):
        fold = ""
    blocks = []
    if rows:
        blocks = [
            block("paragraph", text=text),
            block("sortable_table", headers=headers, rows=table, fold=fold),
        ]
    return Section(id="categories", label="Categories", title="Metrics per category", blocks=blocks)


def _cell(value: float | int | None) -> str:
    return number(value) if isinstance(value, float) or value is None else f"{value:,}"


def top_pairs(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Row and column of the largest positive counts, at most `MOST_PAIRS`; of equal ones the first."""
    order = np.argsort(-counts, axis=None, kind="stable")[:MOST_PAIRS]
    rows, columns = np.unravel_index(order, counts.shape)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if counts[i, j] > 0]


def confusion_section(
    names: Sequence[str],
    counts: NDArray[np.int64],
    totals: NDArray[np.int64],
    *,
    unit: str,
    text: str = "",
    describe: Callable[[int, int], str] | None = None,
) -> Section:
    """The confusion matrix, and which category was predicted most often for another.

    Parameters
    ----------
    names
        K categories, and what stands for the background where there is one.
    counts
        (K, K) or (K + 1, K + 1) int64; rows are true, columns predicted categories.
    totals
        (K,) int64; images or boxes of each category.
    unit
        What is counted, in the plural.
    text
        A sentence above.
    describe
        As in `confusion_chart`.
    """
    categories = len(totals)
    wrong = counts[:categories, :categories] * (1 - np.eye(categories, dtype=np.int64))
    rows = [(names[i], names[j], int(wrong[i, j]), int(totals[i])) for i, j in top_pairs(wrong)]
    blocks = []
    if counts.any():
        chart = confusion_chart(names, counts, unit=unit, describe=describe)
        blocks = [block("wide", figure=chart, label="Confusion matrix")]
        if rows:
            blocks.append(
                block(
                    "table",
                    caption="Most frequent confusions",
                    headers=("true", "predicted", unit, f"all {unit} of the category"),
                    rows=rows,
                    text=(1,),
                )
            )
            if len(names) <= _BESIDE:
                blocks = [block("pair", blocks=blocks)]
        if text:
            blocks.insert(0, block("paragraph", text=text))
    return Section(id="confusion", label="Confusion", title="Confusion matrix", blocks=blocks)


def _spread(sizes: Mapping[str, int]) -> str:
    low, high = sizes["min"], sizes["max"]
    return f"{low} px" if low == high else f"{low}–{high} px"


def data_section(
    report: Report, *, charts: Sequence[Markup] = (), histogram_of_labels: bool = True
) -> Section:
    """The statistics of the training data.

    Parameters
    ----------
    charts
        Charts before those of the labels.
    histogram_of_labels
        Whether the number of labels per image is worth a chart.
    """
    statistics = report.statistics or {}
    per_image = statistics.get("labels_per_image") or {}
    images, annotations = statistics.get("images"), statistics.get("annotations")
    labelled, boxes = statistics.get("labelled_images"), statistics.get("boxes")
    facts = {
        "images": images,
        "labelled images": None if labelled == images else labelled,
        "images without labels": statistics.get("empty_images"),
        "annotations": annotations,
        "boxes": None if boxes == annotations else boxes,
        "crowd regions": statistics.get("crowds"),
        "labels per image": per_image.get("mean"),
        "class imbalance": statistics.get("imbalance"),
        **{f"{size} objects": n for size, n in (statistics.get("objects") or {}).items()},
    }
    items = [
        (name, f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")
        for name, value in facts.items()
        if value
    ]
    if (widths := statistics.get("widths")) and (heights := statistics.get("heights")):
        items += [("image width", _spread(widths)), ("image height", _spread(heights))]
    figures = list(charts)
    if histogram_of_labels and (counts := per_image.get("histogram")):
        figures.append(histogram("Labels per image", counts, x="labels", y="images"))
    frequencies = sorted(
        (row["images"] for row in statistics.get("categories") or ()), reverse=True
    )
    if len(frequencies) > 1:
        ranks = list(range(1, len(frequencies) + 1))
        figures.append(
            line_chart(
                "Images per category, most frequent first",
                [Series(name="images", x=ranks, y=frequencies)],
                x=Axis(label="rank of the category", whole=True),
                y=Axis(label="images", low=0.0),
            )
        )
    pairs = [
        (pair["a"], pair["b"], pair["images"], f"{pair['lift']:.1f}")
        for pair in (statistics.get("co_occurrence") or ())[:10]
    ]
    blocks = [
        block("facts", items=items) if items else Markup(),
        block("charts", figures=figures) if figures else Markup(),
    ]
    if pairs:
        blocks.append(
            block(
                "table",
                caption="Most frequent pairs of categories; independent categories have a lift of 1",
                headers=("category", "other category", "images", "lift"),
                rows=pairs,
                text=(1,),
            )
        )
    return Section(id="data", label="Data", title="Training data", blocks=blocks)
