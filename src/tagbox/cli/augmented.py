"""What `tagbox show --augmented` draws: pictures and labels as training would see them.

The cells of `tagbox show`'s grid: one picture each, or the place of one that cannot be read.

What `tagbox show --augmented --task detector` draws: pictures and boxes as training would see them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from tagbox.config import BoxAugmentConfig, Geometry
from tagbox.data.boxes import training_boxes
from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN, Dataset
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image
from tagbox.images.draw import Box, annotate
from tagbox.images.geometry import placement, to_square
from tagbox.images.outcomes import Verdict
from tagbox.training.augment import Augment
from tagbox.training.box_batches import BoxReader
from tagbox.training.crop import ObjectsByImage
from tagbox.training.mixup import mix

WIDTH = 400
"""Of a cell, in pixels."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Cell:
    """A picture of the grid, why it could not be read, and what became of its labels where they change."""

    drawn: Image
    error: TagboxError | None = None
    labels: Mapping[str, Any] | None = None


def raw_cells(
    dataset: Dataset,
    rows: Sequence[int],
    *,
    boxes: bool,
    size: int | None,
    geometry: Geometry,
    progress: Callable[[], None],
) -> list[Cell]:
    """The pictures at `rows` with labels and boxes: as they are, or as squares of `size` pixels."""
    cells = []
    for row in rows:
        try:
            cells.append(Cell(drawn=_draw(dataset, row, boxes, size, geometry)))
        except TagboxError as error:
            cells.append(unreadable_cell(dataset, row, error))
        progress()
    return cells


