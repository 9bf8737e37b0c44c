"""Sections that the reports of all kinds of model have: metrics, examples, training, confusion, data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tagbox.images.captions import LabelOutcome, Outcome
from tagbox.reports.charts import Axis, Series, histogram, history_chart, line_chart
from tagbox.reports.matrix_chart import confusion_chart
from tagbox.reports.page import METRIC_DESCRIPTIONS, block, metric_name, number
from tagbox.reports.report import Report, Section

MOST_PAIRS = 14
"""Rows of a table of category pairs."""
_BESIDE = 16
"""Categories up to which a confusion matrix leaves room for a table beside it."""


def metrics_section(
    report: Report,
    headline: Sequence[str],
    *,
    tables: Sequence[Markup] = (),
    notes: Sequence[str] = (),
    hidden: Sequence[str] = (),
) -> Section:
    """The most important metrics with their intervals, then notes, then metrics that are missing and why.

    Parameters
    ----------
    headline
        Keys of the metrics.
    tables
        Blocks below the metrics.
    notes
        Sentences before the report's own.
    hidden
        Missing metrics that are not worth a sentence.
    """
    metrics = report.metrics
    missing = [
        Markup("<b>{}</b> is missing: {}.").format(metric_name(key), reason)
        for key, reason in (metrics.get("absent") or {}).items()
        if key not in hidden
    ]
    return Section(
        id="metrics",
        label="Metrics",
        title="Metrics on the validation images",
        blocks=[
            *(block("paragraph", text=r, style="reason") for r in metrics.get("reasons") or ()),
            block("tiles", tiles=_tiles(metrics, headline)),
            *tables,
            *(
                block("paragraph", text=text, style="note")
                for text in (*notes, *report.notes, *missing)
            ),
        ],
    )


def _tiles(metrics: Mapping[str, Any], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Those of `keys` that have a value, with name, interval, description and gauge."""
    intervals = metrics.get("intervals") or {}
    tiles = []
    for key in keys:
        if metrics.get(key) is None:
            continue
        interval = intervals.get(key) or {}
        low, high = interval.get("low"), interval.get("high")
        tiles.append(
            {
                "name": metric_name(key),
                "value": number(metrics[key]),
                # A loss has no upper end that a gauge could show.
                "share": None if key == "log_loss" else _percentage(metrics[key]),
                "low": None if low is None else _percentage(low),
                "high": None if high is None else _percentage(high),
                "interval": None if low is None else f"{number(low)} to {number(high)}",
                "level": f"{100 * interval.get('level', 0.95):g}",
                "unreliable": interval.get("reliable") is False,
                "why": interval.get("reason") or interval.get("note") or "",
                "meaning": METRIC_DESCRIPTIONS[key],
            }
        )
    return tiles


def _percentage(share: float) -> float:
    return 100 * min(max(float(share), 0.0), 1.0)


