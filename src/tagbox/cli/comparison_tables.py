"""Tables of what `tagbox compare` found, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tagbox.cli.console import print_line, say
from tagbox.cli.tables import print_table
from tagbox.reports.comparison_rows import (
    category_words,
    outcome_sentences,
    probability_words,
    ranked_pairs,
    reading_notes,
    shown_metrics,
    signed,
)
from tagbox.reports.page import metric_name

_MOST_PAIRS = 15
_MOST_CATEGORIES = 12
_MOST_IMAGES = 5
_MOST_METRICS = 5
"""Columns of metrics in the table of models, which fits 80 characters."""


def show_comparison(result: Mapping[str, Any]) -> None:
    """Print the comparison; what it says in a sentence comes last, where the eye is."""
    _show_disagreements(result)
    _show_categories(result)
    _show_models(result)
    if len(result["models"]) == 2:
        _show_metrics(result)
    else:
        _show_pairs(result)
    print_line(result["answers"])
    for sentence in outcome_sentences(result):
        print_line(sentence)
    for note in reading_notes(result):
        say(note)


def _show_models(result: Mapping[str, Any]) -> None:
    """The models, the best first, with their group in each metric."""
    metrics = shown_metrics(result)[:_MOST_METRICS]
    rows = [
        (
            number + 1,
            model["name"],
            *([model["runs"]] if result["question"] == "recipes" else []),
            *tuple(f"{model['metrics'][name]:.4f} {model['groups'][name]}" for name in metrics),
        )
        for number, model in enumerate(result["models"])
    ]
    what = "recipes" if result["question"] == "recipes" else "models"
    print_table(
        f"{len(rows)} {what} on {result['images']:,} images; those that share a letter cannot be told apart",
        (
            "#",
            what[:-1],
            *(["runs"] if result["question"] == "recipes" else []),
            *map(metric_name, metrics),
        ),
        rows,
    )


def _show_metrics(result: Mapping[str, Any]) -> None:
    """Of two models the difference in every metric."""
    rows = []
    for metric in shown_metrics(result):
        pair = ranked_pairs(result, metric)[0]
        rows.append((metric_name(metric), *_cells(pair)))
    print_table(
        "Model 1 minus model 2",
        ("metric", "difference", "95 % interval", "P(1 better)", "better", "more images"),
        rows,
    )


def _show_pairs(result: Mapping[str, Any]) -> None:
    """The pairs in the metric that models are ranked by; of many models those with the best one."""
    pairs = ranked_pairs(result, result["metric"])
    shown = pairs if len(pairs) <= _MOST_PAIRS else [p for p in pairs if p["numbers"][0] == 1]
    print_table(
        f"Differences in {metric_name(result['metric'])}, the one minus the other",
        ("models", "difference", "95 % interval", "P(1st better)", "better", "more images"),
        [(f"{pair['numbers'][0]} - {pair['numbers'][1]} ", *_cells(pair)) for pair in shown],
    )
    if len(shown) < len(pairs):
        say(f"{len(pairs) - len(shown)} pairs without the best model are in --json and --report.")


def _cells(pair: Mapping[str, Any]) -> tuple[str, ...]:
    better = "cannot tell"
    if pair["better"]:
        better = str(pair["numbers"][pair["better"] == pair["second"]])
    return (
        signed(pair["difference"]),
        f"{signed(pair['low'])} to {signed(pair['high'])}",
        probability_words(pair["probability"]),
        better + ("" if pair["reliable"] else " *"),
        pair["more"] or "-",
    )


def _show_categories(result: Mapping[str, Any]) -> None:
    """How many categories each of a pair is better in; of two models also which."""
    pairs = ranked_pairs(result, result["metric"])
    if result["question"] == "recipes":
        return
    if len(pairs) > 1:
        print_table(
            "Categories with fewer errors in more images (sign test, corrected)",
            ("models", "1st better", "2nd better", "cannot tell"),
            [
                (
                    f"{pair['numbers'][0]} - {pair['numbers'][1]} ",
                    *category_words(pair, result["categories"]),
                )
                for pair in pairs[:_MOST_PAIRS]
            ],
        )
        return
    pair = pairs[0]
    sides = ("second", "first") if pair["turned"] else ("first", "second")
    rows = [row for row in pair["categories"]["rows"] if row["images_first"] + row["images_second"]]
    rows.sort(
        key=lambda row: (row["p_corrected"], -abs(row["images_first"] - row["images_second"]))
    )
    better, worse, undecided = category_words(pair, result["categories"])
    value = "AP" if result["task"] == "detection" else "F1"
    print_table(
        f"Categories: 1 better in {better}, 2 better in {worse}, cannot tell in {undecided}; the clearest",
        ("category", "support", f"{value} 1", f"{value} 2", "images 1", "images 2", "better"),
        [
            (
                row["name"],
                row["support"],
                *("-" if row[side] is None else row[side] for side in sides),
                *(row[f"images_{side}"] for side in sides),
                str(1 + sides.index(row["better"])) if row["better"] in sides else row["better"],
            )
            for row in rows[:_MOST_CATEGORIES]
        ],
    )
    print_line("images 1, images 2: images in which that model has fewer errors in the category")


def _show_disagreements(result: Mapping[str, Any]) -> None:
    """The images in whose errors the models differ most."""
    rows = result["disagreements"][:_MOST_IMAGES]
    place = {model["name"]: row + 1 for row, model in enumerate(result["models"])}
    if not rows or len(place) > 8:
        return
    names = sorted(place, key=lambda name: place[name])
    print_table(
        "Images in whose errors the models differ most",
        ("image", *(f"errors {place[name]}" for name in names)),
        [
            (
                row["image"],
                *(
                    f"{next(m['errors'] for m in row['models'] if m['name'] == name):g}"
                    for name in names
                ),
            )
            for row in rows
        ],
    )
