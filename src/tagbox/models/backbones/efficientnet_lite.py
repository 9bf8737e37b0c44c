"""EfficientNet-Lite 0 to 2, described once: as a torch module and as an OpenVINO graph.

The description is a list of blocks of convolutions with folded or live batch normalisation. Names
are those of timm's ``tf_efficientnet_lite0..2``, so checkpoints go both ways. Building the graph from
the description takes a tenth of the time of tracing the module, and needs no torch at all, which is
most of the start-up time of a short run.

References
----------
Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019;
Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog, 2020 (no
squeeze-and-excite, ReLU6, stem and head of fixed width).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.models.backbones.base import Arrays, Backbone, BackboneSpec
from tagbox.sharing import shared_property

if TYPE_CHECKING:
    from torch import nn

    from tagbox.models.freezing import Stages

FEATURES = 1280
NORM_EPSILON = 1e-3
MULTIPLIERS = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}
"""Width and depth multipliers of each variant."""

STAGES = (
    # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class Convolution:
    """A convolution without bias, its batch normalisation, and ReLU6 or nothing.

    `name` and `norm` are relative to the block: ``"conv_pw"``, ``"bn1"``.
    """

    name: str
    norm: str
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    relu6: bool = True


@dataclass(frozen=True)
class Block:
    """Convolutions in sequence; with `residual` the block's input is added to their output."""

    name: str
    convolutions: tuple[Convolution, ...]
    residual: bool = False


def describe(variant: str) -> tuple[Block, ...]:
    """The blocks of a variant (a key of `MULTIPLIERS`) from the image to the feature map."""
    width, depth = MULTIPLIERS[variant]
    blocks = [Block("", (Convolution("conv_stem", "bn1", 3, 32, kernel=3, stride=2),))]
    channels = 32
    for stage, (repeats, kernel, stride, expansion, base) in enumerate(STAGES):
        outputs = _round_channels(base * width)
        # The first and the last stage keep their depth in the Lite family.
        count = repeats if stage in (0, len(STAGES) - 1) else math.ceil(repeats * depth)
        for index in range(count):
            name = f"blocks.{stage}.{index}"
            step = stride if index == 0 else 1
            make = _separable if expansion == 1 else _inverted
            blocks.append(make(name, channels, outputs, kernel, step, expansion))
            channels = outputs
    blocks.append(Block("", (Convolution("conv_head", "bn2", channels, FEATURES),)))
    return tuple(blocks)


def _round_channels(channels: float) -> int:
    """To a multiple of 8, never more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _separable(name: str, inputs: int, outputs: int, kernel: int, stride: int, _: int) -> Block:
    return Block(
        name,
        (
            Convolution("conv_dw", "bn1", inputs, inputs, kernel, stride, depthwise=True),
            Convolution("conv_pw", "bn2", inputs, outputs, relu6=False),
        ),
        residual=stride == 1 and inputs == outputs,
    )


def _inverted(
    name: str, inputs: int, outputs: int, kernel: int, stride: int, expansion: int
) -> Block:
    middle = inputs * expansion
    return Block(
        name,
        (
            Convolution("conv_pw", "bn1", inputs, middle),
            Convolution("conv_dw", "bn2", middle, middle, kernel, stride, depthwise=True),
            Convolution("conv_pwl", "bn3", middle, outputs, relu6=False),
        ),
        residual=stride == 1 and inputs == outputs,
    )


def map_side(size: int) -> int:
    """Side of the feature map of a square of `size` pixels, the same for every variant."""
    for block in describe("efficientnet_lite0"):
        for c in block.convolutions:
            size = math.ceil(size / c.stride)
    return size


def _path(block: Block, part: str) -> str:
    return f"{block.name}.{part}" if block.name else part


def state_shapes(variant: str) -> dict[str, tuple[int, ...]]:
    """Shape of every weight and statistic, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for block in describe(variant):
        for c in block.convolutions:
            inputs = 1 if c.depthwise else c.inputs
            shapes[f"{_path(block, c.name)}.weight"] = (c.outputs, inputs, c.kernel, c.kernel)
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{_path(block, c.norm)}.{part}"] = (c.outputs,)
    return shapes


