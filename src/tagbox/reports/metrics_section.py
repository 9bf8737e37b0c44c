"""The first section of a report: the metrics, how reliable they are, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tagbox.reports.page import METRIC_DESCRIPTIONS, block, listed, metric_name, number
from tagbox.reports.report import Report, Section

_MOST_NOTES = 4
"""Notes of a run, such as images that were left out, before the rest is folded."""


def metrics_section(
    report: Report,
    headline: Sequence[str],
    *,
    tables: Sequence[Markup] = (),
    notes: Sequence[str] = (),
    doubts: Sequence[str] = (),
    hidden: Sequence[str] = (),
) -> Section:
    """The most important metrics with their intervals, then notes, then metrics that are missing and why.

    Parameters
    ----------
    headline
        Keys of the metrics; the first two are shown larger.
    tables
        Blocks below the metrics.
    notes
        Sentences before the report's own.
    doubts
        Why intervals are not reliable, beside the reasons that they state themselves.
    hidden
        Missing metrics that are not worth a sentence.
    """
    metrics = report.metrics
    absent = {key: why for key, why in (metrics.get("absent") or {}).items() if key not in hidden}
    sentences = [*_reliability(metrics, headline, doubts), *notes, *_missing(absent)]
    own = [block("paragraph", text=text, style="note") for text in report.notes]
    if len(own) > _MOST_NOTES:
        folded = Markup("").join(own[_MOST_NOTES - 1 :])
        summary = f"{len(own) - _MOST_NOTES + 1:,} more notes"
        own = [*own[: _MOST_NOTES - 1], block("details", summary=summary, block=folded)]
    return Section(
        id="metrics",
        label="Metrics",
        title="Metrics of the out-of-fold predictions"
        if report.out_of_fold
        else "Metrics on the validation images",
        blocks=[
            *(block("paragraph", text=r, style="reason") for r in metrics.get("reasons") or ()),
            block("tiles", tiles=_tiles(metrics, headline)),
            *tables,
            *(block("paragraph", text=text, style="note") for text in sentences),
            *own,
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
                "share": None if key == "log_loss" else percentage(metrics[key]),
                "low": None if low is None else percentage(low),
                "high": None if high is None else percentage(high),
                "interval": None if low is None else f"{number(low)} to {number(high)}",
                "level": f"{100 * interval.get('level', 0.95):g}",
                "unreliable": interval.get("reliable") is False,
                "meaning": METRIC_DESCRIPTIONS[key],
            }
        )
    return tiles


def percentage(share: float) -> float:
    """A share as a percentage from 0 to 100."""
    return 100 * min(max(float(share), 0.0), 1.0)


def _reliability(
    metrics: Mapping[str, Any], keys: Sequence[str], doubts: Sequence[str]
) -> list[str]:
    """One sentence on the shown intervals that are not reliable."""
    intervals = metrics.get("intervals") or {}
    shown = {
        key: intervals[key] for key in keys if key in intervals and metrics.get(key) is not None
    }
    unsure = [key for key, interval in shown.items() if interval.get("reliable") is False]
    if not unsure:
        return []
    stated = [shown[key].get("reason") or shown[key].get("note") for key in unsure]
    reasons = list(dict.fromkeys([*doubts, *(reason for reason in stated if reason)]))
    which = "The intervals" if len(unsure) == len(shown) else "The intervals marked ⚠"
    why = f": {'; '.join(reasons)}" if reasons else ""
    return [f"{which} are not reliable{why}."]


def _missing(absent: Mapping[str, str]) -> list[Markup]:
    """A sentence for each reason that metrics are missing, and one for all sizes without objects."""
    by_reason: dict[str, list[str]] = {}
    for key, reason in absent.items():
        by_reason.setdefault(reason, []).append(key)
    sizes = [r for r, keys in by_reason.items() if all(_is_of_a_size(key) for key in keys)]
    groups = [([key for r in sizes for key in by_reason[r]], sizes)] if sizes else []
    groups += [(keys, [reason]) for reason, keys in by_reason.items() if reason not in sizes]
    return [
        Markup("{} {} missing: {}.").format(
            listed([Markup("<b>{}</b>").format(metric_name(key)) for key in keys]),
            "is" if len(keys) == 1 else "are",
            "; ".join(reasons),
        )
        for keys, reasons in groups
    ]


def _is_of_a_size(key: str) -> bool:
    return key.endswith(("_small", "_medium", "_large"))
