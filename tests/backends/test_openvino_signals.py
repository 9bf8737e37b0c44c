"""OpenVINO's alternate signal stack outlives every model: a signal never finds one that is gone."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

# Two models that end in the order in which they began, then a child that ends: its SIGCHLD has a handler.
# Without `faulthandler` there is no stack to restore, as in a notebook and under pytest there is.
SCRIPT = """
import faulthandler, gc, signal, subprocess, sys
import numpy as np
from tagbox.backends.openvino_backend import compile_on_cpu

faulthandler.enable()
import openvino
from openvino import opset13 as ops

def model():
    inputs = ops.parameter([1, 64], np.float32)
    return compile_on_cpu(openvino.Model([ops.relu(inputs).output(0)], [inputs]), "fp32")

models = [model(), model()]
while models:
    del models[0]
    gc.collect()
caught = []
signal.signal(signal.SIGCHLD, lambda *_: caught.append(1))
subprocess.run([sys.executable, "-c", ""], check=True)
print(len(caught))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGCHLD")
def test_a_signal_after_two_models_reaches_its_handler() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "1\n", "")
