"""An example prediction of a report: an image with its labels, boxes and evidence maps."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from tagbox.images.box_drawing import DrawnBox, place_boxes
from tagbox.images.captions import LabelOutcome, Outcome, percent
from tagbox.images.draw import HEAT_OPACITY, heat_colours, heat_strength
from tagbox.reports.page import number

Kind = Literal["best", "worst"]

WIDTH, HEIGHT = 560, 420
"""Pixels that an image is fitted into; all have one scale on the page, and so the names of boxes."""
_FONT_SIZE, _LEAST_WIDTH = 16, 140
_SIGNS: dict[Outcome, str] = {"false positive": "× ", "missed": "○ "}
"""Before the names of boxes, which are told apart by more than their colour."""
_LEVELS = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class Example:
    """An image of the report with its prediction.

    Attributes
    ----------
    image
        (H, W, 3) uint8 RGB.
    name
        The file's name; of a path the last part is shown.
    kind
        ``best`` or ``worst``.
    score
        The F1 of its labels or detections.
    labels
        Predicted and missed labels.
    boxes
        True and predicted boxes in pixels of `image`.
    evidence
        (category name, (h, w) float32) maps that cover the whole image, in the order of `labels`.
    """

    image: NDArray[np.uint8]
    name: str
    kind: Kind
    score: float
    labels: tuple[LabelOutcome, ...] = ()
    boxes: tuple[DrawnBox, ...] = ()
    evidence: tuple[tuple[str, NDArray[np.float32]], ...] = ()

    def card(self, id: str) -> dict[str, Any]:
        """The values of its card on the page, where `id` is unique."""
        height, width = self.image.shape[:2]
        uri, stored, _ = thumbnail(
            self.image, round(max(self.image.shape) * min(_fit(self.image), 1))
        )
        scale = max(_fit(self.image), _LEAST_WIDTH / width) if self.boxes else stored / width
        outcomes = {label.name: label.outcome for label in self.labels}
        return {
            "id": id,
            "uri": uri,
            "width": max(1, round(width * scale)),
            "height": max(1, round(height * scale)),
            "name": PurePosixPath(self.name).name or self.name,
            "path": self.name,
            "score": number(self.score, 2),
            "labels": self.labels,
            "boxes": self._boxes(scale),
            "font": _FONT_SIZE,
            "evidence": [
                (LabelOutcome(name, None, outcomes.get(name, "unjudged")), heat_layer(heat))
                for name, heat in self.evidence
            ],
        }

    def _boxes(self, scale: float) -> list[dict[str, Any]]:
        """Outlines and names of the boxes in pixels of the drawing; annotations of found objects first."""
        height, width = self.image.shape[:2]
        limits = max(1, round(width * scale)), max(1, round(height * scale))
        signed = [replace(box, name=_SIGNS.get(box.outcome, "") + box.name) for box in self.boxes]
        drawn = []
        for one in place_boxes(signed, limits, scale=scale, size=_FONT_SIZE):
            words: str = one.box.outcome
            if words == "unjudged":
                words = "annotation" if one.box.truth else "not counted"
            score = "" if one.box.score is None else f" {percent(one.box.score)}"
            drawn.append(
                {
                    "style": words.replace(" ", "-"),
                    "outline": one.outline,
                    "label": one.label,
                    "text": one.text,
                    "tooltip": f"{words}: {one.box.name.removeprefix(_SIGNS.get(one.box.outcome, ''))}{score}",
                }
            )
        return sorted(drawn, key=lambda box: box["style"] != "annotation")


def _fit(image: NDArray[np.uint8]) -> float:
    """The scale at which an image fits into `WIDTH` and `HEIGHT`."""
    return min(WIDTH / int(image.shape[1]), HEIGHT / int(image.shape[0]))


def thumbnail(image: NDArray[np.uint8], side: int = 320) -> tuple[str, int, int]:
    """A JPEG data URI whose longer side is at most `side` pixels, its width and its height."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != (width, height):
        smaller = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        image = np.asarray(smaller)
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=78, colorsubsampling="420")
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}", size[0], size[1]


def heat_layer(heat: NDArray[np.floating[Any]], side: int = 48) -> str:
    """An evidence map as a small transparent PNG data URI, to be stretched over the image."""
    strength = heat_strength(np.asarray(heat, np.float32))
    height, width = strength.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = Image.fromarray(strength).resize(size, Image.Resampling.BICUBIC)
    levels = np.clip(np.asarray(smooth, np.float32) * (_LEVELS - 1), 0, _LEVELS - 1).round()
    image = Image.fromarray(levels.astype(np.uint8), "P")
    shares = np.linspace(0, 1, _LEVELS, dtype=np.float32)
    image.putpalette(heat_colours(shares).round().astype(np.uint8).tobytes())
    opacity = (255 * HEAT_OPACITY * shares).round().astype(np.uint8).tobytes()
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=opacity, optimize=False)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
