"""Two detectors on images that decided nothing so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.evaluation.detections import Detections
from tagbox.evaluation.evaluate_boxes import box_headline, evaluate_boxes
from tagbox.evaluation.ground_truth import ground_truth
from tagbox.evaluation.score_cuts import ScoreCuts
from tagbox.inference.detect import DetectorModel
from tagbox.progress import Progress
from tagbox.studies.honest import require_readable


def require_boxes(test: Dataset) -> None:
    """Refuse a dataset in which there is nothing to find.

    Raises
    ------
    TagboxError
        ``no-boxes``.
    """
    if not ground_truth(test).support.any():
        raise TagboxError(
            "no-boxes",
            "there is no object to find in it",
            file=test.source.path,
            hint="give images with boxes to --test",
        )


def compare_boxes(
    test: Dataset, models: Mapping[str, Callable[[], DetectorModel]], progress: Progress
) -> dict[str, Any]:
    """Figures of both detectors, and by how much they differ.

    Parameters
    ----------
    models
        Two by name, made one after the other.

    Returns
    -------
    dict
        ``images``, the headline figures by name, and ``differences``: second minus first, without an
        interval.

    Raises
    ------
    TagboxError
        ``no-readable-images``; what making a model raises; the codes of `evaluate_boxes`.
    """
    claims: list[tuple[Detections, ScoreCuts]] = []
    seen = np.ones(len(test), bool)
    paths = [test.images.path(row) for row in range(len(test))]
    for make in models.values():
        model = make()
        with progress.bar("detecting in test pictures", len(paths), "pictures") as advance:
            said = model.detect(paths, skip_errors=True, progress=advance)
        for error in said.errors:
            progress.say(f"left out: {error}")
        seen &= said.ok
        claims.append((said.detections, model.cuts))
    require_readable(test, seen)
    judged = test.take(np.flatnonzero(seen))
    found: dict[str, Any] = {"images": len(judged)}
    place = np.cumsum(seen, dtype=np.int32) - 1
    for name, (detections, cuts) in zip(models, claims, strict=True):
        kept = detections.take(seen[detections.image_rows])
        beside = replace(
            kept, images=tuple(judged.images.files.tolist()), image_rows=place[kept.image_rows]
        )
        found[name] = box_headline(evaluate_boxes(judged, beside, cuts=cuts, intervals=False))
    before, after = (found[name] for name in models)
    found["differences"] = {
        name: {"difference": after[name] - value} for name, value in before.items() if name in after
    }
    return found
