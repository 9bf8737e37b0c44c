"""Heads in NumPy: their forward passes, so that prediction needs no torch, and the scale of their features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tagbox.config import HeadKind, HeadSetting, LabelKind

Weights = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float32]

MAXIMUM = 99.0
"""CSRA's temperature that stands for the limit: the maximum over positions."""
NORM_EPSILON = 1e-5
"""Added to the variance in ML-Decoder's normalisations."""
BLOCK_VALUES = 1 << 22
"""Values of feature maps worked on at once (16 MiB)."""
STATISTICS_VALUES = 1 << 21
"""Values worked on at once in float64 (16 MiB)."""
LEAST_DEVIATION = 1e-6


@dataclass(frozen=True, eq=False)
class FeatureScale:
    """What makes a feature's mean 0 and its deviation 1: ``(x - mean) * scale``.

    Attributes
    ----------
    mean, scale
        (D,) float32; the mean, and one over the standard deviation.
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> Self:
        """The scale of pooled features (N, V, D) or maps (N, V, D, h, w), float32, N > 0.

        Statistics are those of a channel over images, views and positions, computed in float64
        without a float64 copy of `features`.
        """
        width = features.shape[2]
        count = features.size // width
        over = (0, 1, *range(3, features.ndim))
        channel = (width, *(1 for _ in features.shape[3:]))
        mean = np.zeros(width)
        for block in _blocks(features):
            mean += block.sum(axis=over, dtype=np.float64) / count
        variance = np.zeros(width)
        for block in _blocks(features):
            apart = block - mean.reshape(channel)
            variance += np.square(apart, out=apart).sum(axis=over) / count
        deviation = np.sqrt(variance)
        # A constant feature carries no information, and division by its zero deviation would give NaN.
        scale = 1.0 / np.where(deviation > LEAST_DEVIATION, deviation, 1.0)
        return cls(mean=mean.astype(np.float32), scale=scale.astype(np.float32))


def wants_map(kind: HeadSetting) -> bool:
    """Whether the head takes feature maps (N, D, h, w); the others take pooled features (N, D)."""
    return kind in ("ml_decoder", "csra")


def kind_of(weights: Weights) -> HeadKind:
    """Which head a state is of, by its names."""
    marks: tuple[tuple[str, HeadKind], ...] = (
        ("queries", "ml_decoder"),
        ("temperatures", "csra"),
        ("hidden.weight", "mlp"),
    )
    return next((kind for name, kind in marks if name in weights), "linear")


def head_logits(weights: Weights, features: Floats) -> Floats:
    """The logits of a saved head.

    Parameters
    ----------
    weights
        The head's state: ``mean``, ``scale``, ``output.*`` and what its kind has besides.
    features
        (N, D) float32, or maps (N, D, h, w) for the heads that want them (`wants_map`).

    Returns
    -------
    NDArray[np.float32]
        (N, K).
    """
    kind = kind_of(weights)
    if not wants_map(kind):
        return _pooled(weights, features)
    forward = _csra if kind == "csra" else _ml_decoder
    # Maps are large, and so are the scores of all their positions.
    step = max(1, BLOCK_VALUES // int(np.prod(features.shape[1:])))
    logits = np.empty((len(features), len(weights["output.bias"])), np.float32)
    for start in range(0, len(features), step):
        block = features[start : start + step]
        logits[start : start + step] = forward(weights, _positions(weights, block))
    return logits


def sigmoid(logits: Floats) -> Floats:
    """Probabilities (same shape, float32) of `logits`, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64))), np.float32)


def softmax(logits: Floats) -> Floats:
    """Probabilities (N, K) float32 that sum to 1 over the categories of each row of `logits`."""
    exact = logits.astype(np.float64)
    grown = np.exp(exact - exact.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True), np.float32)


def activate(logits: Floats, labels: LabelKind) -> Floats:
    """Probabilities of (N, K) logits: each category by itself, or over categories that exclude each other."""
    return softmax(logits) if labels == "exclusive" else sigmoid(logits)


def _pooled(weights: Weights, features: Floats) -> Floats:
    x = (features - weights["mean"]) * weights["scale"]
    if "hidden.weight" in weights:
        x = np.maximum(_linear(weights, "hidden", x), 0)
    return np.asarray(_linear(weights, "output", x), np.float32)


def _csra(weights: Weights, x: Floats) -> Floats:
    """See `models.heads.csra`; (N, P, D) standardised positions."""
    logits: Floats = weights["output.bias"]
    for weight, temperature in zip(weights["output.weight"], weights["temperatures"], strict=True):
        scores = x @ weight.T  # (N, P, K)
        if temperature >= MAXIMUM:
            attended = scores.max(1)
        else:
            attended = (_softmax(temperature * scores, 1) * scores).sum(1)
        logits = logits + scores.mean(1) + weights["attention"] * attended
    return logits


def _ml_decoder(weights: Weights, x: Floats) -> Floats:
    """See `models.heads.ml_decoder`; (N, P, D) standardised positions."""
    memory = np.maximum(_linear(weights, "embed", x), 0)
    queries = _norm(weights, "decoder.norm1", weights["queries"])
    heads = int(weights["decoder.attention_heads"][0])

    def split(part: Floats) -> Floats:
        """(..., N, E) to (..., heads, N, E / heads)."""
        return part.reshape(*part.shape[:-1], heads, -1).swapaxes(-2, -3)

    query = split(_linear(weights, "decoder.query", queries))
    key, value = (split(_linear(weights, f"decoder.{name}", memory)) for name in ("key", "value"))
    match = query @ key.swapaxes(-1, -2) / np.float32(np.sqrt(query.shape[-1]))
    found = (_softmax(match, -1) @ value).swapaxes(1, 2)
    found = found.reshape(len(x), *queries.shape)
    answers = _norm(weights, "decoder.norm2", queries + _linear(weights, "decoder.joined", found))
    wide = np.maximum(_linear(weights, "decoder.widen", answers), 0)
    answers = _norm(weights, "decoder.norm3", answers + _linear(weights, "decoder.narrow", wide))

    weight = weights["output.weight"]
    group = -(-len(weight) // len(queries))
    padded = np.zeros((len(queries) * group, weight.shape[1]), np.float32)
    padded[: len(weight)] = weight
    by_query = padded.reshape(len(queries), group, -1).swapaxes(1, 2)
    logits = (answers.swapaxes(0, 1) @ by_query).swapaxes(0, 1).reshape(len(x), len(padded))
    return np.asarray(logits[:, : len(weight)] + weights["output.bias"], np.float32)


def _positions(weights: Weights, maps: Floats) -> Floats:
    """(N, D, h, w) to standardised (N, P, D)."""
    x = maps.reshape(*maps.shape[:2], -1).swapaxes(1, 2)
    return np.asarray((x - weights["mean"]) * weights["scale"], np.float32)


def _linear(weights: Weights, name: str, x: Floats) -> Floats:
    out: Floats = x @ weights[f"{name}.weight"].T
    return out + weights[f"{name}.bias"] if f"{name}.bias" in weights else out


def _norm(weights: Weights, name: str, x: Floats) -> Floats:
    """Layer normalisation over the last axis."""
    apart = x - x.mean(-1, keepdims=True)
    spread = np.sqrt(np.square(apart).mean(-1, keepdims=True) + np.float32(NORM_EPSILON))
    return np.asarray(apart / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def _softmax(x: Floats, axis: int) -> Floats:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis, keepdims=True))


def _blocks(features: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """`features` a few images at a time."""
    step = max(1, STATISTICS_VALUES * len(features) // features.size)
    for start in range(0, len(features), step):
        yield features[start : start + step]
