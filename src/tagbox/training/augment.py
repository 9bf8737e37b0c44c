"""Augmentation of classification images: crop, flips, rotation, colour jitter, RandAugment, cutout.

Pixels are transformed by torchvision (`transforms.v2`) on Pillow images, which at this size are faster than
tensors and leave torch's threads to the training step. Random numbers come from NumPy generators seeded per
image, as does the seed of torchvision's RandAugment.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import AugmentConfig, Crop, Geometry
from tagbox.images.geometry import PAD_VALUE, to_square
from tagbox.training.crop import Objects, draw_crop, labels_in_region, visible_region

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_STREAM = 1
"""Sets these draws apart from others that are seeded with the same numbers."""
_GLOBAL_GENERATOR = threading.Lock()
"""torchvision's RandAugment draws from torch's global generator, one for all threads."""


class Augment:
    """Augmentation as a deterministic function of (image, epoch, row).

    Every draw for an image follows from (seed, epoch, row) alone, whatever the order, process or thread
    in which images are loaded. Global generators are left as they were.

    Parameters
    ----------
    config
        What to vary, and how much. Mixup and CutMix are of batches: `training.mixup.mix`.
    size
        Side S in pixels of the square that the network sees.
    geometry
        From image or crop to that square.
    seed
        At least 0.
    crop
        ``boxes``, ``plain`` or ``none``: `config.crop` as `resolve_crop` decides it for the data.
    """

    def __init__(
        self, config: AugmentConfig, size: int, geometry: Geometry, *, seed: int, crop: Crop
    ) -> None:
        if crop == "auto":
            raise ValueError("crop must be resolved (resolve_crop)")
        self.config = config
        self.size = size
        self.geometry: Geometry = geometry
        self.seed = seed
        self.crop: Crop = crop

    def __call__(
        self,
        image: NDArray[np.uint8],
        objects: Objects,
        labels: NDArray[np.int8],
        *,
        epoch: int,
        row: int,
    ) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
        """The augmented (S, S) image of this epoch, and its labels.

        The order is: crop, geometry, flips, rotation, colour, RandAugment, cutout. Only the crop
        changes labels. Corners bared by a rotation, and cutouts, are grey.

        Parameters
        ----------
        image
            (H, W, 3) uint8 RGB.
        objects
            With boxes in pixels of `image`; used by ``boxes`` crops only.
        labels
            (K,) int8: 1 present, 0 absent, -1 unknown.
        epoch, row
            At least 0; each pair has draws of its own.

        Returns
        -------
        tuple of (S, S, 3) uint8 and (K,) int8
            New arrays.
        """
        sequence = np.random.SeedSequence((self.seed, epoch, row), spawn_key=(_STREAM,))
        random = np.random.default_rng(sequence)
        labels = labels.copy()
        if self.crop != "none":
            height, width = image.shape[:2]
            crop = draw_crop(random, width, height, self.config.crop_scale)
            left, top, right, bottom = crop
            image = image[top:bottom, left:right]
            if self.crop == "boxes":
                labels = labels_in_region(
                    objects,
                    labels,
                    visible_region(crop, self.geometry),
                    width=width,
                    height=height,
                    visible=self.config.crop_visible,
                )
        return self._vary(to_square(image, self.size, self.geometry), random), labels

    def _vary(self, square: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        config = self.config
        if config.flip and random.random() < 0.5:
            square = square[:, ::-1]
        if config.vertical_flip and random.random() < 0.5:
            square = square[::-1]
        if config.rotate or config.color or config.randaugment:
            from PIL import Image

            picture = Image.fromarray(square)
            if config.rotate:
                picture = _rotate(picture, random, config.rotate)
            if config.color:
                picture = _colour(picture, random, config.color)
            if config.randaugment:
                picture = _rand_augment(
                    picture, random, config.randaugment, config.randaugment_magnitude
                )
            square = np.asarray(picture)
        square = np.array(square, order="C")
        if config.cutout:
            _cut_out(square, random, config.cutout)
        return square


def _rotate(picture: Picture, random: np.random.Generator, most: float) -> Picture:
    """Rotate about the centre by up to `most` degrees either way."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    return functional.rotate(
        picture,
        random.uniform(-most, most),
        interpolation=InterpolationMode.BILINEAR,
        fill=[PAD_VALUE] * 3,
    )


def _colour(picture: Picture, random: np.random.Generator, most: float) -> Picture:
    """Brightness, contrast and saturation times factors in 1 - `most` to 1 + `most`, in any order."""
    from torchvision.transforms.v2 import functional

    changes = (
        functional.adjust_brightness,
        functional.adjust_contrast,
        functional.adjust_saturation,
    )
    factors = random.uniform(1 - most, 1 + most, size=3)
    for which in random.permutation(3).tolist():
        picture = changes[which](picture, float(factors[which]))
    return picture


def _rand_augment(
    picture: Picture, random: np.random.Generator, operations: int, magnitude: int
) -> Picture:
    """RandAugment (Cubuk et al., arXiv 1909.13719); bared pixels are grey."""
    import torch
    from torchvision.transforms import v2

    augment = v2.RandAugment(
        operations, magnitude, interpolation=v2.InterpolationMode.BILINEAR, fill=[PAD_VALUE] * 3
    )
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`, which would seed the generators of GPUs too.
        torch.default_generator.manual_seed(int(random.integers(2**63)))
        return augment(picture)


def _cut_out(square: NDArray[np.uint8], random: np.random.Generator, share: float) -> None:
    """Paint a square grey in place: its side a share of the image's, its centre anywhere.

    The part beyond the border is lost, as in DeVries and Taylor (arXiv 1708.04552).
    """
    size = len(square)
    side = round(size * share)
    top, left = (random.integers(size, size=2) - side // 2).tolist()
    square[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = PAD_VALUE
