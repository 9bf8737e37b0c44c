"""A classifier's predictions: probabilities and decided labels of images, as a sequence of results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.errors import TagboxError, bad_value
from tagbox.images.captions import percent
from tagbox.images.decode import ImageInput
from tagbox.inference.results import ImageResult, Results
from tagbox.predictions.predictions import Predictions
from tagbox.predictions.thresholds import Thresholds
from tagbox.tables import data_frame

if TYPE_CHECKING:
    from pandas import DataFrame


def decide(
    thresholds: Thresholds,
    probabilities: NDArray[np.float32],
    *,
    threshold: float | None = None,
    top_k: int | None = None,
    labels: LabelKind = "multi",
) -> NDArray[np.bool_]:
    """Decide the labels of each image: (N, K) bool.

    Parameters
    ----------
    thresholds
        The model's; used unless one of the others is given.
    threshold
        One number for all categories.
    top_k
        The K most probable categories of each image; with `threshold`, those of them at or above it.
    labels
        Where they are exclusive, `threshold` gives at most the most probable one, unless `top_k` asks for more.

    Raises
    ------
    TagboxError
        See `check_choice`.
    """
    check_choice(threshold, top_k)
    if top_k is None and threshold is not None and labels == "exclusive":
        top_k = 1
    if top_k is None:
        return thresholds.decide(probabilities, "saved" if threshold is None else threshold)
    ranks = np.argsort(np.argsort(-probabilities, axis=1, kind="stable"), axis=1)
    return (ranks < top_k) & (probabilities >= np.float32(threshold or 0.0))


def check_choice(threshold: float | None, top_k: int | None) -> None:
    """Refuse what `decide` cannot use, before anything is encoded.

    Raises
    ------
    TagboxError
        ``option-value`` for a threshold outside [0, 1] or a `top_k` below 1.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise bad_value(threshold, "a number from 0 to 1", "--threshold", code="option-value")
    if top_k is not None and top_k < 1:
        raise bad_value(top_k, "a whole number from 1", "--top-k", code="option-value")


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassifierOutput:
    """Probabilities of N images.

    Attributes
    ----------
    probabilities
        (N, K) float32; rows of images that could not be read are zero.
    ok
        (N,) bool: which could be read.
    errors
        Why the others could not, in order.
    """

    probabilities: NDArray[np.float32]
    ok: NDArray[np.bool_]
    errors: list[TagboxError]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LabelResult(ImageResult):
    """The categories predicted for one image.

    Attributes
    ----------
    probabilities
        (K,) float32; zero where the image could not be read.
    decisions
        (K,) bool: the categories that are predicted.
    """

    probabilities: NDArray[np.float32]
    decisions: NDArray[np.bool_]

    @property
    def labels(self) -> list[tuple[str, float]]:
        """Name and probability of the predicted categories, most probable first."""
        return self._named(np.flatnonzero(self.decisions))

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """Name and probability of the most probable categories, predicted or not."""
        return self._named(np.arange(len(self.categories)))[:count]

    def _named(self, rows: NDArray[np.intp]) -> list[tuple[str, float]]:
        order = rows[np.argsort(-self.probabilities[rows], kind="stable")]
        return [(self.categories[k], float(self.probabilities[k])) for k in order.tolist()]

    def text(self) -> str:
        """``cat 93%, dog 51%``."""
        return ", ".join(f"{name} {percent(p)}" for name, p in self.labels) or "nothing"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LabelResults(Results[LabelResult], ClassifierOutput):
    """A classifier's predictions: a sequence of `LabelResult`.

    Attributes
    ----------
    names, sources
        Of the images; see `ImageResult`.
    categories
        K names.
    thresholds
        By which categories are predicted: those of the model, or those that `at` was asked for.
    label_kind
        Of the model.
    """

    names: tuple[str, ...]
    sources: tuple[ImageInput | None, ...]
    categories: tuple[str, ...]
    thresholds: Thresholds
    label_kind: LabelKind

    def _result(self, row: int) -> LabelResult:
        return LabelResult(
            name=self.names[row],
            categories=self.categories,
            error=self._error(row),
            source=self.sources[row],
            probabilities=self.probabilities[row],
            decisions=self.decisions[row],
        )

    @cached_property
    def decisions(self) -> NDArray[np.bool_]:
        """(N, K) bool: the categories that are predicted."""
        return self.thresholds.decide(self.probabilities) & self.ok[:, None]

    def at(self, threshold: float | None = None, top_k: int | None = None) -> LabelResults:
        """The same probabilities with other predicted categories.

        Parameters
        ----------
        threshold
            One number for all categories. Where labels exclude each other at most the most probable one that reaches
            it is predicted.
        top_k
            The K most probable categories of each image; with `threshold`, those of them at or above it.

        Raises
        ------
        TagboxError
            ``option-value``.
        """
        check_choice(threshold, top_k)
        if threshold is None and top_k is None:
            return self
        if top_k is None and self.label_kind == "exclusive":
            top_k = 1
        return replace(self, thresholds=Thresholds(value=threshold or 0.0, top_k=top_k))

    @cached_property
    def predictions(self) -> Predictions:
        """The probabilities of the images that could be read, to be evaluated or written."""
        readable = np.flatnonzero(self.ok)
        return Predictions(
            images=tuple(self.names[row] for row in readable),
            categories=self.categories,
            probabilities=self.probabilities[readable],
            labels=self.label_kind,
        )

    def to_pandas(self) -> DataFrame:
        """A row an image: its name, a tuple of the predicted labels, and the probability of each category.

        Raises
        ------
        TagboxError
            ``extra-missing`` without pandas.
        """
        columns = {
            "image": list(self.names),
            "labels": [tuple(name for name, _ in each.labels) for each in self],
        }
        table = np.where(self.ok[:, None], self.probabilities, np.nan)
        own = {f"label {n}" if n in columns else n: k for k, n in enumerate(self.categories)}
        return data_frame(columns | {name: table[:, k] for name, k in own.items()})
