"""The folder of a finished run, written whole and read back."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tagbox.config import ClassifierConfig, DataConfig
from tagbox.evaluation.files import write_csv
from tagbox.evaluation.predictions import Predictions
from tagbox.files import atomic_write
from tagbox.models.bundle import Bundle, save_bundle
from tagbox.training.classifier import Trained
from tagbox.training.history import write_history
from tagbox.training.sides import Sides

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


def bundle_of(trained: Trained, config: ClassifierConfig) -> Bundle:
    """The model that training made, ready to save or to use."""
    return Bundle(
        backbones=tuple((e.backbone.spec, e.backbone.arrays()) for e in trained.encoders),
        head=trained.head,
        head_kind=config.head,
        categories=trained.train.categories,
        geometry=config.geometry,
        pooling=config.pooling,
        thresholds=trained.tuned.thresholds,
        versions=versions(),
        data_fingerprint=trained.train.fingerprint,
    )


def write_run(
    folder: Path,
    sides: Sides,
    trained: Trained,
    bundle: Bundle,
    config: ClassifierConfig,
    source: DataConfig,
    *,
    command: str,
) -> dict[str, Any]:
    """Write everything but the report into `folder`; return what ``metrics.json`` holds."""
    settings = {"command": command, "data": source.to_dict(), "classifier": config.to_dict()}
    atomic_write(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
    if sides.split is not None:
        sides.split.save(folder / "split.json")
    save_bundle(bundle, folder)
    write_history(trained.history, folder / "history.csv")
    write_csv(
        folder / "predictions.csv",
        Predictions(
            images=tuple(trained.validation.images.stems.tolist()),
            categories=trained.validation.categories.names,
            probabilities=trained.probabilities,
        ),
    )
    metrics = {
        "validation": trained.metrics,
        "tuning": trained.tuned.report,
        "best_epoch": trained.best_epoch,
        "epochs": len(trained.history),
        "images": {"train": len(trained.train), "validation": len(trained.validation)},
        "parameters": trained.parameters,
        "left_out": [str(error) for error in trained.unreadable],
    }
    atomic_write(folder / "metrics.json", _pretty(metrics))
    return metrics


def _pretty(value: Any) -> bytes:
    encode: Callable[[Any], bytes] = msgspec.json.encode
    return msgspec.json.format(encode(value), indent=2)
