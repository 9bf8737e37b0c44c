"""Result files of a study: trials.csv, best.yaml, tune.json."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

import msgspec

from tagbox.atomic_io import atomic_write
from tagbox.config import DataConfig
from tagbox.errors import TagboxError
from tagbox.studies.search import ranking
from tagbox.studies.search_space import Range, get_setting, with_settings
from tagbox.studies.storage import BEST, SUMMARY, TRIALS, StudyStorage
from tagbox.studies.trainer import with_machine
from tagbox.text_output import encode_json
from tagbox.training.history import improvement, metric_column, metric_direction
from tagbox.training.resolve_config import Training
from tagbox.training.run_dir import write_config

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

COLUMNS = ("trial", "state", "value", "epochs", "best_epoch", "seconds")
LEAST_FOR_IMPORTANCE = 50
"""Completed trials; the best tenth of fewer is too small a sample."""
STATES: Mapping[str, str] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True, eq=False, kw_only=True)
class StudyResults(Generic[Training]):
    """The results of a study, and their files.

    Attributes
    ----------
    trial_storage
        The trials.
    base
        The settings that the search began with, resolved.
    ranges
        Of the searched settings.
    metric
        That trials are compared by.
    source, command
        How the data was read, and the command line.
    """

    folder: Path
    trial_storage: StudyStorage
    base: Training
    ranges: Mapping[str, Range]
    metric: str
    source: DataConfig
    command: str

    def best(self, machine: Mapping[str, str]) -> tuple[int, Training] | None:
        """The best trial's number and settings; None where no trial ran to its end.

        Parameters
        ----------
        machine
            Resolved values in place of ``auto``.
        """
        ranked = ranking(self.trial_storage.trials, self.metric)
        if not ranked:
            return None
        base = with_machine(self.base, machine)
        return ranked[0].number, with_settings(base, ranked[0].params)

    def empty(self) -> TagboxError:
        """The error of a study in which no trial ran to its end."""
        trials = self.trial_storage.trials
        reason = str(trials[-1].user_attrs.get("reason", "")) if trials else "there was no time"
        return TagboxError(
            "study-empty",
            f"none of {len(trials)} trials ran to its end (the last one: {reason.rstrip('.')})",
            file=self.trial_storage.address,
            hint="narrow the ranges or give it more time, under another --name",
        )

    def write(
        self, machine: Mapping[str, str], more: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Write ``trials.csv``, ``best.yaml`` and ``tune.json``; returns what the last one holds.

        Parameters
        ----------
        more
            Further results, under ``again`` and ``test``.
        """
        from tagbox.training.saved_run import versions

        trials = self.trial_storage.trials
        ranked = ranking(trials, self.metric)
        result: dict[str, Any] = {
            "metric": metric_column(self.metric),
            "direction": metric_direction(self.metric),
            "trials": {"total": len(trials), **_counts(trials)},
            "seconds": round(sum(t.user_attrs.get("seconds", 0.0) for t in trials), 1),
            "search": {name: allowed.to_dict() for name, allowed in self.ranges.items()},
            "start": {name: get_setting(self.base, name) for name in self.ranges},
            "best": _plain(ranked[0]) if ranked else None,
            "five_best": [_plain(trial) for trial in ranked[:5]],
            "importance": _importance(ranked, self.metric),
            **(more or {}),
            "command": self.command,
            "versions": versions(),
        }
        if ranked and "again" in result:
            result["again"] = _with_gains(result["again"], ranked[0].values[0], self.metric)
        _write_trials(self.folder / TRIALS, trials, list(self.ranges))
        best = self.best(machine)
        if best is not None:
            write_config(self.folder / BEST, best[1], self.source, command=self.command)
        text = msgspec.json.format(encode_json(result), indent=2)
        atomic_write(self.folder / SUMMARY, text)
        return result


def _write_trials(path: Path, trials: Sequence[FrozenTrial], names: Sequence[str]) -> None:
    """One row per trial: its settings by path, and why it was pruned or failed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *names, "reason"])
    for trial in trials:
        row = _plain(trial)
        cells = [row[name] for name in COLUMNS] + [trial.params.get(name) for name in names]
        writer.writerow(["" if cell is None else cell for cell in (*cells, row["reason"])])
    atomic_write(path, text.getvalue())


def _plain(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as plain values; a pruned one has the value of its last epoch."""
    about = trial.user_attrs
    return {
        "trial": trial.number,
        "state": STATES[trial.state.name],
        "value": trial.value,
        "epochs": about.get("epochs"),
        "best_epoch": about.get("best_epoch"),
        "seconds": about.get("seconds"),
        "parameters": dict(trial.params),
        "reason": about.get("reason"),
    }


def _counts(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """Number of trials in each final state."""
    found = dict.fromkeys(STATES.values(), 0)
    for trial in trials:
        found[STATES[trial.state.name]] += 1
    return found


def _with_gains(again: Mapping[str, Any], value: float, metric: str) -> dict[str, Any]:
    """The best trial's metric beside those of other seeds.

    ``selection`` is its optimism: its metric minus the mean of other seeds. ``gain`` is the mean of the best
    settings minus that of the settings at the start, over the same seeds.
    """
    start, best = again["start"]["mean"], again["best"]["mean"]
    return {
        **again,
        "selection": None if best is None else improvement(metric, best, value),
        "gain": None if start is None or best is None else improvement(metric, start, best),
    }


def _importance(ended: Sequence[FrozenTrial], metric: str) -> dict[str, float]:
    """Importance of each setting, as shares of one; empty where too few trials ran to their end.

    PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023): the divergence of each setting's distribution in the
    best tenth of the trials from the uniform one.
    """
    import optuna

    if len({trial.value for trial in ended}) < LEAST_FOR_IMPORTANCE:
        return {}
    study = optuna.create_study(direction=metric_direction(metric))
    study.add_trials(ended)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(evaluate_on_local=False)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: round(float(value), 4) for name, value in found.items()}
