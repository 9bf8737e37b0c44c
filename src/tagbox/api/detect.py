"""Training a detector: from a dataset to a run folder with its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tagbox.api.run import Run, finished_run
from tagbox.config import DataConfig, DetectorConfig
from tagbox.data.dataset import Dataset
from tagbox.progress import Progress, Silent

if TYPE_CHECKING:
    from tagbox.reports.detection_pictures import BoxPicture
    from tagbox.training.detector import TrainedDetector
    from tagbox.training.evaluate import DetectorEvaluation

SHOWN = 12
"""Best pictures of the report, and as many worst ones."""


def train_detector(
    data: Path | str | Dataset,
    config: DetectorConfig | None = None,
    *,
    name: str,
    runs: Path | str = Path("runs"),
    source: DataConfig | None = None,
    overwrite: bool = False,
    resume: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> Run:
    """Train a detector and write its run folder.

    Parameters
    ----------
    data
        A dataset with boxes, of any format `load_dataset` knows, or one in memory.
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
    command
        What reproduces the run, for the report.
    progress
        What to tell whoever waits.

    Raises
    ------
    TagboxError
        What reading and training raise; ``run-exists``, ``run-unfinished``, ``run-busy``,
        ``resume-changed``, ``resume-data``; ``extra-missing``.
    """
    from contextlib import nullcontext

    from tagbox.device import choose_device
    from tagbox.models.detectors.create import require_detector
    from tagbox.training.detector import train_on
    from tagbox.training.distributed import Runtime, join_processes
    from tagbox.training.evaluate import evaluate_detector
    from tagbox.training.failures import require_torch
    from tagbox.training.run_dir import open_run_dir
    from tagbox.training.saved_run import write_detector_run
    from tagbox.training.tensorboard import TensorBoardLog
    from tagbox.training.train_val import load_train_val

    config, source = config or DetectorConfig(), source or DataConfig()
    progress = progress or Silent()
    runs = Path(runs)
    folder = runs / name
    resume, finished = finished_run(folder, resume=resume, overwrite=overwrite, progress=progress)
    if finished is not None:
        return finished
    require_detector(config.detector)
    require_torch()
    group = join_processes(config.device, "torch")
    if group is not None and not group.main:
        progress = Silent()
    runtime = group or Runtime(choose_device(config.device, "torch"))
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
        metrics: dict[str, Any] = {}
        with (
            TensorBoardLog(run_dir.folder / "tensorboard") if runtime.main else nullcontext() as log
        ):
            trained = train_on(train_val, config, runtime, run_dir, log=log, progress=progress)
        if trained is not None:
            judged = evaluate_detector(trained, progress)
            metrics = write_detector_run(
                run_dir.folder,
                train_val,
                trained,
                judged.bundle,
                judged.detections,
                judged.figures,
                source,
                command=command,
            )
            _write_report(run_dir.folder, name, trained, judged, source, command)
    if group is not None:
        metrics = group.from_main(metrics)
    return Run(folder=folder, metrics=metrics)


def _write_report(
    run_dir: Path,
    name: str,
    trained: TrainedDetector,
    judged: DetectorEvaluation,
    source: DataConfig,
    command: str,
) -> None:
    from tagbox.checks.statistics import statistics
    from tagbox.reports.detector_report import DetectorReportData, write_detector_report

    annotations = trained.train.annotations
    counted = annotations.has_box & ~annotations.crowd
    data = DetectorReportData(
        title=name,
        categories=trained.validation.categories.names,
        metrics=judged.figures,
        history=trained.history,
        best_epoch=trained.best_epoch,
        pictures=_pictures(trained.validation, judged),
        statistics=statistics(trained.train),
        box_sides=annotations.boxes[counted, 2:],
        config={**source.to_dict(), **trained.config.to_dict()},
        notes=[
            *(f"Training: {sentence}" for sentence in trained.notes),
            *(f"Left out: {sentence}" for sentence in trained.left_out),
        ],
        versions=judged.bundle.versions,
        command=command,
    )
    write_detector_report(data, run_dir / "report.html")


def _pictures(validation: Dataset, judged: DetectorEvaluation) -> Sequence[BoxPicture]:
    """The best and the worst of the validation pictures that can be read."""
    from tagbox.errors import TagboxError
    from tagbox.images.decode import read_image
    from tagbox.reports.detection_pictures import (
        choose_box_pictures,
        make_box_picture,
        match_pictures,
    )
    from tagbox.reports.pictures import Kind

    levels = judged.bundle.cuts.levels(len(validation.categories))
    looked_at = match_pictures(validation.annotations, judged.detections, np.asarray(levels))
    best, worst = choose_box_pictures(looked_at, SHOWN)
    chosen: list[tuple[Kind, Any]] = [("best", each) for each in best]
    chosen += [("worst", each) for each in worst]
    made = []
    for kind, each in chosen:
        try:
            image = read_image(validation.images.path(each.row))
        except TagboxError:
            continue
        made.append(
            make_box_picture(
                image,
                Path(str(validation.images.files[each.row])).name,
                kind,
                each,
                validation.annotations,
                judged.detections,
            )
        )
    return made
