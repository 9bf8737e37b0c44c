"""Training: from a dataset to a run folder with its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tagbox.api.pictures import report_pictures
from tagbox.api.run import Run, finished_run
from tagbox.config import ClassifierConfig, DataConfig
from tagbox.data.dataset import Dataset
from tagbox.progress import Progress, Silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tagbox.models.bundle import Bundle
    from tagbox.reports.pictures import ReportPicture
    from tagbox.training.classifier import Trained
    from tagbox.training.tensorboard import TensorBoardLog
    from tagbox.training.train_val import TrainVal

TENSORBOARD_PICTURES = 4


def train_classifier(
    data: Path | str | Dataset,
    config: ClassifierConfig | None = None,
    *,
    name: str,
    runs: Path | str = Path("runs"),
    source: DataConfig | None = None,
    overwrite: bool = False,
    resume: bool = False,
    cache: bool = True,
    baselines: Mapping[str, Mapping[str, float]] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Run:
    """Train a multi-label classifier and write its run folder.

    Parameters
    ----------
    data
        A dataset of any format `load_dataset` knows, or one in memory.
    config
        How to train.
    name, runs
        The run becomes the folder ``runs/name``.
    source
        How `data` is read, where it is a path.
    overwrite
        Replace a finished run of that name, once the new one is whole.
    resume
        Go on with an unfinished run of that name, from its newest checkpoint; a finished one is returned.
    cache
        Keep features for later runs.
    baselines
        Other models' figures on the validation images, for the report: name to metric to value.
    command
        What reproduces the run, for the report.
    progress
        What to tell whoever waits.

    Raises
    ------
    TagboxError
        What reading, encoding and training raise; ``run-exists``, ``run-unfinished``, ``run-busy``,
        ``resume-changed``, ``resume-data``.
    """
    from contextlib import closing, nullcontext

    from tagbox.backends.feature_cache import FeatureCache
    from tagbox.inference.classifier import Classifier
    from tagbox.training.classifier import train
    from tagbox.training.distributed import join_processes
    from tagbox.training.run_dir import open_run_dir
    from tagbox.training.saved_run import bundle_of, write_run
    from tagbox.training.tensorboard import TensorBoardLog
    from tagbox.training.train_val import load_train_val

    config, source = config or ClassifierConfig(), source or DataConfig()
    progress = progress or Silent()
    runs = Path(runs)
    folder = runs / name
    resume, finished = finished_run(folder, resume=resume, overwrite=overwrite, progress=progress)
    if finished is not None:
        return finished
    group = join_processes(config.device, config.engine)
    if group is not None and not group.main:
        progress = Silent()
    with open_run_dir(
        runs,
        name,
        config,
        source,
        command=command,
        overwrite=overwrite,
        resume=resume,
        runtime=group,
        progress=progress,
    ) as (run_dir, config):
        train_val = load_train_val(
            Path(data) if isinstance(data, str) else data, config, source, progress
        )
        with (
            closing(FeatureCache()) if cache else nullcontext() as features,
            nullcontext()
            if group is not None and not group.main
            else TensorBoardLog(run_dir.folder / "tensorboard") as log,
        ):
            trained = train(
                train_val,
                config,
                cache=features,
                run_dir=run_dir,
                runtime=group,
                teacher=_teacher(config, train_val, progress),
                log=log,
                progress=progress,
            )
            metrics: dict[str, Any] = {}
            if trained is not None:
                bundle = bundle_of(trained)
                metrics = write_run(
                    run_dir.folder, train_val, trained, bundle, source, command=command
                )
                pictures = report_pictures(
                    Classifier(bundle, encoders=trained.encoders),
                    trained.validation,
                    trained.evaluation.probabilities,
                    trained.evaluation.tuned.thresholds,
                )
                assert log is not None
                _log_pictures(log, pictures, trained.best_epoch)
        if trained is not None:
            _write_report(
                run_dir.folder, name, trained, bundle, source, pictures, baselines or {}, command
            )
    if group is not None:
        metrics = group.from_main(metrics)
    return Run(folder=folder, metrics=metrics)


def _teacher(
    config: ClassifierConfig, train_val: TrainVal, progress: Progress
) -> NDArray[np.float32] | None:
    """(N, K) probabilities of the training images by the configured teacher; NaN where it says nothing."""
    if config.teacher is None:
        return None
    from tagbox.training.teacher import teacher_probabilities

    return teacher_probabilities(config.teacher, train_val.train, progress)


def _write_report(
    run_dir: Path,
    name: str,
    trained: Trained,
    bundle: Bundle,
    source: DataConfig,
    pictures: Sequence[ReportPicture],
    baselines: Mapping[str, Mapping[str, float]],
    command: str,
) -> None:
    from tagbox.checks.statistics import statistics
    from tagbox.reports.classifier_report import ReportData, write_report

    judged = trained.evaluation
    notes = [f"Left out: {error}" for error in trained.left_out]
    data = ReportData(
        title=name,
        categories=trained.validation.categories.names,
        truth=trained.validation.labels,
        probabilities=judged.probabilities,
        metrics=judged.metrics,
        thresholds=judged.tuned.thresholds.to_dict(),
        tuning=judged.tuned.report,
        history=trained.history,
        best_epoch=trained.best_epoch,
        pictures=pictures,
        statistics=statistics(trained.train),
        config={**source.to_dict(), **trained.config.to_dict()},
        baselines=baselines,
        notes=notes,
        versions=bundle.versions,
        command=command,
    )
    write_report(data, run_dir / "report.html")


def _log_pictures(log: TensorBoardLog, pictures: Sequence[ReportPicture], epoch: int) -> None:
    """The first few best and worst pictures, with truth and prediction, for TensorBoard."""
    from tagbox.images.draw import annotate

    for kind in ("best", "worst"):
        chosen = [picture for picture in pictures if picture.kind == kind][:TENSORBOARD_PICTURES]
        for place, picture in enumerate(chosen, start=1):
            drawn = annotate(
                picture.image,
                truth=picture.truth,
                predicted=picture.predicted,
                title=picture.name,
                width=360,
            )
            log.picture(epoch, f"{kind}/{place}", np.asarray(drawn))
