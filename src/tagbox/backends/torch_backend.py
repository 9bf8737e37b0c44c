"""Encoding through torch: bit-equal to the backbone's own forward pass in eval mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from tagbox.config import Geometry
from tagbox.models.backbones import Backbone, normalise, pool
from tagbox.sharing import shared_property, start_engine

if TYPE_CHECKING:
    from torch import Tensor, nn

BATCH = 32


class TorchEncoder(Encoder):
    """Batches of 32 images through `Backbone.module`, without gradients."""

    engine = "torch"

    def __init__(
        self,
        backbone: Backbone,
        geometry: Geometry,
        pooling: Reduction,
        precision: Precision,
        device: str,
    ) -> None:
        installed_version("torch")
        super().__init__(backbone, geometry, pooling, precision)
        self.device = device

    def _engine_version(self) -> str:
        import torch

        # The number of threads decides the order of sums, and so the last bits.
        threads = f" threads {torch.get_num_threads()}" if self.device == "cpu" else ""
        return f"torch {torch.__version__} {self.device}{threads}"

    def encode(self, squares: Squares) -> Features:
        """See `Encoder.encode`."""
        out = np.empty((len(squares), self.dim), np.float32)
        for start in range(0, len(squares), BATCH):
            batch = squares[start : start + BATCH]
            out[start : start + BATCH] = pool(self._map(batch), self.pooling).cpu().numpy()
        return out

    def maps(self, squares: Squares) -> Features:
        """See `Encoder.maps`."""
        parts = [
            self._map(squares[start : start + BATCH]).cpu().numpy()
            for start in range(0, len(squares), BATCH)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.spec.dim, 0, 0), np.float32)

    def queue(self) -> EncoderQueue:
        """See `Encoder.queue`."""
        return TorchQueue(self)

    @shared_property
    def _module(self) -> nn.Module:
        return self.backbone.module.to(self.device)

    def _map(self, squares: Squares) -> Tensor:
        """The feature map (B, D, h, w) float32 on the device; B at most `BATCH`."""
        import torch

        start_engine()
        count = len(squares)
        filled = squares[np.minimum(np.arange(max(count, least_batch(self.device))), count - 1)]
        images = torch.from_numpy(filled)
        module = self._module  # Made outside of inference mode: it may be trained later.
        bf16 = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=bf16):
            found: Tensor = module(normalise(images.to(self.device), self.spec))
        return found[:count].float()


class TorchQueue:
    """See `EncoderQueue`: squares wait until they are a batch."""

    def __init__(self, encoder: TorchEncoder) -> None:
        self._encoder = encoder
        self._waiting: list[tuple[Squares, Put]] = []

    def submit(self, square: Squares, put: Put) -> None:
        """See `EncoderQueue.submit`."""
        self._waiting.append((square, put))
        if len(self._waiting) >= BATCH:
            self.finish()

    def finish(self) -> None:
        """See `EncoderQueue.finish`."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        features = self._encoder.encode(np.stack([square for square, _ in waiting]))
        for row, (_, put) in zip(features, waiting, strict=True):
            put(row)


def least_batch(device: str) -> int:
    """The least batch for which torch computes convolutions as for larger ones, to the last bit.

    Batches of one never go through oneDNN; with one thread, 1x1 convolutions go there from 16 on
    (``use_mkldnn`` in ATen's Convolution.cpp). Smaller batches are filled with repetitions, so
    that a result does not depend on the size of the last batch.
    """
    import torch

    return 16 if device == "cpu" and torch.get_num_threads() == 1 else 2
