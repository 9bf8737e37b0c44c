"""Whether the feature maps of all images, on which a head is trained, fit into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tagbox.backends.encoder import Encoder
from tagbox.config import ClassifierConfig
from tagbox.data.split import stratified_split
from tagbox.errors import TagboxError
from tagbox.models.heads import wants_map
from tagbox.progress import Progress
from tagbox.training.train_val import TrainVal

MEMORY_SHARE = 0.5
"""Share of the available memory for feature maps."""
CGROUP_FILES = (
    # Limit, usage and statistics of this process's group, and the name of its reclaimable memory.
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Files under /sys/fs/cgroup of cgroup v2 and v1, as a container sees them."""


def require_room(
    train_val: TrainVal, encoders: Sequence[Encoder], config: ClassifierConfig
) -> None:
    """Refuse feature maps that would need more than half of the available memory.

    Raises
    ------
    TagboxError
        ``features-too-large``.
    """
    needed, available = _needed(train_val, encoders, config), available_memory()
    if needed > MEMORY_SHARE * available:
        shape = "x".join(map(str, encoders[0].map_shape))
        raise TagboxError(
            "features-too-large",
            f"the feature maps of {len(train_val.train):,} pictures ({shape}) need {_gigabytes(needed)} of memory, and "
            f"half of what is free is {_gigabytes(MEMORY_SHARE * available)}",
            where="head",
            hint="use a smaller --backbone NAME@SIZE, a pooled head such as --head linear, or "
            "--no-mirror, which leaves the mirror images out",
        )


def train_val_in_memory(
    train_val: TrainVal, encoders: Sequence[Encoder], config: ClassifierConfig, progress: Progress
) -> TrainVal:
    """`train_val`, or before fine-tuning a stratified sample whose feature maps fit into memory.

    Raises
    ------
    TagboxError
        ``features-too-large`` if only the head is trained.
    """
    if not config.finetune.active:
        require_room(train_val, encoders, config)
        return train_val
    share = MEMORY_SHARE * available_memory() / max(_needed(train_val, encoders, config), 1)
    if share >= 1:
        return train_val
    samples = [
        data.take(stratified_split(data.labels, share, config.seed)[1])
        for data in (train_val.train, train_val.validation)
    ]
    progress.say(
        f"the head begins on {len(samples[0]):,} of {len(train_val.train):,} pictures, whose feature maps "
        "fit into memory"
    )
    return replace(train_val, train=samples[0], validation=samples[1])


def _needed(train_val: TrainVal, encoders: Sequence[Encoder], config: ClassifierConfig) -> int:
    """Bytes of all feature maps; 0 for a head that takes pooled features."""
    if not wants_map(config.head):
        return 0
    views = len(train_val.train) * (2 if config.mirror else 1) + len(train_val.validation)
    return 4 * views * sum(encoder.dim for encoder in encoders)


def available_memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory available without swapping, within the limits of a container."""
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, used, statistics, inactive in CGROUP_FILES:
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
