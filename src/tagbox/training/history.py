"""The rows of each epoch's metrics, the comparison of epochs by one of them, and `history.csv`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tagbox.atomic_io import atomic_write

Row = Mapping[str, float | int | None]
"""One epoch: ``epoch``, ``train_loss``, ``val_loss``, ``val_map``, ... and any other metric.

``train_NAME`` and ``val_NAME`` are the same metric on train and val; charts draw them on the same axes.
Component P of a detector's loss is ``train_loss_P`` and ``val_loss_P``.
"""


def metric_column(metric: str) -> str:
    """The column of `history.csv` that holds a validation metric (a ``best_by``)."""
    return metric if metric == "val_loss" else f"val_{metric}"


def metric_direction(metric: str) -> Literal["minimize", "maximize"]:
    """Whether small or large values of a validation metric are good."""
    return "minimize" if metric == "val_loss" else "maximize"


def improvement(metric: str, before: float, after: float) -> float:
    """By how much `after` is better than `before`; negative where it is worse."""
    return before - after if metric_direction(metric) == "minimize" else after - before


def is_better(row: Row, best: Row | None, metric: str) -> bool:
    """Whether an epoch beats the best so far by a validation metric, and where they tie by the validation loss.

    A missing or NaN value never beats a defined one: ``nan > best`` would otherwise decide which model
    is saved. A detector whose AP is still 0 has only its loss to tell one epoch from another.
    """
    if best is None:
        return True
    for name in (metric, "val_loss"):
        value, former = (_defined(each.get(metric_column(name))) for each in (row, best))
        if value is None or former is None:
            gain = float(value is not None) - float(former is not None)
        else:
            gain = improvement(name, former, value)
        if gain != 0:
            return gain > 0
    return False


def _defined(value: float | int | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def epoch_summary(row: Row, best_by: str) -> str:
    """One line for an epoch of a classifier, with the metric that selects the best one, or for a head without epochs."""
    names = ["train_loss", "val_loss", metric_column(best_by), "val_map", "val_micro_f1"]
    names.append("val_accuracy")
    metrics = {name: row.get(name) for name in names}
    listed = ", ".join(f"{key} {value:.4f}" for key, value in metrics.items() if value is not None)
    penalty = row.get("penalty")
    what = f"epoch {row['epoch']}" if penalty is None else penalty_text(penalty)
    return f"{what}: {listed}"


def penalty_text(share: float) -> str:
    """The penalty of a ridge regression in words; see `training.ridge.RidgeFit.share`."""
    return f"ridge regression with a penalty of {share:.2g} times the Gram matrix's trace"


_PARTS = ("train_loss_", "val_loss_")


def columns(rows: Sequence[Row]) -> list[str]:
    """All columns: ``epoch``, the losses, the components of each, then the rest by first appearance."""
    names = dict.fromkeys(name for row in rows for name in row)
    losses = [name for name in ("epoch", "train_loss", "val_loss") if name in names]
    parts = [name for prefix in _PARTS for name in names if name.startswith(prefix)]
    return list(dict.fromkeys([*losses, *parts, *names]))


def write_history(rows: Sequence[Row], path: Path) -> None:
    """Write all rows, atomically; missing values, None and NaN are empty cells.

    Numbers are written with all their digits.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = columns(rows)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    atomic_write(path, text.getvalue())


def _cell(value: float | int | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, int) else repr(float(value))
