"""The folder of a finished run, written whole and read back.

The folder of a detector's run, written whole.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tagbox.atomic_io import atomic_write
from tagbox.config import DataConfig
from tagbox.errors import TagboxError
from tagbox.evaluation.class_priors import class_priors
from tagbox.models.bundle import Bundle, save_bundle
from tagbox.models.detectors.bundle import DetectorBundle, save_detector
from tagbox.predictions.coco_results import write_results
from tagbox.predictions.files import write_csv
from tagbox.predictions.predictions import Detections, Predictions
from tagbox.predictions.thresholds import ScoreThresholds
from tagbox.training.frozen import label_kind
from tagbox.training.history import write_history
from tagbox.training.run_dir import write_config
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from tagbox.training.classifier import Trained
    from tagbox.training.detector import TrainedDetector

LIBRARIES = ("tagbox", "numpy", "pillow", "simplejpeg", "torch", "openvino", "timm", "safetensors")


def versions() -> dict[str, str]:
    """Versions of Python, tagbox and the libraries that decide a run's numbers."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def bundle_of(trained: Trained) -> Bundle:
    """The model that training made, ready to save or to use."""
    config = trained.config
    return Bundle(
        backbones=tuple((e.backbone.spec, e.backbone.arrays()) for e in trained.encoders),
        head=dict(trained.head),
        head_kind=config.head,
        categories=trained.train.categories,
        geometry=config.geometry,
        pooling=config.pooling,
        thresholds=trained.evaluation.tuned.thresholds,
        ema=trained.ema,
        versions=versions(),
        data_fingerprint=trained.train.fingerprint,
        base_rates=tuple(class_priors(trained.train.labels).tolist()),
        labels=label_kind(config),
    )


def write_run(
    folder: Path,
    train_val: TrainVal,
    trained: Trained,
    bundle: Bundle,
    source: DataConfig,
    *,
    command: str,
) -> dict[str, Any]:
    """Write everything but the report into `folder`; return what ``metrics.json`` holds."""
    write_config(folder, trained.config, source, command=command)
    if train_val.split is not None:
        train_val.split.save(folder / "split.json")
    save_bundle(bundle, folder)
    write_history(trained.history, folder / "history.csv")
    write_csv(
        folder / "predictions.csv",
        Predictions(
            images=tuple(trained.validation.images.stems.tolist()),
            categories=trained.validation.categories.names,
            probabilities=trained.evaluation.probabilities,
        ),
    )
    metrics = {
        "validation": trained.evaluation.metrics,
        "tuning": trained.evaluation.tuned.report,
        "best_epoch": trained.best_epoch,
        "epochs": len(trained.history),
        "images": {"train": len(trained.train), "validation": len(trained.validation)},
        "parameters": trained.parameters,
        "left_out": trained.left_out,
    }
    atomic_write(folder / "metrics.json", _pretty(metrics))
    return metrics


def read_metrics(folder: Path) -> dict[str, Any]:
    """What a finished run's ``metrics.json`` holds.

    Raises
    ------
    TagboxError
        ``metrics-missing``.
    """
    path = folder / "metrics.json"
    try:
        return dict(msgspec.json.decode(path.read_bytes()))
    except (OSError, msgspec.DecodeError) as error:
        raise TagboxError(
            "metrics-missing",
            f"cannot be read ({error})",
            file=path,
            hint="give a finished run, or train it again with --overwrite",
        ) from error


def _pretty(value: Any) -> bytes:
    encode: Callable[[Any], bytes] = msgspec.json.encode
    return msgspec.json.format(encode(value), indent=2)


def detector_bundle_of(trained: TrainedDetector, cuts: ScoreThresholds) -> DetectorBundle:
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
    train_val: TrainVal,
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
    if train_val.split is not None:
        train_val.split.save(folder / "split.json")
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
