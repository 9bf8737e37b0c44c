"""Settings for training the backbone after the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tagbox.config.base import Config, require

AutoBool = Literal["auto", "yes", "no"]
FREE = ("accumulate", "workers", "checkpoint_seconds", "keep_checkpoints")
"""Settings that change no metric: a resumed run may have others, and a search cannot vary them."""

LARGEST_RATE = 1e36
"""A step is up to some twenty times the rate, while momentum is young, and float32 ends at 3.4e38."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(Config):
    """Training of the backbone, or of its last stages, together with the head."""

    unfreeze: str = "none"
    """Trained part of the backbone: none, all, or the number of its last stages."""
    epochs: int = 10
    """Maximum number of epochs."""
    patience: int = 10
    """Epochs without improvement of `best_by` after which training stops."""
    batch_size: int = 32
    """Images per optimizer step, over all processes and accumulated parts."""
    accumulate: int = 1
    """Parts that a batch is computed in (gradient accumulation); more parts need less memory and give the
    same gradients."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """Optimizer; sgd uses Nesterov momentum of 0.9."""
    learning_rate: float = 5e-4
    """Peak learning rate of the head."""
    backbone_rate: float = 0.2
    """Learning rate of the backbone, as a share of `learning_rate`."""
    layer_decay: float = 1.0
    """Factor on the learning rate for each stage further from the head."""
    weight_decay: float = 0.02
    """Weight decay, not applied to biases and norms."""
    schedule: Literal["one_cycle", "cosine", "step", "multistep"] = "one_cycle"
    """Learning-rate schedule: one_cycle; cosine after a linear warm-up; step (a tenth after each third); multistep
    (after a linear warm-up, a tenth after 16/26 and after 22/26 of the steps)."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises (not with step)."""
    clip: float = 1.0
    """Maximum norm of the gradients; 0 disables clipping."""
    ema: float = 0.0
    """Decay of the moving average of the weights, such as 0.9997, which is evaluated and saved; 0 disables
    it."""
    batch_norm: Literal["train", "frozen"] = "frozen"
    """Whether batch normalisation in trained stages updates its statistics (train) or not (frozen); in frozen
    stages it never does."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Floating-point format of training; auto is bf16 where the device computes it in hardware, else fp32."""
    channels_last: AutoBool = "auto"
    """Channels-last memory layout; auto is yes on a CPU, and on a GPU in reduced precision."""
    compile: bool = False
    """Compile the network with torch.compile."""
    workers: int | None = None
    """Processes that read images; 0, the default on a CPU, reads in the training process."""
    checkpoint_seconds: float = 60.0
    """Seconds of training between checkpoints; 0 saves after every step."""
    keep_checkpoints: bool | int = False
    """Keep the newest checkpoints of the finished run: 2, or as many as given. Without it they are removed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_stages(self.unfreeze, "unfreeze")
        require_steps(self)

    @property
    def active(self) -> bool:
        """Whether any of the backbone is trained."""
        return self.unfreeze != "none"


def require_stages(value: str, name: str) -> None:
    """Refuse a value that names no stages of a backbone.

    Raises
    ------
    TagboxError
        ``config-value``.
    """
    known = value in ("none", "all") or (value.isdecimal() and int(value) > 0)
    require(known, name, value, "none, all or a number of stages")


def require_steps(config: Any) -> None:
    """Refuse invalid settings of training a network on images.

    Parameters
    ----------
    config
        With the fields of `FinetuneConfig` from `epochs` on, as a detector's configuration has them too; None where
        it is not decided yet.

    Raises
    ------
    TagboxError
        ``config-value``.
    """
    for name in ("epochs", "patience", "batch_size", "accumulate"):
        require(getattr(config, name) >= 1, name, getattr(config, name), "at least 1")
    kept = config.keep_checkpoints
    require(isinstance(kept, bool) or kept >= 1, "keep_checkpoints", kept, "at least 1")
    parts = config.accumulate
    require(parts <= config.batch_size, "accumulate", parts, "at most batch_size")
    require_rates(config.learning_rate, config.weight_decay)
    given = {name: value for name, value in vars(config).items() if value is not None}
    for name in given.keys() & {"backbone_rate", "layer_decay"}:
        require(0 < given[name] <= 1, name, given[name], "in (0, 1]")
    for name in given.keys() & {"clip", "checkpoint_seconds"}:
        require(given[name] >= 0, name, given[name], "at least 0")
    for name in given.keys() & {"warmup", "ema"}:
        require(0 <= given[name] < 1, name, given[name], "in [0, 1)")
    workers = config.workers
    require(workers is None or 0 <= workers <= 1024, "workers", workers, "from 0 to 1024")


def require_rates(learning_rate: float | None, weight_decay: float | None) -> None:
    """Refuse rates that an optimizer cannot compute with in float32; None is not decided yet.

    Raises
    ------
    TagboxError
        ``config-value``.
    """
    most = LARGEST_RATE
    if learning_rate is not None:
        wanted = f"above 0 and at most {most:g}"
        require(0 < learning_rate <= most, "learning_rate", learning_rate, wanted)
    if weight_decay is not None:
        require(0 <= weight_decay <= most, "weight_decay", weight_decay, f"from 0 to {most:g}")
