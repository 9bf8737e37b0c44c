"""`tune_classifier` and `tune_detector`: hyperparameter searches, stored as studies that can be continued."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from tagbox.config import (
    ClassifierConfig,
    ClassifierTuneOptions,
    DataConfig,
    DetectionMetric,
    DetectorConfig,
    DetectorTuneOptions,
    HeadSetting,
    Metric,
    TuneOptions,
)
from tagbox.config.arguments import checked_arguments
from tagbox.config.finetune import FREE
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.progress import Progress, default_progress
from tagbox.studies.results import StudyResults
from tagbox.studies.search_space import (
    Range,
    flat_settings,
    get_setting,
    read_ranges,
    require_allowed,
)
from tagbox.studies.storage import BEST, StudyStorage, require_optuna
from tagbox.training.requirements import require_trainable
from tagbox.training.resolve_config import Training
from tagbox.training.run_dir import kind_of

if TYPE_CHECKING:
    from tagbox.studies.trainer import Trainer
    from tagbox.training.train_val import TrainVal


@dataclass(frozen=True, eq=False, kw_only=True)
class Study(Generic[Training]):
    """The state of a search.

    Attributes
    ----------
    folder
        The study's folder.
    result
        Content of its ``tune.json``.
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
        """``classifier`` or ``detector``."""
        return kind_of(self.best)


@checked_arguments
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
) -> Study[ClassifierConfig]:
    """Search for the settings with the best validation metric.

    The same call again goes on until there are `trials` in all. Images are encoded once for all trials that
    have the same backbone, pooling and geometry.

    Parameters
    ----------
    data
        A dataset of any format that `load_dataset` reads, or one in memory.
    config
        Settings that are not searched, and where the search begins.
    name, studies
        The study becomes the folder ``studies/name``.
    search
        Setting path -> ``{low, high, log}`` or ``{choices}``, such as `Recipe.search`.
    typed
        More ranges, as ``NAME=LOW..HIGH``, ``NAME=LOW..HIGH:log`` or ``NAME=A,B,C``; they come before `search`.
    fixed
        Setting paths that keep the value they have in `config`.
    trials
        Number of trials in all, pruned and failed ones included.
    minutes
        No trial begins after this many minutes.
    metric
        The validation metric of the best epoch that trials are compared by; ``config.best_by`` when not given,
        and ``map`` where that is ``auto``.
    repeats
        Seeds that the best settings, and those that the search began with, are trained with once more.
    test, test_images
        A third dataset, on which both are compared at the end, and the folder of its pictures.
    storage
        An Optuna storage address in place of the folder's ``study.db``; one process at a time.
    source
        How `data` is read if it is a path.
    cache
        Use and fill the feature cache.
    command
        The command line, for ``best.yaml``.
    progress
        Receives messages and progress bars; when not given, bars in a notebook and nothing elsewhere.

    Raises
    ------
    TagboxError
        What reading, encoding and training raise; the codes of `studies.search_space.read_ranges` and
        `studies.storage.StudyStorage`; ``study-busy``, ``study-name``, ``study-empty``, ``extra-missing``.
    """
    options = ClassifierTuneOptions(
        name=name,
        search=tuple(typed),
        fixed=tuple(fixed),
        trials=trials,
        minutes=minutes,
        metric=metric,
        repeats=repeats,
        test=None if test is None else Path(test),
        test_images=test_images,
        studies=Path(studies),
        storage=storage,
    )
    config = config or ClassifierConfig()
    return run_study(
        data, config, options, search, source, cache=cache, command=command, progress=progress
    )


