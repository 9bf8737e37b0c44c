"""`tune_classifier`: a search over the ranges of a recipe, as a folder that it can go on from."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagbox.config import ClassifierConfig, DataConfig, Metric, require
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.progress import Progress, Silent
from tagbox.studies.dotted import flat_settings, get_setting
from tagbox.studies.ledger import Ledger, require_optuna
from tagbox.studies.ranges import Range, read_ranges, require_allowed
from tagbox.studies.results import BEST, Notes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tagbox.engines.cache import FeatureCache
    from tagbox.studies.trainer import Trainer
    from tagbox.training.sides import Sides


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
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
    best: ClassifierConfig

    @property
    def best_config(self) -> Path:
        """The settings of the best trial, for ``tagbox train classifier --config``."""
        return self.folder / BEST


def tune_classifier(
    data: Path | str | Dataset,
    config: ClassifierConfig | None = None,
    *,
    name: str,
    search: Mapping[str, Mapping[str, Any]],
    typed: Sequence[str] = (),
    fixed: Collection[str] = (),
    trials: int = 100,
    minutes: float | None = None,
    metric: Metric | None = None,
    repeats: int = 3,
    test: Path | str | None = None,
    test_images: Path | None = None,
    studies: Path | str = Path("studies"),
    storage: str | None = None,
    source: DataConfig | None = None,
    cache: bool = True,
    command: str = "",
    progress: Progress | None = None,
) -> Study:
    """Search for the settings with the best validation figure.

    The same call again goes on until there are `trials` in all. Pictures are encoded once for all trials that
    have the same backbone, pooling and geometry.

    Parameters
    ----------
    data
        A dataset of any format `load_dataset` knows, or one in memory.
    config
        Settings that are not searched, and where the search begins.
    name, studies
        The study becomes the folder ``studies/name``.
    search
        Dotted setting -> ``{low, high, log}`` or ``{choices}``, such as `Recipe.search`.
    typed
        More ranges, as ``NAME=LOW..HIGH``, ``NAME=LOW..HIGH:log`` or ``NAME=A,B,C``; they come before `search`.
    fixed
        Dotted settings that keep the value they have in `config`.
    trials
        How many there shall be in all, pruned and failed ones too.
    minutes
        After which no trial is begun.
    metric
        The validation figure of the best epoch that trials are compared by; ``config.best_by`` when not given.
    repeats
        Seeds that the best settings, and those that the search began with, are trained with once more.
    test, test_images
        A third dataset, on which both are compared at the end, and the folder of its pictures.
    storage
        An Optuna storage address in place of the folder's ``study.db``; one process at a time.
    source
        How `data` is read, where it is a path.
    cache
        Look features up on disk and keep them there.
    command
        What reproduces the study, for ``best.yaml``.
    progress
        What to tell whoever waits.

    Raises
    ------
    TagboxError
        What reading, encoding and training raise; the codes of `studies.ranges.read_ranges` and
        `studies.ledger.Ledger`; ``study-busy``, ``study-name``, ``study-empty``, ``extra-missing``.
    """
    require_optuna()
    require(trials >= 1, "trials", trials, "at least 1")
    require(minutes is None or minutes > 0, "minutes", minutes, "above 0")
    require(repeats >= 0, "repeats", repeats, "at least 0")
    started = time.monotonic()
    config, source = config or ClassifierConfig(), source or DataConfig()
    progress = progress or Silent()
    ranges = read_ranges(search, typed, fixed)
    require_allowed(config, ranges)
    for setting in sorted(set(search) & set(fixed)):
        progress.say(f"not searched: {setting} stays {get_setting(config, setting)}")

    from tagbox.engines.cache import FeatureCache
    from tagbox.studies.folder import study_folder
    from tagbox.studies.honest import load_third
    from tagbox.studies.search import search as go_on
    from tagbox.studies.trainer import Trainer
    from tagbox.training.plan import resolve
    from tagbox.training.sides import load_sides

    _require_one_process()
    sides = load_sides(Path(data) if isinstance(data, str) else data, config, source, progress)
    compared_by: Metric = metric or config.best_by
    resolve(replace(config, best_by=compared_by), sides)
    base = resolve(config, sides)
    require_allowed(base, ranges, lambda each: resolve(each, sides))
    third = None
    if test is not None:
        how = _beside(source, test_images)
        third = load_third(Path(test), how, sides.train, base.labels, progress)
    with (
        study_folder(Path(studies), name) as folder,
        closing(Ledger(folder, storage, name=name, metric=compared_by)) as ledger,
        closing(FeatureCache()) if cache else nullcontext() as features,
    ):
        ledger.begin(_about(base, ranges, compared_by, sides))
        trainer = Trainer(
            sides,
            source,
            cache=features,
            teacher=_teacher(base, sides, progress),
            folder=folder,
            machine=ledger.get("machine"),
            progress=progress,
        )
        notes = Notes(
            folder=folder,
            ledger=ledger,
            base=base,
            ranges=ranges,
            metric=compared_by,
            source=source,
            command=command,
        )
        try:
            go_on(
                ledger,
                trainer,
                base,
                ranges,
                metric=compared_by,
                trials=trials,
                deadline=None if minutes is None else started + 60 * minutes,
                progress=progress,
            )
            return _finish(
                notes,
                trainer,
                repeats=repeats,
                test=third,
                cache=features,
                progress=progress,
            )
        except KeyboardInterrupt:
            if there := len(ledger.trials):
                notes.write(trainer.machine)
                progress.say(f"stopped with {there} trials; the same command goes on")
            raise


def _finish(
    notes: Notes,
    trainer: Trainer,
    *,
    repeats: int,
    test: Dataset | None,
    cache: FeatureCache | None,
    progress: Progress,
) -> Study:
    """Judge the best settings by more than the trial that made them the best, and write it all down."""
    from tagbox.studies.honest import compare_on, train_again

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
            notes.ledger,
            configs,
            runs,
            metric=notes.metric,
            repeats=repeats,
            progress=progress,
        )
    if test is not None:
        more["test"] = compare_on(
            test, trainer, notes.ledger, configs, runs, cache=cache, progress=progress
        )
    trainer.keep_only({str(number)})
    return Study(folder=notes.folder, result=notes.write(trainer.machine, more), best=config)


def _about(
    base: ClassifierConfig, ranges: Mapping[str, Range], metric: str, sides: Sides
) -> dict[str, Any]:
    """What a study is of: trials of another one do not go together with its own."""
    from tagbox.training.plan import FREE
    from tagbox.training.work import fingerprints

    # The fingerprints say which validation images there are, wherever they now lie.
    left_out = {f"finetune.{name}" for name in FREE} | {"val", "val_images"}
    settings = {k: v for k, v in flat_settings(base).items() if k not in left_out}
    searched = {name: f"searched in {allowed}" for name, allowed in ranges.items()}
    return {"data": fingerprints(sides), "settings": settings | searched | {"metric": metric}}


def _beside(source: DataConfig, images: Path | None) -> DataConfig:
    """How the third dataset is read: as the training data, but whole and with its own pictures."""
    return replace(source, images=images, format="auto", max_images=None)


def _teacher(
    base: ClassifierConfig, sides: Sides, progress: Progress
) -> NDArray[np.float32] | None:
    if base.teacher is None:
        return None
    from tagbox.inference.teacher import teacher_probabilities

    return teacher_probabilities(base.teacher, sides.train, progress)


def _require_one_process() -> None:
    from tagbox.training.runtime import launched_processes

    if launched_processes() > 1:
        raise TagboxError(
            "study-processes",
            f"{launched_processes()} processes were launched for one search",
            hint="run tagbox tune without torchrun or accelerate launch",
        )
