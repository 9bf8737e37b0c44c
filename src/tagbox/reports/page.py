"""HTML blocks of a report's page, and the format of its metrics, numbers and settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tagbox.images.captions import percent

if TYPE_CHECKING:
    from jinja2 import Environment

METRIC_NAMES = {
    "map": "mAP",
    "challenge_f1": "challenge F1",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "samples_f1": "samples F1",
    "cf1": "CF1",
    "of1": "OF1",
    "hamming_loss": "Hamming loss",
    "top5_accuracy": "top-5 accuracy",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP small",
    "ap_medium": "AP medium",
    "ap_large": "AP large",
    "ar1": "AR 1",
    "ar10": "AR 10",
    "ar100": "AR 100",
    "ar_small": "AR small",
    "ar_medium": "AR medium",
    "ar_large": "AR large",
}
"""Metrics whose names have capitals or hyphens; the others are written with spaces for underscores."""

METRIC_DESCRIPTIONS = {
    "map": "mean of the per-category average precision",
    "challenge_f1": "F1 with categories weighted by inverse frequency",
    "micro_f1": "F1 over all labels together (OF1)",
    "macro_f1": "mean of the per-category F1",
    "cf1": "F1 of the mean precision and the mean recall",
    "samples_f1": "mean of the per-image F1",
    "hamming_loss": "fraction of incorrect labels; lower is better",
    "subset_accuracy": "fraction of images with every label correct",
    "accuracy": "fraction of images with the correct category",
    "top5_accuracy": "the correct category is among the five most probable",
    "log_loss": "cross-entropy of the predicted probabilities; lower is better",
    "calibration_error": "expected calibration error; lower is better",
    "ap": "mean over categories and IoU 0.50 to 0.95",
    "ap50": "average precision at IoU 0.50",
    "ap75": "average precision at IoU 0.75",
    "ap_small": "objects smaller than 32² pixels",
    "ap_medium": "objects of 32² to 96² pixels",
    "ap_large": "objects larger than 96² pixels",
    "ar100": "average recall with at most 100 detections per image",
}


def metric_name(key: str) -> str:
    """``challenge_f1`` as ``challenge F1``."""
    return METRIC_NAMES.get(key, key.replace("_", " "))


def number(value: float | None, digits: int = 3) -> str:
    """A number with `digits` decimals; a dash for None, NaN and infinity."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def count(items: int, singular: str, plural: str = "") -> str:
    """``1 category``, ``1,234 categories``."""
    return f"{items:,} {singular if items == 1 else plural or singular + 's'}"


def listed(names: Sequence[str]) -> Markup:
    """``a``, ``a and b``, ``a, b and c``; names that are not `Markup` are escaped."""
    if len(names) < 2:
        return Markup("").join(names)
    return Markup("{} and {}").format(Markup(", ").join(names[:-1]), names[-1])


def setting(value: Any) -> str:
    """The value of a setting in words."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {setting(v)}" for name, v in value.items()) or "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    return str(value)


@cache
def templates() -> Environment:
    """The templates; values that are not `Markup` are escaped, and an undefined one is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment


def block(macro: str, **values: Any) -> Markup:
    """The HTML of a macro of ``templates/blocks.html.j2``."""
    module = templates().get_template("blocks.html.j2").module
    html: Markup = getattr(module, macro)(**values)
    return html
