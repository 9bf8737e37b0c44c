"""What the searches of these tests vary, and what they left on disk."""

from __future__ import annotations

import csv
import sqlite3
from collections import defaultdict
from typing import Any

from tagbox.api.tune import Study

SEARCH: dict[str, dict[str, Any]] = {
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
    "batch_size": {"choices": [16, 32]},
    "loss": {"choices": ["bce", "focal", "asymmetric"]},
    "patience": {"low": 3, "high": 9},
}
TRIALS = 16


def rows(study: Study) -> list[dict[str, str]]:
    """The rows of ``trials.csv``."""
    return list(csv.DictReader((study.folder / "trials.csv").read_text().splitlines()))


def numbers(study: Study) -> list[tuple[str, ...]]:
    """Everything of the trials but their seconds."""
    return [tuple(v for k, v in row.items() if k != "seconds") for row in rows(study)]


def by_epoch(study: Study) -> dict[int, dict[int, float]]:
    """Trial -> epoch -> figure, as the database has them."""
    with sqlite3.connect(study.folder / "study.db") as database:
        found = database.execute(
            "SELECT number, step, intermediate_value FROM trial_intermediate_values "
            "JOIN trials ON trials.trial_id = trial_intermediate_values.trial_id"
        ).fetchall()
    values: dict[int, dict[int, float]] = defaultdict(dict)
    for number, step, value in found:
        values[number][step] = value
    return values
