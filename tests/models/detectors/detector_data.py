"""Small batches, and networks that are alive: what the tests of detectors share."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tagbox.models.detectors.base import Target


def pictures(side: int, count: int = 3) -> Any:
    """(B, side, side, 3) uint8 noise."""
    generator = torch.Generator().manual_seed(1)
    shape = (count, side, side, 3)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def target(boxes: list[list[float]], labels: list[int], ignore: list[list[float]] = []) -> Target:  # noqa: B006
    return Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(ignore, dtype=torch.float32).reshape(-1, 4),
    )


def truth(side: int, categories: int) -> list[Target]:
    """Two objects, one, and a picture without any."""
    last = categories - 1
    return [
        target(
            [[4, 6, side * 0.6, side * 0.5], [side * 0.5, 9, side - 2.0, side - 1.0]], [0, last]
        ),
        target([[side * 0.2, side * 0.3, side * 0.8, side * 0.9]], [last]),
        target([], []),
    ]


def lighten(model: Any) -> Any:
    """Few candidates for the second stage of torchvision's Faster R-CNN, which is most of its time."""
    if hasattr(model, "rpn"):
        model.rpn._pre_nms_top_n = model.rpn._post_nms_top_n = {"training": 20, "testing": 20}
        model.roi_heads.fg_bg_sampler.batch_size_per_image = 16
    return model


def enliven(detector: Any, side: int) -> Any:
    """Statistics of one batch in every norm, and classes above the lowest score.

    A fresh network in eval mode says the same of all pictures: nothing.
    """
    lighten(detector.model)
    with torch.no_grad():
        for name, layer in detector.named_modules():
            if name.endswith("classification_head.cls_logits"):
                layer.weight *= 20
                layer.bias.fill_(-2.0)
    norms = [m for m in detector.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return detector
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    detector.train()
    with torch.no_grad():
        detector(pictures(side), [(side, side)] * 3, truth(side, detector.spec.categories))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return detector


def descend(detector: Any, side: int, rate: float) -> tuple[float, float]:
    """The loss of a batch before and after one step of gradient descent, in eval mode."""
    batch, sizes = pictures(side), [(side, side)] * 3
    targets = truth(side, detector.spec.categories)
    detector.eval()

    def loss() -> Any:
        parts, _ = detector(batch, sizes, targets)
        return sum(parts.values()) / detector.loss_count(targets)

    before = loss()
    before.backward()
    with torch.no_grad():
        for parameter in detector.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad
        return float(before), float(loss())
