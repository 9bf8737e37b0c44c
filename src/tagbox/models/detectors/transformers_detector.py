"""Transformer detectors of Hugging Face Transformers: RT-DETR, RT-DETR v2 and D-FINE.

A model is its ``config.json`` and ``model.safetensors``, from the hub or a folder; no code that comes with a
model is run, and nothing pickled is read. These networks match their answers to objects one to one: no
overlapping boxes are removed afterwards. Every batch is a square of the full size, on which their
boxes are fractions.

References
----------
Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection", CVPR 2024; Lv et al., "RT-DETRv2", 2024;
Peng et al., "D-FINE", ICLR 2025.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tagbox.config.detector import DetectorConfig
from tagbox.errors import TagboxError
from tagbox.models.detectors.base import Colour, Detector, DetectorSpec, Found, Target
from tagbox.models.detectors.crowds import CERTAIN, crowded
from tagbox.models.detectors.transformers_files import HUGGINGFACE, model_folder
from tagbox.models.stages import module_stages

Sizes = Sequence[tuple[int, int]]

FAMILIES = ("rt_detr", "rt_detr_v2", "d_fine")
PER_CATEGORY = ("class_embed", "enc_score_head")
"""Parts of the names of layers whose size follows from the number of categories."""
STRIDE = 32
LARGEST = 2048
SCORE_THRESHOLD = 0.01
DETECTIONS = 100


class TransformerDetector(Detector):
    """A transformer of one of the `FAMILIES`.

    Its losses are sums over objects, of which `loss_count` is the number: over parts of a batch they add
    up, but for those of denoising, whose groups are as many as fit the part's fullest picture.
    """

    def __init__(self, spec: DetectorSpec, model: Any) -> None:
        super().__init__(spec)
        self.model = model.float().requires_grad_(True)
        # Buffers and anchors apart, a crowd is known only here; see `_loss`.
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
        self, pictures: Tensor, sizes: Sizes, targets: Sequence[Target] | None = None
    ) -> tuple[dict[str, Tensor], list[Found] | None]:
        """See `Detector.forward`; in training the network sees the targets, as denoising wants."""
        if targets is None:
            return super().forward(pictures, sizes)
        pixels = self.normalise(pictures)
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
            scores, places = logits.sigmoid().flatten(1).sort(dim=1, descending=True, stable=True)
            found = []
            for score, place, own, (height, width) in zip(
                scores, places, boxes, sizes, strict=True
            ):
                query = place // logits.shape[2]
                limit = own.new_tensor([width, height, width, height])
                clipped = torch.minimum(own[query].clamp(min=0), limit)
                # What lies beside the picture, on what fills up its square, has no area left.
                real = (clipped[:, 2:] > clipped[:, :2]).all(dim=1)
                kept = (real & (score >= least)).nonzero()[:most, 0]
                found.append(Found(clipped[kept], score[kept], place[kept] % logits.shape[2]))
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
        # Who exports it puts it into eval mode and back into the mode it says it was in, layers and all.
        self.training = training

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.model(pixel_values=pixels)
        return outputs.logits, outputs.pred_boxes


def create_transformer(config: DetectorConfig, categories: int) -> TransformerDetector:
    """A new one from ``huggingface/OWNER/NAME`` or a folder, with its weights (``default``) or without (``none``).

    Layers whose size follows from the number of categories are drawn from the seed, unless that is the
    same.

    Raises
    ------
    TagboxError
        ``detector-transformer`` for another family or a folder that cannot be read; ``detector-size``;
        ``detector-weights`` for other weights; ``weights-mismatch``; ``weights-missing``; ``download-…``.
    """
    if config.weights not in ("default", "none"):
        raise TagboxError(
            "detector-weights",
            f"{config.detector} brings its own weights, {config.weights!r} cannot be loaded into it",
            where="weights",
            hint="pass the folder that holds config.json and model.safetensors as --detector",
        )
    folder = model_folder(config.detector, weights=config.weights == "default")
    settings, mean, std = _settings(folder, config.detector)
    settings.num_labels = categories
    # Any size, and norms that the recipe may let follow the batches.
    settings.anchor_image_size = settings.eval_size = None
    settings.freeze_backbone_batch_norms = False
    side = _side(config, settings)
    with _quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _network(settings, folder if config.weights == "default" else None)
    spec = DetectorSpec(
        detector=config.detector
        if config.detector.startswith(HUGGINGFACE)
        else f"{HUGGINGFACE}{folder.name}",
        backbone="",
        categories=categories,
        size=config.size,
        fixed=False,
        multiple=side,
        mean=mean,
        std=std,
        options={
            "config": json.loads(settings.to_json_string(use_diff=False)),
            "score_threshold": SCORE_THRESHOLD,
            "detections": DETECTIONS,
        },
    )
    return TransformerDetector(spec, model)


def build_transformer(spec: DetectorSpec) -> TransformerDetector:
    """An empty one for saved weights, from the configuration in the specification."""
    from transformers import AutoConfig

    given = dict(spec.options["config"])
    with _quiet():
        settings = AutoConfig.for_model(given.pop("model_type"), **given)
        return TransformerDetector(spec, _network(settings, None))


def _settings(folder: Path, name: str) -> tuple[Any, Colour, Colour]:
    """The configuration, and what pictures are normalised with: nothing, where the model does not say."""
    from transformers import AutoConfig

    try:
        kind = json.loads((folder / "config.json").read_bytes()).get("model_type")
        if kind not in FAMILIES:
            raise TagboxError(
                "detector-transformer",
                f"a model of the type {kind!r}",
                file=folder / "config.json",
                where="model_type",
                hint=f"tagbox trains {', '.join(FAMILIES)}, such as {HUGGINGFACE}PekingU/rtdetr_v2_r18vd",
            )
        with _quiet():
            settings = AutoConfig.from_pretrained(folder, local_files_only=True)
        beside = folder / "preprocessor_config.json"
        pictures = json.loads(beside.read_bytes()) if beside.is_file() else {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise TagboxError(
            "detector-transformer",
            f"its configuration cannot be read ({_first_line(error)})",
            file=folder,
            hint=f"restore config.json of {name}",
        ) from error
    if not pictures.get("do_normalize"):
        return settings, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return settings, tuple(pictures["image_mean"]), tuple(pictures["image_std"])


def _side(config: DetectorConfig, settings: Any) -> int:
    """The side of every batch; each query starts at a position of its own, so that there must be enough."""

    def positions(side: int) -> int:
        return sum(math.ceil(side / stride) ** 2 for stride in settings.feat_strides)

    least = STRIDE
    while positions(least) < settings.num_queries:
        least += STRIDE
    side = math.ceil(config.size / STRIDE) * STRIDE
    if not least <= side <= LARGEST:
        raise TagboxError(
            "detector-size",
            f"{config.detector} takes sizes from {least} to {LARGEST} pixels, not {config.size}",
            where="size",
            hint="pass --size 640, or another between them",
        )
    return side


def _network(settings: Any, folder: Path | None) -> Any:
    """The model, with the weights of `folder`; of its layers only those of the categories may differ."""
    from transformers import AutoModelForObjectDetection

    if folder is None:
        return AutoModelForObjectDetection.from_config(settings)
    try:
        model, told = AutoModelForObjectDetection.from_pretrained(
            folder,
            config=settings,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (
        Exception
    ) as error:  # Of Transformers and of safetensors, which have classes of their own.
        raise _mismatch(folder, _first_line(error)) from error
    other = [entry[0] for entry in told["mismatched_keys"]]
    missing = [k for k in told["missing_keys"] if not k.endswith("num_batches_tracked")]
    wrong = [k for k in (*other, *missing) if not any(part in k for part in PER_CATEGORY)]
    if wrong:
        raise _mismatch(
            folder, f"{len(wrong)} weights are missing or of another shape ({wrong[0]}…)"
        )
    return model


def _corners(boxes: Tensor, pixels: Tensor) -> Tensor:
    """(B, Q, 4) centre and size in parts of the square to xyxy in pixels."""
    height, width = pixels.shape[2:]
    middle, half = boxes[..., :2], boxes[..., 2:] / 2
    scale = boxes.new_tensor([width, height, width, height])
    return torch.cat([middle - half, middle + half], dim=-1) * scale


def _mismatch(folder: Path, what: str) -> TagboxError:
    return TagboxError(
        "weights-mismatch",
        f"not the weights of its config.json: {what.rstrip('.')}",
        file=folder / "model.safetensors",
        hint="restore both files from the same model",
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160].rstrip(".")


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and loading reports of Transformers, which speak to its developers."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