def torch_module(variant: str) -> nn.Module:
    """The variant as a module: normalised float (B, 3, S, S) to a feature map (B, 1280, s, s).

    Strided convolutions pad as TensorFlow does (``SAME``), which depends on the size of the input.
    The state's names are timm's, without the classifier.
    """
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    class SamePadded(nn.Conv2d):
        """A strided convolution that pads by the size of its input."""

        def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            kernel, stride = self.kernel_size[0], self.stride[0]
            total = [
                max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:]
            ]
            (top, bottom), (left, right) = [(t // 2, t - t // 2) for t in total]
            padded = functional.pad(x, (left, right, top, bottom))
            found: Tensor = super()._conv_forward(padded, weight, bias)
            return found

    def convolution(c: Convolution) -> nn.Conv2d:
        kind, padding = (SamePadded, 0) if c.stride > 1 else (nn.Conv2d, c.kernel // 2)
        groups = c.inputs if c.depthwise else 1
        return kind(c.inputs, c.outputs, c.kernel, c.stride, padding, groups=groups, bias=False)

    def folded(conv: Any, norm: Any, x: Tensor) -> Tensor:
        """Convolution and standing normalisation in one pass over memory, gradients too."""
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight = conv.weight * scale[:, None, None, None]
        found: Tensor = conv._conv_forward(x, weight, norm.bias - norm.running_mean * scale)
        return found

    class Layers(nn.Module):
        """The convolutions of one block, or the root with all blocks inside."""

        folds = False

        def __init__(self, block: Block) -> None:
            super().__init__()
            self.residual = block.residual
            self.steps = [(c.name, c.norm, c.relu6) for c in block.convolutions]
            for c in block.convolutions:
                self.add_module(c.name, convolution(c))
                self.add_module(c.norm, nn.BatchNorm2d(c.outputs, eps=NORM_EPSILON))

        def run(self, x: Tensor, step: tuple[str, str, bool]) -> Tensor:
            name, norm_name, relu6 = step
            conv, norm = self.get_submodule(name), self.get_submodule(norm_name)
            fold = self.folds and not norm.training and torch.is_grad_enabled()
            x = folded(conv, norm, x) if fold else norm(conv(x))
            return functional.relu6(x, inplace=True) if relu6 else x

        def forward(self, x: Tensor) -> Tensor:
            y = x
            for step in self.steps:
                y = self.run(y, step)
            return x + y if self.residual else y

    class EfficientNetLite(Layers):
        """Stem, seven stages of blocks, head."""

        def __init__(self) -> None:
            stem, *middle, head = describe(variant)
            super().__init__(Block("", stem.convolutions + head.convolutions))
            stages: dict[str, list[nn.Module]] = {}
            for block in middle:
                stages.setdefault(block.name.split(".")[1], []).append(Layers(block))
            self.blocks = nn.Sequential(*(nn.Sequential(*blocks) for blocks in stages.values()))

        def forward(self, x: Tensor) -> Tensor:
            stem, head = self.steps
            return self.run(self.blocks(self.run(x, stem)), head)

    with torch.no_grad():
        return EfficientNetLite()


def fold_norms(module: Any) -> None:
    """Let a training step of `torch_module` take standing normalisation and its convolution in one pass.

    Without gradients the two stay apart: the outputs are then timm's to the last bit.
    """
    for layers in module.modules():
        if hasattr(layers, "folds"):
            layers.folds = True


def openvino_graph(variant: str, weights: Arrays, pixels: Any) -> Any:
    """The variant as OpenVINO nodes: the node of normalised pixels (B, 3, S, S) to that of the map.

    Batch normalisation is folded into the convolutions: ``w' = w * g / sqrt(v + e)``,
    ``b' = b - m * g / sqrt(v + e)``.
    """
    from openvino import opset13 as ov

    node = pixels
    for block in describe(variant):
        before = node
        for c in block.convolutions:
            kernel, bias = _folded(weights, _path(block, c.name), _path(block, c.norm))
            settings = {
                "strides": [c.stride] * 2,
                "pads_begin": [0, 0],
                "pads_end": [0, 0],
                "dilations": [1, 1],
                "auto_pad": "SAME_UPPER",
            }
            if c.depthwise:
                grouped = kernel.reshape(c.inputs, 1, 1, c.kernel, c.kernel)
                node = ov.group_convolution(node, ov.constant(grouped), **settings)
            else:
                node = ov.convolution(node, ov.constant(kernel), **settings)
            node = ov.add(node, ov.constant(bias.reshape(1, -1, 1, 1)))
            if c.relu6:
                node = ov.clamp(node, 0.0, 6.0)
        if block.residual:
            node = ov.add(before, node)
    return node


def _folded(
    weights: Arrays, conv: str, norm: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel and bias of a convolution with its batch normalisation folded in, in float64 till the end."""
    gain, shift, mean, variance = (
        weights[f"{norm}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / np.sqrt(variance + NORM_EPSILON)
    kernel = weights[f"{conv}.weight"] * scale[:, None, None, None]
    return kernel.astype(np.float32), (shift - mean * scale).astype(np.float32)


class LiteBackbone(Backbone):
    """One of the EfficientNet-Lite family; its weights are read when they are first needed."""

    def __init__(self, spec: BackboneSpec, read: Callable[[], Arrays]) -> None:
        super().__init__(spec)
        self._read = read

    @shared_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self._read())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `Backbone.arrays`."""
        return self._arrays

    @shared_property
    def module(self) -> nn.Module:
        """See `Backbone.module`."""
        import torch

        module = torch_module(self.spec.name)
        state = {k: torch.from_numpy(np.array(v)) for k, v in self._arrays.items()}
        # Names and shapes were checked on reading; the counters of seen batches are not needed.
        module.load_state_dict(state, strict=False)
        return module.eval().requires_grad_(False)

    @property
    def parameters(self) -> int:
        """See `Backbone.parameters`."""
        shapes = state_shapes(self.spec.name)
        return sum(int(np.prod(s)) for name, s in shapes.items() if "running" not in name)

    def stages(self) -> Stages:
        """See `Backbone.stages`: stem, seven stages of blocks, head."""
        ends = {"conv_stem": -1, "bn1": -1, "conv_head": 99, "bn2": 99}
        stages: dict[int, list[str]] = {}
        for name in state_shapes(self.spec.name):
            if "running" not in name:
                first, block, *_ = name.split(".")
                order = ends[first] if first in ends else int(block)
                stages.setdefault(order, []).append(name)
        return [stages[order] for order in sorted(stages)]

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """See `Backbone.map_shape`."""
        side = map_side(self.spec.size)
        return self.spec.dim, side, side

    def openvino_map(self, pixels: Any) -> Any:
        """See `Backbone.openvino_map`."""
        return openvino_graph(self.spec.name, self._arrays, pixels)
