"""Pictures with the boxes that a detector says, and the true ones beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tagbox.data.dataset import Dataset
from tagbox.evaluation.score_cuts import ScoreCuts
from tagbox.files import atomic_path
from tagbox.images.boxes import Mark, mark_picture
from tagbox.images.decode import read_image
from tagbox.inference.box_outputs import image_rows_of
from tagbox.inference.detect import DetectionClaims
from tagbox.inference.outputs import jpeg_names


def save_box_pictures(
    folder: Path,
    paths: Sequence[Path],
    claims: DetectionClaims,
    cuts: ScoreCuts,
    *,
    truth: Dataset | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Write each readable picture with its boxes as a JPEG into `folder`, in its own size.

    Parameters
    ----------
    cuts
        From which score on a box is said.
    truth
        Whose boxes are drawn dashed, on the pictures that it has.

    Raises
    ------
    TagboxError
        ``cannot-write``.
    """
    said = claims.detections.take(cuts.decide(claims.detections))
    names = said.categories
    marks: list[list[Mark]] = [[] for _ in paths]
    for row, k, box, score in zip(
        said.image_rows, said.category_rows, said.boxes.tolist(), said.scores.tolist(), strict=True
    ):
        marks[row].append(Mark(name=names[k], box=tuple(box), score=score))
    known = [None] * len(paths) if truth is None else image_rows_of(paths, truth)
    for row, (path, file) in enumerate(zip(paths, jpeg_names(paths), strict=True)):
        progress(1)
        if not claims.ok[row]:
            continue
        at = known[row]
        true = [] if truth is None or at is None else true_marks(truth, at)
        drawn = mark_picture(read_image(path), [*true, *marks[row]])
        with atomic_path(folder / file) as temporary:
            drawn.save(temporary, format="JPEG", quality=90)


def true_marks(dataset: Dataset, row: int) -> list[Mark]:
    """The annotated boxes of an image, to be drawn."""
    annotations, names = dataset.annotations, dataset.categories.names
    here = np.flatnonzero((annotations.image_rows == row) & annotations.has_box)
    return [
        Mark(
            name=names[annotations.category_rows[at]],
            box=tuple(annotations.boxes[at].tolist()),
            truth=True,
        )
        for at in here
    ]
