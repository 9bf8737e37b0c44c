"""What `tagbox show --augmented` draws: pictures with labels, or with boxes, as training would see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tagbox.cli.cells import WIDTH, Cell, cell_title, unreadable_cell
from tagbox.config import BoxAugmentConfig
from tagbox.data.boxes import training_boxes
from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN, Dataset
from tagbox.errors import TagboxError
from tagbox.images.captions import LabelOutcome
from tagbox.images.decode import read_image
from tagbox.images.draw import annotate
from tagbox.training.augment import Augment
from tagbox.training.box_batches import BoxReader
from tagbox.training.crop import ObjectsByImage
from tagbox.training.mixup import mix

LEGEND = (
    LabelOutcome("still there", None, "unjudged"),
    LabelOutcome("too little is left: unknown", None, "unknown"),
    LabelOutcome("out of the picture: dropped", None, "dropped"),
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
) -> list[LabelOutcome]:
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
        LabelOutcome(names[k], None if after[k] == PRESENT else float(after[k]), "unjudged")
        for k in np.flatnonzero(after > 0).tolist()
    ]
    unknown, dropped = (
        [names[k] for k in np.flatnonzero(had & (after == value)).tolist()]
        for value in (UNKNOWN, ABSENT)
    )
    return [
        *present,
        *(LabelOutcome(name, None, "unknown") for name in unknown),
        *(LabelOutcome(name, None, "dropped") for name in dropped),
    ]


def _summary(chips: Sequence[LabelOutcome]) -> Mapping[str, Any]:
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
