"""The folder of a detector's run, written whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tagbox.config import DataConfig
from tagbox.evaluation.coco_results import write_results
from tagbox.evaluation.detections import Detections
from tagbox.evaluation.score_cuts import ScoreCuts
from tagbox.files import atomic_write
from tagbox.models.detectors.bundle import DetectorBundle, save_detector
from tagbox.training.detector import TrainedDetector
from tagbox.training.history import write_history
from tagbox.training.run import versions
from tagbox.training.sides import Sides
from tagbox.training.work import write_config


def detector_bundle_of(trained: TrainedDetector, cuts: ScoreCuts) -> DetectorBundle:
    """The model that training made, ready to save or to use."""
    return DetectorBundle(
        spec=trained.detector.spec,
        weights={k: v.detach().numpy() for k, v in trained.detector.state_dict().items()},
        categories=trained.train.categories,
        cuts=cuts,
        ema=trained.config.ema,
        versions=versions(),
        data_fingerprint=trained.train.fingerprint,
    )


def write_detector_run(
    folder: Path,
    sides: Sides,
    trained: TrainedDetector,
    bundle: DetectorBundle,
    detections: Detections,
    figures: dict[str, Any],
    source: DataConfig,
    *,
    command: str,
) -> dict[str, Any]:
    """Write everything but the report into `folder`; return what ``metrics.json`` holds.

    Parameters
    ----------
    detections, figures
        On the validation images, and what `evaluate_boxes` says of them.
    """
    write_config(folder, trained.config, source, command=command)
    if sides.split is not None:
        sides.split.save(folder / "split.json")
    save_detector(bundle, folder)
    write_history(trained.history, folder / "history.csv")
    write_results(folder / "predictions.json", detections, trained.validation)
    metrics = {
        "validation": figures,
        "best_epoch": trained.best_epoch,
        "epochs": len(trained.history),
        "images": {"train": len(trained.train), "validation": len(trained.validation)},
        "parameters": trained.parameters,
        "left_out": trained.left_out,
        "notes": trained.notes,
    }
    content = msgspec.json.format(msgspec.json.encode(metrics), indent=2)
    atomic_write(folder / "metrics.json", content)
    return metrics
