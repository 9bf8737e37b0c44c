"""Pictures in a notebook: a grid of thumbnails with boxes and captions, as HTML that is bounded in size."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError, visible

if TYPE_CHECKING:
    from tagbox.images.box_drawing import DrawnBox

MOST = 12
"""Pictures in a gallery."""
SIDE = 240
"""Longest side of a thumbnail in pixels."""
_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(180px,1fr));gap:12px;max-width:1080px"
_FIGURE = (
    "margin:0;min-width:0;border:1px solid rgba(128,128,128,.35);border-radius:6px;overflow:hidden"
)
_PICTURE = "display:block;width:100%;height:170px;object-fit:contain;margin:0;background:#8080801a"
_CAPTION = "padding:6px 8px;font-size:13px;line-height:1.35;overflow-wrap:anywhere"
_LINE = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap;opacity:.75"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture with its caption.

    Attributes
    ----------
    title
        Its name.
    read
        Returns (H, W, 3) uint8 RGB; None where there is no picture to show.
    boxes
        Drawn on it, in its pixels.
    caption
        Lines below it.
    """

    title: str
    read: Callable[[], NDArray[np.uint8]] | None
    boxes: Sequence[DrawnBox] = ()
    caption: Sequence[str] = ()


def gallery(figures: Iterable[Figure], total: int | None = None, summary: str = "") -> str:
    """HTML of figures; those beyond `MOST` are only counted.

    All text is escaped. A picture that cannot be read is shown as the sentence that says why.

    Parameters
    ----------
    figures
        Of which `MOST` are taken.
    total
        How many there are; those taken when not given.
    summary
        A line above them.
    """
    shown = list(islice(figures, MOST))
    colours = _colours(shown)
    drawn = [_html(figure, colours) for figure in shown]
    more = (total or 0) - len(drawn)
    above = f"<p>{_text(summary)}</p>" if summary else ""
    below = f"<p>… and {more:,} more</p>" if more > 0 else ""
    return f'<div>{above}<div style="{_GRID}">{"".join(drawn)}</div>{below}</div>'


def _colours(figures: Sequence[Figure]) -> Mapping[str, str]:
    """A colour for each category of the boxes, the same in all figures."""
    images = [[box.name for box in figure.boxes] for figure in figures]
    if not any(images):
        return {}
    from tagbox.images.box_drawing import category_colours

    return category_colours(dict.fromkeys(name for names in images for name in names), images)


def _html(figure: Figure, colours: Mapping[str, str]) -> str:
    lines = list(figure.caption)
    picture = ""
    if figure.read is not None:
        try:
            uri = thumbnail(figure.read(), figure.boxes, colours)
            picture = f'<img style="{_PICTURE}" alt="{_text(figure.title)}" src="{uri}">'
        except TagboxError as error:
            lines.append(error.found)
    name = figure.title.rpartition("/")[2] or figure.title
    title = f'<div style="{_LINE}" title="{_text(figure.title)}">{_text(name)}</div>'
    caption = title + "".join(f"<div>{_text(line)}</div>" for line in lines)
    return f'<figure style="{_FIGURE}">{picture}<figcaption style="{_CAPTION}">{caption}</figcaption></figure>'


def thumbnail(
    image: NDArray[np.uint8], boxes: Sequence[DrawnBox], colours: Mapping[str, str]
) -> str:
    """A data URI of a JPEG of at most `SIDE` pixels a side, twice that where boxes are drawn.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    boxes, colours
        Drawn on it, in its pixels, each in the colour of its name.
    """
    from PIL import Image

    from tagbox.images.box_drawing import draw_boxes

    side = 2 * SIDE if boxes else SIDE
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if boxes:
        draw_boxes(picture, boxes, colours, scale=scale, size=16)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _text(value: str) -> str:
    return escape(visible(value))
