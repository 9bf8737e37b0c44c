"""The search loop: sample settings, train, prune, store. An interrupted search continues with the same trials."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tagbox.errors import TagboxError
from tagbox.progress import Progress
from tagbox.studies.search_space import Range, Value, get_setting, with_settings
from tagbox.studies.storage import StudyStorage
from tagbox.studies.trainer import Trainer
from tagbox.training.history import Row, improvement, metric_column, metric_direction
from tagbox.training.resolve_config import Training, on_pictures, steps

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

RECORDED = (
    "loss-not-finite",
    "memory-full",
    "features-too-large",
    "config-value",
    "detector-size",
    "detector-backbone",
    "metric-absent",
)
"""Codes of errors that fail a trial; any other error ends the search."""
UNPRUNED_TRIALS = 5
"""Trials before the first one that may be pruned."""
UNPRUNED_SHARE = 6
"""No trial is pruned in the first 1/6 of its epochs."""


def search(
    trial_storage: StudyStorage,
    trainer: Trainer[Training],
    base: Training,
    ranges: Mapping[str, Range],
    *,
    metric: str,
    trials: int,
    deadline: float | None,
    progress: Progress,
) -> None:
    """Add trials to the storage until it has `trials` in all.

    The first one has the settings of `base`, if they are in the ranges. Sampler: the multivariate TPE, seeded
    with the study's seed and the number of the trial, so that an interrupted search continues as an undisturbed
    one. Pruner: the median of earlier trials at the same epoch.

    Parameters
    ----------
    deadline
        Of `time.monotonic`; no trial begins after it.

    Raises
    ------
    TagboxError
        What training raises, other than the codes in `RECORDED`.
    """
    done, machine = trial_storage.trials, trainer.machine
    study = _in_memory(done, metric, base)
    if not done:
        start = {name: get_setting(base, name) for name in ranges}
        if all(ranges[name].contains(value) for name, value in start.items()):
            study.enqueue_trial(start)
    if len(done) < trials:
        trainer.prepare(base, ranges.keys(), progress)
    with progress.bar("searching", trials, "trials") as advance:
        advance(min(len(done), trials), note=_best_so_far(ranking(done, metric)))
        for number in range(len(done), trials):
            if deadline is not None and time.monotonic() > deadline:
                progress.say(f"time is up: {number} of {trials} trials")
                break
            study.sampler = _sampler(base.seed, number)
            trial = study.ask()
            finished = _run_trial(study, trial, trainer, base, ranges, metric, progress)
            trial_storage.add(finished)
            if trainer.machine != machine:
                machine = trainer.machine
                trial_storage.set("machine", machine)
            best = ranking(study.get_trials(deepcopy=False), metric)[:1]
            trainer.keep_only({str(each.number) for each in best})
            if finished in best:
                text = f"{metric_column(metric)} {finished.values[0]:.4f}"
                progress.say(f"trial {number}: {text}, the best so far")
            advance(1, note=_best_so_far(best))


def ranking(trials: Sequence[FrozenTrial], metric: str) -> list[FrozenTrial]:
    """The complete trials, the best first; of equal ones the earlier first."""
    from optuna.trial import TrialState

    ended = [t for t in trials if t.state == TrialState.COMPLETE]
    return sorted(ended, key=lambda t: (improvement(metric, t.values[0], 0.0), t.number))


def _run_trial(
    study: Study,
    trial: Trial,
    trainer: Trainer[Training],
    base: Training,
    ranges: Mapping[str, Range],
    metric: str,
    progress: Progress,
) -> FrozenTrial:
    """One trial: complete, pruned or failed."""
    from optuna import TrialPruned
    from optuna.trial import TrialState

    values: dict[str, Value] = {name: r.suggest(trial, name) for name, r in ranges.items()}
    full_network = on_pictures(base)
    epochs = reported = 0

    def on_epoch(row: Row) -> None:
        nonlocal epochs, reported
        epochs, reported = int(row["epoch"] or 0), reported + 1
        value = row.get(metric_column(metric))
        if value is None or math.isnan(value):
            return
        state_text = f"epoch {epochs}, {metric_column(metric)} {value:.4f}"
        if full_network:
            progress.say(f"trial {trial.number}: {state_text}")
        trial.report(value, reported)
        if trial.should_prune():
            raise TrialPruned(f"{state_text}: worse than the median")

    state, value = TrialState.COMPLETE, None
    try:
        config = with_settings(base, values)
        outcome = trainer.run(config, str(trial.number), on_epoch)
        value = outcome.row.get(metric_column(metric))
        if value is None or math.isnan(value):
            raise _metric_absent(metric)
        epochs = outcome.epochs
        trial.set_user_attr("best_epoch", outcome.epoch)
    except TrialPruned as pruned:
        state = TrialState.PRUNED
        trial.set_user_attr("reason", str(pruned))
    except TagboxError as error:
        if error.code not in RECORDED:
            raise
        state, value = TrialState.FAIL, None
        trial.set_user_attr("reason", str(error))
    trial.set_user_attr("epochs", epochs)
    trial.set_user_attr("seconds", round(time.perf_counter() - trainer.began, 3))
    if state == TrialState.COMPLETE:
        return study.tell(trial, value)
    return study.tell(trial, state=state)


def _in_memory(done: list[FrozenTrial], metric: str, base: Training) -> Study:
    """An Optuna study in memory with the finished trials, in which the next one runs."""
    import optuna

    epochs = steps(base).epochs if on_pictures(base) else base.epochs
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=UNPRUNED_TRIALS,
        # The first epoch at which a trial may be pruned.
        n_warmup_steps=1 + max(1, epochs // UNPRUNED_SHARE),
    )
    study = optuna.create_study(direction=metric_direction(metric), pruner=pruner)
    study.add_trials(done)
    return study


def _sampler(seed: int, number: int) -> Any:
    from optuna.samplers import TPESampler

    drawn = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return TPESampler(seed=drawn)


def _best_so_far(best: Sequence[FrozenTrial]) -> str | None:
    return f"best {best[0].values[0]:.4f}" if best else None


def _metric_absent(metric: str) -> TagboxError:
    return TagboxError(
        "metric-absent",
        f"the validation images do not define {metric_column(metric)}",
        where="--metric",
        hint="choose another metric or other validation images",
    )
