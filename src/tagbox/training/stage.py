"""What a stage of training hands on: to the next one, or to its judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig
from tagbox.data.dataset import Dataset
from tagbox.engines.encoder import Encoder
from tagbox.models.backbones import Arrays

if TYPE_CHECKING:
    from torch import nn

    from tagbox.training.loop import Fitted


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """A trained model, and what it was trained on.

    Attributes
    ----------
    encoders
        The backbones as they are after the stage.
    train, validation
        The images that could be read.
    head
        The state of the best epoch's head.
    features
        (N, ...) float32 of the validation images.
    ema
        Decay of the moving average that the weights are; 0 for none.
    parameters
        ``total`` and ``trainable`` numbers.
    left_out
        Why pictures were left out, a sentence each.
    rows, module
        Of the first stage: which rows of their sides the images are, and the head as a module.
    """

    config: ClassifierConfig
    encoders: Sequence[Encoder]
    train: Dataset
    validation: Dataset
    head: Arrays
    features: NDArray[np.float32]
    fitted: Fitted
    parameters: dict[str, int]
    left_out: list[str]
    ema: float = 0.0
    rows: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None
    module: nn.Module | None = None
