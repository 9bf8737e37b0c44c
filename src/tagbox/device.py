"""Which device and engine to compute on, the precisions that a device has, and threads; torch is imported only when asked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tagbox.errors import TagboxError

Device = Literal["auto", "cuda", "mps", "cpu"]
Engine = Literal["auto", "openvino", "torch"]
Precision = Literal["fp32", "bf16", "fp16"]


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
    return (
        sys.platform in ("darwin", "win32")
        or Path("/dev/nvidiactl").exists()
        or Path("/dev/kfd").exists()  # AMD's driver; torch calls its devices cuda.
        or Path("/dev/dxg").exists()  # Windows' graphics inside WSL.
    )


def available_precisions(device: str) -> list[Precision]:
    """The precisions that a ``cpu``, ``cuda`` or ``mps`` device computes in hardware; fp32 is the first."""
    import torch

    if device == "cuda":
        # Before compute capability 8.0 bf16 is emulated.
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ["fp32", "bf16", "fp16"] if bf16 else ["fp32", "fp16"]
    if device == "cpu" and cpu_flags() & {"avx512_bf16", "amx_bf16"}:
        return ["fp32", "bf16"]
    return ["fp32"]


def cpu_flags() -> set[str]:
    """The features that Linux lists of the processor; elsewhere none, and bf16 would be emulated."""
    try:
        return set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return set()


SMALL_STEP = 3e7
"""Multiplications of a forward pass below which several threads are slower than one.

A linear head's step takes a millisecond on one core. On a busy machine of two cores, two threads took four to
five times as long as one.
"""


@contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """Context in which torch uses one thread if a step is small, and all of its threads otherwise."""
    import torch

    before = torch.get_num_threads()
    if multiplications < SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
