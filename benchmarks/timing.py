"""What every benchmark here shares: alternated runs, medians, ratios, one JSON object on stdout.

A figure is a ratio between two ways of doing one thing, measured in the same run of the same
command. The ways take turns (A B, B A, A B, ...), so that a machine that slows down or warms up slows
both, and the median of the repeats is what counts.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

IMPORTED = time.perf_counter()

# What decides whether a processor multiplies bf16 itself or only imitates it in fp32.
BF16_FLAGS = ("avx512_bf16", "avx_ne_convert", "amx_bf16", "bf16", "sve_bf16")


def alternated(ways: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """Call each of `ways` `repeats` times, in turn, every second round in reverse order."""
    results: dict[str, list[T]] = {name: [] for name in ways}
    for turn in range(repeats):
        names = list(ways) if turn % 2 == 0 else list(ways)[::-1]
        for name in names:
            say(f"{name}: run {turn + 1} of {repeats}")
            results[name].append(ways[name]())
    return results


def seconds_of(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def process_seconds() -> float:
    """Seconds since this process began, the interpreter's start and every import included.

    Linux tells when a process began, to 10 ms; elsewhere the count begins when this module is imported.
    """
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.perf_counter() - IMPORTED
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Median, extremes and every repeat, rounded to the millisecond (to 0.1 us under 10 ms)."""
    digits = 3 if statistics.median(seconds) >= 0.01 else 7
    return {
        "median": round(statistics.median(seconds), digits),
        "min": round(min(seconds), digits),
        "max": round(max(seconds), digits),
        "repeats": [round(value, digits) for value in seconds],
    }


def ratio(baseline: Sequence[float], ours: Sequence[float]) -> float:
    """How many times the baseline's median is ours: above 1, we are faster (or smaller)."""
    return round(statistics.median(baseline) / statistics.median(ours), 2)


@dataclass(frozen=True)
class Run:
    """One process from start to exit."""

    seconds: float
    peak_mb: float
    """Largest resident memory in MB (10^6 bytes) of the process and of any child it waited for."""
    stdout: str

    def json(self) -> Any:
        """What the process printed, as JSON."""
        return json.loads(self.stdout)


def run(
    command: Sequence[object],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    exit_code: int = 0,
) -> Run:
    """Run `command` to its end, which is to have `exit_code`; its stderr goes through.

    A new process starts with its parent's peak memory on the books (Linux carries it over `exec`), so
    keep the process that calls this small where `peak_mb` matters.

    Raises
    ------
    SystemExit
        The command failed; nothing measured after that would mean anything.
    """
    words = [str(word) for word in command]
    start = time.perf_counter()
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, cwd=cwd, env={**os.environ, **(env or {})}
    ) as process:
        assert process.stdout is not None
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != exit_code:
        sys.exit(f"{' '.join(words)} ended with exit code {process.returncode}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Run(seconds, round(kilobytes * 1024 / 1e6, 1), stdout)


def tagbox_command() -> list[str]:
    """The installed `tagbox` of this interpreter's environment."""
    return [str(Path(sys.executable).with_name("tagbox"))]


def machine(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Processor, cores, load and versions: what a reader needs to judge a figure."""
    flags = _cpu_flags()
    return {
        "processor": _cpu_name(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "bf16_flags": [flag for flag in BF16_FLAGS if flag in flags],
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
    }


def _cpu_field(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")


def _cpu_name() -> str:
    return _cpu_field("model name") or platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    return set((_cpu_field("flags") or _cpu_field("Features")).split())


def say(message: str) -> None:
    """One line of progress; stdout is kept for the result."""
    print(message, file=sys.stderr, flush=True)


def report(result: Mapping[str, Any]) -> None:
    """Print the result as one JSON object."""
    print(json.dumps(result, indent=2))
