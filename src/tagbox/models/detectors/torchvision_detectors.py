"""torchvision's own detectors by name: what each takes, its published weights, and how it is built.

Images enter at their own size: torchvision would enlarge each to 800 pixels first. Scores below
`Published.score_threshold` and detections beyond `DETECTIONS` an image are not given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tagbox.config.detector import DetectorConfig
from tagbox.config.detector_training import input_size
from tagbox.errors import TagboxError
from tagbox.models.backbones import require_same_shapes
from tagbox.models.detectors.base import DetectorSpec
from tagbox.models.detectors.torchvision_adapter import (
    OneStage,
    SingleShot,
    TorchvisionDetector,
    TwoStage,
)
from tagbox.models.freezing import Stages, module_stages
from tagbox.models.weights import download_weights, locate_checkpoint, read_checkpoint

DETECTIONS = 100
"""Most detections of an image; COCO's evaluation counts no more."""
STRIDE = 32
"""Batches of the detectors with a pyramid are multiples of it, as torchvision pads them."""
SMALLEST, LARGEST = 64, 2048
"""Sizes of images that the detectors with a pyramid take."""


@dataclass(frozen=True)
class Published:
    """One of torchvision's detectors.

    Attributes
    ----------
    face
        The class that makes it a `Detector`.
    backbone_weights
        torchvision's name of the backbone's ImageNet weights that it was published with; empty where
        there are none that fit (SSDLite's backbone has a narrower tail than the one with weights).
    predictor
        Where its layers are whose size follows from the number of categories.
    score_threshold
        Least score given; torchvision's own, but 0.05 for FCOS (0.2) and 0.01 for SSDLite (0.001).
    side
        Of the square every image is stretched to; 0 for detectors that take any size.
    exact_norms
        Whether the COCO weights belong to batch normalisation without an epsilon.
    """

    face: type[TorchvisionDetector]
    backbone_weights: str
    predictor: str
    score_threshold: float = 0.05
    side: int = 0
    exact_norms: bool = False


RESNET50 = "ResNet50_Weights.IMAGENET1K_V1"
MOBILENET = "MobileNet_V3_Large_Weights.IMAGENET1K_V1"
BOX_PREDICTOR = "roi_heads.box_predictor."
CLS_LOGITS = "head.classification_head.cls_logits."
SSD_LOGITS = "head.classification_head.module_list."

PUBLISHED = {
    "fasterrcnn_resnet50_fpn": Published(TwoStage, RESNET50, BOX_PREDICTOR, exact_norms=True),
    "fasterrcnn_resnet50_fpn_v2": Published(TwoStage, RESNET50, BOX_PREDICTOR),
    "fasterrcnn_mobilenet_v3_large_fpn": Published(TwoStage, MOBILENET, BOX_PREDICTOR),
    "fasterrcnn_mobilenet_v3_large_320_fpn": Published(TwoStage, MOBILENET, BOX_PREDICTOR),
    "retinanet_resnet50_fpn": Published(OneStage, RESNET50, CLS_LOGITS, exact_norms=True),
    "retinanet_resnet50_fpn_v2": Published(OneStage, RESNET50, CLS_LOGITS),
    "fcos_resnet50_fpn": Published(OneStage, RESNET50, CLS_LOGITS),
    "ssd300_vgg16": Published(
        SingleShot,
        "VGG16_Weights.IMAGENET1K_FEATURES",
        SSD_LOGITS,
        score_threshold=0.01,
        side=300,
    ),
    "ssdlite320_mobilenet_v3_large": Published(
        SingleShot, "", SSD_LOGITS, score_threshold=0.01, side=320
    ),
}


