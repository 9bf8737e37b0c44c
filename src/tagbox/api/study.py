"""A search as a folder that it can go on from, whatever kind of model it trains."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from tagbox.config import DataConfig, require
from tagbox.config.finetune import FREE
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.progress import Progress, Silent
from tagbox.studies.results import BEST, Notes
from tagbox.studies.search_space import (
    Range,
    flat_settings,
    get_setting,
    read_ranges,
    require_allowed,
)
from tagbox.studies.storage import StudyStorage, require_optuna
from tagbox.training.resolve_config import Training
from tagbox.training.run_dir import kind_of

if TYPE_CHECKING:
    from tagbox.studies.trainer import Trainer
    from tagbox.training.train_val import TrainVal


@dataclass(frozen=True, eq=False, kw_only=True)
class Study(Generic[Training]):
    """A search as far as it got.

    Attributes
    ----------
    folder
        Where it lies.
    result
        What its ``tune.json`` holds.
    best
        The configuration of the best trial.
    """

    folder: Path
    result: Mapping[str, Any]
    best: Training

    @property
    def best_config(self) -> Path:
        """The settings of the best trial, for ``tagbox train classifier --config`` or ``tagbox train detector``."""
        return self.folder / BEST

    @property
    def kind(self) -> str:
        """``classifier`` or ``detector``: what was trained."""
        return kind_of(self.best)


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """What every search is asked for; `tagbox.tune_classifier` says what each of it is."""

    data: Path | str | Dataset
    name: str
    search: Mapping[str, Mapping[str, Any]]
    typed: Sequence[str]
    fixed: Collection[str]
    trials: int
    minutes: float | None
    metric: str | None
    repeats: int
    test: Path | str | None
    test_images: Path | None
    studies: Path | str
    storage: str | None
    source: DataConfig | None
    command: str
    progress: Progress | None


class Kind(ABC, Generic[Training]):
    """What a search over one kind of model does in a way of its own."""

    of: ClassVar[Any]
    """Its configuration's type."""

    @abstractmethod
    def resolve(self, config: Training, train_val: TrainVal) -> Training:
        """`config` with what the data decides of it.

        Raises
        ------
        TagboxError
            Where it cannot be trained on this data.
        """

    @abstractmethod
    def require_test(self, test: Dataset, base: Training) -> None:
        """Refuse a third dataset that cannot judge such a model."""

    @abstractmethod
    def trainer(
        self,
        base: Training,
        train_val: TrainVal,
        source: DataConfig,
        folder: Path,
        machine: Mapping[str, str] | None,
        progress: Progress,
    ) -> AbstractContextManager[Trainer[Training]]:
        """What trains trials for the study in `folder`; see `studies.trainer.Trainer`."""


