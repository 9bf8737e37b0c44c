"""One generated scene, spec v1: its objects, their sizes and places, what covers them, and the exact boxes.

A scene depends on the seed, the part and the index of the image only, so that a larger dataset of the
same seed begins with the images of a smaller one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray
from PIL import Image

from tagbox.data.synthetic.shapes import shapes
from tagbox.data.synthetic.sprites import Colour, Sprite, average, background, blob, make_sprite

SPEC_VERSION = 1

SMALL_AREA = 32 * 32 / (640 * 480)
"""An object is small below this share of the picture: COCO's 32² pixels on a 640×480 picture."""
COVERED_BELOW = 0.95
"""An object counts as partly covered when less than this share of its in-frame pixels is visible."""

MOST_OBJECTS = 8
_TAIL = 0.6  # The frequency of the category of rank r is proportional to r ** -_TAIL.
_LEAST_VISIBLE = 0.6
_LEAST_IN_FRAME = 0.85
_LEAST_SIDE = 6.0  # Pixels; smaller drawings are dust.
_NOTHING, _DISTRACTOR = 0, 255  # Values of the owner map beside the objects' 1..8.


@dataclass(frozen=True)
class SceneObject:
    """One labelled object.

    Attributes
    ----------
    category
        Row of `shapes()`.
    box
        x, y, width, height: whole pixels, tight around the visible pixels.
    area
        Visible pixels.
    visible
        Share of the in-frame pixels that nothing covers, above 0 and at most 1.
    """

    category: int
    box: tuple[int, int, int, int]
    area: int
    visible: float


@dataclass(frozen=True)
class Scene:
    """An image and its objects; `owners` (H, W) uint8 is the object of each pixel from 1, 0 for none."""

    picture: Image.Image
    objects: tuple[SceneObject, ...]
    owners: NDArray[np.uint8]


def make_scene(
    seed: int,
    part: int,
    index: int,
    width: int,
    height: int,
    categories: Sequence[int] | None = None,
) -> Scene:
    """Paint image `index` of a part (0 train, 1 val, 2 test) of the dataset of `seed`.

    Parameters
    ----------
    categories
        Rows of `shapes()` that objects are drawn of, each once; all when not given.
    """
    rng = Generator(PCG64(SeedSequence([SPEC_VERSION, seed, part, index])))
    unit = math.sqrt(width * height / (640 * 480))
    canvas = _Canvas(rng, width, height, unit)
    for _ in range(int(rng.integers(0, 4))):
        canvas.scatter(rng.uniform(25, 90))
    rows = range(len(shapes())) if categories is None else categories
    for category, side in _draw_objects(rng, rows):
        canvas.add_object(category, side)
    for row in range(len(canvas.categories)):
        if rng.random() < 0.25:
            canvas.cover(row)
    return canvas.finish()


def category_weights(rows: Sequence[int]) -> NDArray[np.float64]:
    """(K,) float64, sum 1: the probability of each of K categories, by their rows in `shapes()`."""
    weights: NDArray[np.float64] = (np.asarray(rows, np.float64) + 1) ** -_TAIL
    return weights / float(weights.sum())


def _draw_objects(rng: Generator, rows: Sequence[int]) -> list[tuple[int, float]]:
    """Category rows and sides in pixels of a 640×480 image; most small objects follow a large one of their category."""
    weights = category_weights(rows)
    kinds = min(int(rng.choice(4, p=(0.05, 0.45, 0.35, 0.15))), len(rows))
    drawn: list[tuple[int, float]] = []
    for place in rng.choice(len(weights), kinds, replace=False, p=weights).tolist():
        count = 1 + int(rng.choice(4, p=(0.5, 0.24, 0.15, 0.11)))
        for rank in range(count):
            small = rng.random() < (0.03 if rank == 0 else 0.7)
            low, high = (21, 29) if small else (150, 280)
            drawn.append((rows[place], low * (high / low) ** rng.random()))
    rng.shuffle(drawn)
    return drawn[:MOST_OBJECTS]


