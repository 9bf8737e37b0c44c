"""The page of a comparison: what it says, intervals of differences, categories, and images of disagreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup, escape
from numpy.typing import NDArray

from tagbox.images.captions import LabelOutcome, Outcome
from tagbox.reports.charts import WIDTH, Chart, coordinate, framed, ticks
from tagbox.reports.comparison_rows import (
    category_words,
    outcome_sentences,
    probability_words,
    ranked_pairs,
    reading_notes,
    shown_metrics,
    signed,
)
from tagbox.reports.examples import thumbnail
from tagbox.reports.page import METRIC_DESCRIPTIONS, block, count, metric_name, number
from tagbox.reports.report import Report, Section

_MOST_INTERVALS = 40
_OPEN_PAIRS = 3
"""Pairs whose tables of categories are open; those of others are folded."""
_ROW = 40
"""Height of a row in the chart of intervals."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ComparisonReport(Report):
    """The report of a comparison.

    Attributes
    ----------
    metrics
        As `compare_models` returns them.
    pictures
        (H, W, 3) uint8 images by name, of those in ``disagreements`` that can be read.
    """

    pictures: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def facts(self) -> list[str]:
        """Number of models or recipes, images and categories."""
        result = self.metrics
        what = "recipe" if result["question"] == "recipes" else "model"
        return [
            count(len(result["models"]), what),
            count(result["images"], "image"),
            count(result["categories"], "category", "categories"),
        ]

    def sections(self) -> list[Section]:
        """Result, differences, categories, images."""
        result = self.metrics
        return [
            _result_section(result),
            _differences_section(result),
            _categories_section(result),
            _images_section(result, self.pictures),
        ]


def _cell(text: str, value: float | None = None, width: float | None = None) -> dict[str, Any]:
    return {"text": text, "value": value, "width": width, "chance": None}


def _result_section(result: Mapping[str, Any]) -> Section:
    metrics = shown_metrics(result)
    recipes = result["question"] == "recipes"
    rows = []
    for model in result["models"]:
        cells = [
            _cell(
                f"{number(model['metrics'][name])} {model['groups'][name]}", model["metrics"][name]
            )
            for name in metrics
        ]
        if recipes:
            cells.insert(0, _cell(str(model["runs"]), model["runs"]))
        rows.append({"name": model["name"], "cells": cells, "style": ""})
    what = "recipes" if recipes else "models"
    headers = [what[:-1], *(["runs"] if recipes else []), *map(metric_name, metrics)]
    main = result["metric"]
    meaning = METRIC_DESCRIPTIONS.get(main)
    about = f"The {what} are ordered by {metric_name(main)}" + (
        f": {meaning}. " if meaning else ". "
    )
    about += (
        f"The letters are groups: {what} that share a letter cannot be told apart in that metric; "
        "a difference between them may be chance."
    )
    return Section(
        id="result",
        label="Result",
        title="Result",
        blocks=[
            block("paragraph", text=result["answers"]),
            *(block("paragraph", text=text, style="outcome") for text in outcome_sentences(result)),
            block("paragraph", text=about),
            block("sortable_table", headers=headers, rows=rows, fold=""),
            *(block("paragraph", text=text, style="note") for text in reading_notes(result)),
        ],
    )


def _differences_section(result: Mapping[str, Any]) -> Section:
    metrics = shown_metrics(result)
    figures = {metric_name(name): intervals_chart(result, name) for name in metrics}
    rows = []
    for name in metrics:
        for pair in ranked_pairs(result, name):
            better = pair["better"] or "cannot tell"
            rows.append(
                {
                    "name": f"{pair['first']} − {pair['second']}",
                    "style": "" if pair["better"] else " thin",
                    "cells": [
                        _cell(metric_name(name), metrics.index(name)),
                        _cell(signed(pair["difference"]), pair["difference"]),
                        _cell(f"{signed(pair['low'])} to {signed(pair['high'])}", pair["low"]),
                        _cell(probability_words(pair["probability"]), pair["probability"]),
                        _cell(
                            better + ("" if pair["reliable"] else " *"), float(bool(pair["better"]))
                        ),
                        _cell(pair["more"] or "–"),
                    ],
                }
            )
    headers = ("pair", "metric", "difference", "95 % interval", "P(first better)", "better", "more images to settle it")  # fmt: skip
    text = (
        "Each line is the 95 % interval of a difference, the first of the pair minus the second. A dashed line leaves open "
        "which is better: chance alone makes such differences. The more images, the shorter the lines."
    )
    probability = (
        "P(first better) is one-sided: from a difference of 0 at 50 % to certainty. More images to settle it: about so many "
        "further ones find a difference as large as the one seen with a probability of 80 %."
    )
    return Section(
        id="differences",
        label="Differences",
        title="Differences",
        blocks=[
            block("paragraph", text=text),
            block("picker", label="Metric", figures=figures),
            block("paragraph", text=probability),
            block("sortable_table", headers=headers, rows=rows, fold=""),
        ],
    )


