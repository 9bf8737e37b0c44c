"""The cells of `tagbox show --augmented`: images with labels or boxes as training augments them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tagbox.cli.cells import WIDTH, Cell, box_colours, cell_title, unreadable_cell
from tagbox.config import BoxAugmentConfig
from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN, Dataset
from tagbox.data.record_pixels import RecordPixels
from tagbox.data.training_boxes import training_boxes
from tagbox.errors import TagboxError
from tagbox.images.captions import LabelOutcome
from tagbox.images.decode import read_image
from tagbox.images.draw import annotate
from tagbox.training.augment import Augment
from tagbox.training.box_batches import BoxReader
from tagbox.training.crop import ObjectsByImage
from tagbox.training.mixup import mix

LEGEND = (
    LabelOutcome("kept", None, "unjudged"),
    LabelOutcome("mostly cropped: unknown", None, "unknown"),
    LabelOutcome("outside the image: dropped", None, "dropped"),
)
"""Explains the labels below the images."""


def augmented_cells(
    pixels: RecordPixels,
    rows: Sequence[int],
    augment: Augment,
    epoch: int,
    *,
    progress: Callable[[], None],
) -> list[Cell]:
    """The images at `rows` as one training batch, mixed where `augment.config` says so.

    An unreadable image keeps its cell and is not mixed with others.
    """
    dataset = pixels.in_file()
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
        for (row, title), square, target in zip(titles.items(), mixed, targets, strict=True):
            changes = label_changes(dataset.categories.names, dataset.labels[row], target.numpy())
            shown = changes if dataset.images.labelled[row] or changes else None
            drawn = annotate(square.numpy(), labels=shown, title=title, width=WIDTH)
            cells[row] = Cell(drawn=drawn, labels=_summary(changes))
    return [cells[row] for row in rows]


def label_changes(
    names: Sequence[str], before: NDArray[np.int8], after: NDArray[np.float32]
) -> list[LabelOutcome]:
    """The labels of an augmented image: present ones, then those now unknown, then those dropped.

    Parameters
    ----------
    names
        K categories.
    before
        (K,) int8 labels of the image in its file.
    after
        (K,) float32 targets from 0 to 1, or -1 for unknown. Those of mixed images are fractions, which
        become probabilities of the outcomes.
    """
    present_before = before == PRESENT
    present = [
        LabelOutcome(names[k], None if after[k] == PRESENT else float(after[k]), "unjudged")
        for k in np.flatnonzero(after > 0).tolist()
    ]
    unknown, dropped = (
        [names[k] for k in np.flatnonzero(present_before & (after == value)).tolist()]
        for value in (UNKNOWN, ABSENT)
    )
    return [
        *present,
        *(LabelOutcome(name, None, "unknown") for name in unknown),
        *(LabelOutcome(name, None, "dropped") for name in dropped),
    ]


def _summary(labels: Sequence[LabelOutcome]) -> Mapping[str, Any]:
    """The same as plain values: name to target of the present, names of the others."""
    present = {label.name: label.probability for label in labels if label.outcome == "unjudged"}
    return {
        "present": {name: 1.0 if share is None else share for name, share in present.items()},
        "unknown": [label.name for label in labels if label.outcome == "unknown"],
        "dropped": [label.name for label in labels if label.outcome == "dropped"],
    }


_STRIPE = 5
"""Width of a stripe of the hatching in pixels of the drawing."""


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
    """The images at `rows` with the boxes that training uses.

    Regions to ignore are hatched. Faulty boxes are left out, as with ``--boxes drop``.

    Raises
    ------
    TagboxError
        ``no-boxes`` and ``boxes-normalised`` of `training_boxes`.
    """
    truth = training_boxes(dataset, "drop")
    reader = BoxReader(dataset, truth, size, augment=config, seed=seed)
    names, cells = dataset.categories.names, []
    colours = box_colours(dataset, rows)
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
            colours=colours,
            title=title,
            width=WIDTH,
            max_height=WIDTH,
        )
        labels = {
            "boxes": [{"category": name, "bbox": list(box)} for name, box in boxes],
            "ignored": read.truth.ignore.tolist(),
        }
        cells.append(Cell(drawn=drawn, labels=labels))
    return cells, truth.notes


def hatched(image: NDArray[np.uint8], regions: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Draw light diagonal stripes over xyxy regions of an image."""
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
