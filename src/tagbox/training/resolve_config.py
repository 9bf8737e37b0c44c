"""Settings that depend on the data or the machine: resolved once, then written into ``config.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from tagbox.config import ClassifierConfig, DetectorConfig, FinetuneConfig, HeadKind, LabelKind
from tagbox.config.augment import resolve_crop
from tagbox.config.classifier import HeadSetting, epoch_setting
from tagbox.config.detector_training import own_settings_sentence, with_own_settings
from tagbox.config.finetune import FREE
from tagbox.data.dataset import exclusive, require_single_label
from tagbox.device import available_precisions, cpu_flags
from tagbox.errors import TagboxError
from tagbox.progress import Progress
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from tagbox.training.distributed import Runtime

RIDGE_IMAGES = range(100, 5001)
"""Numbers of training images for which ridge was better than the head trained in epochs: ``benchmarks/ridge_head.py``."""

Training = TypeVar("Training", ClassifierConfig, DetectorConfig)
"""The configuration of a training, of either kind of model."""


def resolve(config: ClassifierConfig, train_val: TrainVal) -> ClassifierConfig:
    """`config` with every ``auto`` resolved that depends on the data.

    Labels are exclusive if every image has exactly one, unless the configured loss is for independent labels.

    Raises
    ------
    TagboxError
        ``labels-not-exclusive`` where exclusive labels are requested and an image has none or several;
        ``config-value`` for settings that contradict the kind of labels.
    """
    labels = config.labels
    if labels == "auto":
        found = exclusive(train_val.train) and exclusive(train_val.validation)
        fits = config.loss in ("auto", "cross_entropy")
        labels = "exclusive" if found and fits else "multi"
    elif labels == "exclusive":
        for side in (train_val.train, train_val.validation):
            require_single_label(side)
    loss = config.loss
    if loss == "auto":
        loss = "cross_entropy" if labels == "exclusive" else "bce"
    if (loss == "cross_entropy") != (labels == "exclusive"):
        raise TagboxError(
            "config-value",
            f"{loss} is no loss for {'exclusive' if labels == 'exclusive' else 'multiple'} labels",
            where="loss",
            hint="leave --loss out, or change --labels",
        )
    if config.best_by == "accuracy" and labels != "exclusive":
        raise TagboxError(
            "config-value",
            "accuracy is a metric of exclusive labels",
            where="best_by",
            hint="choose another metric, such as map",
        )
    if labels == "exclusive" and (config.top_k is not None or config.at_least_one):
        raise TagboxError(
            "config-value",
            "every picture has one category, and exactly one is predicted",
            where="top_k" if config.top_k is not None else "at_least_one",
            hint="leave it out, or pass --labels multi",
        )
    crop = resolve_crop(config.augment.crop, bool(train_val.train.annotations.has_box.any()))
    if config.best_by == "auto":
        many = train_val.folds or config.finetune.active
        config = replace(config, best_by="map" if many else "val_loss")
    if config.head == "auto":
        head: HeadSetting = "linear"
        few = len(train_val.train) in RIDGE_IMAGES and labels == "multi"
        if few and epoch_setting(replace(config, loss=loss)) is None:
            head = "ridge"
        config = replace(config, head=head)
    mirror = config.mirror and config.head != "ridge"
    config = replace(config, folds=train_val.folds, mirror=mirror)
    return replace(config, labels=labels, loss=loss, augment=replace(config.augment, crop=crop))


def resolve_detector(config: DetectorConfig, progress: Progress) -> DetectorConfig:
    """`config` with the detector's own settings in place of those that are not given; says which and whose they are."""
    resolved = with_own_settings(config)
    sentence = own_settings_sentence(config, resolved)
    if sentence is not None:
        progress.say(sentence)
    return resolved


