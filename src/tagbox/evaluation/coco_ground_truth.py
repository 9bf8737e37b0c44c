"""A dataset's boxes as COCO's evaluation needs them, and the repairs of the file that this took.

COCO's code trusts the file: an annotation with the id 0 counts as unmatched wherever it is matched, and one
without ``area`` or ``iscrowd`` raises. Files of other tools have all three.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.box_faults import require_readable_segmentations
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError


@dataclass(frozen=True, kw_only=True)
class Repair:
    """A difference from the file: a stable code, the number of annotations, and a sentence for people."""

    code: str
    count: int
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False, kw_only=True)
class GroundTruth:
    """M boxes in N images; images and categories keep the dataset's rows.

    Attributes
    ----------
    dataset
        The dataset of the boxes.
    scored
        (N,) bool; annotated images, with or without boxes. Detections in the others are not counted.
    image_rows, category_rows
        (M,) int32.
    boxes
        (M, 4) float64 xywh in pixels.
    areas
        (M,) float64 pixels²: the file's, or width times height.
    crowd
        (M,) bool.
    repairs
        What was repaired.
    """

    dataset: Dataset
    scored: NDArray[np.bool_]
    image_rows: NDArray[np.int32]
    category_rows: NDArray[np.int32]
    boxes: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    repairs: tuple[Repair, ...]

    def __len__(self) -> int:
        return len(self.areas)

    @property
    def support(self) -> NDArray[np.int64]:
        """(K,) int64; boxes of each category, without crowd regions."""
        rows = self.category_rows[~self.crowd]
        return np.bincount(rows, minlength=len(self.dataset.categories)).astype(np.int64)

    def coco(self) -> Any:
        """hotcoco's ``COCO`` of these boxes, with `image_numbers` and `category_numbers` as ids."""
        from hotcoco import COCO

        images, categories = self._records(self.image_numbers(), self.category_numbers())
        return COCO.from_arrays(
            images,
            categories,
            self.image_numbers()[self.image_rows],
            self.category_numbers()[self.category_rows],
            self.boxes,
            area=self.areas,
            iscrowd=self.crowd,
        )

    def image_numbers(self) -> NDArray[np.int64]:
        """(N,) int64; 1..N in the order of the ids.

        Ties between scores are broken by image id, so the order must stay; the ids themselves may be negative
        or too large for the float64 that results are handed over in.
        """
        return _ranks(self.dataset.images.ids)

    def category_numbers(self) -> NDArray[np.int64]:
        """(K,) int64; 1..K in the order of the ids."""
        return _ranks(self.dataset.categories.ids)

    def to_coco_dict(self) -> dict[str, Any]:
        """The same as a COCO dataset with the original ids, for other evaluators."""
        ids = self.dataset.images.ids
        images, categories = self._records(ids, self.dataset.categories.ids)
        return {
            "images": images,
            "categories": categories,
            "annotations": [
                {
                    "id": row + 1,
                    "image_id": int(ids[image]),
                    "category_id": int(self.dataset.categories.ids[category]),
                    "bbox": box.tolist(),
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
                for row, (image, category, box, area, crowd) in enumerate(
                    zip(
                        self.image_rows,
                        self.category_rows,
                        self.boxes,
                        self.areas,
                        self.crowd,
                        strict=True,
                    )
                )
            ],
        }

    def _records(
        self, image_ids: NDArray[np.int64], category_ids: NDArray[np.int64]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        images = self.dataset.images
        widths, heights = images.widths.tolist(), images.heights.tolist()
        numbered = image_ids.tolist()
        return (
            [
                {"id": numbered[row], "width": widths[row], "height": heights[row]}
                for row in np.flatnonzero(self.scored).tolist()
            ],
            [
                {"id": number, "name": name}
                for number, name in zip(
                    category_ids.tolist(), self.dataset.categories.names, strict=True
                )
            ],
        )


def ground_truth(dataset: Dataset) -> GroundTruth:
    """The dataset's boxes, repaired for evaluation.

    Raises
    ------
    TagboxError
        ``nothing-labelled`` where no image is, ``no-boxes`` where there are annotations and none has a box.
    """
    annotations = dataset.annotations
    if not dataset.images.labelled.any():
        raise TagboxError(
            "nothing-labelled",
            "none of its images is labelled, so there is nothing to score against",
            file=dataset.source.path,
            hint="give the dataset that holds the boxes",
        )
    require_readable_segmentations(dataset)
    drawn = annotations.has_box & ~np.isnan(annotations.boxes).any(axis=1)
    if len(annotations) and not drawn.any():
        raise TagboxError(
            "no-boxes",
            f"none of its {len(annotations):,} annotations has a box",
            file=dataset.source.path,
            hint="give a dataset with boxes, or score categories an image with --as-labels",
        )
    kept = annotations.take(np.flatnonzero(drawn & dataset.images.labelled[annotations.image_rows]))
    filled = np.isnan(kept.areas)
    areas = np.where(filled, kept.boxes[:, 2] * kept.boxes[:, 3], kept.areas)
    return GroundTruth(
        dataset=dataset,
        scored=dataset.images.labelled,
        image_rows=kept.image_rows,
        category_rows=kept.category_rows,
        boxes=kept.boxes,
        areas=areas,
        crowd=kept.crowd,
        repairs=tuple(
            repair
            for repair in (
                _ids_repair(annotations.ids),
                _repair("area", filled, "had no area: it is width times height now"),
                _repair("no-box", ~drawn, "had no box and were left out"),
                _repair(
                    "flat-box",
                    np.asarray((kept.boxes[:, 2:] <= 0).any(axis=1)),
                    "have a box without area, which nothing can match: each counts as missed",
                ),
            )
            if repair is not None
        ),
    )


def _ids_repair(ids: NDArray[np.int64]) -> Repair | None:
    """The repair of ids that would change the metrics; other ids are not mentioned."""
    if not len(ids) or (ids.min() > 0 and len(np.unique(ids)) == len(ids)):
        return None
    return Repair(
        code="annotation-ids",
        count=len(ids),
        sentence=f"{len(ids):,} annotations were numbered from 1: an id of 0, a negative one or one that "
        "stands twice counts as unmatched in COCO's own code",
    )


def _repair(code: str, rows: NDArray[np.bool_], what: str) -> Repair | None:
    count = int(np.count_nonzero(rows))
    if not count:
        return None
    noun = "annotation" if count == 1 else "annotations"
    return Repair(code=code, count=count, sentence=f"{count:,} {noun} {what}")


def _ranks(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    ranks = np.empty(len(ids), np.int64)
    ranks[np.argsort(ids, kind="stable")] = np.arange(1, len(ids) + 1)
    return ranks
