"""Nothing opens a socket, neither loading OpenVINO nor converting a model to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import socket, threading, time
tried = []
def refuse(*arguments, **_):
    tried.append(arguments)
    raise OSError
socket.getaddrinfo = refuse
socket.socket.connect = refuse
import numpy as np
from tagbox.backends.create import create_encoder
from tagbox.models.backbones import BackboneRequest, create_backbone
for name in ("efficientnet_lite0", "resnet18"):
    backbone = create_backbone(BackboneRequest(name, 64), "none")
    encoder = create_encoder(backbone, geometry="squash", engine="openvino")
    assert encoder.encode(np.zeros((2, 64, 64, 3), np.uint8)).shape == (2, encoder.dim)
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(2)
assert not tried, tried
"""


def test_no_statistics_are_sent(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    # The statistics begin with a number for the user, kept at home.
    assert list(tmp_path.iterdir()) == []