class _Canvas:
    """The image while it is painted, with the owner of every pixel."""

    def __init__(self, rng: Generator, width: int, height: int, unit: float) -> None:
        self.rng, self.width, self.height, self.unit = rng, width, height, unit
        self.picture = background(rng, width, height, unit)
        self.owners = np.zeros((height, width), np.uint8)
        self.categories: list[int] = []
        self.in_frame: list[int] = []

    def scatter(self, side: float) -> None:
        """Paint a distractor of `side` pixels (of a 640×480 image) anywhere, before there are objects."""
        sprite = make_sprite(self.rng, blob(self.rng), max(_LEAST_SIDE, side * self.unit))
        x, y = self.rng.uniform(0, self.width), self.rng.uniform(0, self.height)
        self._paint(sprite, *_corner(sprite, x, y), owner=_NOTHING)

    def add_object(self, category: int, side: float) -> None:
        """Paint an object in a free place or over an earlier one, or leave it out when 30 trials find none."""
        rng = self.rng
        side = max(_LEAST_SIDE, min(side * self.unit, 0.8 * min(self.width, self.height)))
        sprite = make_sprite(rng, shapes()[category], side)
        pixels = int(np.count_nonzero(sprite.mask))
        over = bool(self.categories) and rng.random() < 0.3
        for _ in range(30):
            if over:
                left, top, width, height = self._extent(int(rng.integers(len(self.categories))))
                x = left + width * rng.uniform(-0.2, 1.2)
                y = top + height * rng.uniform(-0.2, 1.2)
            else:
                x, y = rng.uniform(0, self.width), rng.uniform(0, self.height)
            corner = _corner(sprite, x, y)
            hidden, inside = self._hidden(sprite, *corner)
            if inside < _LEAST_IN_FRAME * pixels:
                continue
            if self._all_visible(hidden) if over else not hidden.any():
                self.categories.append(category)
                self.in_frame.append(inside)
                self._paint(sprite, *corner, owner=len(self.categories))
                return

    def cover(self, row: int) -> None:
        """Paint a distractor over a part of object `row`, or nothing when it would hide too much."""
        rng = self.rng
        left, top, width, height = self._extent(row)
        side = max(_LEAST_SIDE, max(width, height) * rng.uniform(0.3, 0.45))
        sprite = make_sprite(rng, blob(rng), side)
        for _ in range(8):
            corner = _corner(
                sprite, left + width * rng.uniform(0, 1), top + height * rng.uniform(0, 1)
            )
            hidden, _ = self._hidden(sprite, *corner)
            if hidden[row] > 0.08 * self.in_frame[row] and self._all_visible(hidden):
                self._paint(sprite, *corner, owner=_DISTRACTOR)
                return

    def finish(self) -> Scene:
        objects = []
        for row, category in enumerate(self.categories):
            area = int(np.count_nonzero(self.owners == row + 1))
            objects.append(
                SceneObject(category, self._extent(row), area, area / self.in_frame[row])
            )
        return Scene(self.picture, tuple(objects), self.owners)

    def _extent(self, row: int) -> tuple[int, int, int, int]:
        """The tight box xywh of the visible pixels of object `row`."""
        visible = self.owners == row + 1
        ys, xs = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
        left, top = int(xs[0]), int(ys[0])
        return left, top, int(xs[-1]) + 1 - left, int(ys[-1]) + 1 - top

    def _window(
        self, sprite: Sprite, left: int, top: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The part of the owner map under the sprite, and the sprite's mask on it."""
        height, width = sprite.mask.shape
        y0, x0 = max(top, 0), max(left, 0)
        y1, x1 = min(top + height, self.height), min(left + width, self.width)
        if y1 <= y0 or x1 <= x0:
            return self.owners[:0, :0], sprite.mask[:0, :0]
        return self.owners[y0:y1, x0:x1], sprite.mask[y0 - top : y1 - top, x0 - left : x1 - left]

    def _hidden(self, sprite: Sprite, left: int, top: int) -> tuple[NDArray[np.intp], int]:
        """Pixels of each object that the sprite would hide, and the sprite's own pixels in frame."""
        owners, mask = self._window(sprite, left, top)
        counts = np.bincount(owners[mask], minlength=256)
        return counts[1 : len(self.categories) + 1], int(np.count_nonzero(mask))

    def _all_visible(self, hidden: NDArray[np.intp]) -> bool:
        for row in np.flatnonzero(hidden).tolist():
            left = int(np.count_nonzero(self.owners == row + 1)) - int(hidden[row])
            if left < _LEAST_VISIBLE * self.in_frame[row]:
                return False
        return True

    def _paint(self, sprite: Sprite, left: int, top: int, owner: int) -> None:
        width, height = sprite.size
        frame = (
            min(max(left, 0), self.width - 1),
            min(max(top, 0), self.height - 1),
            max(min(left + width, self.width), 1),
            max(min(top + height, self.height), 1),
        )
        behind: Colour = average(self.picture, frame)
        patch = sprite.paint(self.rng, behind)
        self.picture.paste(patch, (left, top), sprite.alpha)
        owners, mask = self._window(sprite, left, top)
        owners[mask] = owner


def _corner(sprite: Sprite, x: float, y: float) -> tuple[int, int]:
    """Left and top of a sprite centred on (x, y)."""
    return round(x - sprite.size[0] / 2), round(y - sprite.size[1] / 2)
