"""The pairs of a comparison as a reader goes through them: the better model first, and the outcome in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tagbox.evaluation.pair_estimates import CANNOT_TELL
from tagbox.reports.page import count, metric_name

HEADLINE = (
    *("accuracy", "top5_accuracy", "map", "challenge_f1", "micro_f1", "macro_f1", "cf1"),
    *("samples_f1", "hamming_loss", "subset_accuracy", "log_loss", "ap", "ap50", "ap75"),
)
"""The metrics to show, those that there are."""
_HIDDEN_OF_ONE_LABEL = ("micro_f1", "samples_f1", "hamming_loss", "subset_accuracy", "cf1")
"""Metrics that say no more than the accuracy where labels are exclusive."""
_MANY = 1_000_000


def shown_metrics(result: Mapping[str, Any]) -> list[str]:
    """The compared metrics to show, the one that models are ranked by first."""
    there = result["pairs"][0]["metrics"]
    hidden = _HIDDEN_OF_ONE_LABEL if "accuracy" in there else ()
    names = [name for name in HEADLINE if name in there and name not in hidden]
    return [result["metric"], *(name for name in names if name != result["metric"])]


def ranked_pairs(result: Mapping[str, Any], metric: str) -> list[dict[str, Any]]:
    """The pairs in one metric, each with the model first that stands first in the list of models.

    ``numbers`` are their places in that list, from 1; ``first`` and ``second`` names, ``values`` their metrics; ``better`` is
    a name or None.
    """
    place = {model["name"]: row for row, model in enumerate(result["models"])}
    found = []
    for pair in result["pairs"]:
        each = pair["metrics"][metric]
        names = pair["first"], pair["second"]
        values = each["first"], each["second"]
        sign = 1.0
        ends = each["low"], each["high"]
        probability = each["p_first_better"]
        if place[names[0]] > place[names[1]]:
            names, values, sign = names[::-1], values[::-1], -1.0
            ends, probability = (-each["high"], -each["low"]), 1 - probability
        verdict = each["verdict"]
        found.append(
            {
                "first": names[0],
                "second": names[1],
                "numbers": (place[names[0]] + 1, place[names[1]] + 1),
                "values": values,
                "difference": sign * each["difference"],
                "low": ends[0],
                "high": ends[1],
                "probability": probability,
                "better": None if verdict == CANNOT_TELL else pair[verdict],
                "reliable": each["reliable"],
                "reason": each.get("reason", ""),
                "more": more_images(each),
                "categories": pair["categories"],
                "turned": sign < 0,
            }
        )
    return sorted(found, key=lambda pair: pair["numbers"])


def more_images(found: Mapping[str, Any]) -> str:
    """About how many more images would settle an undecided pair."""
    if "more_images" not in found:
        return ""
    more = found["more_images"]
    if more is None:
        return "no number would" if found["difference"] else "no difference"
    return f"over {_MANY:,}" if more > _MANY else f"about {more:,}"


def probability_words(probability: float) -> str:
    """A probability with as many digits as it has, never 0 % or 100 %."""
    if probability > 0.999:
        return "> 99.9 %"
    return "< 0.1 %" if probability < 0.001 else f"{probability:.1%}".replace("%", " %")


def signed(value: float) -> str:
    """A difference with its sign, four decimals."""
    return f"{value:+.4f}".replace("-0.0000", "0.0000").replace("+0.0000", "0.0000")


def outcome_sentences(result: Mapping[str, Any], most: int = 6) -> list[str]:
    """What the comparison says in the metric that models are ranked by, in words."""
    metric, many = result["metric"], len(result["models"]) > 2
    name = metric_name(metric)
    sentences = []
    pairs = ranked_pairs(result, metric)
    for pair in pairs[: most if many else 1]:
        interval = f"{signed(pair['difference'])}, 95 % interval {signed(pair['low'])} to {signed(pair['high'])}"
        if pair["better"]:
            other = pair["second"] if pair["better"] == pair["first"] else pair["first"]
            sentences.append(f"{pair['better']} is better than {other} in {name} ({interval}).")
        else:
            settle = {
                "no difference": "",
                "no number would": " More images alone would not settle it.",
            }
            more = settle.get(
                pair["more"],
                f" To settle it at this difference, {pair['more']} more images would be needed.",
            )
            sentences.append(
                f"{pair['first']} and {pair['second']} cannot be told apart in {name} ({interval}).{more}"
            )
    if len(pairs) > most and many:
        sentences.append(f"The other {count(len(pairs) - most, 'pair')} are in the table.")
    return sentences


def reading_notes(result: Mapping[str, Any]) -> list[str]:
    """What a reader must know: what the groups and intervals mean, what is missing, what is doubtful."""
    metrics = shown_metrics(result)
    lines = [*result["notes"]]
    if len(result["pairs"]) > 1:
        lines.append(
            f"Verdicts and groups are corrected for {len(result['pairs'])} pairs ({result['correction'].partition(' ')[0]}), "
            "so that an interval may exclude 0 where the verdict is: cannot tell."
        )
    doubts: dict[str, list[str]] = {}
    for metric in metrics:
        for pair in result["pairs"]:
            if not pair["metrics"][metric]["reliable"]:
                named = doubts.setdefault(pair["metrics"][metric]["reason"], [])
                if metric_name(metric) not in named:
                    named.append(metric_name(metric))
    lines += [
        f"* Interval not reliable ({', '.join(names)}): {why}." for why, names in doubts.items()
    ]
    if result["task"] == "labels" and "challenge_f1" in metrics:
        lines.append("The class weights of the challenge F1 are held at those of these images.")
    return lines + absent_notes(result["absent"])


def absent_notes(absent: Mapping[str, str]) -> list[str]:
    """Which metrics are not compared, and why."""
    by_reason: dict[str, list[str]] = {}
    for key, why in absent.items():
        by_reason.setdefault(why.partition(": ")[2] or why, []).append(metric_name(key))
    return [f"Not compared: {', '.join(names)}: {why}." for why, names in by_reason.items()]


def category_words(pair: Mapping[str, Any], categories: int) -> Sequence[int]:
    """Of a pair of `ranked_pairs` the categories in which the first and the second are better, and those undecided."""
    found = pair["categories"]
    sides = ("second", "first") if pair["turned"] else ("first", "second")
    better = [found[f"{side}_better"] for side in sides]
    return (*better, categories - sum(better))
