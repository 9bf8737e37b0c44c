"""Heads: features to logits. Linear and MLP on pooled features, ML-Decoder and CSRA on feature maps.

Each is written twice, as a torch module that is trained (`create_head`) and in NumPy (`head_logits`),
so that using a model does not need torch; the tests hold the two equal.
"""

from tagbox.config import HeadKind
from tagbox.models.heads.create import create_head, restore_head
from tagbox.models.heads.numpy_forward import (
    FeatureScale,
    activate,
    head_logits,
    kind_of,
    sigmoid,
    wants_map,
)

__all__ = [
    "FeatureScale",
    "HeadKind",
    "activate",
    "create_head",
    "head_logits",
    "kind_of",
    "restore_head",
    "sigmoid",
    "wants_map",
]
