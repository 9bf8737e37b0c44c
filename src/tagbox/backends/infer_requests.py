"""OpenVINO's infer requests of one compiled model, shared by the threads that use it.

A request holds the inputs and outputs of one image and belongs to one caller at a time; the compiled model
itself may be used by any number of threads (OpenVINO, "Inference Request"). `openvino.AsyncInferQueue` is no
help: one of its requests can be given to two threads, and waiting for it waits for everybody's images.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.sharing import engine_lost, start_engine

Outputs = list[NDArray[np.float32]]
_MILLISECONDS = 1
"""How long one image is waited for before the next is looked at; a network takes longer for an image."""


class InferRequests:
    """The requests that no caller has; as many as keep the CPU busy, and one more for each caller beyond them."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._most = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._taken = 0

    def take(self, *, always: bool) -> Any | None:
        """A request, or None where as many as keep the CPU busy are taken; `always` makes another one then."""
        with self._lock:
            if not always and self._taken >= self._most:
                return None
            self._taken += 1
            if self._idle:
                return self._idle.pop()
        return self._compiled.create_infer_request()

    def give_back(self, request: Any | None) -> None:
        """Another caller may have it; None where it failed."""
        with self._lock:
            self._taken -= 1
            if request is not None and len(self._idle) < self._most:
                self._idle.append(request)


class InferQueue:
    """The images that one caller has under way; no other thread may use it."""

    def __init__(self, requests: InferRequests) -> None:
        self._requests = requests
        self._under_way: deque[tuple[Any, Callable[[Outputs], object]]] = deque()

    def submit(self, inputs: NDArray[Any], put: Callable[[Outputs], object]) -> None:
        """Start the inference of one image; may wait for any other, and calls `put` of that with copies of its outputs."""
        start_engine()
        # A caller with nothing under way always gets a request: nobody waits for what another one does.
        request = self._requests.take(always=not self._under_way)
        while request is None:
            self._hand_over()
            request = self._requests.take(always=not self._under_way)
        request.start_async({0: inputs})
        self._under_way.append((request, put))

    def finish(self) -> None:
        """Wait for all images."""
        if engine_lost():
            self._under_way.clear()
        while self._under_way:
            self._hand_over()

    def _hand_over(self) -> None:
        """Wait for any image and pass its outputs on."""
        # To wait for the oldest would leave idle what has computed a later one. OpenVINO's callbacks, which would
        # tell the first to end, can wait for ever for Python's lock when their model is deleted.
        request, put = self._under_way.popleft()
        outputs = None
        try:
            while not request.wait_for(_MILLISECONDS):
                self._under_way.append((request, put))
                request, put = self._under_way.popleft()
            request.wait()
            # The request's own memory is written again by the next image.
            outputs = [tensor.data.copy() for tensor in request.output_tensors]
        finally:
            self._requests.give_back(None if outputs is None else request)
        put(outputs)
