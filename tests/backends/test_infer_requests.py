"""Outputs of OpenVINO reach the caller of their image, whatever ends first."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tagbox.backends.infer_requests import InferQueue, InferRequests

openvino = pytest.importorskip("openvino")


SETTINGS = {"NUM_STREAMS": 2, "INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture(scope="module")
def requests() -> InferRequests:
    """Of a network that takes (N, N) and gives the sum of its square: 1,000 times longer for the largest."""
    from openvino import opset13 as ops

    inputs = ops.parameter([-1, -1], np.float32)
    square = ops.matmul(inputs, inputs, False, False)
    model = openvino.Model([ops.reduce_sum(square, [0, 1])], [inputs])
    return InferRequests(openvino.Core().compile_model(model, "CPU", SETTINGS))


SIDES = [400, 8, 16, 300, 4, 4, 200, 12, 350, 6] * 3


def collected(requests: InferRequests, value: float) -> list[float]:
    """For each image, what was put for it: N ones times `value`, whose square sums to N³ value²."""
    queue, found = InferQueue(requests), [np.nan] * len(SIDES)

    for row, side in enumerate(SIDES):

        def put(outputs: list[np.ndarray], row: int = row) -> None:
            assert np.isnan(found[row])
            found[row] = float(outputs[0])

        queue.submit(np.full((side, side), value * (row + 1), np.float32), put)
    queue.finish()
    return found


def expected(value: float) -> list[float]:
    return [side**3 * (value * (row + 1)) ** 2 for row, side in enumerate(SIDES)]


def test_each_output_is_that_of_its_image(requests: InferRequests) -> None:
    np.testing.assert_allclose(collected(requests, 1.0), expected(1.0), rtol=1e-2)


def test_each_output_is_that_of_its_caller(requests: InferRequests) -> None:
    found: dict[int, list[float]] = {}

    def run(caller: int) -> None:
        found[caller] = collected(requests, float(caller))

    threads = [threading.Thread(target=run, args=(caller,)) for caller in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for caller in range(1, 5):
        np.testing.assert_allclose(found[caller], expected(caller), rtol=1e-2)


def test_a_failure_is_told_and_leaves_no_request_behind(requests: InferRequests) -> None:
    queue = InferQueue(requests)
    with pytest.raises(RuntimeError):
        for _ in range(4):
            queue.submit(np.ones((3, 4), np.float32), print)  # It has no square.
        queue.finish()
    np.testing.assert_allclose(collected(requests, 2.0), expected(2.0), rtol=1e-2)
