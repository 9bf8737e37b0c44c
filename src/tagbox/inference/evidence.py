"""Evidence maps of a label, exact for a linear head on mean- and max-pooled features.

A linear head's logit is a sum over features, a mean-pooled feature is a sum over positions, and a
max-pooled one comes from one position. So the logit is a constant plus a sum over positions, and that
sum's terms are the evidence map: weights times the feature map before pooling (for mean pooling the
class activation map of Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR
2016, made exact by the bias kept apart).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.images.geometry import Placement
from tagbox.models.heads import kind_of

Weights = Mapping[str, NDArray[np.float32]]
HEADS = {"mlp": "an MLP", "ml_decoder": "an ML-Decoder", "csra": "a CSRA"}


def require_linear(weights: Weights) -> None:
    """Refuse heads for which no exact evidence map exists.

    Raises
    ------
    TagboxError
        ``evidence-head`` for any head but a linear one.
    """
    kind = kind_of(weights)
    if kind != "linear":
        raise TagboxError(
            "evidence-head",
            f"{HEADS[kind]} head has no exact evidence map",
            hint="train with --head linear, or leave --evidence out",
        )


def evidence(
    weights: Weights, maps: Sequence[NDArray[np.float32]], poolings: Sequence[str], category: int
) -> tuple[list[NDArray[np.float64]], float]:
    """The terms of one category's logit, by position.

    Parameters
    ----------
    weights
        A linear head's state: ``mean``, ``scale``, ``output.weight``, ``output.bias``.
    maps
        One image's feature map of each backbone, (D, h, w) float32.
    poolings
        ``mean``, ``max`` or ``mean+max``, of each map: how it became features, in that order.
    category
        Row of the category.

    Returns
    -------
    heats, constant
        An (h, w) float64 map of each backbone and a number; ``sum of all heats + constant`` is the logit.
    """
    gain = (weights["output.weight"][category] * weights["scale"]).astype(np.float64)
    constant = float(weights["output.bias"][category] - gain @ weights["mean"])
    heats = []
    start = 0
    for feature_map, pooling in zip(maps, poolings, strict=True):
        depth, height, width = feature_map.shape
        flat = feature_map.reshape(depth, -1).astype(np.float64)
        heat = np.zeros(height * width)
        for kind in pooling.split("+"):
            weight = gain[start : start + depth]
            start += depth
            if kind == "mean":
                heat += weight @ flat / flat.shape[1]
            else:
                where = flat.argmax(axis=1)
                np.add.at(heat, where, weight * flat[np.arange(depth), where])
        heats.append(heat.reshape(height, width))
    return heats, constant


def combined(heats: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    """One (H, W) map to draw, as fine as the finest: evidence per unit of area, interpolated and added."""
    from PIL import Image

    height = max(heat.shape[0] for heat in heats)
    width = max(heat.shape[1] for heat in heats)
    total = np.zeros((height, width), np.float32)
    for heat in heats:
        density = Image.fromarray((heat * heat.size).astype(np.float32))
        total += np.asarray(density.resize((width, height), Image.Resampling.BILINEAR))
    return (total / np.float32(total.size)).astype(np.float32)


def over_image(
    heat: NDArray[np.float32], placement: Placement, width: int, height: int, size: int
) -> NDArray[np.float32]:
    """An evidence map over the network's square as one over the whole image.

    Parameters
    ----------
    heat
        (h, w) float32 over the square of `size` pixels.
    placement
        Where the image lies in the square (`images.geometry.placement`).
    width, height
        Of the image in pixels.

    Returns
    -------
    NDArray[np.float32]
        (h, w) over the image; 0 where the network did not see it, borders left out.
    """
    rows, columns = heat.shape
    x = (np.arange(columns) + 0.5) / columns * width * placement.scale_x + placement.offset_x
    y = (np.arange(rows) + 0.5) / rows * height * placement.scale_y + placement.offset_y
    column = np.floor(x / size * columns).astype(int)
    row = np.floor(y / size * rows).astype(int)
    inside = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))
    found = heat[row.clip(0, rows - 1)][:, column.clip(0, columns - 1)]
    return np.where(inside, found, np.float32(0))
