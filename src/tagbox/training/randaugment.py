"""RandAugment with draws that are handed in; the operations and their ranges are torchvision's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tagbox.images.geometry import PAD_VALUE

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as Picture

_STRONGEST = 30
_SIGNED = (
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "saturation",
    "contrast",
    "sharpness",
)
_UNSIGNED = ("posterize", "solarize", "autocontrast", "equalize", "identity")


def rand_augment(
    picture: Picture, random: np.random.Generator, operations: int, magnitude: int
) -> Picture:
    """RandAugment (Cubuk et al., arXiv 1909.13719): some of fourteen operations, one after the other.

    Parameters
    ----------
    picture
        RGB.
    random
        What to do is drawn from it.
    operations
        How many, each drawn from all fourteen; one of them does nothing.
    magnitude
        Strength of all of them, 0 to 30, as in ``torchvision.transforms.v2.RandAugment``; those that
        have a direction go either way.

    Returns
    -------
    PIL.Image.Image
        Of the same size; what comes from outside the picture is grey.
    """
    for _ in range(operations):
        which = int(random.integers(len(_SIGNED) + len(_UNSIGNED)))
        sign = 1 if random.random() < 0.5 else -1
        strength = magnitude / _STRONGEST
        if which < len(_SIGNED):
            picture = _signed(picture, _SIGNED[which], sign * strength)
        else:
            picture = _unsigned(picture, _UNSIGNED[which - len(_SIGNED)], strength)
    return picture


def _signed(picture: Picture, name: str, strength: float) -> Picture:
    from torchvision.transforms.v2 import InterpolationMode, functional

    if name in ("brightness", "saturation", "contrast", "sharpness"):
        return getattr(functional, f"adjust_{name}")(picture, 1 + 0.9 * strength)
    how = {"interpolation": InterpolationMode.BILINEAR, "fill": [PAD_VALUE] * 3}
    if name == "rotate":
        return functional.rotate(picture, 30 * strength, **how)
    along_x = name.endswith("x")
    if name.startswith("shear"):
        angle = math.degrees(math.atan(0.3 * strength))
        shear, shift, centre = ([angle, 0.0] if along_x else [0.0, angle]), [0, 0], [0, 0]
    else:
        pixels = int(150 / 331 * (picture.width if along_x else picture.height) * strength)
        shear, shift, centre = [0.0, 0.0], ([pixels, 0] if along_x else [0, pixels]), None
    return functional.affine(
        picture, angle=0.0, translate=shift, scale=1.0, shear=shear, center=centre, **how
    )


def _unsigned(picture: Picture, name: str, strength: float) -> Picture:
    from torchvision.transforms.v2 import functional

    if name == "identity":
        return picture
    if name == "posterize":
        return functional.posterize(picture, round(8 - 4 * strength))
    if name == "solarize":
        return functional.solarize(picture, 255 * (1 - strength))
    return (
        functional.autocontrast(picture) if name == "autocontrast" else functional.equalize(picture)
    )
