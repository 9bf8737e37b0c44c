"""What `tagbox check` knows of a dataset and costs next to nothing, said before a training begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tagbox.checks.findings import CODES
from tagbox.data.categories import alike, apart
from tagbox.data.dataset import ABSENT, PRESENT, Dataset
from tagbox.data.record_pixels import record_pixels
from tagbox.data.text import some


def training_warnings(
    train: Dataset, validation: Dataset, *, boxes: bool, drawn: bool
) -> list[str]:
    """Sentences on what will make a training or its metrics worthless in part, each with the way out.

    Parameters
    ----------
    train, validation
        With the same categories.
    boxes
        Whether a detector is trained; `data.training_boxes` tells of its boxes.
    drawn
        Whether the validation images were drawn from the same dataset: a category that few images have may then
        be missing by chance, so only most of them missing is worth a word.
    """
    names = train.categories.names
    used = (train.labels == PRESENT).any(axis=0)
    validated = (validation.labels == PRESENT).any(axis=0)
    warnings = []

    def warn(which: str, rows: NDArray[np.bool_], so: str, hint: str) -> None:
        chosen = [repr(names[row]) for row in np.flatnonzero(rows)]
        if chosen:
            warnings.append(f"{which} image has {some(chosen)}: {so}; {hint}")

    same = [" and ".join(apart(*pair)) for pair in alike(names)]
    if same:
        hint = CODES["category-names-alike"].hint
        warnings.append(f"categories of almost the same name: {some(same, 3)}; {hint}")
    unused = ~used & ~validated if drawn else ~used
    warn("no training", unused, "it cannot be learned", CODES["category-unused"].hint)
    missing = used & ~validated
    if not drawn or 2 * missing.sum() >= used.sum():
        hint = CODES["split-category-missing"].hint
        warn("no validation", missing, "metrics say nothing of it", hint)
    if not boxes:
        warn(
            "every training",
            used & ~(train.labels == ABSENT).any(axis=0),
            "nothing shows when it is absent",
            "add images without it",
        )
        warnings += _sizes((train, validation))
    return warnings


def _sizes(sides: Sequence[Dataset]) -> list[str]:
    """Records of another size than their file, of a classifier: its crops go by the boxes."""
    warnings = []
    for dataset in sides:
        if not dataset.annotations.has_box.any():
            continue
        pixels = record_pixels(dataset)
        warnings += pixels.notes
        wrong = [row for row, kind in pixels.kinds.items() if kind == "mismatch"]
        if wrong:
            images = "image has" if len(wrong) == 1 else "images have"
            warnings.append(
                f"{len(wrong):,} {images} a record that contradicts the file, whose boxes no crop goes by: "
                f"{pixels.error(wrong[0])}"
            )
    return warnings
