"""A detector's predictions: boxes, scores and categories in images, as a sequence of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.images.captions import percent
from tagbox.images.decode import ImageInput
from tagbox.inference.results import ImageResult, Results
from tagbox.predictions.predictions import Detections
from tagbox.predictions.thresholds import ScoreThresholds
from tagbox.tables import data_frame

if TYPE_CHECKING:
    from pandas import DataFrame

    from tagbox.images.box_drawing import DrawnBox


def counted(name: str, scores: Sequence[float]) -> str:
    """``cat 93%``, or ``3 cat 93% to 51%``; scores in descending order."""
    if len(scores) == 1:
        return f"{name} {percent(scores[0])}"
    return f"{len(scores)} {name} {percent(scores[0])} to {percent(scores[-1])}"


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectorOutput:
    """Detections in N images.

    Attributes
    ----------
    detections
        Of all images, in their order, each image's best first; keyed by path (of a dataset by its file), or
        ``image 3`` where there is none.
    sizes
        (N, 2) int32 width and height of the upright images; 0 where one could not be read.
    ok
        (N,) bool: which could be read.
    errors
        Why the others could not, in order.
    """

    detections: Detections
    sizes: NDArray[np.int32]
    ok: NDArray[np.bool_]
    errors: list[TagboxError]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class BoxResult(ImageResult):
    """The objects detected in one image, best first.

    Attributes
    ----------
    boxes
        (D, 4) float64 xywh in pixels of the upright image.
    scores
        (D,) float64.
    labels
        D category names.
    category_rows
        (D,) int32 rows of `categories`.
    size
        Width and height of the upright image; 0 where it could not be read.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: tuple[str, ...]
    category_rows: NDArray[np.int32]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def xyxy(self) -> NDArray[np.float64]:
        """(D, 4) float64: the boxes as left, top, right, bottom."""
        return np.hstack([self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]])

    def text(self) -> str:
        """``cat 93%, 3 dog 93% to 51%``."""
        scores: dict[str, list[float]] = {}
        for name, score in zip(self.labels, self.scores.tolist(), strict=True):
            scores.setdefault(name, []).append(score)
        return ", ".join(map(counted, scores, scores.values())) or "nothing"

    def _boxes(self) -> list[DrawnBox]:
        from tagbox.images.box_drawing import DrawnBox

        return [
            DrawnBox(name=name, box=tuple(box), score=score)
            for name, box, score in zip(
                self.labels, self.boxes.tolist(), self.scores.tolist(), strict=True
            )
        ]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class BoxResults(Results[BoxResult], DetectorOutput):
    """A detector's predictions: a sequence of `BoxResult`, which hold the boxes that reach the score thresholds.

    Attributes
    ----------
    thresholds
        Of the model, or what `at` was asked for.
    sources
        Of the images; see `ImageResult`.
    """

    thresholds: ScoreThresholds
    sources: tuple[ImageInput | None, ...]

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Of the images."""
        return self.detections.images

    @property
    def categories(self) -> tuple[str, ...]:  # type: ignore[override]
        """K names."""
        return self.detections.categories

    @cached_property
    def decisions(self) -> NDArray[np.bool_]:
        """(D,) bool: the detections that reach the score thresholds."""
        return self.thresholds.decide(self.detections)

    @cached_property
    def _decided(self) -> Detections:
        return self.detections.take(self.decisions)

    def _result(self, row: int) -> BoxResult:
        first, end = np.searchsorted(self._decided.image_rows, [row, row + 1])
        rows = self._decided.category_rows[first:end]
        width, height = self.sizes[row].tolist()
        return BoxResult(
            name=self.names[row],
            categories=self.categories,
            error=self._error(row),
            source=self.sources[row],
            boxes=self._decided.boxes[first:end],
            scores=self._decided.scores[first:end],
            labels=tuple(self.categories[k] for k in rows.tolist()),
            category_rows=rows,
            size=(width, height),
        )

    def at(self, score: float) -> BoxResults:
        """The same detections with one score threshold for all categories."""
        return replace(self, thresholds=ScoreThresholds(value=score))

    def to_pandas(self) -> DataFrame:
        """A row a box that reaches the score thresholds: image, category, score, x, y, w, h in pixels.

        Raises
        ------
        TagboxError
            ``extra-missing`` without pandas.
        """
        found = self._decided
        sides = dict(zip("xywh", found.boxes.T, strict=True))
        return data_frame(
            {
                "image": [self.names[row] for row in found.image_rows.tolist()],
                "category": [self.categories[k] for k in found.category_rows.tolist()],
                "score": found.scores,
                **sides,
            }
        )
