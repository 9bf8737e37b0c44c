"""Whether the features of a dataset fit into memory, said before any of them is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tagbox.config import ClassifierConfig
from tagbox.data.split import stratified_split
from tagbox.engines.encoder import Encoder
from tagbox.errors import TagboxError
from tagbox.models.heads import wants_map
from tagbox.progress import Progress
from tagbox.training.sides import Sides

SHARE = 0.5
"""Of the memory that is available; the rest is for the network, the batches and other programs."""
LIMITS = (
    # Limit, use and statistics of this process's group, and the name of what the system would give back.
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Files under /sys/fs/cgroup, as a container sees them, of the kernel's second and first interface."""


def require_room(sides: Sides, encoders: Sequence[Encoder], config: ClassifierConfig) -> None:
    """Refuse feature maps that would need more than half of the memory that is available.

    Raises
    ------
    TagboxError
        ``features-too-large``.
    """
    needed, available = _needed(sides, encoders, config), available_memory()
    if needed > SHARE * available:
        shape = "x".join(map(str, encoders[0].map_shape))
        raise TagboxError(
            "features-too-large",
            f"the feature maps of {len(sides.train):,} pictures ({shape}) need {_gigabytes(needed)} of memory, and "
            f"half of what is free is {_gigabytes(SHARE * available)}",
            where="head",
            hint="use a smaller --backbone NAME@SIZE, a pooled head such as --head linear, or "
            "--no-mirror, which leaves the mirror images out",
        )


def sides_that_fit(
    sides: Sides, encoders: Sequence[Encoder], config: ClassifierConfig, progress: Progress
) -> Sides:
    """`sides`, or a stratified sample of them whose maps fit, where the network is trained afterwards.

    Raises
    ------
    TagboxError
        See `require_room`, where only the head is trained.
    """
    if not config.finetune.active:
        require_room(sides, encoders, config)
        return sides
    share = SHARE * available_memory() / max(_needed(sides, encoders, config), 1)
    if share >= 1:
        return sides
    samples = [
        side.take(stratified_split(side.labels, share, config.seed)[1])
        for side in (sides.train, sides.validation)
    ]
    progress.say(
        f"the head begins on {len(samples[0]):,} of {len(sides.train):,} pictures, whose feature maps "
        "fit into memory"
    )
    return replace(sides, train=samples[0], validation=samples[1])


def _needed(sides: Sides, encoders: Sequence[Encoder], config: ClassifierConfig) -> int:
    """Bytes of all features; 0 for a head that takes pooled ones."""
    if not wants_map(config.head):
        return 0
    views = len(sides.train) * (2 if config.mirror else 1) + len(sides.validation)
    return 4 * views * sum(encoder.dim for encoder in encoders)


def available_memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that can be used without swapping, within the limits of a container."""
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, used, statistics, inactive in LIMITS:
        try:
            most, taken = (int((groups / name).read_text()) for name in (limit, used))
            lines = (groups / statistics).read_text().splitlines()
            given_back = int(dict(line.split() for line in lines).get(inactive, "0"))
        except (OSError, ValueError):  # No such interface, or its limit is "max".
            continue
        free = min(free, max(0, most - taken + given_back))
    return free


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
