"""Transformer detectors of Hugging Face Transformers, RT-DETR, RT-DETR v2 and D-FINE, behind `base.Detector`.

These networks match their answers to objects one to one: no overlapping boxes are removed afterwards. Every
batch is a square of the full size, on which their boxes are fractions.

References
----------
Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", CVPR 2024; Lv et al., "RT-DETRv2", 2024;
Peng et al., "D-FINE", ICLR 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tagbox.models.detectors.base import CERTAIN, Detector, DetectorSpec, Found, Target, crowded
from tagbox.models.freezing import module_stages

Sizes = Sequence[tuple[int, int]]


class TransformerDetector(Detector):
    """One of the three.

    Its losses are sums over objects, of which `loss_count` is the number: over parts of a batch they add
    up, but for those of denoising, whose groups are as many as fit the part's fullest image.
    """

    def __init__(self, spec: DetectorSpec, model: Any) -> None:
        super().__init__(spec)
        self.model = model.float().requires_grad_(True)
        self._plain_loss = model.loss_function
        backbone = model.model.backbone.model
        self._stages = module_stages(backbone, "model.model.backbone.model.")

    @property
    def body(self) -> nn.Module:
        """Logits (B, Q, K), and boxes (B, Q, 4) as centre and size in parts of the batch's square."""
        return _Body(self.model, self.training)

    def stages(self) -> list[list[str]]:
        """See `Detector.stages`."""
        return self._stages

    def loss_count(self, targets: Sequence[Target]) -> float:
        """The number of objects, 1 where there are none."""
        return float(max(1, sum(len(target.boxes) for target in targets)))

    def forward(
        self, images: Tensor, sizes: Sizes, targets: Sequence[Target] | None = None
    ) -> tuple[dict[str, Tensor], list[Found] | None]:
        """See `Detector.forward`; in training the network sees the targets, as denoising wants."""
        if targets is None:
            return super().forward(images, sizes)
        pixels = self.normalise(images)
        outputs = self._told(pixels, targets)
        losses = self._sums(outputs, targets)
        if self.training:
            return losses, None
        return losses, self.found((outputs.logits, outputs.pred_boxes), pixels, sizes)

    def losses(
        self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sizes, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """See `Detector.losses`; the network runs again, as its inner layers have losses too."""
        return self._sums(self._told(pixels, targets), targets)

    def found(self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sizes) -> list[Found]:
        """See `Detector.found`: the best pairs of a query and a category, no suppression."""
        least, most = self.spec.options["score_threshold"], self.spec.options["detections"]
        with torch.no_grad():
            logits, relative = (part.float() for part in parts)
            boxes = _corners(relative, pixels)
            scores, indices = logits.sigmoid().flatten(1).sort(dim=1, descending=True, stable=True)
            found = []
            for score, index, own, (height, width) in zip(
                scores, indices, boxes, sizes, strict=True
            ):
                query = index // logits.shape[2]
                limit = own.new_tensor([width, height, width, height])
                clipped = torch.minimum(own[query].clamp(min=0), limit)
                # A box that lies in the padding of the square has no area left.
                real = (clipped[:, 2:] > clipped[:, :2]).all(dim=1)
                kept = (real & (score >= least)).nonzero()[:most, 0]
                found.append(Found(clipped[kept], score[kept], index[kept] % logits.shape[2]))
        return found

    def _told(self, pixels: Tensor, targets: Sequence[Target]) -> Any:
        """The network's outputs, its losses among them."""
        height, width = pixels.shape[2:]
        scale = pixels.new_tensor([width, height, width, height])
        labels = []
        for target in targets:
            upper, lower = target.boxes[:, :2], target.boxes[:, 2:]
            boxes = torch.cat([(upper + lower) / 2, lower - upper], dim=1) / scale
            labels.append({"class_labels": target.labels, "boxes": boxes})
        if any(len(target.ignore) for target in targets):
            self.model.loss_function = _CrowdAware(self._plain_loss, targets, pixels)
        try:
            return self.model(pixel_values=pixels, labels=labels)
        finally:
            self.model.loss_function = self._plain_loss

    def _sums(self, outputs: Any, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Losses of the same kind together, over layers and denoising, as sums over objects."""
        sums: dict[str, Tensor] = {}
        for name, value in outputs.loss_dict.items():
            kind = name.split("_aux_")[0].split("_dn_")[0]
            part = value * self.loss_count(targets)
            sums[kind] = sums[kind] + part if kind in sums else part
        return sums


class _CrowdAware:
    """The network's loss, for which what lies in a crowd region has no category at all."""

    def __init__(self, loss: Any, targets: Sequence[Target], pixels: Tensor) -> None:
        self._loss, self._targets, self._pixels = loss, targets, pixels

    def __call__(
        self,
        logits: Tensor,
        labels: Any,
        device: Any,
        pred_boxes: Tensor,
        config: Any,
        outputs_class: Tensor,
        outputs_coord: Tensor,
        **others: Any,
    ) -> Any:
        others["enc_topk_logits"] = self._quiet(
            others["enc_topk_logits"], others["enc_topk_bboxes"]
        )
        layers = [
            self._quiet(outputs_class[:, layer], outputs_coord[:, layer])
            for layer in range(outputs_class.shape[1])
        ]
        return self._loss(
            self._quiet(logits, pred_boxes),
            labels,
            device,
            pred_boxes,
            config,
            torch.stack(layers, dim=1),
            outputs_coord,
            **others,
        )

    def _quiet(self, logits: Tensor, boxes: Tensor) -> Tensor:
        with torch.no_grad():
            corners = _corners(boxes.float(), self._pixels)
            masks = [
                crowded(own, target) for own, target in zip(corners, self._targets, strict=True)
            ]
        return logits.masked_fill(torch.stack(masks)[..., None], -CERTAIN)


class _Body(nn.Module):
    """The network without losses."""

    def __init__(self, model: nn.Module, training: bool) -> None:
        super().__init__()
        self.model = model
        # An exporter sets eval mode and then restores the mode that `training` names, in all layers.
        self.training = training

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.model(pixel_values=pixels)
        return outputs.logits, outputs.pred_boxes


def _corners(boxes: Tensor, pixels: Tensor) -> Tensor:
    """(B, Q, 4) centre and size in parts of the square to xyxy in pixels."""
    height, width = pixels.shape[2:]
    middle, half = boxes[..., :2], boxes[..., 2:] / 2
    scale = boxes.new_tensor([width, height, width, height])
    return torch.cat([middle - half, middle + half], dim=-1) * scale
