"""A tensorflow.js graph model executed node by node in torch, for comparison; it shares nothing with the product."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional


def outputs_of(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    """The graph's outputs by name, for a (1, 3, 416, 416) float32 input."""
    document = json.loads(path.read_text())
    nodes = {node["name"]: node for node in document["modelTopology"]["node"]}
    values: dict[str, Any] = {"input_1": torch.from_numpy(image)}
    content, start = (path.parent / "nanodet.bin").read_bytes(), 0
    for weight in document["weightsManifest"][0]["weights"]:
        half = "quantization" in weight
        kind = np.float16 if half else {"float32": np.float32, "int32": np.int32}[weight["dtype"]]
        count = int(np.prod(weight["shape"], dtype=int))
        array = np.frombuffer(content, kind, count, start).reshape(weight["shape"])
        start += array.nbytes
        values[weight["name"]] = torch.from_numpy(array.astype(np.float32 if half else kind))

    def value(name: str) -> Any:
        name, _, port = name.partition(":")
        if name not in values:
            values[name] = run(nodes[name])
        found = values[name]
        return found[int(port or 0)] if isinstance(found, tuple) else found

    def run(node: dict[str, Any]) -> Any:
        attributes = node.get("attr", {})
        x, *others = [value(name) for name in node["input"]]
        match node["op"]:
            case "Identity":
                return x
            case "Pad" | "PadV2":
                pads = [int(n) for pair in reversed(others[0].tolist()) for n in pair]
                return functional.pad(x, pads, value=float(others[1]) if len(others) > 1 else 0.0)
            case "Transpose":
                return x.permute(*others[0].tolist())
            case "Conv2D":
                stride = int(attributes["strides"]["list"]["i"][1])
                kernel = others[0].permute(3, 2, 0, 1)
                return functional.conv2d(x.permute(0, 3, 1, 2), kernel, stride=stride).permute(
                    0, 2, 3, 1
                )
            case "MaxPool":
                side, stride = (
                    int(attributes[key]["list"]["i"][1]) for key in ("ksize", "strides")
                )
                return functional.max_pool2d(x.permute(0, 3, 1, 2), side, stride).permute(
                    0, 2, 3, 1
                )
            case "Add" | "AddV2":
                return x + others[0]
            case "LeakyRelu":
                return torch.where(x > 0, x, x * attributes["alpha"]["f"])
            case "Sigmoid":
                return 1 / (1 + torch.exp(-x))
            case "ConcatV2":
                return torch.cat([x, *others[:-1]], dim=int(others[-1]))
            case "SplitV":
                return torch.split(x, others[0].tolist(), dim=int(others[1]))
            case "ResizeBilinear":
                assert attributes["half_pixel_centers"]["b"]
                size = [int(n) for n in others[0]]
                resized = functional.interpolate(x.permute(0, 3, 1, 2), size, mode="bilinear")
                return resized.permute(0, 2, 3, 1)
            case "SparseToDense":  # The shapes of the last reshapes.
                shape, values_, default = others
                dense = torch.full([int(n) for n in shape], int(default), dtype=torch.int32)
                if len(x):
                    dense[x[:, 0].long()] = values_
                return dense
            case "Reshape":
                return x.reshape([int(n) for n in others[0]])
            case other:
                raise NotImplementedError(other)

    return {
        name: value(name).numpy() for name, node in nodes.items() if name.startswith("Identity")
    }