def unreadable_cell(dataset: Dataset, row: int, error: TagboxError) -> Cell:
    """The place of a picture that cannot be read."""
    name = Path(str(dataset.images.files[row])).name
    blank = np.full((WIDTH * 3 // 4, WIDTH, 3), 205, np.uint8)
    return Cell(drawn=annotate(blank, title=f"{name}   cannot be read", width=WIDTH), error=error)


def cell_title(dataset: Dataset, row: int, width: int, height: int) -> str:
    """The file's name, the picture's size, and whether anybody gave labels."""
    title = f"{Path(str(dataset.images.files[row])).name}   {width}x{height}"
    return title if dataset.images.labelled[row] else f"{title}   no labels given"


def _draw(
    dataset: Dataset, row: int, with_boxes: bool, size: int | None, geometry: Geometry
) -> Image:
    image = read_image(dataset.images.path(row))
    height, width = image.shape[:2]
    boxes: list[Box] = []
    if with_boxes:
        at = dataset.annotations
        here = np.flatnonzero((at.image_rows == row) & at.has_box)
        names = dataset.categories.names
        boxes = [(names[at.category_rows[i]], tuple(at.boxes[i].tolist())) for i in here]
    if size is not None:
        place = placement(width, height, size, geometry)
        image = to_square(image, size, geometry)
        moved = []
        for name, (x, y, w, h) in boxes:
            (left, top), (right, bottom) = np.clip(
                place.to_square(np.array([[x, y], [x + w, y + h]])), 0, size
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
    return annotate(image, truth=truth, boxes=boxes, title=title, width=WIDTH, max_height=WIDTH)


LEGEND = (
    Verdict("still there", None, "unjudged"),
    Verdict("too little is left: unknown", None, "unknown"),
    Verdict("out of the picture: dropped", None, "dropped"),
)
"""Says what the chips below the pictures mean."""


def augmented_cells(
    dataset: Dataset,
    rows: Sequence[int],
    augment: Augment,
    epoch: int,
    *,
    progress: Callable[[], None],
) -> list[Cell]:
    """The pictures at `rows` as one batch of training, mixed where `augment.config` says so.

    One that cannot be read keeps its place and is not mixed with others.
    """
    objects = ObjectsByImage(dataset)
    cells: dict[int, Cell] = {}
    titles: dict[int, str] = {}
    squares, labels = [], []
    for row in rows:
        try:
            image = read_image(dataset.images.path(row))
        except TagboxError as error:
            cells[row] = unreadable_cell(dataset, row, error)
        else:
            square, kept = augment(image, objects[row], dataset.labels[row], epoch=epoch, row=row)
            squares.append(square)
            labels.append(kept)
            titles[row] = cell_title(dataset, row, image.shape[1], image.shape[0])
        progress()
    if squares:
        mixed, targets, _ = mix(
            torch.from_numpy(np.stack(squares)),
            torch.from_numpy(np.stack(labels).astype(np.float32)),
            augment.config,
            seed=(augment.seed, epoch, 0),
        )
        for (row, title), picture, target in zip(titles.items(), mixed, targets, strict=True):
            chips = fates(dataset.categories.names, dataset.labels[row], target.numpy())
            shown = chips if dataset.images.labelled[row] or chips else None
            drawn = annotate(picture.numpy(), labels=shown, title=title, width=WIDTH)
            cells[row] = Cell(drawn=drawn, labels=_summary(chips))
    return [cells[row] for row in rows]


def fates(
    names: Sequence[str], before: NDArray[np.int8], after: NDArray[np.float32]
) -> list[Verdict]:
    """What became of a picture's labels: the present, then the newly unknown, then the dropped.

    Parameters
    ----------
    names
        K categories.
    before
        (K,) int8 labels of the picture in its file.
    after
        (K,) float32 targets: between 0 and 1, or -1 for unknown. One between is a label of a mixed
        picture and has its share beside it.
    """
    had = before == PRESENT
    present = [
        Verdict(names[k], None if after[k] == PRESENT else float(after[k]), "unjudged")
        for k in np.flatnonzero(after > 0).tolist()
    ]
    unknown, dropped = (
        [names[k] for k in np.flatnonzero(had & (after == value)).tolist()]
        for value in (UNKNOWN, ABSENT)
    )
    return [
        *present,
        *(Verdict(name, None, "unknown") for name in unknown),
        *(Verdict(name, None, "dropped") for name in dropped),
    ]


def _summary(chips: Sequence[Verdict]) -> Mapping[str, Any]:
    """The same for a program: name to target of the present, names of the others."""
    present = {chip.name: chip.probability for chip in chips if chip.outcome == "unjudged"}
    return {
        "present": {name: 1.0 if share is None else share for name, share in present.items()},
        "unknown": [chip.name for chip in chips if chip.outcome == "unknown"],
        "dropped": [chip.name for chip in chips if chip.outcome == "dropped"],
    }


_STRIPE = 5
"""Width of a stripe of the hatching, in pixels of the drawing."""


def augmented_box_cells(
    dataset: Dataset,
    rows: Sequence[int],
    config: BoxAugmentConfig,
    size: int,
    *,
    seed: int,
    epoch: int,
    progress: Callable[[], None],
) -> tuple[list[Cell], list[str]]:
    """The pictures at `rows` with what is to be learnt of them, and what is not as the file has it.

    Regions to ignore are hatched. Faulty boxes are left out, as with ``--boxes drop``.

    Raises
    ------
    TagboxError
        ``no-boxes`` and ``boxes-normalised`` of `training_boxes`.
    """
    truth = training_boxes(dataset, "drop")
    reader = BoxReader(dataset, truth, size, augment=config, seed=seed)
    names, cells = dataset.categories.names, []
    for row in rows:
        read = reader[epoch, row]
        progress()
        if read.error is not None:
            cells.append(unreadable_cell(dataset, row, read.error))
            continue
        height, width = read.image.shape[:2]
        boxes = [
            (names[label], (left, top, right - left, bottom - top))
            for label, (left, top, right, bottom) in zip(
                read.truth.labels.tolist(), read.truth.boxes.tolist(), strict=True
            )
        ]
        ignored = len(read.truth.ignore)
        title = cell_title(dataset, row, width, height)
        title += f"   {ignored} ignored" if ignored else ""
        drawn = annotate(
            hatched(read.image, read.truth.ignore),
            truth=sorted({name for name, _ in boxes}) if dataset.images.labelled[row] else None,
            boxes=boxes,
            title=title,
            width=WIDTH,
            max_height=WIDTH,
        )
        said = {
            "boxes": [{"category": name, "bbox": list(box)} for name, box in boxes],
            "ignored": read.truth.ignore.tolist(),
        }
        cells.append(Cell(drawn=drawn, labels=said))
    return cells, truth.notes


def hatched(image: NDArray[np.uint8], regions: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A picture with xyxy regions under light stripes that rise to the right."""
    height, width = image.shape[:2]
    covered = np.zeros((height, width), bool)
    for left, top, right, bottom in np.round(regions).astype(int).tolist():
        covered[top:bottom, left:right] = True
    y, x = np.mgrid[:height, :width]
    stripe = max(2, round(_STRIPE * max(height, width) / WIDTH))
    covered &= (x + y) // stripe % 2 == 0
    striped = image.copy()
    striped[covered] = (image[covered].astype(np.uint16) + 3 * 235) // 4
    return striped
