"""What a training needs before any work: installed packages, and names of models that there are."""

from __future__ import annotations

from tagbox.config import ClassifierConfig, DetectorConfig
from tagbox.config.detector import NANODET, ON_A_BACKBONE
from tagbox.errors import require_extra
from tagbox.models.backbones import parse_backbones
from tagbox.models.backbones.names import require_backbone

PACKAGES = ("torch", "torchvision", "accelerate", "safetensors", "tensorboard")
"""What every training needs, beside the package of its backbone or detector."""


def require_trainable(config: ClassifierConfig | DetectorConfig) -> None:
    """Refuse a training whose packages or model there are not; neither torch nor another library is imported.

    Raises
    ------
    TagboxError
        ``extra-missing``; ``backbone-unknown``, ``backbone-size``, ``detector-unknown``, with near names; the codes of
        `models.detectors.scores.require_scores`.
    """
    require_extra("training", *PACKAGES)
    if isinstance(config, DetectorConfig):
        from tagbox.models.detectors.create import require_detector

        if require_detector(config.detector) in ON_A_BACKBONE:
            require_backbone(config.backbone)
        return
    for request in parse_backbones(config.backbone):
        if request.name != NANODET:
            require_backbone(request.name)
            continue
        from tagbox.models.detectors.scores import require_scores

        require_scores(request, config.weights, trained=config.finetune.active)
