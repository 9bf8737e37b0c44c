"""The cells of the grid of `tagbox show`: one image each, or a blank for one that cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from tagbox.config import Geometry
from tagbox.data.dataset import PRESENT, Dataset
from tagbox.data.record_pixels import RecordPixels
from tagbox.errors import TagboxError
from tagbox.images.box_drawing import category_colours
from tagbox.images.decode import read_image
from tagbox.images.draw import Box, annotate
from tagbox.images.geometry import placement, to_square

WIDTH = 400
"""Width of a cell in pixels."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cell:
    """A cell of the grid, why its image could not be read, and its labels after augmentation."""

    drawn: Image
    error: TagboxError | None = None
    labels: Mapping[str, Any] | None = None


def raw_cells(
    pixels: RecordPixels,
    rows: Sequence[int],
    *,
    boxes: bool,
    size: int | None,
    geometry: Geometry,
    progress: Callable[[], None],
) -> list[Cell]:
    """The images at `rows` with labels and boxes: as they are, or as squares of `size` pixels.

    An image whose record contradicts its file is one that cannot be drawn, unless it has no boxes to draw.
    """
    cells = []
    dataset = pixels.in_file()
    colours = box_colours(dataset, rows)
    for row in rows:
        try:
            if boxes and pixels.misplaced(row):
                raise pixels.error(row)
            cells.append(Cell(drawn=_draw(dataset, row, boxes, size, geometry, colours)))
        except TagboxError as error:
            cells.append(unreadable_cell(dataset, row, error))
        progress()
    return cells


def box_colours(dataset: Dataset, rows: Sequence[int]) -> dict[str, str]:
    """A colour for each category of the boxes in the images at `rows`, the most frequent first."""
    annotations, names = dataset.annotations, dataset.categories.names
    chosen = annotations.has_box & np.isin(annotations.image_rows, rows)
    counts = Counter(annotations.category_rows[chosen].tolist())
    frequent = [names[k] for k, _ in counts.most_common()]
    images: dict[int, set[str]] = {}
    for i in np.flatnonzero(chosen).tolist():
        names_of = images.setdefault(int(annotations.image_rows[i]), set())
        names_of.add(names[annotations.category_rows[i]])
    return category_colours(dict.fromkeys([*frequent, *names]), images.values())


def unreadable_cell(dataset: Dataset, row: int, error: TagboxError) -> Cell:
    """A blank cell for an image that cannot be read."""
    name = Path(str(dataset.images.files[row])).name
    blank = np.full((WIDTH * 3 // 4, WIDTH, 3), 205, np.uint8)
    return Cell(drawn=annotate(blank, title=f"{name}   cannot be read", width=WIDTH), error=error)


def cell_title(dataset: Dataset, row: int, width: int, height: int) -> str:
    """The file's name, the size of the image, and whether it is labelled."""
    title = f"{Path(str(dataset.images.files[row])).name}   {width}x{height}"
    return title if dataset.images.labelled[row] else f"{title}   no labels given"


def _draw(
    dataset: Dataset,
    row: int,
    with_boxes: bool,
    size: int | None,
    geometry: Geometry,
    colours: Mapping[str, str],
) -> Image:
    image = read_image(dataset.images.path(row))
    height, width = image.shape[:2]
    boxes: list[Box] = []
    if with_boxes:
        annotations, names = dataset.annotations, dataset.categories.names
        boxes = [
            (names[annotations.category_rows[i]], tuple(annotations.boxes[i].tolist()))
            for i in np.flatnonzero((annotations.image_rows == row) & annotations.has_box)
        ]
    if size is not None:
        placed = placement(width, height, size, geometry)
        image = to_square(image, size, geometry)
        moved = []
        for name, (x, y, w, h) in boxes:
            (left, top), (right, bottom) = np.clip(
                placed.to_square(np.array([[x, y], [x + w, y + h]])), 0, size
            ).tolist()
            if right > left and bottom > top:
                moved.append((name, (left, top, right - left, bottom - top)))
        boxes = moved
    truth = None
    if dataset.images.labelled[row]:
        truth = [
            dataset.categories.names[k] for k in np.flatnonzero(dataset.labels[row] == PRESENT)
        ]
    title = cell_title(dataset, row, width, height)
    return annotate(
        image,
        truth=truth,
        boxes=boxes,
        colours=colours,
        title=title,
        width=WIDTH,
        max_height=WIDTH,
    )
