"""The interface of an encoder: uint8 squares to float32 features, on OpenVINO or torch."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tagbox.config import Geometry
from tagbox.errors import extra_missing
from tagbox.images.decode import pixels_version
from tagbox.models.backbones import Backbone, BackboneSpec
from tagbox.models.backbones.base import Reduction as Reduction
from tagbox.sharing import shared_property

Squares = NDArray[np.uint8]
Features = NDArray[np.float32]
Put = Callable[[Features], None]
Precision = Literal["fp32", "bf16"]


class Encoder(ABC):
    """A backbone made ready to run; made by `backends.create.create_encoder`.

    `encode` and `maps` return when they are done. A `queue` keeps the engine busy while the caller decodes the
    next images. Any number of threads may share an encoder.
    """

    engine: str
    """``openvino`` or ``torch``."""

    def __init__(
        self, backbone: Backbone, geometry: Geometry, pooling: Reduction, precision: Precision
    ) -> None:
        self.backbone = backbone
        self.geometry: Geometry = geometry
        self.precision: Precision = precision
        self.pooling: Reduction = backbone.spec.pooling(pooling)

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
        return self.spec.features(self.pooling)

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(D, h, w) of the feature map."""
        return self.backbone.map_shape

    @shared_property
    def key(self) -> str:
        """JSON of everything besides the image that determines a feature's value."""
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
    def queue(self) -> EncoderQueue:
        """A queue for one caller."""


class EncoderQueue(Protocol):
    """Squares that one caller has under way; each thread takes its own.

    Each square's features are passed to its `put`, in any order, from the thread that calls `submit` or
    `finish`, at the latest when `finish` returns.
    """

    def submit(self, square: Squares, put: Put) -> None:
        """Queue one (S, S, 3) uint8 square; waits while the engine is busy.

        Raises
        ------
        TagboxError
            ``forked``; see `sharing.start_engine`.
        """

    def finish(self) -> None:
        """Wait until every submitted square's features were passed on."""


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
        raise extra_missing("encoding", name) from error
