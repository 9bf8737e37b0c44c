"""Ridge regression of all categories at once, in closed form: one eigendecomposition, no epochs.

Labels are 0 and 1, and features are standardised. One penalty for all categories is chosen by generalised
cross-validation, predictions of images that were left out follow from the same decomposition, and a logistic regression
of a few coefficients, shared by all categories, turns the outputs into logits.

References
----------
Hoerl and Kennard, "Ridge Regression", 1970. Golub, Heath and Wahba, "Generalized Cross-Validation as a Method for
Choosing a Good Ridge Parameter", 1979. Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.models.heads import FeatureScale

Doubles = NDArray[np.float64]

PENALTIES = 0.005 * 10.0 ** np.linspace(-4, 2, 25)
"""Penalties to choose from, as shares of the Gram matrix's trace, the sum of its eigenvalues."""
LEAST_DEVIATION = 0.3
"""Added to the deviations in quadrature, as a share of their median."""
BLOCK_VALUES = 1 << 22
"""Values of features in float64 at once (32 MiB)."""


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """Ridge regression of N images with D features on K categories.

    Attributes
    ----------
    features
        (N, D) float32, not standardised.
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown. An unknown label is replaced by the mean of the category's known
        ones, so that it says nothing.
    scale
        Makes the features' means 0 and their deviations 1, or less where they hardly vary.
    penalty
        Added to the eigenvalues: the coefficients minimise ``|y - x w|^2 + penalty |w|^2``.
    share
        The penalty over the Gram matrix's trace.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int8]
    scale: FeatureScale
    penalty: float
    share: float
    _spectrum: _Spectrum

    @classmethod
    def of(cls, features: NDArray[np.float32], labels: NDArray[np.int8]) -> RidgeFit:
        """Fit with the penalty of `PENALTIES` that generalised cross-validation chooses.

        Parameters
        ----------
        features
            (N, D) float32, N > 0.
        labels
            (N, K) int8.
        """
        scale = _softened(FeatureScale.of(features[:, None]))
        spectrum = _Spectrum.of(features, scale, _centred(labels))
        trace = spectrum.trace or 1.0
        scores = [spectrum.gcv(trace * share) for share in PENALTIES]
        share = float(PENALTIES[int(np.argmin(scores))])
        return cls(features, labels, scale, trace * share, share, spectrum)

    @cached_property
    def weight(self) -> Doubles:
        """(K, D) coefficients of the standardised features."""
        return self._spectrum.coefficients(self.penalty).T

    @cached_property
    def intercept(self) -> Doubles:
        """(K,) the categories' means."""
        return _means(self.labels)

    def left_out(self, group_of: NDArray[np.intp]) -> Doubles:
        """(N, K) outputs for each group of images by a regression on the others, with the same penalty.

        With the residuals ``r`` of the regression on all images and its hat matrix ``H``, those of the images ``g`` when
        they are left out are ``(I - H[g, g])^-1 r[g]``. That is exact, but that the features keep the means and deviations
        of all images (which has no effect but on their scale), and unknown labels the mean of all.

        Parameters
        ----------
        group_of
            (N,) the group of each image; `np.arange(N)` leaves out one at a time.
        """
        spectrum, wanted = self._spectrum, self._spectrum.wanted
        found = np.empty_like(wanted)
        sizes = np.bincount(group_of)
        single = np.flatnonzero(sizes[group_of] == 1)
        for rows in _blocks(single, self.features.shape[1]):
            root, fitted = spectrum.hat_root(rows, self.penalty)
            left = 1.0 - np.square(root).sum(axis=1, keepdims=True)
            found[rows] = wanted[rows] - (wanted[rows] - fitted) / left
        for group in np.flatnonzero(sizes > 1):
            rows = np.flatnonzero(group_of == group)
            root, fitted = spectrum.hat_root(rows, self.penalty)
            found[rows] = wanted[rows] - _without(root, wanted[rows] - fitted)
        return found + self.intercept

    def means_without(self, group_of: NDArray[np.intp]) -> Doubles:
        """(N, K) for each image the means of the labels outside its group: the intercepts of `left_out`."""
        sums = np.zeros((group_of.max() + 1, self.labels.shape[1]))
        np.add.at(sums, group_of, self._spectrum.wanted)
        others = len(group_of) - np.bincount(group_of)
        # The centred labels of all images sum to 0.
        return self.intercept - sums[group_of] / np.maximum(others, 1)[group_of, None]


