"""A classifier in torch, from squares to logits, with a part of its backbone trainable."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tagbox.config import HeadKind, Pooling
from tagbox.models.backbones import Backbone, normalise, pool
from tagbox.models.freezing import last_stages, still_modules
from tagbox.models.heads import wants_map


class Network(nn.Module):
    """Normalisation, backbone, pooling, head.

    Parameters
    ----------
    backbone
        Its module becomes a part of this one.
    head
        (B, D) features, or (B, D, h, w) maps where the head wants maps, -> (B, K) logits.
    pooling
        How the map becomes a vector for a head that does not.
    unfreeze
        ``none``, ``all``, or how many of the backbone's last stages are trained.
    train_norms
        Whether batch normalisation of trained stages follows the batches. That of frozen stages never
        does: frozen means frozen, statistics too.

    Raises
    ------
    TagboxError
        ``config-value`` where the backbone has fewer stages than `unfreeze`.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        *,
        head_kind: HeadKind,
        pooling: Pooling,
        unfreeze: str = "none",
        train_norms: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone.module
        self.head = head
        self.pooling = backbone.spec.pooling(pooling)
        self.maps = wants_map(head_kind)
        self.channels_last = False
        self.spec = backbone.spec
        self.stages = backbone.stages()
        self.trained = last_stages(
            self.stages, unfreeze, name=backbone.spec.name, where="finetune.unfreeze"
        )
        trained = {name for stage in self.trained for name in stage}
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name in trained)
        self._still = still_modules(self.backbone, trained, train_norms)

    def train(self, mode: bool = True) -> Network:
        """Training mode for what is trained; the rest stays in eval."""
        super().train(mode)
        if not self.trained:
            self.backbone.eval()
        for norm in self._still:
            norm.eval()
        return self

    def use_channels_last(self) -> Network:
        """Keep weights and images in the memory layout that convolutions like better on most devices."""
        self.channels_last = True
        for module in self.backbone.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
        return self

    def forward(self, squares: Tensor) -> Tensor:
        """(B, S, S, 3) of 0..255, uint8 or float32, to (B, K) logits."""
        pixels = normalise(squares, self.spec, channels_last=self.channels_last)
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(self.trained)):
            found: Tensor = self.backbone(pixels)
        logits: Tensor = self.head(found if self.maps else pool(found, self.pooling))
        return logits