def examples_section(
    report: Report, legend: str, *, shown: int, scores: bool = True, style: str = ""
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
    """
    blocks = []
    for kind, title in (("worst", "Worst predictions"), ("best", "Best predictions")):
        images = [image for image in report.images if image.kind == kind]
        cards = [image.card(f"{kind}{i}") for i, image in enumerate(images)]
        if cards:
            blocks.append(block("subtitle", text=title))
            blocks.append(block("cards", cards=cards[:shown], scores=scores, style=style))
        if len(cards) > shown:
            rest = block("cards", cards=cards[shown:], scores=scores, style=style)
            blocks.append(block("details", summary=f"{len(cards) - shown} more", block=rest))
    outcomes: tuple[Outcome, ...] = ("right", "wrong", "missed")
    labels = [LabelOutcome(outcome, None, outcome) for outcome in outcomes]
    return Section(
        id="examples",
        label="Examples",
        title="Example predictions",
        blocks=[block("legend", labels=labels, text=legend), *blocks] if blocks else [],
    )


def training_section(
    report: Report, *, together: Sequence[str] = (), only: Sequence[str] | None = None
) -> Section:
    """Every metric of the history over the epochs: losses first, the learning rate last.

    Each loss has a chart of its own that begins at zero and holds training and validation: a part is
    neither scaled to the others nor lost beside them.

    Parameters
    ----------
    together
        Validation metrics that share the first chart.
    only
        The metrics to show, in their order; all when not given.
    """
    rows = report.history
    columns = dict.fromkeys(column for row in rows for column in row)
    names = list(
        dict.fromkeys(
            column.partition("_")[2] for column in columns if column.startswith(("train_", "val_"))
        )
    )
    losses = [name for name in names if name == "loss" or name.startswith("loss_")]
    losses.sort(key=lambda name: name != "loss")
    metrics = [name for name in names if name not in (*losses, *together)]
    shown = [*losses, *metrics] if only is None else [name for name in only if name in names]
    charts = [
        history_chart(
            "AP and AR on the validation images",
            "score",
            {f"val_{name}": metric_name(name) for name in together},
            rows,
            report.best_epoch,
        )
    ]
    for name in shown:
        part = name.removeprefix("loss_")
        title = metric_name(name) if part == name else f"loss: {part.replace('_', ' ')}"
        sides = {f"val_{name}": "validation", f"train_{name}": "training"}
        charts.append(history_chart(_capitalised(title), title, sides, rows, report.best_epoch))
    rate = {"learning_rate": "learning rate"}
    charts.append(history_chart("Learning rate", "learning rate", rate, rows, report.best_epoch))
    drawn = [chart for chart in charts if chart]
    return Section(
        id="training",
        label="Training",
        title="Training history",
        blocks=[block("charts", figures=drawn)] if drawn else [],
    )


def _capitalised(title: str) -> str:
    return title if title == "mAP" else title[0].upper() + title[1:]


def category_bars(
    rows: Sequence[tuple[str, float, int]], *, unit: str, chance: Sequence[float] = ()
) -> Markup:
    """Values of the categories as bars, the highest first and NaN last.

    Parameters
    ----------
    rows
        Name, value from 0 to 1, and support of each category.
    unit
        What the support counts.
    chance
        The value of random predictions of each category, where it is known.
    """
    values = np.array([value for _, value, _ in rows], np.float64)
    order = np.argsort(-np.nan_to_num(values, nan=-1.0), kind="stable")
    bars = [
        {
            "name": rows[k][0],
            "value": number(values[k], 2),
            "width": 0.0 if np.isnan(values[k]) else _percentage(values[k]),
            "chance": _percentage(chance[k]) if len(chance) else None,
            "support": rows[k][2],
        }
        for k in order
    ]
    return block("bars", rows=bars, unit=unit)


def category_table(
    report: Report, columns: Mapping[str, str], statistic: str, training: str
) -> Markup:
    """A row per category of ``per_category`` of the metrics; columns without a value are left out.

    Parameters
    ----------
    columns
        Keys of the rows and their headers.
    statistic, training
        Key of a category in the statistics of the training data, and the header of that column.
    """
    rows = report.metrics.get("per_category") or []
    kept = [key for key in columns if any(row.get(key) is not None for row in rows)]
    headers = ["category", *(columns[key] for key in kept)]
    table = [[row.get(key) for key in kept] for row in rows]
    if trained := (report.statistics or {}).get("categories"):
        counts = {row["name"]: row[statistic] for row in trained}
        headers.insert(1, training)
        table = [[counts.get(row["name"]), *cells] for row, cells in zip(rows, table, strict=True)]
    if not rows:
        return Markup()
    return block(
        "sortable_table",
        headers=headers,
        rows=[
            (row["name"], [(_cell(value), value) for value in cells])
            for row, cells in zip(rows, table, strict=True)
        ],
    )


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
    facts = {
        "images": statistics.get("images"),
        "labelled images": statistics.get("labelled_images"),
        "images without labels": statistics.get("empty_images"),
        "annotations": statistics.get("annotations"),
        "boxes": statistics.get("boxes"),
        "crowd regions": statistics.get("crowds"),
        "labels per image": per_image.get("mean"),
        "class imbalance": statistics.get("imbalance"),
        **{f"{size} objects": n for size, n in (statistics.get("objects") or {}).items()},
    }
    items = [
        (name, f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")
        for name, value in facts.items()
        if value is not None
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