@dataclass(frozen=True, eq=False)
class _Spectrum:
    """The eigendecomposition of the smaller Gram matrix of standardised features.

    Attributes
    ----------
    values, vectors
        (M,) eigenvalues and (M, M) vectors, M the smaller of N and D; of ``X X'`` if `dual`, else ``X' X``.
    projected
        (M, K): the vectors' products with the centred labels, or with ``X' Y``.
    wanted
        (N, K) centred labels.
    """

    features: NDArray[np.float32]
    scale: FeatureScale
    wanted: Doubles
    values: Doubles
    vectors: Doubles
    projected: Doubles
    dual: bool

    @classmethod
    def of(cls, features: NDArray[np.float32], scale: FeatureScale, wanted: Doubles) -> _Spectrum:
        count, width = features.shape
        dual = count <= width
        size = min(count, width)
        gram = np.zeros((size, size))
        product = wanted if dual else np.zeros((width, wanted.shape[1]))
        if dual:
            # Blocks of features, so that there is no copy of all in float64.
            for columns in _blocks(np.arange(width), count):
                x = _standardised(features, scale, columns=columns)
                gram += x @ x.T
        else:
            for rows in _blocks(np.arange(count), width):
                x = _standardised(features, scale, rows=rows)
                gram += x.T @ x
                product += x.T @ wanted[rows]
        values, vectors = np.linalg.eigh(gram)
        values = np.maximum(values, 0.0)
        return cls(features, scale, wanted, values, vectors, vectors.T @ product, dual)

    @property
    def trace(self) -> float:
        return float(self.values.sum())

    def gcv(self, penalty: float) -> float:
        """The generalised cross-validation score: mean squared residual over the square of the free share.

        The intercept is one of the degrees of freedom that the fit takes.
        """
        count = len(self.wanted)
        kept = self.values / (self.values + penalty)
        if self.dual:
            residual = np.square((1 - kept)[:, None] * self.projected).sum()
        else:
            # |y - X w|^2 in the basis of the vectors, without going through the images again.
            explained = (2 - kept) / (self.values + penalty)
            residual = np.square(self.wanted).sum()
            residual -= (explained[:, None] * np.square(self.projected)).sum()
        free = 1 - (kept.sum() + 1) / count
        return float(residual / count / max(free, 1e-12) ** 2)

    def coefficients(self, penalty: float) -> Doubles:
        """(D, K)."""
        inner = self.vectors @ (self.projected / (self.values + penalty)[:, None])
        if not self.dual:
            return np.asarray(inner)
        found = np.empty((self.features.shape[1], inner.shape[1]))
        for columns in _blocks(np.arange(len(found)), len(self.features)):
            found[columns] = _standardised(self.features, self.scale, columns=columns).T @ inner
        return found

    def hat_root(self, rows: NDArray[np.intp], penalty: float) -> tuple[Doubles, Doubles]:
        """``Z`` (n, M + 1) with ``Z Z'`` the block of the hat matrix of these images, and their (n, K) fitted outputs."""
        if self.dual:
            vectors = self.vectors[rows]
            fitted = vectors @ (self.projected * (self.values / (self.values + penalty))[:, None])
            root = vectors * np.sqrt(self.values / (self.values + penalty))
        else:
            vectors = _standardised(self.features, self.scale, rows=rows) @ self.vectors
            fitted = vectors @ (self.projected / (self.values + penalty)[:, None])
            root = vectors / np.sqrt(self.values + penalty)
        ones = np.full((len(rows), 1), len(self.wanted) ** -0.5)
        return np.concatenate([root, ones], axis=1), fitted


def _softened(scale: FeatureScale) -> FeatureScale:
    """`scale` without large factors for features that hardly vary.

    In few images a feature may be all but constant that is not so in others: divided by its small deviation it would
    be hundreds of deviations away there, and decide the output.
    """
    deviation = 1.0 / scale.scale.astype(np.float64)
    least = LEAST_DEVIATION * np.median(deviation)
    return FeatureScale(scale.mean, (1.0 / np.hypot(deviation, least)).astype(np.float32))


def _without(root: Doubles, residuals: Doubles) -> Doubles:
    """``(I - Z Z')^-1 r``, by the smaller of the two systems (Woodbury)."""
    count, width = root.shape
    if count <= width:
        return np.asarray(np.linalg.solve(np.eye(count) - root @ root.T, residuals))
    inner = np.linalg.solve(np.eye(width) - root.T @ root, root.T @ residuals)
    return np.asarray(residuals + root @ inner)


def _means(labels: NDArray[np.int8]) -> Doubles:
    """(K,) shares of the known labels that are present; 0.5 where none is known."""
    known = (labels != UNKNOWN).sum(axis=0)
    present = (labels == PRESENT).sum(axis=0)
    return np.asarray(np.where(known > 0, present / np.maximum(known, 1), 0.5))


def _centred(labels: NDArray[np.int8]) -> Doubles:
    """(N, K) labels without their means; 0 for unknown ones."""
    return np.where(labels == UNKNOWN, 0.0, (labels == PRESENT) - _means(labels))


def _standardised(
    features: NDArray[np.float32],
    scale: FeatureScale,
    *,
    rows: NDArray[np.intp] | slice = slice(None),
    columns: NDArray[np.intp] | slice = slice(None),
) -> Doubles:
    """Some images or some of their features, in float64."""
    x = features[rows][:, columns].astype(np.float64)
    x -= scale.mean[columns]
    x *= scale.scale[columns]
    return x


def _blocks(rows: NDArray[np.intp], width: int) -> Iterator[NDArray[np.intp]]:
    step = max(1, BLOCK_VALUES // max(1, width))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
