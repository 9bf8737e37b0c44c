"""How a report words its figures.

From a template and its values to one HTML file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagbox.images.outcomes import percent

METRIC_NAMES = {
    "map": "mAP",
    "challenge_f1": "challenge F1",
    "challenge_precision": "challenge precision",
    "challenge_recall": "challenge recall",
    "challenge_accuracy": "challenge accuracy",
    "micro_f1": "micro F1",
    "micro_precision": "micro precision",
    "micro_recall": "micro recall",
    "macro_f1": "macro F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "weighted_f1": "weighted F1",
    "samples_f1": "samples F1",
    "cf1": "CF1",
    "of1": "OF1",
    "hamming_loss": "Hamming loss",
    "subset_accuracy": "subset accuracy",
    "loss": "loss",
    "top5_accuracy": "top-5 accuracy",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
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
"""Metrics as people write them; others show with spaces for underscores."""

MEANINGS = {
    "map": "mean average precision over the categories",
    "challenge_f1": "weighted towards rare categories",
    "micro_f1": "all labels alike; also OF1",
    "macro_f1": "mean of the categories' F1",
    "cf1": "F1 of mean precision and mean recall",
    "samples_f1": "mean of the images' F1",
    "hamming_loss": "share of wrong label decisions; lower is better",
    "subset_accuracy": "share of images with every label right",
    "accuracy": "share of pictures whose category is right",
    "top5_accuracy": "the right category is among the five most probable",
    "log_loss": "-log of the right category's probability; lower is better",
    "calibration_error": "how far sureness is from being right; lower is better",
    "ap": "mean over the categories and IoU 0.50 to 0.95",
    "ap50": "boxes count as right from IoU 0.50",
    "ap75": "boxes count as right from IoU 0.75",
    "ap_small": "objects below 32² pixels",
    "ap_medium": "objects of 32² to 96² pixels",
    "ap_large": "objects above 96² pixels",
    "ar100": "objects found by at most 100 boxes a picture, mean over IoU",
}


def metric_name(key: str) -> str:
    """``challenge_f1`` as ``challenge F1``."""
    return METRIC_NAMES.get(key, key.replace("_", " "))


def figure(value: float | None, digits: int = 3) -> str:
    """A number for the page; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}"


def count(number: int, one: str, many: str = "") -> str:
    """``1 category``, ``1,234 categories``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def plain(value: Any) -> str:
    """A setting as a person writes it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {plain(v)}" for name, v in value.items()) or "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "–"
    return str(value)


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """One HTML document; every value that is not `Markup` is escaped, and one that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment.get_template(template).render(values)


def page_bytes(page: str) -> bytes:
    """UTF-8; a lone surrogate can come in with a file name that is not."""
    return page.encode("utf-8", "replace")
