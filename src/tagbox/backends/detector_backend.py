"""Detectors on an engine: torch, or on a CPU OpenVINO for the body of the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.encoder import installed_version
from tagbox.backends.openvino_backend import compile_on_cpu
from tagbox.device import Device, Engine, choose_engine

if TYPE_CHECKING:
    from torch import Tensor

    from tagbox.models.detectors.base import Detector, Found

Pixels = NDArray[np.uint8]
"""(H, W, 3) uint8, the image in its upper left corner; see `images.geometry.Letterbox`."""
Put = Callable[["Found"], None]

PIXELS = 16 * 320 * 320
"""Pixels of a batch in torch, which bound its memory."""
MOST = 16
"""Images of a batch in torch, at most."""


class DetectorEngine(ABC):
    """A detector made ready to run; made by `create_detector_engine`.

    Each submitted image's detections are passed to its `put`, in any order, always from the thread that
    calls `submit` or `finish`, and at the latest when `finish` returns.
    """

    name: str
    """``openvino`` or ``torch``."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector.eval()

    @abstractmethod
    def submit(self, letterbox: Pixels, size: tuple[int, int], put: Put) -> None:
        """Queue an image of `size` (height, width) in its letterbox; waits while the engine is busy."""

    @abstractmethod
    def finish(self) -> None:
        """Wait until every submitted image's detections were passed on."""


class TorchDetectorEngine(DetectorEngine):
    """Batches of letterboxes of one shape, on any device."""

    name = "torch"

    def __init__(self, detector: Detector, device: str) -> None:
        super().__init__(detector)
        self.device = device
        self._waiting: dict[tuple[int, ...], list[tuple[Pixels, tuple[int, int], Put]]] = {}
        detector.to(device)

    def submit(self, letterbox: Pixels, size: tuple[int, int], put: Put) -> None:
        """See `DetectorEngine.submit`."""
        waiting = self._waiting.setdefault(letterbox.shape, [])
        waiting.append((letterbox, size, put))
        if len(waiting) >= _batch(letterbox):
            self._run(self._waiting.pop(letterbox.shape))

    def finish(self) -> None:
        """See `DetectorEngine.finish`."""
        while self._waiting:
            self._run(self._waiting.popitem()[1])

    def _run(self, waiting: list[tuple[Pixels, tuple[int, int], Put]]) -> None:
        import torch

        from tagbox.backends.torch_backend import least_batch

        # Filled up by repetition, so that results do not depend on the size of the last batch.
        least = min(_batch(waiting[0][0]), least_batch(self.device))
        filled = [waiting[min(row, len(waiting) - 1)] for row in range(max(least, len(waiting)))]
        images = torch.from_numpy(np.stack([letterbox for letterbox, _, _ in filled]))
        with torch.inference_mode():
            _, found = self.detector(images.to(self.device), [size for _, size, _ in filled])
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
        self._queues: dict[tuple[int, ...], Any] = {}
        self._done: deque[tuple[list[NDArray[np.float32]], _Job]] = deque()

    def submit(self, letterbox: Pixels, size: tuple[int, int], put: Put) -> None:
        """See `DetectorEngine.submit`."""
        import torch

        with torch.inference_mode():
            pixels = self.detector.normalise(torch.from_numpy(letterbox[None]))
        queue = self._queues.get(letterbox.shape)
        if queue is None:
            queue = self._queues[letterbox.shape] = self._compile(pixels)
        queue.start_async({0: pixels.contiguous().numpy()}, userdata=(pixels, size, put))
        self._take_done()

    def finish(self) -> None:
        """See `DetectorEngine.finish`."""
        for queue in self._queues.values():
            queue.wait_all()
        self._take_done()

    def _take_done(self) -> None:
        import torch

        while self._done:
            parts, (pixels, size, put) = self._done.popleft()
            with torch.inference_mode():
                tensors = [torch.from_numpy(part) for part in parts]
                (found,) = self.detector.found(tensors, pixels, [size])
            put(found)

    def _compile(self, pixels: Tensor) -> Any:
        import openvino

        from tagbox.models.backbones.torch_backbones import convert_module

        model = convert_module(self.detector.body, list(pixels.shape))
        queue = openvino.AsyncInferQueue(compile_on_cpu(model, "fp32"))

        def take(request: Any, job: _Job) -> None:
            # The request's own memory is written again by the next image.
            self._done.append(([output.data.copy() for output in request.output_tensors], job))

        queue.set_callback(take)
        return queue


_Job = tuple["Tensor", tuple[int, int], Put]
"""Normalised pixels, the image's size in them, and the callback for its detections."""


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