def run_study(config: Training, asked: Asked, kind: Kind[Training]) -> Study[Training]:
    """Search, go on with a search, or look at one that has all its trials.

    Parameters
    ----------
    config
        Settings that are not searched, and where the search begins.

    Raises
    ------
    TagboxError
        Those of `tagbox.tune_classifier`.
    """
    require_optuna()
    require(asked.trials >= 1, "trials", asked.trials, "at least 1")
    minutes = asked.minutes
    require(minutes is None or minutes > 0, "minutes", minutes, "above 0")
    require(asked.repeats >= 0, "repeats", asked.repeats, "at least 0")
    started = time.monotonic()
    source, progress = asked.source or DataConfig(), asked.progress or Silent()
    ranges = read_ranges(asked.search, asked.typed, asked.fixed, kind.of)
    require_allowed(config, ranges)
    for setting in sorted(set(asked.search) & set(asked.fixed)):
        progress.say(f"not searched: {setting} stays {get_setting(config, setting)}")

    from tagbox.studies.retrain_best import load_third
    from tagbox.studies.search import search as go_on
    from tagbox.studies.storage import study_folder
    from tagbox.training.train_val import load_train_val

    _require_one_process()
    data = Path(asked.data) if isinstance(asked.data, str) else asked.data
    train_val = load_train_val(data, config, source, progress)
    metric: Any = asked.metric or config.best_by
    kind.resolve(replace(config, best_by=metric), train_val)
    base = kind.resolve(config, train_val)
    require_allowed(base, ranges, lambda each: kind.resolve(each, train_val))
    third = None
    if asked.test is not None:
        third = load_third(
            Path(asked.test), _beside(source, asked.test_images), train_val.train, progress
        )
        kind.require_test(third, base)
    with (
        study_folder(Path(asked.studies), asked.name) as folder,
        closing(
            StudyStorage(folder, asked.storage, name=asked.name, metric=metric)
        ) as trial_storage,
    ):
        trial_storage.begin(_about(base, ranges, metric, train_val))
        machine = trial_storage.get("machine")
        with kind.trainer(base, train_val, source, folder, machine, progress) as trainer:
            notes = Notes(
                folder=folder,
                trial_storage=trial_storage,
                base=base,
                ranges=ranges,
                metric=metric,
                source=source,
                command=asked.command,
            )
            try:
                go_on(
                    trial_storage,
                    trainer,
                    base,
                    ranges,
                    metric=metric,
                    trials=asked.trials,
                    deadline=None if minutes is None else started + 60 * minutes,
                    progress=progress,
                )
                return _finish(notes, trainer, asked.repeats, third, progress)
            except KeyboardInterrupt:
                if there := len(trial_storage.trials):
                    notes.write(trainer.machine)
                    progress.say(f"stopped with {there} trials; the same command goes on")
                raise


def _finish(
    notes: Notes[Training],
    trainer: Trainer[Training],
    repeats: int,
    test: Dataset | None,
    progress: Progress,
) -> Study[Training]:
    """Judge the best settings by more than the trial that made them the best, and write it all down."""
    from tagbox.studies.retrain_best import compare_on, train_again

    best = notes.best(trainer.machine)
    if best is None:
        notes.write(trainer.machine)
        raise notes.nothing()
    number, config = best
    configs, runs = {"start": notes.base, "best": config}, {"start": "start", "best": str(number)}
    more: dict[str, Any] = {}
    if repeats:
        more["again"] = train_again(
            trainer,
            notes.trial_storage,
            configs,
            runs,
            metric=notes.metric,
            repeats=repeats,
            progress=progress,
        )
    if test is not None:
        more["test"] = compare_on(
            test, trainer, notes.trial_storage, configs, runs, progress=progress
        )
    trainer.keep_only({str(number)})
    return Study(folder=notes.folder, result=notes.write(trainer.machine, more), best=config)


def _about(
    base: Training, ranges: Mapping[str, Range], metric: str, train_val: TrainVal
) -> dict[str, Any]:
    """What a study is of: trials of another one do not go together with its own."""
    from tagbox.training.run_dir import fingerprints

    # The fingerprints say which validation images there are, wherever they now lie.
    left_out = {*FREE, *(f"finetune.{name}" for name in FREE), "val", "val_images"}
    settings = {k: v for k, v in flat_settings(base).items() if k not in left_out}
    searched = {name: f"searched in {allowed}" for name, allowed in ranges.items()}
    return {
        "kind": kind_of(base),
        "data": fingerprints(train_val),
        "settings": settings | searched | {"metric": metric},
    }


def _beside(source: DataConfig, images: Path | None) -> DataConfig:
    """How the third dataset is read: as the training data, but whole and with its own pictures."""
    return replace(source, images=images, format="auto", max_images=None)


def _require_one_process() -> None:
    from tagbox.training.distributed import launched_processes

    if launched_processes() > 1:
        raise TagboxError(
            "study-processes",
            f"{launched_processes()} processes were launched for one search",
            hint="run tagbox tune without torchrun or accelerate launch",
        )
