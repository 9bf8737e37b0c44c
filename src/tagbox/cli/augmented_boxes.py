"""What `tagbox show --augmented --task detector` draws: pictures and boxes as training would see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tagbox.cli.cells import WIDTH, Cell, cell_title, unreadable_cell
from tagbox.config import BoxAugmentConfig
from tagbox.data.boxes import training_boxes
from tagbox.data.dataset import Dataset
from tagbox.images.draw import annotate
from tagbox.training.box_pictures import BoxReader

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
