"""Convolutions of a tensorflow.js graph model (``model.json`` and its ``.bin`` files), without tensorflow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.files import cannot_read, read_file
from tagbox.paths import inside
from tagbox.text_files import read_json_as

_HINT = "take the file of the published package again"
_Side = Annotated[int, msgspec.Meta(ge=0, le=1 << 20)]


class _Quantization(msgspec.Struct):
    dtype: Literal["float16"]


class _Weight(msgspec.Struct):
    name: str
    shape: list[_Side]
    dtype: Literal["float32", "int32"]
    quantization: _Quantization | None = None


class _Group(msgspec.Struct):
    paths: list[str]
    weights: list[_Weight]


class _Node(msgspec.Struct):
    name: str
    op: str
    input: list[str] = []


class _Topology(msgspec.Struct):
    node: list[_Node]


class _Model(msgspec.Struct, rename="camel"):
    format: Literal["graph-model"]
    model_topology: _Topology
    weights_manifest: list[_Group]


Convolutions = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""By the node's name: kernel, (H, W, inputs, outputs), and bias, (outputs,)."""


def read_convolutions(path: Path) -> Convolutions:
    """The kernel and the bias of every convolution of a graph model, in the order of its nodes.

    The bias is what the node that takes the convolution's output adds to it. Half precision becomes float32.

    Raises
    ------
    TagboxError
        ``weights-corrupt`` for a file of another format, or weights that are not those its graph names; the
        codes of `text_files.read_json_as`, ``file-missing``, ``file-unreadable``, ``file-name-outside``.
    """
    model = read_json_as(path, _Model, "weights-corrupt", _HINT)
    arrays: dict[str, NDArray[Any]] = {}
    for group in model.weights_manifest:
        arrays |= _arrays(path, group)
    biases = {
        node.input[0]: node.input[1]
        for node in model.model_topology.node
        if node.op in ("Add", "AddV2", "BiasAdd") and len(node.input) == 2
    }
    found = {}
    for node in model.model_topology.node:
        if node.op != "Conv2D":
            continue
        names = [*node.input[1:2], biases.get(node.name, "")]
        if len(names) != 2 or any(name not in arrays for name in names):
            raise _corrupt(path, f"the convolution {node.name} has no kernel or no bias")
        kernel, bias = (np.asarray(arrays[name], np.float32) for name in names)
        if kernel.ndim != 4 or bias.shape != kernel.shape[3:]:
            raise _corrupt(path, f"kernel and bias of the convolution {node.name} do not fit")
        found[node.name] = kernel, bias
    return found


def _arrays(path: Path, group: _Group) -> dict[str, NDArray[Any]]:
    """The arrays of one group, which lie one after the other in its files."""
    content = b""
    for name in group.paths:
        file = inside(path.parent, name, file=path, where="weightsManifest")
        try:
            content += read_file(file)
        except OSError as error:
            raise cannot_read(file, error) from error
    arrays, start = {}, 0
    for weight in group.weights:
        kind = np.dtype(
            "<f2" if weight.quantization else {"float32": "<f4"}.get(weight.dtype, "<i4")
        )
        count = math.prod(weight.shape)
        end = start + count * kind.itemsize
        if end > len(content):
            break
        arrays[weight.name] = np.frombuffer(content, kind, count, start).reshape(weight.shape)
        start = end
    if start != len(content) or len(arrays) != len(group.weights):
        needed = sum(math.prod(w.shape) * (2 if w.quantization else 4) for w in group.weights)
        raise _corrupt(
            path,
            f"its weights take {needed:,} bytes, and {', '.join(group.paths)} has {len(content):,}",
        )
    return arrays


def _corrupt(path: Path, reason: str) -> TagboxError:
    return TagboxError("weights-corrupt", reason, file=path, hint=_HINT)
