"""Encoding on a CPU through OpenVINO.

One image a request and several requests in flight: as fast as batches (measured), nothing is padded,
nothing recompiles for a remainder, and a feature never depends on its neighbours in a batch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, cached_property
from typing import Any

import numpy as np

from tagbox.backends.encoder import (
    Encoder,
    EncoderQueue,
    Features,
    Precision,
    Put,
    Reduction,
    Squares,
    installed_version,
)
from tagbox.backends.infer_requests import InferQueue, InferRequests, Outputs
from tagbox.config import Geometry
from tagbox.models.backbones import Backbone
from tagbox.sharing import shared_property, start_engine

# openvino sends usage statistics through this package, and no variable of the environment stops it; without the
# package it falls back to a stub of its own that sends nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


class OpenVinoEncoder(Encoder):
    """Compiles when the first image comes; a run whose features are all cached never does."""

    engine = "openvino"

    def __init__(
        self, backbone: Backbone, geometry: Geometry, pooling: Reduction, precision: Precision
    ) -> None:
        self._version = installed_version("openvino")
        if precision == "bf16" and not _has_bf16():
            print("tagbox: this CPU has no bf16 arithmetic; encoding in fp32", file=sys.stderr)
            precision = "fp32"
        super().__init__(backbone, geometry, pooling, precision)

    def _engine_version(self) -> str:
        return f"openvino {self._version}"

    def encode(self, squares: Squares) -> Features:
        """See `Encoder.encode`."""
        out = np.empty((len(squares), self.dim), np.float32)
        queue = self.queue()
        for row, square in zip(out, squares, strict=True):
            queue.submit(square, _copy_into(row))
        queue.finish()
        return out

    def maps(self, squares: Squares) -> Features:
        """See `Encoder.maps`."""
        start_engine()
        found: dict[int, Features] = {}
        queue = InferQueue(self._requests)

        def keep_as(row: int) -> Callable[[Outputs], object]:
            def keep(outputs: Outputs) -> None:
                found[row] = outputs[1][0]

            return keep

        for row, square in enumerate(squares):
            queue.submit(_batch_of(square), keep_as(row))
        queue.finish()
        maps = [found[row] for row in range(len(squares))]
        return np.stack(maps) if maps else np.zeros((0, self.spec.dim, 0, 0), np.float32)

    def queue(self) -> EncoderQueue:
        """See `Encoder.queue`."""
        return OpenVinoQueue(self)

    @shared_property
    def _requests(self) -> InferRequests:
        """Compiled once for both outputs: handing the map over costs less than compiling again."""
        return InferRequests(compile_on_cpu(self._graph(), self.precision))

    def _graph(self) -> Any:
        """Normalisation, backbone and pooling: uint8 (1, S, S, 3) to (1, dim) and (1, D, h, w)."""
        import openvino
        from openvino import opset13 as ov

        spec = self.spec
        squares = ov.parameter([1, spec.size, spec.size, 3], np.uint8, name="squares")
        pixels = ov.divide(ov.convert(squares, "f32"), ov.constant(np.float32(255)))
        for operation, value in ((ov.subtract, spec.mean), (ov.divide, spec.std)):
            pixels = operation(pixels, ov.constant(np.array(value, np.float32).reshape(1, 1, 1, 3)))
        pixels = ov.transpose(pixels, ov.constant(np.array([0, 3, 1, 2])))
        feature_map = self.backbone.openvino_map(pixels)
        pooled = _pooled(feature_map, self.pooling)
        # A converted backbone hands over an output, ours a node; a model takes them only of one kind.
        outputs = [pooled.output(0), getattr(feature_map, "output", lambda _: feature_map)(0)]
        return openvino.Model(outputs, [squares], spec.name)


class OpenVinoQueue:
    """See `EncoderQueue`; the encoder compiles when the first square comes."""

    def __init__(self, encoder: OpenVinoEncoder) -> None:
        self._encoder = encoder

    def submit(self, square: Squares, put: Put) -> None:
        """See `EncoderQueue.submit`."""
        self._inferences.submit(_batch_of(square), lambda outputs: put(outputs[0][0]))

    def finish(self) -> None:
        """See `EncoderQueue.finish`."""
        if "_inferences" in self.__dict__:
            self._inferences.finish()

    @cached_property
    def _inferences(self) -> InferQueue:
        start_engine()
        return InferQueue(self._encoder._requests)


def _batch_of(square: Squares) -> Squares:
    return np.ascontiguousarray(square)[None]


def compile_on_cpu(model: Any, precision: Precision) -> Any:
    """An `openvino.Model` compiled for several requests in flight on the CPU."""
    return _core().compile_model(
        model,
        "CPU",
        {
            # Without this hint OpenVINO computes in bf16 wherever the processor can.
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "PERFORMANCE_HINT": "THROUGHPUT",
        },
    )


def _pooled(feature_map: Any, pooling: Reduction) -> Any:
    """The node of (1, dim), given that of (1, D, h, w)."""
    from openvino import opset13 as ov

    if pooling == "map":
        return ov.reshape(feature_map, ov.constant(np.array([1, -1])), special_zero=False)
    positions = ov.constant(np.array([2, 3]))
    parts = [
        reduce(feature_map, positions, keep_dims=False)
        for name, reduce in (("mean", ov.reduce_mean), ("max", ov.reduce_max))
        if name in pooling.split("+")
    ]
    return ov.concat(parts, 1) if len(parts) > 1 else parts[0]


def _copy_into(row: Features) -> Put:
    def put(features: Features) -> None:
        row[:] = features

    return put


def _has_bf16() -> bool:
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _core() -> Any:
    """The one `openvino.Core` of the process, which is never destroyed.

    Where the processor has AMX, each new core installs an alternate stack for the signals of the calling thread
    (`SigAltStackSetup` in OpenVINO's CPU plugin) and unmaps it when it is destroyed, restoring the one before only
    if its own is still the current one. Two cores destroyed in the order in which they were made leave the thread with a
    stack that no longer exists: the next signal with a handler, such as the SIGCHLD that torch's `DataLoader`
    handles, ends the process with a segmentation fault.
    """
    import openvino

    return openvino.Core()
