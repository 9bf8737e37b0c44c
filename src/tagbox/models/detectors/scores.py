"""NanoDet-g as a backbone of a classifier: its features are the highest logit of each of COCO's 80 categories.

Its map has 80 channels and the side of the finest of its three levels: at each position the maximum of the logits of the
levels, a coarse position lying over several fine ones. The maximum over positions, which is the feature, is that over
all positions of all levels. It is trained on COCO train2017, and what is made with it is *COCO transfer*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config.detector import NANODET
from tagbox.data import categories as coco80
from tagbox.errors import TagboxError
from tagbox.models.backbones import Backbone, BackboneRequest, BackboneSpec, require_same_shapes
from tagbox.models.backbones.base import Arrays, arrays_sha256
from tagbox.models.detectors.nanodet import MEAN, SIDE, STD, STRIDES, openvino_model, state_shapes
from tagbox.models.detectors.nanodet_weights import TRAINED_ON, load_weights, package_folder
from tagbox.sharing import shared_property

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tagbox.models.freezing import Stages

TRANSFER = f"COCO transfer ({NANODET}, trained on {TRAINED_ON})"
"""What is said of every model that uses the scores."""
CATEGORIES = coco80.NAMES
"""Of the features, in their order."""


def require_scores(request: BackboneRequest, weights: str, *, trained: bool) -> None:
    """Refuse, before any work, what the detector cannot do as a backbone.

    Parameters
    ----------
    trained
        Whether the backbone is to be trained.

    Raises
    ------
    TagboxError
        ``backbone-size``; ``finetune-backbones``; ``detector-weights``; ``extra-missing`` without the package.
    """
    _require_size(request.size or SIDE)
    if trained:
        raise TagboxError(
            "finetune-backbones",
            f"{NANODET} gives its scores to a classifier, and is not trained in it",
            where="finetune.unfreeze",
            hint=f"pass --finetune.unfreeze none, or train it as a detector: tagbox train detector --detector {NANODET}",
        )
    if weights == "none":
        raise TagboxError(
            "detector-weights",
            f"{NANODET} without weights has no scores to give",
            where="weights",
            hint="leave --weights out",
        )
    if weights in ("default", "packaged"):
        package_folder()


def create_scores(request: BackboneRequest, weights: str = "default") -> DetectorScores:
    """The detector as a backbone, with the weights of its package or of a file.

    Raises
    ------
    TagboxError
        The codes of `require_scores` and `nanodet_weights.load_weights`; ``weights-mismatch`` for a checkpoint of
        other categories than COCO's.
    """
    require_scores(request, weights, trained=False)
    arrays, names = load_weights(weights)
    if names != CATEGORIES:
        raise TagboxError(
            "weights-mismatch",
            f"its scores are not of COCO's {len(CATEGORIES)} categories",
            file=weights,
            hint="leave --weights out",
        )
    spec = BackboneSpec(
        name=NANODET,
        source="detector",
        size=request.size or SIDE,
        mean=MEAN,
        std=STD,
        dim=len(CATEGORIES),
        weights="packaged" if weights == "default" else weights,
        weights_sha256=arrays_sha256(arrays),
        mean_pooled=True,
    )
    return DetectorScores(spec, arrays)


def load_scores(spec: BackboneSpec, arrays: Arrays) -> DetectorScores:
    """The backbone that `spec` describes with the weights in `arrays`, as a saved model holds them.

    Raises
    ------
    TagboxError
        ``backbone-unknown``, ``backbone-size``; ``weights-mismatch`` where the arrays are not its weights.
    """
    if spec.name != NANODET or spec.dim != len(CATEGORIES):
        raise TagboxError(
            "backbone-unknown",
            f"no detector is called {spec.name!r} that gives {spec.dim} scores",
            where="backbones",
            hint="use the tagbox that wrote it",
        )
    _require_size(spec.size)
    wanted = state_shapes(len(CATEGORIES))
    require_same_shapes(wanted, {name: a.shape for name, a in arrays.items()}, NANODET, None)
    return DetectorScores(spec, {name: np.asarray(arrays[name]) for name in wanted})


class DetectorScores(Backbone):
    """See the module."""

    def __init__(self, spec: BackboneSpec, arrays: Arrays) -> None:
        super().__init__(spec)
        self._arrays = dict(arrays)

    @shared_property
    def module(self) -> nn.Module:
        """See `Backbone.module`."""
        return _torch_module(self._arrays)

    @property
    def parameters(self) -> int:
        """See `Backbone.parameters`."""
        return sum(int(array.size) for array in self._arrays.values())

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """See `Backbone.map_shape`."""
        side = self.spec.size // STRIDES[0]
        return self.spec.dim, side, side

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See `Backbone.arrays`."""
        return self._arrays

    def stages(self) -> Stages:
        """See `Backbone.stages`: one of all weights, which are not trained."""
        return [[f"body.{name}" for name in self._arrays]]

    def openvino_map(self, pixels: Any) -> Any:
        """See `Backbone.openvino_map`: the detector grafted on `pixels`, its levels made equally fine."""
        from openvino import opset13 as ov

        size = self.spec.size
        model = openvino_model(self._arrays, [1, 3, size, size])
        model.inputs[0].get_node().output(0).replace(pixels.output(0))
        found = None
        for output, stride in zip(model.outputs, STRIDES, strict=True):
            level = ov.slice(
                output.get_node().input_value(0),
                *(ov.constant(np.array([n])) for n in (0, self.spec.dim, 1, 1)),
            )
            factor = stride // STRIDES[0]
            if factor > 1:
                # Each row and each column that many times.
                side = size // stride
                split = np.array([1, self.spec.dim, side, 1, side, 1])
                wide = np.array([1, self.spec.dim, side, factor, side, factor])
                level = ov.broadcast(
                    ov.reshape(level, ov.constant(split), special_zero=False), ov.constant(wide)
                )
                level = ov.reshape(
                    level, ov.constant(np.array([1, *self.map_shape])), special_zero=False
                )
            found = level if found is None else ov.maximum(found, level)
        return found


def _torch_module(arrays: Arrays) -> nn.Module:
    """Normalised (B, 3, S, S) to the map (B, 80, S / 8, S / 8); in eval mode, frozen."""
    import torch
    from torch import nn

    from tagbox.models.detectors.nanodet_detector import Body

    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Body(len(CATEGORIES))

        def forward(self, pixels: Tensor) -> Tensor:
            levels: list[Tensor] = [level[:, : len(CATEGORIES)] for level in self.body(pixels)]
            found, *coarser = levels
            for level in coarser:
                factor = found.shape[-1] // level.shape[-1]
                wide = level.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
                found = torch.maximum(found, wide)
            return found

    module = Scores()
    state = {name: torch.from_numpy(np.array(array)).float() for name, array in arrays.items()}
    module.body.load_state_dict(state)
    return module.eval().requires_grad_(False)


def _require_size(size: int) -> None:
    if size % STRIDES[-1]:
        near = max(1, round(size / STRIDES[-1])) * STRIDES[-1]
        raise TagboxError(
            "backbone-size",
            f"{NANODET} takes multiples of {STRIDES[-1]} pixels, not {size}",
            where="backbone",
            hint=f"write {NANODET}@{near}",
        )
