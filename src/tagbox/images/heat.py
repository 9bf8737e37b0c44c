"""Evidence maps as colour: where in a picture a label came from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_HEAT = np.array(
    # Seven colours of the inferno map from a third of the way up: light grows with evidence.
    [
        [120, 28, 109],
        [165, 44, 96],
        [207, 68, 70],
        [237, 105, 37],
        [251, 155, 6],
        [247, 209, 61],
        [252, 255, 164],
    ],
    np.float32,
)


def overlay_heat(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay an evidence map over a picture.

    Parameters
    ----------
    image
        (H, W, 3) uint8.
    heat
        (h, w) float; any size, stretched over the picture. Only what is above 0 speaks for the
        label and is drawn; the strongest place is the most opaque. NaN counts as 0.

    Returns
    -------
    (H, W, 3) uint8
    """
    height, width = image.shape[:2]
    strength = heat_strength(heat)
    if not strength.any():
        return image.copy()
    layer = Image.fromarray(strength).resize((width, height), Image.Resampling.BICUBIC)
    alpha = np.clip(np.asarray(layer, np.float32), 0, 1)
    mixed = image * (1 - 0.7 * alpha[..., None]) + heat_colours(alpha) * (0.7 * alpha[..., None])
    return mixed.round().astype(np.uint8)


def heat_strength(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) float32 in [0, 1]: the positive part of an evidence map over its maximum."""
    positive = np.maximum(np.nan_to_num(np.asarray(heat, np.float32), posinf=0, neginf=0), 0)
    highest = positive.max(initial=0)
    return positive / highest if highest > 0 else positive


def heat_colours(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., 3) float32 colours in [0, 255] for strengths in [0, 1]."""
    steps = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(strength, steps, _HEAT[:, i]) for i in range(3)], -1).astype(
        np.float32
    )
