"""A finished training and its run directory: the bundle, predictions, metrics and history."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from tagbox.atomic_io import atomic_write
from tagbox.config import ClassifierConfig, DataConfig, DetectorConfig
from tagbox.data.dataset import Dataset
from tagbox.data.seen_images import digests_of, write_seen
from tagbox.errors import TagboxError
from tagbox.files import read_file
from tagbox.models.bundle import ClassifierBundle, DetectorBundle
from tagbox.predictions.predictions import Detections, Predictions
from tagbox.training.history import write_history
from tagbox.training.run_dir import CONFIG, write_config
from tagbox.training.train_val import TrainVal

LIBRARIES = ("tagbox", "numpy", "pillow", "simplejpeg", "torch", "openvino", "timm", "safetensors")


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """The result of a training, in memory.

    Attributes
    ----------
    config
        The resolved configuration.
    bundle
        The model with the weights of its best epoch and its thresholds, ready to save.
    train, validation
        The images; of a classifier, those that could be read.
    predictions, metrics
        Of the validation images.
    tuning
        `evaluation.tuning.Tuned.report` of a classifier's thresholds.
    history, best_epoch
        The rows of `history.csv`; the epoch of the weights, from 1.
    parameters
        ``total`` and ``trainable`` numbers.
    left_out
        Why images were left out, a sentence each.
    notes
        What was changed in a detector's training data; see `data.training_boxes.TrainingBoxes.notes`. Of a
        classifier how it was validated in folds, and what it owes to COCO.
    """

    config: ClassifierConfig | DetectorConfig
    bundle: ClassifierBundle | DetectorBundle
    train: Dataset
    validation: Dataset
    predictions: Predictions | Detections
    metrics: dict[str, Any]
    tuning: dict[str, Any] | None = None
    history: list[dict[str, float | int | None]]
    best_epoch: int
    parameters: dict[str, int]
    left_out: list[str]
    notes: list[str] | None = None

    @property
    def transfer(self) -> str | None:
        """See `ClassifierBundle`; None of a detector."""
        return self.bundle.transfer if isinstance(self.bundle, ClassifierBundle) else None


def versions() -> dict[str, str]:
    """Versions of Python, tagbox and the libraries that decide a run's numbers."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_run(
    folder: Path, train_val: TrainVal, trained: Trained, source: DataConfig, *, command: str
) -> dict[str, Any]:
    """Write everything but the report into `folder`; return the content of ``metrics.json``."""
    write_config(folder / CONFIG, trained.config, source, command=command)
    if train_val.split is not None:
        train_val.split.save(folder / "split.json")
    write_seen(folder, digests_of(train_val.train), digests_of(train_val.validation))
    trained.bundle.save(folder)
    write_history(trained.history, folder / "history.csv")
    if isinstance(trained.predictions, Detections):
        from tagbox.predictions.coco_results import write_results

        write_results(folder / "predictions.json", trained.predictions, trained.validation)
    else:
        from tagbox.predictions.files import write_in_run

        write_in_run(folder, trained.predictions)
    metrics = {
        "validation": trained.metrics,
        **({} if trained.tuning is None else {"tuning": trained.tuning}),
        "best_epoch": trained.best_epoch,
        "epochs": len(trained.history),
        "data": str(train_val.train.source.path),
        "images": {"train": len(trained.train), "validation": len(trained.validation)},
        "parameters": trained.parameters,
        "left_out": trained.left_out,
        **({} if trained.notes is None else {"notes": trained.notes}),
        **({} if trained.transfer is None else {"transfer": trained.transfer}),
    }
    write_metrics(folder, metrics)
    return metrics


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json``, whose presence says that the run is finished."""
    encode: Callable[[Any], bytes] = msgspec.json.encode
    atomic_write(folder / "metrics.json", msgspec.json.format(encode(metrics), indent=2))


def read_metrics(folder: Path) -> dict[str, Any]:
    """The content of a finished run's ``metrics.json``.

    Raises
    ------
    TagboxError
        ``metrics-missing``.
    """
    path = folder / "metrics.json"
    try:
        return dict(msgspec.json.decode(read_file(path)))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise TagboxError(
            "metrics-missing",
            f"cannot be read ({error})",
            file=path,
            hint="give a finished run, or train it again with --overwrite",
        ) from error
