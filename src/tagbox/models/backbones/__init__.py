"""Backbones: a square of pixels to a feature map, without the classifier."""

from tagbox.models.backbones.base import (
    Arrays,
    Backbone,
    BackboneSpec,
    Colour,
    arrays_sha256,
    normalise,
    pool,
    require_same_shapes,
)
from tagbox.models.backbones.create import (
    BackboneRequest,
    create_backbone,
    load_backbone,
    parse_backbones,
    trained_backbone,
)

__all__ = [
    "Arrays",
    "Backbone",
    "BackboneRequest",
    "BackboneSpec",
    "Colour",
    "arrays_sha256",
    "create_backbone",
    "load_backbone",
    "normalise",
    "parse_backbones",
    "pool",
    "require_same_shapes",
    "trained_backbone",
]