def intervals_chart(result: Mapping[str, Any], metric: str) -> Chart:
    """Interval and difference of each pair as a line with a dot, beside a line at 0."""
    pairs = ranked_pairs(result, metric)[:_MOST_INTERVALS]
    low = min(0.0, *(pair["low"] for pair in pairs))
    high = max(0.0, *(pair["high"] for pair in pairs))
    room = (high - low or 1.0) * 0.04
    low, high = low - room, high + room
    bottom = _ROW * len(pairs) + 8

    def across(value: float) -> str:
        return coordinate(10 + (value - low) / (high - low) * (WIDTH - 20))

    parts = []
    for tick in ticks(low, high, 5):
        label = "0" if tick == 0 else f"{tick:+.3g}"
        parts.append(
            f'<path class="{"base" if tick == 0 else "rule"}" d="M{across(tick)} 4V{bottom}"/>'
            f'<text class="tick" x="{across(tick)}" y="{bottom + 16}" text-anchor="middle">{label}</text>'
        )
    for row, pair in enumerate(pairs):
        y = _ROW * row + 32
        names = f"{pair['first']} − {pair['second']}"
        short = " − ".join(_shortened(pair[side], 26) for side in ("first", "second"))
        style = "s0" if pair["better"] else "s1"
        words = f"{names}: {signed(pair['difference'])}, {signed(pair['low'])} to {signed(pair['high'])}"
        parts.append(
            f"<g><title>{escape(words)}</title>"
            f'<text class="axis over" x="10" y="{y - 12}">{escape(short)}</text>'
            f'<path class="line {style}" d="M{across(pair["low"])} {y}H{across(pair["high"])}"/>'
            f'<circle class="dot {style}" cx="{across(pair["difference"])}" cy="{y}" r="4.5"/></g>'
        )
    title = f"Differences in {metric_name(metric)}"
    summary = "; ".join(
        f"{pair['first']} minus {pair['second']}: {signed(pair['difference'])}" for pair in pairs
    )
    return framed(title, "".join(parts), summary, width=WIDTH, height=bottom + 24)


def _shortened(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _categories_section(result: Mapping[str, Any]) -> Section:
    blocks = [
        block(
            "paragraph",
            text="In how many images of each category one makes fewer errors than the other"
            + (
                "; averaged over the runs of a recipe, without a verdict."
                if result["question"] == "recipes"
                else ". A sign test says whether that may be chance; it is corrected for the number of categories and pairs."
            ),
        )
    ]
    for index, pair in enumerate(ranked_pairs(result, result["metric"])):
        table = _category_table(result, pair)
        title = f"{pair['first']} − {pair['second']}"
        if result["question"] != "recipes":
            better, worse, undecided = category_words(pair, result["categories"])
            title += f": better in {better}, worse in {worse}, undecided in {undecided}"
        if index < _OPEN_PAIRS:
            blocks += [block("subtitle", text=title), table]
        else:
            blocks.append(block("details", summary=title, block=table))
    return Section(
        id="categories", label="Categories", title="Wins and losses by category", blocks=blocks
    )


def _category_table(result: Mapping[str, Any], pair: Mapping[str, Any]) -> Markup:
    sides = ("second", "first") if pair["turned"] else ("first", "second")
    names = dict(zip(sides, (pair["first"], pair["second"]), strict=True))
    value = "AP" if result["task"] == "detection" else "F1"
    recipes = result["question"] == "recipes"
    rows = []
    for row in pair["categories"]["rows"]:
        better = names.get(row.get("better", ""), "cannot tell")
        cells = [_cell(f"{row['support']:,}", row["support"])]
        cells += [_cell(number(row[side]), row[side]) for side in sides]
        cells += [_cell(f"{row[f'images_{side}']:,}", row[f"images_{side}"]) for side in sides]
        if not recipes:
            cells.append(_cell(better, -row["p_corrected"]))
        rows.append({"name": row["name"], "cells": cells, "style": ""})
    rows.sort(key=lambda row: -abs(row["cells"][3]["value"] - row["cells"][4]["value"]))
    headers = ["category", "support"]
    headers += [f"{value} {_shortened(names[side], 20)}" for side in sides]
    headers += [f"fewer errors: {_shortened(names[side], 20)}" for side in sides]
    return block(
        "sortable_table", headers=[*headers, *([] if recipes else ["better"])], rows=rows, fold=""
    )


def _images_section(result: Mapping[str, Any], pictures: Mapping[str, NDArray[Any]]) -> Section:
    cards = []
    for row in result["disagreements"]:
        image = pictures.get(row["image"])
        uri, width, height = ("", 0, 0) if image is None else thumbnail(image, 420)
        cards.append(
            {
                "name": row["image"],
                "path": row["image"],
                "uri": uri,
                "width": width,
                "height": height,
                "evidence": (),
                "boxes": (),
                "models": [_errors(model) for model in row["models"]],
            }
        )
    text = (
        "The images in whose errors the models differ most: what each of them missed and what it falsely predicted. What is not "
        "named, it has right."
    )
    blocks = [block("paragraph", text=text), block("compared_cards", cards=cards)] if cards else []
    return Section(id="images", label="Images", title="Images of most disagreement", blocks=blocks)


def _errors(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model's errors in an image as labels, with how many where there are several."""
    sides: tuple[tuple[Outcome, Mapping[str, float]], ...] = (
        ("missed", model["missed"]),
        ("false positive", model["false"]),
    )
    labels = [
        LabelOutcome(name if times == 1 else f"{name} × {times:g}", None, outcome)
        for outcome, found in sides
        for name, times in found.items()
    ]
    return {"name": model["name"], "count": f"{model['errors']:g}", "labels": labels}


def named_images(result: Mapping[str, Any]) -> Sequence[str]:
    """The images that the page shows."""
    return [row["image"] for row in result["disagreements"]]
