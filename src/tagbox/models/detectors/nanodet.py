"""NanoDet-g: plain 3x3 convolutions, trained on COCO; its description, and it as an OpenVINO graph.

A cross-stage-partial backbone (Wang et al., "CSPNet", CVPR workshops 2020), a pyramid of additions, and for each of
three maps one convolution and a last layer: K scores, and for each side of a box the distribution of its distance
over `BINS` bins (Li et al., "Generalized Focal Loss", NeurIPS 2020). There is no batch normalisation: the published
weights have it folded in. Building the graph needs no torch.

References
----------
RangiLyu, https://github.com/RangiLyu/nanodet, ``config/nanodet-g.yml`` (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tagbox.models.backbones.base import Arrays
from tagbox.models.bundle import DetectorSpec

NAME = "nanodet_g"
WIDTH = 128
"""Channels of the pyramid and the heads."""
STRIDES = (8, 16, 32)
BINS = 11
"""Bins of a distance: 0 to 10 strides."""
SLOPE = 0.1
"""Of the leaky rectifier for negative values."""
SIDE = 416
"""Side in pixels of the squares it was trained on, to which images are stretched."""
MEAN = (123.675 / 255, 116.28 / 255, 103.53 / 255)
STD = (58.395 / 255, 57.12 / 255, 57.375 / 255)


@dataclass(frozen=True)
class Stage:
    """A stage of the backbone: a convolution, `blocks` of two that widen again, and one after them, beside the first."""

    channels: int
    stride: int
    blocks: int


STAGES = (Stage(32, 1, 1), Stage(64, 2, 2), Stage(128, 2, 2), Stage(256, 2, 3))


@dataclass(frozen=True)
class Convolution:
    """Name in the state, channels, kernel side and stride of a convolution with bias, padded to keep its side."""

    name: str
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1


def describe(categories: int) -> Iterator[Convolution]:
    """Every convolution from the image on, in the order of the published graph."""
    yield Convolution("backbone.stem", 3, 32, stride=2)
    for index, stage in enumerate(STAGES):
        name, c = f"backbone.stages.{index}", stage.channels
        yield Convolution(f"{name}.first", c, c, stride=stage.stride)
        for block in range(stage.blocks):
            yield Convolution(f"{name}.blocks.{block}.narrow", c, c // 2)
            yield Convolution(f"{name}.blocks.{block}.deep", c // 2, c // 2)
        yield Convolution(f"{name}.last", c, c)
    for level, stage in enumerate(STAGES[1:]):
        yield Convolution(f"laterals.{level}", 2 * stage.channels, WIDTH, kernel=1)
    for level in range(len(STRIDES)):
        yield Convolution(f"heads.{level}.first", WIDTH, WIDTH)
        yield Convolution(f"heads.{level}.last", WIDTH, categories + 4 * BINS, kernel=1)


def state_shapes(categories: int) -> dict[str, tuple[int, ...]]:
    """Shape of every weight, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for c in describe(categories):
        shapes[f"{c.name}.weight"] = (c.outputs, c.inputs, c.kernel, c.kernel)
        shapes[f"{c.name}.bias"] = (c.outputs,)
    return shapes


def nanodet_spec(categories: int, size: int = SIDE) -> DetectorSpec:
    """The structure of one for so many categories, whose images are stretched to squares of `size` pixels."""
    return DetectorSpec(
        detector=NAME,
        backbone="",
        categories=categories,
        size=size,
        fixed=True,
        multiple=STRIDES[-1],
        mean=MEAN,
        std=STD,
        options={},
    )


def openvino_model(weights: Arrays, shape: Sequence[int]) -> Any:
    """The `openvino.Model` from normalised pixels of that shape, (B, 3, H, W), to the three maps.

    The maps are (B, K + 4 * `BINS`, H / s, W / s) for each stride s.
    """
    from openvino import Model
    from openvino import opset13 as ov

    def convolution(x: Any, name: str, stride: int = 1) -> Any:
        kernel = weights[f"{name}.weight"]
        pads = [kernel.shape[2] // 2] * 2
        found = ov.convolution(x, ov.constant(kernel), [stride] * 2, pads, pads, [1, 1])
        return ov.add(found, ov.constant(weights[f"{name}.bias"].reshape(1, -1, 1, 1)))

    def activated(x: Any, name: str, stride: int = 1) -> Any:
        return ov.prelu(convolution(x, name, stride), ov.constant(np.array([SLOPE], np.float32)))

    def resized(x: Any, factor: float) -> Any:
        return ov.interpolate(
            x,
            ov.constant(np.array([factor, factor], np.float32)),
            mode="linear_onnx",
            shape_calculation_mode="scales",
            axes=ov.constant(np.array([2, 3], np.int64)),
            coordinate_transformation_mode="half_pixel",
        )

    pixels = ov.parameter(list(shape), np.float32)
    x = activated(pixels, "backbone.stem", 2)
    x = ov.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)
    maps = []
    for index, stage in enumerate(STAGES):
        name = f"backbone.stages.{index}"
        first = y = activated(x, f"{name}.first", stage.stride)
        for block in range(stage.blocks):
            short = activated(y, f"{name}.blocks.{block}.narrow")
            y = ov.concat([activated(short, f"{name}.blocks.{block}.deep"), short], 1)
        x = ov.concat([activated(y, f"{name}.last"), first], 1)
        maps.append(x)
    maps = [convolution(x, f"laterals.{level}") for level, x in enumerate(maps[1:])]
    for level in (1, 0):
        maps[level] = ov.add(maps[level], resized(maps[level + 1], 2.0))
    for level in (1, 2):
        maps[level] = ov.add(maps[level], resized(maps[level - 1], 0.5))
    outputs = [
        convolution(activated(x, f"heads.{level}.first"), f"heads.{level}.last")
        for level, x in enumerate(maps)
    ]
    return Model(outputs, [pixels], NAME)
