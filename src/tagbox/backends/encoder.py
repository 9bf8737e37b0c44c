"""An encoder: uint8 squares in, float32 features out, on the engine that suits the machine."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig, Geometry, Pooling
from tagbox.errors import TagboxError
from tagbox.images.decode import pixels_version
from tagbox.models.backbones import Backbone, BackboneSpec, create_backbone, parse_backbones
from tagbox.models.heads import wants_map

Squares = NDArray[np.uint8]
Features = NDArray[np.float32]
Put = Callable[[Features], None]
Reduction = Pooling | Literal["map"]
"""How a feature map becomes a vector: pooled, or the whole of it, flattened."""
Engine = Literal["auto", "openvino", "torch"]
Device = Literal["auto", "cuda", "mps", "cpu"]
Precision = Literal["fp32", "bf16"]


class Encoder(ABC):
    """A backbone made ready to run; made by `create_encoder`.

    `encode` and `maps` answer at once. `submit` and `finish` keep the engine busy while the caller
    decodes the next pictures: each submitted square's features are handed to its `put`, in no promised
    order and from any thread, at the latest when `finish` returns.
    """

    engine: str
    """``openvino`` or ``torch``."""

    def __init__(
        self, backbone: Backbone, geometry: Geometry, pooling: Reduction, precision: Precision
    ) -> None:
        self.backbone = backbone
        self.geometry: Geometry = geometry
        self.precision: Precision = precision
        # A class token is one position: its mean, its maximum and its map are the same numbers.
        self.pooling: Reduction = pooling if backbone.spec.mean_pooled else "mean"

    @property
    def spec(self) -> BackboneSpec:
        """What the backbone is."""
        return self.backbone.spec

    @property
    def parameters(self) -> int:
        """Number of the backbone's weights."""
        return self.backbone.parameters

    @property
    def dim(self) -> int:
        """Length of a feature vector: the backbone's, twice for ``mean+max``, D h w for ``map``."""
        if self.pooling == "map":
            return math.prod(self.map_shape)
        return self.spec.dim * (2 if self.pooling == "mean+max" else 1)

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(D, h, w) of the feature map, known before any picture is."""
        return self.backbone.map_shape

    @cached_property
    def key(self) -> str:
        """JSON of everything that decides a feature's value, except the picture."""
        return json.dumps(
            {
                "backbone": f"{self.spec.source}/{self.spec.name}",
                "weights": self.spec.weights_sha256,
                "size": self.spec.size,
                "mean": self.spec.mean,
                "std": self.spec.std,
                "geometry": self.geometry,
                "pooling": self.pooling,
                "precision": self.precision,
                "engine": self._engine_version(),
                "pixels": pixels_version(),
            },
            sort_keys=True,
        )

    @abstractmethod
    def _engine_version(self) -> str: ...

    @abstractmethod
    def encode(self, squares: Squares) -> Features:
        """(B, S, S, 3) uint8 to (B, dim) float32."""

    @abstractmethod
    def maps(self, squares: Squares) -> Features:
        """(B, S, S, 3) uint8 to the feature map (B, D, h, w) float32."""

    @abstractmethod
    def submit(self, square: Squares, put: Put) -> None:
        """Encode one (S, S, 3) uint8 square some time soon; waits while the engine is busy."""

    @abstractmethod
    def finish(self) -> None:
        """Wait until every submitted square's features were put."""


def create_encoder(
    backbone: Backbone,
    *,
    geometry: Geometry,
    pooling: Reduction = "mean",
    engine: Engine = "auto",
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Encoder:
    """The backbone on an engine.

    Parameters
    ----------
    pooling
        How the feature map becomes a vector: ``mean`` over positions, ``max``, or both, mean first;
        or ``map``: all of it, (D, h, w) flattened.
    engine
        ``auto``: OpenVINO on a CPU, torch on an accelerator.
    device
        ``auto``: CUDA where torch sees it, else Apple's MPS, else the CPU.
    precision
        ``fp32``, or ``bf16`` where the device has it (OpenVINO on a CPU without it stays in fp32 and
        says so in `Encoder.precision`).

    Raises
    ------
    TagboxError
        ``device-missing``; ``engine-device`` for OpenVINO on anything but a CPU; ``extra-missing``.
    """
    chosen, on = choose_engine(engine, device)
    if chosen == "torch":
        from tagbox.backends.torch_backend import TorchEncoder

        return TorchEncoder(backbone, geometry, pooling, precision, on)
    from tagbox.backends.openvino_backend import OpenVinoEncoder

    return OpenVinoEncoder(backbone, geometry, pooling, precision)


def create_encoders(config: ClassifierConfig) -> tuple[Encoder, ...]:
    """The encoders of a training configuration, one for each backbone.

    Raises
    ------
    TagboxError
        ``head-backbones`` for several backbones under a head that looks at the feature map; what
        `create_backbone` and `create_encoder` raise.
    """
    requests = parse_backbones(config.backbone)
    if wants_map(config.head) and len(requests) > 1:
        raise TagboxError(
            "head-backbones",
            f"the head {config.head} looks at one feature map, and {len(requests)} backbones were named",
            where="head",
            hint="name one --backbone, or pass --head linear",
        )
    return tuple(
        create_encoder(
            create_backbone(request, config.weights),
            geometry=config.geometry,
            pooling="map" if wants_map(config.head) else config.pooling,
            engine=config.engine,
            device=config.device,
            precision=config.precision,
        )
        for request in requests
    )


def choose_engine(engine: Engine, device: Device) -> tuple[Literal["openvino", "torch"], str]:
    """The engine and where it computes: OpenVINO on a CPU, torch elsewhere, when not given.

    Raises
    ------
    TagboxError
        ``device-missing``; ``engine-device`` for OpenVINO on anything but a CPU.
    """
    on = choose_device(device, engine)
    if engine == "openvino" and on != "cpu":
        raise TagboxError(
            "engine-device",
            f"OpenVINO runs on the CPU here, not on {on}",
            where="engine",
            hint="pass --engine torch or --device cpu",
        )
    return ("torch" if engine == "torch" or on != "cpu" else "openvino"), on


def choose_device(device: Device, engine: Engine = "auto") -> str:
    """``cpu``, ``cuda`` or ``mps``; torch is asked only where an accelerator could be meant.

    Raises
    ------
    TagboxError
        ``device-missing``.
    """
    if device == "cpu" or (
        device == "auto" and (engine == "openvino" or not _accelerator_likely())
    ):
        return "cpu"
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next((name for name, here in there.items() if here), "cpu")
    if not there[device]:
        raise TagboxError(
            "device-missing",
            f"torch finds no {device} device",
            where="device",
            hint="pass --device cpu, or install the torch build for your hardware",
        )
    return device


def _accelerator_likely() -> bool:
    """Whether asking torch could find an accelerator; asking costs a second of import."""
    import sys
    from pathlib import Path

    return (
        sys.platform in ("darwin", "win32")
        or Path("/dev/nvidiactl").exists()
        or Path("/dev/kfd").exists()  # AMD's driver; torch calls its devices cuda.
        or Path("/dev/dxg").exists()  # Windows' graphics inside WSL.
    )


def installed_version(name: str) -> str:
    """The installed version of a library, without importing it.

    Raises
    ------
    TagboxError
        ``extra-missing``.
    """
    try:
        return version(name)
    except PackageNotFoundError as error:
        raise TagboxError(
            "extra-missing",
            f"encoding needs {name}, which is not installed",
            hint='run: pip install "tagbox[train]"',
        ) from error
