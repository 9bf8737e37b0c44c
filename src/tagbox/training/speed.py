"""What ``auto`` means for a training step: decided once on this machine, then written down.

On a CPU channels come last, unmeasured (`benchmarks/memory_layout.py` has the times): a clock that a busy machine
disturbs would make the same command give other numbers. What is left to measure is bf16 where the processor has
it, and the layout on a GPU.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from tagbox.config import DetectorConfig, FinetuneConfig
from tagbox.errors import TagboxError
from tagbox.training.distributed import Precision

if TYPE_CHECKING:
    from torch import Tensor

GAIN = 0.95
"""A candidate must take less than this share of the time of a step in fp32, in the first layout, to be chosen."""
TIMED_STEPS = 3

Way = tuple[Precision, bool]
"""Arithmetic, and whether channels come last in memory."""
Steps = TypeVar("Steps", FinetuneConfig, DetectorConfig)
"""Settings of a step on pictures."""
Forward = Callable[[Any], "Tensor"]
"""A model, on its device and in training mode, to a loss on noise of the batch's size."""


def resolve_speed(
    config: Steps,
    network: Any,
    forward: Forward,
    *,
    device: str,
    say: Callable[[str], None],
) -> Steps:
    """`config` with ``auto`` for precision and memory layout decided.

    Parameters
    ----------
    network
        A `Network` or a `Detector`.
    forward
        What a step computes.
    device
        ``cpu``, ``cuda`` or ``mps``.

    Raises
    ------
    TagboxError
        ``precision-device`` for an arithmetic that the device does not have.
    """
    there: list[Precision] = available(device)
    if config.precision not in ("auto", *there):
        raise TagboxError(
            "precision-device",
            f"{config.precision} training is not available on this {device}",
            where="precision" if isinstance(config, DetectorConfig) else "finetune.precision",
            hint=f"choose {', '.join(there)} or auto",
        )
    # fp16 is older hardware's substitute for bf16; where both are, bf16 needs no loss scaling.
    fast = [name for name in there if name != "fp16" or "bf16" not in there]
    precisions = fast if config.precision == "auto" else [config.precision]
    either = [True] if device == "cpu" else [False, True]
    layouts = {"auto": either, "yes": [True], "no": [False]}[config.channels_last]
    ways: list[Way] = [(precision, last) for precision in precisions for last in layouts]
    chosen = ways[0]
    if len(ways) > 1:
        times = step_seconds(network, forward, ways, device=device)
        best = min(times, key=lambda way: times[way])
        if times[best] < GAIN * times[chosen]:
            chosen = best
        listed = ", ".join(f"{_name(way)} {seconds:.2f} s" for way, seconds in times.items())
        say(f"a step takes {listed}: {_name(chosen)} it is")
    return replace(config, precision=chosen[0], channels_last="yes" if chosen[1] else "no")


def available(device: str) -> list[Precision]:
    """Arithmetics that the device computes in hardware; fp32 is the first."""
    import torch

    if device == "cuda":
        return ["fp32", "bf16", "fp16"] if torch.cuda.is_bf16_supported() else ["fp32", "fp16"]
    if device == "cpu":
        return ["fp32", "bf16"] if _cpu_has_bf16() else ["fp32"]
    return ["fp32"]


def _cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 itself; elsewhere it is emulated, and slower than fp32."""
    from pathlib import Path

    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags


def step_seconds(
    network: Any, forward: Forward, ways: Sequence[Way], *, device: str
) -> dict[Way, float]:
    """Seconds of a training step on noise, the best of `TIMED_STEPS`; the network is left as it was.

    The ways take turns, so that what else the machine does for a while slows all of them.
    """
    import torch

    models = {}
    for way in ways:
        models[way] = copy.deepcopy(network).to(device).train()
        if way[1]:
            models[way].use_channels_last()
    seconds: dict[Way, list[float]] = {way: [] for way in ways}
    with torch.random.fork_rng(devices=[]):
        for _ in range(1 + TIMED_STEPS):
            for way, model in models.items():
                seconds[way].append(_step(model, forward, way[0], device))
    return {way: min(taken[1:]) for way, taken in seconds.items()}


def _step(model: Any, forward: Forward, precision: Precision, device: str) -> float:
    import torch

    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    _wait(device)
    start = time.perf_counter()
    with torch.autocast(device, dtype, enabled=precision != "fp32"):
        loss = forward(model)
    torch.autograd.backward(loss.float())
    _wait(device)
    taken = time.perf_counter() - start
    for parameter in model.parameters():
        parameter.grad = None
    return taken


def _wait(device: str) -> None:
    """Until the device has done what it was given."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def _name(way: Way) -> str:
    return f"{way[0]}{' channels last' if way[1] else ''}"
