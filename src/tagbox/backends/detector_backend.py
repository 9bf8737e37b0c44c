"""Detectors on an engine: torch, or on a CPU OpenVINO for the body of the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.encoder import installed_version
from tagbox.backends.infer_requests import InferQueue, InferRequests, Outputs
from tagbox.backends.openvino_backend import compile_on_cpu
from tagbox.device import Device, Engine, choose_engine
from tagbox.sharing import made_once, start_engine

if TYPE_CHECKING:
    from tagbox.models.detectors.base import Detector, Found

Pixels = NDArray[np.uint8]
"""(H, W, 3) uint8, the image in its upper left corner; see `images.geometry.Letterbox`."""
Put = Callable[["Found"], None]

PIXELS = 16 * 320 * 320
"""Pixels of a batch in torch, which bound its memory."""
MOST = 16
"""Images of a batch in torch, at most."""


class DetectorEngine(ABC):
    """A detector made ready to run; made by `create_detector_engine`. Any number of threads may share it."""

    name: str
    """``openvino`` or ``torch``."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector.eval()

    @abstractmethod
    def queue(self) -> DetectorQueue:
        """A queue for one caller."""


class DetectorQueue(Protocol):
    """Images that one caller has under way; each thread takes its own.

    Each submitted image's detections are passed to its `put`, in any order, always from the thread that
    calls `submit` or `finish`, and at the latest when `finish` returns.
    """

    def submit(self, letterbox: Pixels, size: tuple[int, int], put: Put) -> None:
        """Queue an image of `size` (height, width) in its letterbox; waits while the engine is busy.

        Raises
        ------
        TagboxError
            ``forked``; see `sharing.start_engine`.
        """

    def finish(self) -> None:
        """Wait until every submitted image's detections were passed on."""


class TorchDetectorEngine(DetectorEngine):
    """Batches of letterboxes of one shape, on any device."""

    name = "torch"

    def __init__(self, detector: Detector, device: str) -> None:
        super().__init__(detector)
        self.device = device
        detector.to(device)

    def queue(self) -> DetectorQueue:
        """See `DetectorEngine.queue`."""
        return TorchDetectorQueue(self)


class TorchDetectorQueue:
    """See `DetectorQueue`: letterboxes of one shape wait until they are a batch."""

    def __init__(self, engine: TorchDetectorEngine) -> None:
        self._engine = engine
        self._waiting: dict[tuple[int, ...], list[tuple[Pixels, tuple[int, int], Put]]] = {}

    def submit(self, letterbox: Pixels, size: tuple[int, int], put: Put) -> None:
        """See `DetectorQueue.submit`."""
        waiting = self._waiting.setdefault(letterbox.shape, [])
        waiting.append((letterbox, size, put))
        if len(waiting) >= _batch(letterbox):
            self._run(self._waiting.pop(letterbox.shape))

    def finish(self) -> None:
        """See `DetectorQueue.finish`."""
        while self._waiting:
            self._run(self._waiting.popitem()[1])

    def _run(self, waiting: list[tuple[Pixels, tuple[int, int], Put]]) -> None:
        import torch

        from tagbox.backends.torch_backend import least_batch

        start_engine()
        device = self._engine.device
        # Filled up by repetition, so that results do not depend on the size of the last batch.
        least = min(_batch(waiting[0][0]), least_batch(device))
        filled = [waiting[min(row, len(waiting) - 1)] for row in range(max(least, len(waiting)))]
        images = torch.from_numpy(np.stack([letterbox for letterbox, _, _ in filled]))
        with torch.inference_mode():
            _, found = self._engine.detector(images.to(device), [size for _, size, _ in filled])
        for (_, _, put), each in zip(waiting, found, strict=False):
            put(each)


class OpenVinoDetectorEngine(DetectorEngine):
    """The body through OpenVINO in fp32, one image a request and several in flight.

    Compiled for each shape of letterbox when its first image comes.
    """

    name = "openvino"

    def __init__(self, detector: Detector) -> None:
        installed_version("openvino")
        super().__init__(detector.to("cpu"))
        self._compiled: dict[tuple[int, ...], InferRequests] = {}

    def queue(self) -> DetectorQueue:
        """See `DetectorEngine.queue`."""
        return OpenVinoDetectorQueue(self)

    def requests(self, shape: tuple[int, ...]) -> InferRequests:
        """The infer requests for normalised pixels of that shape, (1, 3, H, W)."""
        if shape not in self._compiled:
            with made_once():
                if shape not in self._compiled:
                    model = self.detector.openvino_model(shape)
                    self._compiled[shape] = InferRequests(compile_on_cpu(model, "fp32"))
        return self._compiled[shape]


class OpenVinoDetectorQueue:
    """See `DetectorQueue`."""

    def __init__(self, engine: OpenVinoDetectorEngine) -> None:
        self._engine = engine
        self._queues: dict[tuple[int, ...], InferQueue] = {}

    def submit(self, letterbox: Pixels, size: tuple[int, int], put: Put) -> None:
        """See `DetectorQueue.submit`."""
        import torch

        start_engine()
        detector = self._engine.detector
        with torch.inference_mode():
            pixels = detector.normalise(torch.from_numpy(letterbox[None]))

        def find(outputs: Outputs) -> None:
            with torch.inference_mode():
                tensors = [torch.from_numpy(output) for output in outputs]
                (found,) = detector.found(tensors, pixels, [size])
            put(found)

        shape = tuple(pixels.shape)
        queue = self._queues.get(shape)
        if queue is None:
            queue = self._queues[shape] = InferQueue(self._engine.requests(shape))
        queue.submit(pixels.contiguous().numpy(), find)

    def finish(self) -> None:
        """See `DetectorQueue.finish`."""
        for queue in self._queues.values():
            queue.finish()


def create_detector_engine(
    detector: Detector, *, engine: Engine = "auto", device: Device = "auto"
) -> DetectorEngine:
    """The detector on an engine.

    Parameters
    ----------
    engine
        ``auto``: OpenVINO on a CPU, torch on an accelerator.
    device
        ``auto``: CUDA where torch sees it, else Apple's MPS, else the CPU.

    Raises
    ------
    TagboxError
        ``device-missing``; ``engine-device`` for OpenVINO on anything but a CPU; ``extra-missing``.
    """
    chosen, on = choose_engine(engine, device)
    if chosen == "torch":
        return TorchDetectorEngine(detector, on)
    return OpenVinoDetectorEngine(detector)


def _batch(letterbox: Pixels) -> int:
    """Letterboxes of that shape in a batch."""
    return max(1, min(MOST, PIXELS // letterbox[..., 0].size))