def resolve_machine(config: Training, runtime: Runtime) -> Training:
    """`config` with precision and memory layout resolved for the main process's device.

    ``auto`` is bf16 where the device has matrix units for it (tensor cores, AMX), else fp32: vector instructions
    alone (``avx512_bf16``) double the speed of a ResNet's step and do little for one of depthwise convolutions. Channels
    come last on a CPU, and on a GPU in reduced precision, whose tensor cores take that layout.

    Raises
    ------
    TagboxError
        ``precision-device`` for a precision that the device does not have.
    """
    device, settings = runtime.device.type, steps(config)
    precision, layout = settings.precision, settings.channels_last
    there = available_precisions(device)
    if precision == "auto":
        fast = "bf16" in there and (device != "cpu" or "amx_bf16" in cpu_flags())
        precision = "bf16" if fast else "fp32"
    elif precision not in there:
        raise TagboxError(
            "precision-device",
            f"{precision} training is not available on this {device}",
            where="precision" if isinstance(config, DetectorConfig) else "finetune.precision",
            hint=f"choose {', '.join(there)} or auto",
        )
    if layout == "auto":
        last = device == "cpu" or (device == "cuda" and precision != "fp32")
        layout = "yes" if last else "no"
    return with_steps(config, runtime.from_main({"precision": precision, "channels_last": layout}))


def with_free_settings(begun: Training, given: Training) -> Training:
    """`begun` with the settings in `FREE` of `given`."""
    return with_steps(begun, {name: getattr(steps(given), name) for name in FREE})


def steps(config: ClassifierConfig | DetectorConfig) -> FinetuneConfig:
    """The settings of training a network on images: batch, optimizer, precision, checkpoints and the like."""
    if isinstance(config, ClassifierConfig):
        return config.finetune
    own = with_own_settings(config)
    names = {f.name for f in fields(FinetuneConfig)} & {f.name for f in fields(config)}
    return FinetuneConfig(unfreeze=own.trainable_layers, **{n: getattr(own, n) for n in names})


def with_steps(config: Training, values: Mapping[str, Any]) -> Training:
    """`config` with other values of settings in `steps`."""
    if isinstance(config, ClassifierConfig):
        return replace(config, finetune=replace(config.finetune, **values))
    return replace(config, **values)


def on_pictures(config: ClassifierConfig | DetectorConfig) -> bool:
    """Whether a network is trained on images: not where only a classifier's head is, on features."""
    return not isinstance(config, ClassifierConfig) or config.finetune.active


def label_kind(config: ClassifierConfig) -> LabelKind:
    """Whether categories exclude each other, of a resolved configuration."""
    return "exclusive" if config.labels == "exclusive" else "multi"


def head_kind(config: ClassifierConfig) -> HeadKind:
    """Which head is saved: that of ridge regression is linear."""
    match config.head:
        case "ridge" | "auto":
            return "linear"
        case trained:
            return trained


def head_sentence(
    requested: ClassifierConfig, resolved: ClassifierConfig, images: int
) -> str | None:
    """Which head ``auto`` became, and why; None where it was not asked for.

    Parameters
    ----------
    images
        Number of training images.
    """
    if requested.head != "auto":
        return None
    least, most = RIDGE_IMAGES[0], RIDGE_IMAGES[-1]
    why = f"{images:,} training images, and it is better from {least:,} to {most:,}"
    if resolved.head != "ridge" and images in RIDGE_IMAGES:
        setting = epoch_setting(requested)
        why = "every picture has one category" if setting is None else f"{setting} is set"
        why = f"ridge is for independent labels and a training without epochs, and {why}"
    elif resolved.head != "ridge":
        why = f"{images:,} training images; ridge is better from {least:,} to {most:,}"
    return f"the head is {resolved.head} (auto): {why}"


def kind_sentence(
    requested: ClassifierConfig, resolved: ClassifierConfig, train_val: TrainVal
) -> str | None:
    """A sentence about the resolved kind of labels, where the user should know of it.

    Parameters
    ----------
    requested, resolved
        Before and after `resolve`.
    """
    if requested.labels != "auto":
        return None
    if resolved.labels == "exclusive":
        return (
            "every picture has one category: softmax, cross-entropy "
            "(--labels multi for independent labels)"
        )
    if exclusive(train_val.train) and exclusive(train_val.validation):
        return (
            f"every picture has one category, but --loss {resolved.loss} treats categories as independent "
            "(--labels exclusive for softmax, without --loss)"
        )
    return None


def differences(
    saved: Mapping[str, Any], given: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """The settings in which a run that is resumed would differ: name to what was saved and what is given.

    ``auto`` counts as unchanged.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for name, value in saved.items():
        path, other = f"{prefix}{name}", given.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            found |= differences(value, other, f"{path}.")
        elif path.removeprefix("finetune.") not in FREE and other != value and other != "auto":
            found[path] = value, other
    return found
