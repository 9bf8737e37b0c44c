"""torchvision's classification models, cut before their pooling."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tagbox.models.torch_backbones import Architecture, State, load_strictly

AFTER_THE_MAP = frozenset(
    {"avgpool", "flatten", "dropout", "classifier", "fc", "head", "heads", "aux1", "aux2"}
)
BESIDE_THE_PATH = frozenset({"AuxLogits"})
TRANSFORM_INPUT = frozenset({"googlenet", "inception_v3"})
"""Their weights expect 0.5 as mean and std; torchvision converts ImageNet's to that inside the model."""


@cache
def torchvision_names() -> frozenset[str]:
    """Every classification model's name."""
    import torchvision

    return frozenset(torchvision.models.list_models(module=torchvision.models))


class TorchvisionArchitecture(Architecture):
    """One of them, with the recommended weights' size and normalisation."""

    source = "torchvision"

    def __init__(self, name: str) -> None:
        import torchvision

        self.name = name
        self._weights = torchvision.models.get_model_weights(name).DEFAULT
        transforms: Any = self._weights.transforms()
        self.default_size = transforms.crop_size[0]
        half = (0.5, 0.5, 0.5)
        own = name not in TRANSFORM_INPUT
        self.mean = tuple(transforms.mean) if own else half
        self.std = tuple(transforms.std) if own else half

    def url(self) -> str:
        """See `Architecture.url`; the name holds the first digits of the file's SHA-256."""
        return str(self._weights.url)

    def build(self, size: int, state: State | None, file: Path | None) -> nn.Module:
        """See `Architecture.build`."""
        import torchvision

        settings: dict[str, Any] = {}
        transformer = self.name.startswith("vit_")
        if transformer:
            settings["image_size"] = size
        if self.name in TRANSFORM_INPUT:
            settings |= {"init_weights": state is None, "transform_input": False}
        whole = torchvision.models.get_model(self.name, weights=None, **settings)
        module = _ClassToken(whole) if transformer else _Path(whole)
        if state is not None:
            if transformer and "encoder.pos_embedding" in state:
                state = dict(
                    torchvision.models.vision_transformer.interpolate_embeddings(
                        size, whole.patch_size, dict(state)
                    )
                )
            load_strictly(module.network, state, self.name, file)
        return module


class _Path(nn.Module):
    """The children of a model one after the other, up to its pooling."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.network = nn.Module()
        for name, child in whole.named_children():
            if name in AFTER_THE_MAP:
                break
            if name not in BESIDE_THE_PATH:
                steps = nn.Sequential(*child) if isinstance(child, nn.ModuleList) else child
                self.network.add_module(name, steps)
        if type(whole).__name__ == "DenseNet":
            self.network.add_module("relu", nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        for child in self.network.children():
            x = child(x)
        return x


class _ClassToken(nn.Module):
    """A vision transformer's class token as a map of one position."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.network = whole
        whole.heads = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        token: Tensor = self.network(x)
        return token[:, :, None, None]
