"""`history.csv`: one row an epoch, columns that do not move.

The figures of one epoch, and which of two epochs is the better one.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_write
from tagbox.config import LabelKind
from tagbox.data.dataset import PRESENT
from tagbox.errors import TagboxError
from tagbox.evaluation.threshold_search import sweep_global
from tagbox.metrics.multilabel import average_precision, label_metrics, mean_average_precision
from tagbox.metrics.single_label import most_probable, one_said

EPOCH_METRICS = (
    "challenge_f1",
    "micro_f1",
    "macro_f1",
    "weighted_f1",
    "samples_f1",
    "cf1",
    "of1",
)


def epoch_scores(
    truth: NDArray[np.int8], probabilities: NDArray[np.float32], labels: LabelKind = "multi"
) -> dict[str, float | None]:
    """mAP, and the F1 family at the one threshold that suits the challenge F1 best in this epoch.

    A threshold of 0.5 says next to nothing in the first epochs, which would make curves of noise.

    Parameters
    ----------
    truth
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) float32.
    labels
        Exclusive ones are evaluated at the most probable category, and have ``accuracy``.

    Returns
    -------
    dict
        ``map`` (None where no category has a positive) and `EPOCH_METRICS`.
    """
    precision = mean_average_precision(average_precision(truth, probabilities))
    if labels == "exclusive":
        said = one_said(most_probable(probabilities), truth.shape[1])
        at_top = label_metrics(truth, said)
        accuracy = float((truth[said] == PRESENT).sum() / max(len(truth), 1))
        return {
            "map": precision,
            "accuracy": accuracy,
            **{name: at_top[name] for name in EPOCH_METRICS},
        }
    levels, values = sweep_global(truth, probabilities, "challenge_f1")
    level = levels[int(np.argmax(values))] if len(levels) else 0.5
    at_level = label_metrics(truth, probabilities >= np.float32(level))
    return {"map": precision, **{name: at_level[name] for name in EPOCH_METRICS}}


def is_better(row: Mapping[str, Any], best: Mapping[str, Any] | None, by: str) -> bool:
    """Whether an epoch beats the best so far by the figure `by` (a `ClassifierConfig.best_by`).

    A figure that is missing or NaN never beats one that is there: ``nan > best`` would otherwise
    decide which model is saved.
    """
    name = by if by == "val_loss" else f"val_{by}"
    value = row[name]
    if value is None or math.isnan(value):
        return best is None
    if best is None or best[name] is None or math.isnan(best[name]):
        return True
    return bool(value < best[name]) if by == "val_loss" else bool(value > best[name])


Row = Mapping[str, float | int | None]
"""One epoch: ``epoch``, ``train_loss``, ``val_loss``, ``val_map``, ... and any other figure.

``train_NAME`` and ``val_NAME`` are the same figure on train and val; charts lay them on each other.
Where the loss has parts, as a detector's has, part P is ``train_loss_P`` and ``val_loss_P``.
"""

_PARTS = ("train_loss_", "val_loss_")


def columns(rows: Sequence[Row]) -> list[str]:
    """Names of all columns: ``epoch``, the losses, the parts of each, then the rest as first seen."""
    seen = dict.fromkeys(name for row in rows for name in row)
    losses = [name for name in ("epoch", "train_loss", "val_loss") if name in seen]
    parts = [name for side in _PARTS for name in seen if name.startswith(side)]
    first = dict.fromkeys([*losses, *parts])
    return [*first, *(name for name in seen if name not in first)]


def write_history(rows: Sequence[Row], path: Path) -> None:
    """Write all rows, atomically; what a row lacks, None and NaN are empty cells.

    Numbers are written so that they read back to the same value.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = columns(rows)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    atomic_write(path, text.getvalue())


def read_history(path: Path) -> list[dict[str, float | int | None]]:
    """Read what `write_history` wrote; empty cells are None.

    Raises
    ------
    TagboxError
        ``history-missing`` where there is no such file; ``history-bad`` for a row of another length
        than the header or a cell that is not a number.
    """
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except FileNotFoundError as error:
        raise TagboxError(
            "history-missing", "no such file", file=path, hint="give the folder of a finished run"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad(path, 1, f"cannot be read ({error})") from error
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        if len(cells) != len(lines[0]):
            raise _bad(path, number, f"{len(cells)} cells, the header has {len(lines[0])}")
        rows.append({n: _number(c, n, path, number) for n, c in zip(lines[0], cells, strict=True)})
    return rows


def _cell(value: float | int | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, int) else repr(float(value))


def _number(cell: str, name: str, path: Path, line: int) -> float | int | None:
    if not cell:
        return None
    try:
        return int(cell) if cell.lstrip("-").isdigit() else float(cell)
    except ValueError as error:
        raise _bad(path, line, f"{cell!r} in the column {name} is not a number") from error


def _bad(path: Path, line: int, found: str) -> TagboxError:
    return TagboxError(
        "history-bad",
        found,
        file=path,
        where=f"line {line}",
        hint="train the run again or restore the file",
    )
