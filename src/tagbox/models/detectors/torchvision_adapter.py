"""torchvision's detectors behind `base.Detector`: its heads, losses and box filters, without its resizing.

torchvision's own forward scales every image up to 800 pixels, pads, computes and scales back. Our
batches are sized and padded already, so the parts of its models are called one by one here: what is
worth an engine (backbone, pyramid, the convolutions of the head) is `body`, the rest stays in torch.

Crowd regions, which torchvision does not know, are left out of the losses: what lies at least half in
one and touches no object is not trained as background.

torchvision's losses are means over a batch, so each part is multiplied by the number of images and
`loss_count` is that number. Over parts of a batch such sums are exactly those of the whole for RetinaNet.
Faster R-CNN divides by the candidates it sampled, which add up exactly where every image yields the
full sample; FCOS and SSD divide by the positions that were matched to objects, which differ from part to
part: there, a batch in parts is a mean over parts, not over matches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import box_iou

from tagbox.models.detectors.base import CERTAIN, Detector, DetectorSpec, Found, Target, crowded

HEAD_OUTPUTS = ("cls_logits", "bbox_regression", "bbox_ctrness")
"""What heads give for every position, in the order in which `body` does."""

Sizes = Sequence[tuple[int, int]]
Truth = list[dict[str, Tensor]]


class TorchvisionDetector(Detector):
    """What the three families share.

    Parameters
    ----------
    spec
        ``score_threshold`` and ``detections`` of its options are the least score and the highest number
        of detections an image.
    model
        torchvision's, built for `spec.categories`.
    stages
        Names of the backbone's parameters in `model`, stage by stage.
    """

    background = 1
    """torchvision's label of the first category."""

    def __init__(self, spec: DetectorSpec, model: Any, stages: Sequence[Sequence[str]]) -> None:
        super().__init__(spec)
        self.model = model.requires_grad_(True)
        self._stages = [[f"model.{name}" for name in stage] for stage in stages]

    def stages(self) -> list[list[str]]:
        """See `Detector.stages`."""
        return self._stages

    def loss_count(self, targets: Sequence[Target]) -> float:
        """The number of images."""
        return float(len(targets))

    def _truth(self, targets: Sequence[Target]) -> Truth:
        return [{"boxes": t.boxes, "labels": t.labels + self.background} for t in targets]

    def _found(self, detections: Sequence[dict[str, Tensor]]) -> list[Found]:
        return [
            Found(d["boxes"].float(), d["scores"].float(), d["labels"] - self.background)
            for d in detections
        ]


class _DenseHead(TorchvisionDetector):
    """Predictions at every position of every map."""

    def __init__(self, spec: DetectorSpec, model: Any, stages: Sequence[Sequence[str]]) -> None:
        super().__init__(spec, model, stages)
        model.score_thresh = spec.options["score_threshold"]
        model.detections_per_img = spec.options["detections"]

    @property
    def body(self) -> nn.Module:
        """Outputs of the head, then one channel of each map, whose shape places the anchors."""
        return _Body(self.model.backbone, self.model.head, _dense_outputs, self.training)


