"""`train_classifier` and `train_detector`: from a dataset to a run directory with its report."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

import numpy as np

from tagbox.api.report_examples import classifier_examples, detector_examples
from tagbox.api.run import Run
from tagbox.config import (
    ClassifierConfig,
    ClassifierSettings,
    DataConfig,
    DetectorConfig,
    DetectorSettings,
    with_settings,
)
from tagbox.config.arguments import checked_arguments
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.progress import Progress, Silent, default_progress
from tagbox.training.failures import understood
from tagbox.training.resolve_config import Training

if TYPE_CHECKING:
    from tagbox.reports.examples import Example
    from tagbox.reports.report import Report
    from tagbox.training.classifier import TrainedClassifier
    from tagbox.training.detector import TrainedDetector
    from tagbox.training.distributed import Runtime
    from tagbox.training.saved_run import Trained
    from tagbox.training.tensorboard import TensorBoardLog
    from tagbox.training.train_val import TrainVal

TENSORBOARD_PICTURES = 4
Result = TypeVar("Result", bound="Trained")


@checked_arguments
def train_classifier(
    data: Path | str | Dataset,
    config: ClassifierConfig | None = None,
    *,
    val: Path | str | Dataset | None = None,
    name: str | None = None,
    runs: Path | str = Path("runs"),
    source: DataConfig | None = None,
    overwrite: bool = False,
    resume: bool = False,
    cache: bool = True,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    command: str = "",
    progress: Progress | None = None,
    **settings: Unpack[ClassifierSettings],
) -> Run:
    """Train a multi-label classifier and write its run directory.

    Parameters
    ----------
    data
        A dataset of any format that `load_dataset` reads, or one in memory.
    config
        The settings of the training.
    val
        The validation data, of any format that `load_dataset` reads, or in memory; when not given, what `config` or
        `data` says, else a part of `data`.
    name, runs
        The run becomes the folder ``runs/name``; without a name ``classifier``, ``classifier-2`` and so on.
    source
        How `data` is read if it is a path.
    overwrite
        Replace a finished run of that name once the new one is complete.
    resume
        Continue an unfinished run of that name from its newest checkpoint; a finished one is returned.
    cache
        Use and fill the feature cache.
    baselines
        Other models' metrics on the validation images, for the report: name to metric to value.
    command
        The command line, for the report.
    progress
        Receives messages and progress bars; when not given, bars in a notebook and nothing elsewhere.
    **settings
        Fields of `ClassifierConfig`, in place of those of `config`: ``epochs=5, finetune={"unfreeze": "all"}``.

    Raises
    ------
    TagboxError
        What reading, encoding and training raise; ``run-exists``, ``run-unfinished``, ``run-busy``,
        ``run-name``, ``resume-changed``, ``resume-data``; ``config-field`` and ``config-value`` for settings;
        ``extra-missing``.

    Examples
    --------
    >>> run = tagbox.train_classifier("photos/annotations.json", epochs=5)  # doctest: +SKIP
    """

    def join(config: ClassifierConfig) -> Runtime | None:
        from tagbox.training.distributed import join_processes

        return join_processes(config.device, config.engine)

    def train(
        train_val: TrainVal, config: ClassifierConfig, *, progress: Progress, **run: Any
    ) -> TrainedClassifier | None:
        from tagbox.backends.feature_cache import FeatureCache
        from tagbox.training.classifier import train

        teacher = None
        if config.teacher is not None:
            from tagbox.training.teacher import teacher_probabilities

            teacher = teacher_probabilities(config.teacher, train_val.train, progress)
        with closing(FeatureCache()) if cache else nullcontext() as features:
            return train(
                train_val, config, cache=features, teacher=teacher, progress=progress, **run
            )

    def report(trained: TrainedClassifier, log: TensorBoardLog, facts: Mapping[str, Any]) -> Report:
        from tagbox.inference.classifier import Classifier
        from tagbox.reports.classifier_sections import ClassifierReport

        probabilities = trained.predictions.probabilities
        assert probabilities is not None
        examples = classifier_examples(
            Classifier(trained.bundle, encoders=trained.encoders),
            trained.validation,
            probabilities,
            trained.bundle.thresholds,
        )
        _log_examples(log, examples, trained.best_epoch)
        return ClassifierReport(
            **facts,
            truth=trained.validation.labels,
            probabilities=probabilities,
            thresholds=trained.bundle.thresholds.to_dict(),
            tuning=trained.tuning,
            images=examples,
            baselines=baselines or {},
            transfer=trained.transfer,
        )

    return _train_run(
        data,
        _with_val(
            with_settings(config or ClassifierConfig(), settings, _arguments(train_classifier)), val
        ),
        join,
        train,
        report,
        validation=val if isinstance(val, Dataset) else None,
        name=name,
        runs=Path(runs),
        source=source or DataConfig(),
        overwrite=overwrite,
        resume=resume,
        command=command,
        progress=progress or default_progress(),
    )


@checked_arguments
def train_detector(
    data: Path | str | Dataset,
    config: DetectorConfig | None = None,
    *,
    val: Path | str | Dataset | None = None,
    name: str | None = None,
    runs: Path | str = Path("runs"),
    source: DataConfig | None = None,
    overwrite: bool = False,
    resume: bool = False,
    command: str = "",
    progress: Progress | None = None,
    **settings: Unpack[DetectorSettings],
) -> Run:
    """Train a detector and write its run directory.

    Parameters
    ----------
    data
        A dataset with boxes, of any format that `load_dataset` reads, or one in memory.

    The others are those of `train_classifier`.

    Raises
    ------
    TagboxError
        What reading and training raise; ``run-exists``, ``run-unfinished``, ``run-busy``,
        ``resume-changed``, ``resume-data``; ``extra-missing``.
    """

    def join(config: DetectorConfig) -> Runtime:
        from tagbox.device import choose_device
        from tagbox.training.distributed import Runtime

        return Runtime(choose_device(config.device, "torch"))

    def train(train_val: TrainVal, config: DetectorConfig, **run: Any) -> TrainedDetector | None:
        from tagbox.training.detector import train

        return train(train_val, config, **run)

    def report(trained: TrainedDetector, _: TensorBoardLog, facts: Mapping[str, Any]) -> Report:
        from tagbox.reports.detector_sections import DetectorReport

        annotations = trained.train.annotations
        boxes = annotations.boxes[annotations.has_box & ~annotations.crowd]
        return DetectorReport(
            **facts,
            images=detector_examples(trained.pixels, trained.predictions, trained.bundle.cuts),
            box_sizes=boxes[:, 2:],
        )

    return _train_run(
        data,
        _with_val(
            with_settings(config or DetectorConfig(), settings, _arguments(train_detector)), val
        ),
        join,
        train,
        report,
        validation=val if isinstance(val, Dataset) else None,
        name=name,
        runs=Path(runs),
        source=source or DataConfig(),
        overwrite=overwrite,
        resume=resume,
        command=command,
        progress=progress or default_progress(),
    )


def _train_run(
    data: Path | str | Dataset,
    config: Training,
    join: Callable[[Training], Runtime | None],
    train: Callable[..., Result | None],
    report: Callable[[Result, TensorBoardLog, Mapping[str, Any]], Report],
    *,
    validation: Dataset | None,
    name: str | None,
    runs: Path,
    source: DataConfig,
    overwrite: bool,
    resume: bool,
    command: str,
    progress: Progress,
) -> Run:
    """Open or resume the run directory, train, and write everything that a finished run has.

    Parameters
    ----------
    join
        The group of processes, or None to form it later.
    train
        Trains and evaluates; None on processes other than the main one.
    report
        Makes the report, given the arguments that the reports of all kinds of model share.
    """
    from tagbox.paths import paths_in, refuse_inputs_below
    from tagbox.reports.report import write_report
    from tagbox.training.distributed import launched_processes, was_restarted
    from tagbox.training.requirements import require_trainable
    from tagbox.training.run_dir import kind_of, made_name, open_run_dir
    from tagbox.training.saved_run import read_metrics, write_run
    from tagbox.training.summary import kept, plan
    from tagbox.training.tensorboard import TensorBoardLog
    from tagbox.training.train_val import load_train_val

    # Processes that torchrun starts again always resume.
    resume = resume or was_restarted()
    if name is None:
        if launched_processes() > 1:
            raise TagboxError(
                "run-name",
                "no name is given, by which a run is shared by several processes",
                where="name",
                hint="name the run",
            )
        name = made_name(runs, kind_of(config), resume=resume)
        progress.say(f"no name is given: the run is called {name}")
    folder = runs / name
    if resume and not overwrite and (folder / "metrics.json").exists():
        progress.say(f"{folder} is finished already")
        return Run(folder=folder, metrics=read_metrics(folder))
    require_trainable(config)
    runtime = join(config)
    main = runtime is None or runtime.main
    if not main:
        progress = Silent()
    metrics: dict[str, Any] = {}
    with open_run_dir(
        runs,
        name,
        config,
        source,
        command=command,
        overwrite=overwrite,
        resume=resume,
        runtime=runtime,
        progress=progress,
    ) as (run_dir, config):
        train_val = load_train_val(
            Path(data) if isinstance(data, str) else data, config, source, progress, validation
        )
        read_files = chain(train_val.train.input_files(), train_val.validation.input_files())
        refuse_inputs_below(folder, chain(read_files, paths_in(config, source)), flag="--name")
        progress.say(plan(config, train_val))
        with TensorBoardLog(run_dir.folder / "tensorboard") if main else nullcontext() as log:
            with understood():
                trained = train(
                    train_val, config, run_dir=run_dir, runtime=runtime, log=log, progress=progress
                )
            if trained is not None:
                if not train_val.folds:  # Folds have a note of their own.
                    progress.say(kept(trained.config, trained.history, trained.best_epoch))
                metrics = write_run(run_dir.folder, train_val, trained, source, command=command)
                facts = _report_facts(name, trained, source, command)
                facts["out_of_fold"] = train_val.folds > 0
                assert log is not None
                write_report(report(trained, log, facts), run_dir.folder / "report.html")
    if runtime is not None:
        metrics = runtime.from_main(metrics)
    return Run(folder=folder, metrics=metrics)


def _report_facts(name: str, trained: Trained, source: DataConfig, command: str) -> dict[str, Any]:
    """Arguments that the reports of all kinds of model share."""
    from tagbox.checks.statistics import statistics

    return {
        "title": name,
        "categories": trained.validation.categories.names,
        "metrics": trained.metrics,
        "history": trained.history,
        "best_epoch": trained.best_epoch,
        "statistics": statistics(trained.train),
        "config": {**source.to_dict(), **trained.config.to_dict()},
        "defaults": {**type(source)().to_dict(), **type(trained.config)().to_dict()},
        "notes": [
            *(f"Training: {sentence}" for sentence in trained.notes or ()),
            *(f"Left out: {sentence}" for sentence in trained.left_out),
        ],
        "versions": trained.bundle.versions,
        "command": command,
    }


def _with_val(config: Training, val: Path | str | Dataset | None) -> Training:
    """The configuration with the validation data it is trained with, where that is or was a file."""
    if isinstance(val, Dataset):
        val = None if val.source.format == "memory" else val.source.path
    return config if val is None else replace(config, val=Path(val))


def _arguments(function: Callable[..., object]) -> list[str]:
    """The names of a function's own keyword arguments."""
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]


def _log_examples(log: TensorBoardLog, examples: Sequence[Example], epoch: int) -> None:
    """The first best and worst images, with truth and prediction, for TensorBoard."""
    from tagbox.images.draw import annotate

    for kind in ("best", "worst"):
        chosen = [example for example in examples if example.kind == kind][:TENSORBOARD_PICTURES]
        for number, example in enumerate(chosen, start=1):
            drawn = annotate(
                example.image,
                labels=example.labels,
                title=PurePath(example.name).name,
                width=360,
            )
            log.picture(epoch, f"{kind}/{number}", np.asarray(drawn))