def create_torchvision(config: DetectorConfig, categories: int) -> TorchvisionDetector:
    """A new one with the weights that are asked for; what depends on the number of categories is drawn.

    Weights are ``default`` (COCO), ``backbone`` (ImageNet), ``none``, or the path or URL of a checkpoint of
    that detector, in which a last layer for as many categories is kept.

    Raises
    ------
    TagboxError
        ``detector-size`` for a size it does not take; ``weights-packaged``, ``detector-weights`` where there
        are no such weights; ``weights-missing``, ``weights-corrupt``, ``weights-mismatch``; the
        ``download-…`` codes.
    """
    name, published = config.detector, PUBLISHED[config.detector]
    _require_size(name, published, input_size(config))
    load = _loader(name, published, config.weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _model(name, categories)
    load(model)
    transform: Any = model.transform
    spec = DetectorSpec(
        detector=name,
        backbone="",
        categories=categories,
        size=input_size(config),
        fixed=bool(published.side),
        multiple=published.side or STRIDE,
        mean=tuple(transform.image_mean),
        std=tuple(transform.image_std),
        options={"score_threshold": published.score_threshold, "detections": DETECTIONS}
        | ({"maps": _map_names(name)} if published.face is TwoStage else {}),
    )
    return published.face(spec, model, _stages(name, model))


def build_torchvision(spec: DetectorSpec) -> TorchvisionDetector:
    """An empty one for saved weights."""
    model = _model(spec.detector, spec.categories)
    return PUBLISHED[spec.detector].face(spec, model, _stages(spec.detector, model))


def _model(name: str, categories: int) -> Any:
    """torchvision's model with random weights; the background is a category more where it has one."""
    from torchvision.models import detection

    classes = categories + PUBLISHED[name].face.background
    return getattr(detection, name)(weights=None, weights_backbone=None, num_classes=classes)


def _map_names(name: str) -> list[str]:
    """What the maps of a Faster R-CNN are called; its second stage asks for them by name."""
    return ["0", "1", "pool"] if "mobilenet" in name else ["0", "1", "2", "3", "pool"]


def _require_size(name: str, published: Published, size: int) -> None:
    if published.side and size != published.side:
        raise TagboxError(
            "detector-size",
            f"{name} takes images of {published.side}x{published.side} pixels only, not {size}",
            where="size",
            hint=f"pass --size {published.side}",
        )
    if not SMALLEST <= size <= LARGEST:
        raise TagboxError(
            "detector-size",
            f"{name} takes sizes from {SMALLEST} to {LARGEST} pixels, not {size}",
            where="size",
            hint="pass --size 640, or another between them",
        )


def _stages(name: str, model: Any) -> Stages:
    """Names in `model` of the parameters of the backbone proper, stage by stage."""
    backbone = model.backbone
    if name == "ssd300_vgg16":
        return _vgg_stages(backbone)
    if name == "ssdlite320_mobilenet_v3_large":
        flat = [
            (f"backbone.features.{half}.{child}", link)
            for half, links in backbone.features.named_children()
            for child, link in links.named_children()
        ]
        named = [[f"{path}.{key}" for key, _ in link.named_parameters()] for path, link in flat]
        return [names for names in named if names]
    return module_stages(backbone.body, "backbone.body.")


def _vgg_stages(backbone: Any) -> Stages:
    """VGG's five blocks of convolutions, which end where it pools; SSD's own layers follow them."""
    stages: Stages = [[]]
    own = len(backbone.extra[0]) - 1
    for path, layers in (("features", backbone.features), ("extra.0", backbone.extra[0][:own])):
        for child, layer in layers.named_children():
            if isinstance(layer, nn.MaxPool2d):
                stages.append([])
            stages[-1] += [f"backbone.{path}.{child}.{key}" for key, _ in layer.named_parameters()]
    return stages


def _loader(name: str, published: Published, weights: str) -> Callable[[Any], None]:
    """A function that loads the weights into the model; they are fetched and read before it is built."""
    from torchvision.models import get_model_weights, get_weight

    if weights == "none":
        return lambda model: None
    if weights == "packaged":
        raise TagboxError(
            "weights-packaged",
            f"{name} has no packaged weights",
            where="weights",
            hint="pass --weights default, or --detector dense",
        )
    if weights == "backbone":
        if not published.backbone_weights:
            raise TagboxError(
                "detector-weights",
                f"nobody published ImageNet weights of the backbone of {name}",
                where="weights",
                hint="pass --weights default, or --detector fcos --backbone mobilenet_v3_large",
            )
        file = download_weights(get_weight(published.backbone_weights).url)
        state = {k: v for k, v in read_checkpoint(file).items() if _is_weight(k)}
        return partial(_load_backbone, name=name, state=state, file=file)
    if weights == "default":
        file = download_weights(get_model_weights(name).DEFAULT.url)
    else:
        file, _ = locate_checkpoint(weights)
    state = read_checkpoint(file)
    exact = published.exact_norms and weights == "default"
    return partial(_load_all, published=published, name=name, state=state, file=file, exact=exact)


def _load_all(
    model: Any,
    *,
    published: Published,
    name: str,
    state: dict[str, Tensor],
    file: Path,
    exact: bool,
) -> None:
    """All weights, but for layers made for another number of categories.

    torchvision's modules know older names of their weights.
    """
    wanted = {k: tuple(v.shape) for k, v in model.state_dict().items() if _is_weight(k)}
    fitting = {
        key: value
        for key, value in state.items()
        if not key.startswith(published.predictor) or wanted.get(key) == tuple(value.shape)
    }
    try:
        missing, _ = model.load_state_dict(fitting, strict=False)
    except RuntimeError as error:
        require_same_shapes(wanted, {k: tuple(v.shape) for k, v in state.items()}, name, file)
        raise _mismatch(name, str(error), file) from error
    absent = [k for k in missing if k in wanted and not k.startswith(published.predictor)]
    if absent:
        raise _mismatch(name, f"{len(absent)} weights are missing ({absent[0]}…)", file)
    if exact:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
                # These weights were made when frozen normalisation added no epsilon; ours adds one.
                module.running_var -= module.eps


def _load_backbone(model: Any, *, name: str, state: dict[str, Tensor], file: Path) -> None:
    """The classification network's weights by their order, which all of torchvision's cuts keep."""
    backbone = model.backbone
    prefixes = ("features.", "extra.0.") if name == "ssd300_vgg16" else ("body.",)
    names = [k for k in backbone.state_dict() if k.startswith(prefixes) and _is_weight(k)]
    # SSD's own layers stand behind VGG's; a residual network's weights begin at the root.
    theirs = [k for k in state if not k.startswith(("classifier.", "fc."))]
    if len(theirs) > len(names):
        raise _mismatch(name, f"{len(theirs)} weights where its backbone has {len(names)}", file)
    values = {own: state[key] for own, key in zip(names, theirs, strict=False)}
    try:
        backbone.load_state_dict(values, strict=False)
    except RuntimeError as error:
        raise _mismatch(name, str(error), file) from error


def _is_weight(key: str) -> bool:
    """Not a counter of seen batches, which old checkpoints lack and nothing needs."""
    return not key.endswith("num_batches_tracked")


def _mismatch(name: str, what: str, file: Path) -> TagboxError:
    return TagboxError(
        "weights-mismatch",
        f"not the weights of {name}: {' '.join(what.split())[:200].rstrip('.')}",
        file=file,
        hint="give a checkpoint of that detector, or the --detector it belongs to",
    )
