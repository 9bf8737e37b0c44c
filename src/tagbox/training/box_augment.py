"""Augmentation with boxes: how a picture and what is true of it vary from epoch to epoch.

All that changes places is one window through which the picture is seen, so that it is resampled once;
then come mirrors, a turn and colours. The pixel work is Pillow's and torchvision's
(`transforms.v2.functional`), on Pillow pictures as in `training.augment`; the draws are made here, because
torchvision's own come from torch's global generator, which other threads draw from as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import BoxAugmentConfig
from tagbox.data.boxes import ImageBoxes
from tagbox.errors import TagboxError
from tagbox.images.canvas import fitted
from tagbox.training.box_mosaic import mosaic
from tagbox.training.box_views import View, Window, areas_of, mirrored, through, turned
from tagbox.training.box_windows import LEAST_CROP, cropped, jittered, zoomed_out

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_STREAM = 3
"""Sets these draws apart from others that are seeded with the same numbers."""


@dataclass(frozen=True, eq=False)
class Others:
    """Where a mosaic's other pictures come from.

    Attributes
    ----------
    rows
        (R,) rows to choose from.
    read
        The picture of a row and its truth, in pixels of it; one that raises `TagboxError` leaves a gap.
    """

    rows: NDArray[np.intp]
    read: Callable[[int], tuple[NDArray[np.uint8], ImageBoxes]]


class BoxAugment:
    """One way to augment, as a function of (picture, epoch, row).

    Every draw of one picture follows from (seed, epoch, row) alone, so that the order, the process
    and the thread in which pictures are read change nothing. No global generator is read or written.

    Parameters
    ----------
    config
        What to vary, and how much.
    size
        Longest side of a picture in the network, in pixels.
    seed
        At least 0.
    fixed
        Whether pictures are stretched to `size` x `size`.
    others
        Where a mosaic's other pictures come from; needed where `config.mosaic` is above 0.
    """

    def __init__(
        self,
        config: BoxAugmentConfig,
        size: int,
        *,
        seed: int,
        fixed: bool = False,
        others: Others | None = None,
    ) -> None:
        if config.mosaic and others is None:
            raise ValueError("a mosaic needs other pictures")
        self.config, self.size, self.seed, self.fixed = config, size, seed, fixed
        self.others = others

    @property
    def least_shown(self) -> float:
        """The smallest share of a picture's side that may be shown enlarged."""
        crop = LEAST_CROP if self.config.iou_crop else 1.0
        return crop / (1.0 + self.config.scale_jitter)

    def __call__(
        self, image: NDArray[np.uint8], truth: ImageBoxes, *, epoch: int, row: int
    ) -> tuple[NDArray[np.uint8], ImageBoxes]:
        """The picture as the network sees it in this epoch, scaled for it, and what is true of it.

        The order is: mosaic, scale, zoom out, crop, flips, rotation, colours. A crop, an enlarged or a
        smaller picture takes the place of the whole one: its longest side is what that of the picture
        would be. Boxes of which less than `min_visible` is left become regions to ignore.

        Parameters
        ----------
        image
            (H, W, 3) uint8 RGB.
        truth
            In pixels of `image`.
        epoch, row
            Numbers of at least 0 that tell the draws of pictures and epochs apart.

        Returns
        -------
        tuple of (H', W', 3) uint8 and ImageBoxes
            New; every box lies in the picture and has an area of at least a pixel.
        """
        config = self.config
        sequence = np.random.SeedSequence((self.seed, epoch, row), spawn_key=(_STREAM,))
        random = np.random.default_rng(sequence)
        view = View.of(image, truth)
        if config.mosaic and random.random() < config.mosaic:
            view = mosaic(random, [view, *self._drawn(random)], self.size)
        window = self._window(random, view)
        view = through(view, window, self._canvas(view, window))
        if config.flip and random.random() < 0.5:
            view = mirrored(view)
        if config.vertical_flip and random.random() < 0.5:
            view = mirrored(view, upside_down=True)
        if config.rotate:
            view = turned(view, float(random.uniform(-config.rotate, config.rotate)))
        if config.photometric and random.random() < config.photometric:
            view = _distorted(view, random)
        return np.array(view.image, order="C"), view.truth(config.min_visible)

    def _drawn(self, random: np.random.Generator) -> list[View | None]:
        """Three other pictures."""
        assert self.others is not None
        views: list[View | None] = []
        for row in random.choice(self.others.rows, 3).tolist():
            try:
                views.append(View.of(*self.others.read(row)))
            except TagboxError:  # Said when the picture's own turn comes.
                views.append(None)
        return views

    def _window(self, random: np.random.Generator, view: View) -> Window:
        config = self.config
        height, width = view.image.shape[:2]
        window = (0.0, 0.0, float(width), float(height))
        if config.scale_jitter:
            window = jittered(random, window, config.scale_jitter)
        if config.zoom_out and random.random() < config.zoom_out:
            window = zoomed_out(random, window)
        if config.iou_crop and random.random() < config.iou_crop:
            window = cropped(random, window, view.boxes[areas_of(view.boxes) > 0])
        return window

    def _canvas(self, view: View, window: Window) -> tuple[int, int]:
        """Width and height of what the window shows: its proportions, the whole picture's longest side."""
        height, width = view.image.shape[:2]
        if self.fixed:
            return fitted(width, height, self.size, fixed=True)
        sides = window[2] - window[0], window[3] - window[1]
        scale = max(fitted(width, height, self.size)) / max(sides)
        return max(1, round(sides[0] * scale)), max(1, round(sides[1] * scale))


def _distorted(view: View, random: np.random.Generator) -> View:
    """Brightness, contrast, saturation and hue changed, each in half of the cases, as in SSD."""
    from PIL import Image
    from torchvision.transforms.v2 import functional

    def contrast(picture: Picture) -> Picture:
        return functional.adjust_contrast(picture, factors[1]) if drawn[1] else picture

    drawn = random.random(4) < 0.5
    factors = random.uniform((0.875, 0.5, 0.5, -0.05), (1.125, 1.5, 1.5, 0.05)).tolist()
    first = random.random() < 0.5
    picture = Image.fromarray(np.ascontiguousarray(view.image))
    if drawn[0]:
        picture = functional.adjust_brightness(picture, factors[0])
    if first:
        picture = contrast(picture)
    if drawn[2]:
        picture = functional.adjust_saturation(picture, factors[2])
    if drawn[3]:
        picture = functional.adjust_hue(picture, factors[3])
    return replace(view, image=np.asarray(picture if first else contrast(picture)))