class OneStage(_DenseHead):
    """RetinaNet and FCOS: no background among the categories."""

    background = 0

    def found(self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sizes) -> list[Found]:
        """See `Detector.found`."""
        with torch.no_grad():
            outputs, grids = _outputs(parts)
            anchors = self.model.anchor_generator(ImageList(pixels, list(sizes)), grids)
            levels = self._levels(outputs, grids)
            split = {
                name: list(torch.split_with_sizes(value, levels, dim=1))
                for name, value in outputs.items()
            }
            by_level = [list(torch.split_with_sizes(a, levels)) for a in anchors]
            detections = self.model.postprocess_detections(split, by_level, list(sizes))
        return self._found(detections)

    def losses(
        self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sizes, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """See `Detector.losses`."""
        outputs, grids = _outputs(parts)
        anchors = self.model.anchor_generator(ImageList(pixels, list(sizes)), grids)
        within = _crowded_all(anchors, targets)
        if within is not None:
            outputs["cls_logits"] = outputs["cls_logits"].masked_fill(within[..., None], -CERTAIN)
        arguments: list[Any] = [self._truth(targets), outputs, anchors]
        if "bbox_ctrness" in outputs:
            arguments.append(self._levels(outputs, grids))
        means: dict[str, Tensor] = self.model.compute_loss(*arguments)
        return {name: value * len(targets) for name, value in means.items()}

    @staticmethod
    def _levels(outputs: dict[str, Tensor], grids: Sequence[Tensor]) -> list[int]:
        """How many of the anchors belong to each map."""
        positions = [grid.shape[2] * grid.shape[3] for grid in grids]
        anchors = outputs["cls_logits"].shape[1] // sum(positions)
        return [count * anchors for count in positions]


class SingleShot(_DenseHead):
    """SSD: a background to choose, of which only the hardest examples count."""

    def found(self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sizes) -> list[Found]:
        """See `Detector.found`."""
        with torch.no_grad():
            outputs, grids = _outputs(parts)
            anchors = self.model.anchor_generator(ImageList(pixels, list(sizes)), grids)
            return self._found(self.model.postprocess_detections(outputs, anchors, list(sizes)))

    def losses(
        self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sizes, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """See `Detector.losses`."""
        outputs, grids = _outputs(parts)
        anchors = self.model.anchor_generator(ImageList(pixels, list(sizes)), grids)
        within = _crowded_all(anchors, targets)
        if within is not None:
            logits = outputs["cls_logits"]
            certain = torch.zeros_like(logits[0, 0])
            certain[0] = CERTAIN
            outputs["cls_logits"] = torch.where(within[..., None], certain, logits)
        matches = [
            self.model.proposal_matcher(box_iou(target.boxes, boxes))
            if len(target.boxes)
            else torch.full((len(boxes),), -1, dtype=torch.int64, device=boxes.device)
            for boxes, target in zip(anchors, targets, strict=True)
        ]
        means = self.model.compute_loss(self._truth(targets), outputs, anchors, matches)
        return {name: value * len(targets) for name, value in means.items()}


class TwoStage(TorchvisionDetector):
    """Faster R-CNN: proposals, then the classification of each."""

    def __init__(self, spec: DetectorSpec, model: Any, stages: Sequence[Sequence[str]]) -> None:
        super().__init__(spec, model, stages)
        model.roi_heads.score_thresh = spec.options["score_threshold"]
        model.roi_heads.detections_per_img = spec.options["detections"]
        self.map_names = list(spec.options["maps"])

    @property
    def body(self) -> nn.Module:
        """The maps, the objectness of each, the box offsets of each."""
        return _Body(self.model.backbone, self.model.rpn.head, _proposal_outputs, self.training)

    def found(self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sizes) -> list[Found]:
        """See `Detector.found`."""
        with torch.no_grad(), _as_in(False, self.model.rpn, self.model.roi_heads):
            first = self._propose(parts, pixels, sizes)
            detections, _ = self.model.roi_heads(first.maps, first.proposals, list(sizes))
        return self._found(detections)

    def losses(
        self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sizes, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """See `Detector.losses`; candidates are sampled, in eval mode always the same."""
        devices = [pixels.device] if pixels.device.type == "cuda" else []
        with (
            _as_in(True, self.model.rpn, self.model.roi_heads),
            torch.random.fork_rng(devices, enabled=not self.training),
        ):
            if not self.training:
                torch.manual_seed(0)
            first = self._propose(parts, pixels, sizes)
            means = self._proposal_losses(first, targets)
            proposals = [
                _never_none(boxes[~crowded(boxes, target)], size)
                for boxes, target, size in zip(first.proposals, targets, sizes, strict=True)
            ]
            _, second = self.model.roi_heads(
                first.maps, proposals, list(sizes), self._truth(targets)
            )
        return {name: value * len(targets) for name, value in (second | means).items()}

    def _propose(self, parts: Sequence[Tensor], pixels: Tensor, sizes: Sizes) -> _Proposed:
        """torchvision's region proposals, from outputs of its head."""
        rpn, count = self.model.rpn, len(self.map_names)
        floats = [part.float() for part in parts]
        maps, scores, offsets = floats[:count], floats[count : 2 * count], floats[2 * count :]
        named = OrderedDict(zip(self.map_names, maps, strict=True))
        pool = self.model.roi_heads.box_roi_pool
        # The levels are set after the scales: another thread may be between the two.
        if pool.map_levels is None:
            # It takes the maps' strides once, from the first images' sizes; those of the batch are meant,
            # as a small image in a large square would be taken for a finer map.
            square = (pixels.shape[2], pixels.shape[3])
            pool(named, [pixels.new_zeros(0, 4)] * len(sizes), [square] * len(sizes))
        anchors = rpn.anchor_generator(ImageList(pixels, list(sizes)), maps)
        levels = [score[0].numel() for score in scores]
        objectness, deltas = concat_box_prediction_layers(scores, offsets)
        boxes = rpn.box_coder.decode(deltas.detach(), anchors).view(len(sizes), -1, 4)
        proposals, _ = rpn.filter_proposals(boxes, objectness, list(sizes), levels)
        return _Proposed(named, proposals, anchors, objectness, deltas)

    def _proposal_losses(self, first: _Proposed, targets: Sequence[Target]) -> dict[str, Tensor]:
        rpn = self.model.rpn
        labels, matched = rpn.assign_targets_to_anchors(first.anchors, self._truth(targets))
        for row, target in enumerate(targets):
            within = crowded(first.anchors[row], target)
            if not bool(within.all()):
                labels[row] = labels[row].masked_fill(within, -1.0)
        offsets = rpn.box_coder.encode(matched, first.anchors)
        objectness, boxes = rpn.compute_loss(first.objectness, first.deltas, labels, offsets)
        return {"loss_objectness": objectness, "loss_rpn_box_reg": boxes}


class _Proposed(NamedTuple):
    maps: OrderedDict[str, Tensor]
    proposals: list[Tensor]
    anchors: list[Tensor]
    objectness: Tensor
    deltas: Tensor


class _Body(nn.Module):
    """A detector's backbone and head, which stay where they are in it."""

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        arrange: Callable[[list[Tensor], Any], tuple[Tensor, ...]],
        training: bool,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.arrange = arrange
        # An exporter sets eval mode and then restores the mode that `training` names, in all layers.
        self.training = training

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        maps = list(self.backbone(pixels).values())
        return self.arrange(maps, self.head(maps))


def _dense_outputs(maps: list[Tensor], outputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
    named = [outputs[name] for name in HEAD_OUTPUTS if name in outputs]
    return (*named, *(m[:, :1] for m in maps))


def _proposal_outputs(
    maps: list[Tensor], outputs: tuple[list[Tensor], list[Tensor]]
) -> tuple[Tensor, ...]:
    objectness, offsets = outputs
    return (*maps, *objectness, *offsets)


def _outputs(parts: Sequence[Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The head's outputs, which have three axes, by name, and the maps' grids, which have four."""
    values = [part.float() for part in parts if part.ndim == 3]
    grids = [part.float() for part in parts if part.ndim == 4]
    return dict(zip(HEAD_OUTPUTS, values, strict=False)), grids


@contextmanager
def _as_in(training: bool, *modules: nn.Module) -> Iterator[None]:
    """The modules themselves, not their layers, act as in training or not: norms keep their statistics."""
    before = [module.training for module in modules]
    for module in modules:
        module.training = training
    try:
        yield
    finally:
        for module, was in zip(modules, before, strict=True):
            module.training = was


def _never_none(proposals: Tensor, size: tuple[int, int]) -> Tensor:
    """`proposals`, or the whole image where there are none: a mean over nothing is no loss."""
    if len(proposals):
        return proposals
    height, width = size
    return proposals.new_tensor([[0.0, 0.0, width, height]])


def _crowded_all(anchors: Sequence[Tensor], targets: Sequence[Target]) -> Tensor | None:
    """(B, A) bool of `crowded`; None where no image has a crowd region, which is the rule."""
    if not any(len(target.ignore) for target in targets):
        return None
    return torch.stack([crowded(a, t) for a, t in zip(anchors, targets, strict=True)])
