"""An example prediction of a report: an image with its labels, boxes and evidence maps."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from tagbox.images.captions import LabelOutcome
from tagbox.images.draw import DrawnBox, draw_boxes, heat_colours, heat_strength
from tagbox.reports.page import number

Kind = Literal["best", "worst"]

WIDTH, HEIGHT = 560, 420
"""Pixels that an image with boxes is fitted into; all have one scale on the page, and so their text."""
_FONT_SIZE, _LEAST_WIDTH = 18, 140


@dataclass(frozen=True, eq=False, kw_only=True)
class Example:
    """An image of the report with its prediction.

    Attributes
    ----------
    image
        (H, W, 3) uint8 RGB.
    name
        The file's name.
    kind
        ``best`` or ``worst``.
    score
        The F1 of its labels or detections.
    labels
        Predicted and missed labels.
    boxes
        True and predicted boxes in pixels of `image`.
    evidence
        (category name, (h, w) float32) maps that cover the whole image; the first three are shown.
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
        if self.boxes:
            drawn = self._with_boxes()
            uri, width, height = thumbnail(drawn, max(drawn.shape))
        else:
            uri, width, height = thumbnail(self.image)
        return {
            "id": id,
            "uri": uri,
            "width": width,
            "height": height,
            "name": self.name,
            "score": number(self.score, 2),
            "labels": self.labels,
            "evidence": [(name, heat_layer(heat)) for name, heat in self.evidence[:3]],
        }

    def _with_boxes(self) -> NDArray[np.uint8]:
        height, width = self.image.shape[:2]
        scaled = max(round(width * min(WIDTH / width, HEIGHT / height)), _LEAST_WIDTH)
        scale = scaled / width
        drawn = Image.fromarray(self.image).resize((scaled, max(1, round(height * scale))))
        draw_boxes(drawn, self.boxes, scale=scale, size=_FONT_SIZE)
        return np.asarray(drawn)


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
    alpha = np.clip(np.asarray(smooth, np.float32), 0, 1)
    pixels = np.dstack([heat_colours(alpha), 255 * 0.75 * alpha]).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