@checked_arguments
def tune_detector(
    data: Path | str | Dataset,
    config: DetectorConfig | None = None,
    *,
    name: str,
    search: Mapping[str, Mapping[str, Any]],
    typed: Sequence[str] = (),
    fixed: Collection[str] = (),
    trials: int = 20,
    minutes: float | None = None,
    metric: DetectionMetric | None = None,
    repeats: int = 3,
    test: Path | str | None = None,
    test_images: Path | None = None,
    studies: Path | str = Path("studies"),
    storage: str | None = None,
    source: DataConfig | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Study[DetectorConfig]:
    """Search for the settings of a detector with the best validation metric.

    The same call again goes on until there are `trials` in all. Every trial is a full training; the run
    folder of the best one stays in ``studies/name/trials``.

    Parameters
    ----------
    data
        A dataset with boxes, of any format that `load_dataset` reads, or one in memory.
    test, test_images
        A third dataset with boxes, and the folder of its pictures. AP of two detectors is compared on it without
        an interval of the difference.

    The others are those of `tune_classifier`.

    Raises
    ------
    TagboxError
        What reading and training raise; the codes of `studies.search_space.read_ranges` and
        `studies.storage.StudyStorage`; ``study-busy``, ``study-name``, ``study-empty``, ``extra-missing``.
    """
    options = DetectorTuneOptions(
        name=name,
        search=tuple(typed),
        fixed=tuple(fixed),
        trials=trials,
        minutes=minutes,
        metric=metric,
        repeats=repeats,
        test=None if test is None else Path(test),
        test_images=test_images,
        studies=Path(studies),
        storage=storage,
    )
    config = config or DetectorConfig()
    return run_study(
        data, config, options, search, source, cache=False, command=command, progress=progress
    )


def run_study(
    data: Path | str | Dataset,
    config: Training,
    options: TuneOptions,
    search: Mapping[str, Mapping[str, Any]],
    source: DataConfig | None,
    *,
    cache: bool,
    command: str,
    progress: Progress | None,
) -> Study[Training]:
    """Start a search, continue one, or evaluate one that has all its trials.

    Parameters
    ----------
    config
        Settings that are not searched, and where the search begins.
    search
        Ranges of a recipe; ``options.search`` comes before them.

    Raises
    ------
    TagboxError
        Those of `tagbox.tune_classifier`.
    """
    require_trainable(config)
    require_optuna()
    minutes = options.minutes
    started = time.monotonic()
    source, progress = source or DataConfig(), progress or default_progress()
    ranges = read_ranges(search, options.search, options.fixed, type(config))
    require_allowed(config, ranges)
    for setting in sorted(set(search) & set(options.fixed)):
        progress.say(f"not searched: {setting} stays {get_setting(config, setting)}")

    from tagbox.backends.feature_cache import FeatureCache
    from tagbox.data.image_files import require_images
    from tagbox.studies.search import search as search_trials
    from tagbox.studies.storage import study_folder
    from tagbox.training.train_val import load_beside, load_train_val, require_apart

    _require_one_process()
    if isinstance(config, ClassifierConfig):
        if config.folds not in ("auto", 0):
            raise TagboxError(
                "config-value",
                f"{config.folds} folds: the trials of a search share one validation part",
                where="folds",
                hint="leave --folds out",
            )
        best_by = "map" if config.best_by == "auto" else config.best_by
        # Searches are mostly about settings of epochs; `head` may be among what is searched.
        head: HeadSetting = "linear" if config.head == "auto" else config.head
        config = replace(config, folds=0, best_by=best_by, head=head)
    train_val = load_train_val(
        Path(data) if isinstance(data, str) else data, config, source, progress
    )
    metric: Any = options.metric or config.best_by
    trainer = _trainer(config, train_val, source, progress)
    trainer.resolve(replace(config, best_by=metric))
    # Where detectors are compared, what is not given stays open: each brings its own.
    base = config if "detector" in ranges else trainer.resolve(config)
    require_allowed(base, ranges, trainer.resolve)
    test = None
    if options.test is not None:
        test = load_beside(
            options.test, options.test_images, source, train_val.train, "test", progress
        )
        require_images(test)
        require_apart(train_val.train, test, "test", config, progress)
        trainer.require_test(test, base)
    with (
        study_folder(options.studies, options.name) as folder,
        closing(
            StudyStorage(folder, options.storage, name=options.name, metric=metric)
        ) as trial_storage,
        closing(FeatureCache()) if cache else nullcontext() as features,
    ):
        trial_storage.begin(_about(base, ranges, metric, train_val))
        trainer.begin(folder, base, trial_storage.get("machine"), features)
        results = StudyResults(
            folder=folder,
            trial_storage=trial_storage,
            base=base,
            ranges=ranges,
            metric=metric,
            source=source,
            command=command,
        )
        try:
            search_trials(
                trial_storage,
                trainer,
                base,
                ranges,
                metric=metric,
                trials=options.trials,
                deadline=None if minutes is None else started + 60 * minutes,
                progress=progress,
            )
            return _evaluate_best(results, trainer, options.repeats, test, progress)
        except KeyboardInterrupt as interrupt:
            if finished := len(trial_storage.trials):
                results.write(trainer.machine)
                interrupt.add_note(f"stopped with {finished} trials; the same command goes on")
            else:
                interrupt.add_note("no trial was finished; the same command begins anew")
            raise


def _trainer(
    config: Training, train_val: TrainVal, source: DataConfig, progress: Progress
) -> Trainer[Training]:
    """The trainer of the configuration's kind of model."""
    if isinstance(config, ClassifierConfig):
        from tagbox.studies.classifier_trainer import ClassifierTrainer

        return ClassifierTrainer(train_val, source, progress)
    from tagbox.studies.detector_trainer import DetectorTrainer

    return DetectorTrainer(train_val, source, progress)


def _evaluate_best(
    results: StudyResults[Training],
    trainer: Trainer[Training],
    repeats: int,
    test: Dataset | None,
    progress: Progress,
) -> Study[Training]:
    """Retrain the best settings with other seeds, compare them on `test`, and write the results."""
    from tagbox.studies.retrain_best import compare_on, train_again

    best = results.best(trainer.machine)
    if best is None:
        results.write(trainer.machine)
        raise results.empty()
    number, config = best
    configs, runs = {"start": results.base, "best": config}, {"start": "start", "best": str(number)}
    more: dict[str, Any] = {}
    if repeats:
        more["again"] = train_again(
            trainer,
            results.trial_storage,
            configs,
            runs,
            metric=results.metric,
            repeats=repeats,
            progress=progress,
        )
    if test is not None:
        more["test"] = compare_on(
            test, trainer, results.trial_storage, configs, runs, progress=progress
        )
    trainer.keep_only({str(number)})
    return Study(folder=results.folder, result=results.write(trainer.machine, more), best=config)


def _about(
    base: Training, ranges: Mapping[str, Range], metric: str, train_val: TrainVal
) -> dict[str, Any]:
    """Data and settings of a study, which all of its trials share."""
    from tagbox.training.run_dir import fingerprints

    # The fingerprints identify the validation images, wherever they are.
    left_out = {*FREE, *(f"finetune.{name}" for name in FREE)}
    # A search has no folds.
    left_out |= {"val", "val_images", "allow_overlap", "folds"}
    settings = {k: v for k, v in flat_settings(base).items() if k not in left_out}
    searched = {name: f"searched in {allowed}" for name, allowed in ranges.items()}
    return {
        "kind": kind_of(base),
        "data": fingerprints(train_val),
        "settings": settings | searched | {"metric": metric},
    }


def _require_one_process() -> None:
    from tagbox.training.distributed import launched_processes

    if launched_processes() > 1:
        raise TagboxError(
            "study-processes",
            f"{launched_processes()} processes were launched for one search",
            hint="run tagbox tune without torchrun or accelerate launch",
        )
