"""Encoders by configuration: the backbone on OpenVINO on a CPU, on torch elsewhere."""

from __future__ import annotations

from tagbox.backends.encoder import Encoder, Precision, Reduction
from tagbox.config import ClassifierConfig, Geometry
from tagbox.config.detector import NANODET
from tagbox.device import Device, Engine, choose_engine
from tagbox.errors import TagboxError
from tagbox.models.backbones import Backbone, BackboneRequest, create_backbone, parse_backbones
from tagbox.models.heads import wants_map


def create_encoder(
    backbone: Backbone,
    *,
    geometry: Geometry,
    pooling: Reduction = "mean",
    engine: Engine = "auto",
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Encoder:
    """The backbone on an engine.

    Parameters
    ----------
    pooling
        How the feature map becomes a vector: ``mean`` over positions, ``max``, or both, mean first;
        or ``map``: all of it, (D, h, w) flattened.
    engine
        ``auto``: OpenVINO on a CPU, torch on an accelerator.
    device
        ``auto``: CUDA where torch sees it, else Apple's MPS, else the CPU.
    precision
        ``fp32``, or ``bf16`` where the device has it; OpenVINO on a CPU without it computes in fp32, and
        `Encoder.precision` is fp32.

    Raises
    ------
    TagboxError
        ``device-missing``; ``engine-device`` for OpenVINO on anything but a CPU; ``extra-missing``.
    """
    chosen, on = choose_engine(engine, device)
    if chosen == "torch":
        from tagbox.backends.torch_backend import TorchEncoder

        return TorchEncoder(backbone, geometry, pooling, precision, on)
    from tagbox.backends.openvino_backend import OpenVinoEncoder

    return OpenVinoEncoder(backbone, geometry, pooling, precision)


def create_encoders(config: ClassifierConfig) -> tuple[Encoder, ...]:
    """The encoders of a training configuration, one for each backbone.

    Raises
    ------
    TagboxError
        ``head-backbones`` for several backbones under a head that looks at the feature map; what
        `create_backbone`, `create_scores` and `create_encoder` raise.
    """
    requests = parse_backbones(config.backbone)
    if wants_map(config.head) and len(requests) > 1:
        raise TagboxError(
            "head-backbones",
            f"the head {config.head} looks at one feature map, and {len(requests)} backbones were named",
            where="head",
            hint="name one --backbone, or pass --head linear",
        )
    return tuple(
        create_encoder(
            _backbone(request, config.weights),
            geometry=config.geometry,
            pooling="map" if wants_map(config.head) else config.pooling,
            engine=config.engine,
            device=config.device,
            precision=config.precision,
        )
        for request in requests
    )


def _backbone(request: BackboneRequest, weights: str) -> Backbone:
    if request.name == NANODET:
        from tagbox.models.detectors.scores import create_scores

        return create_scores(request, weights)
    return create_backbone(request, weights)
