"""Architectures of torchvision and timm, cut before their pooling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tagbox.errors import TagboxError
from tagbox.models.backbones.base import Colour, Source, require_same_shapes

State = dict[str, Tensor]


class Architecture(ABC):
    """The published weights of one architecture, its input, and how to build it."""

    source: Source
    name: str
    default_size: int
    mean: Colour
    std: Colour

    @abstractmethod
    def url(self) -> str:
        """Where its weights are.

        Raises
        ------
        TagboxError
            ``weights-missing`` where nobody published any.
        """

    @abstractmethod
    def build(self, size: int, state: State | None, file: Path | None) -> nn.Module:
        """Squares of `size` to feature maps, with the weights in `state` (from `file`) or random ones.

        The module's ``network`` holds the weights under the architecture's own names.

        Raises
        ------
        TagboxError
            ``weights-mismatch``; any other exception means that it does not take `size`.
        """


def load_strictly(network: nn.Module, state: State, name: str, file: Path | None) -> None:
    """Load all of `network` from `state`, which may hold more.

    Raises
    ------
    TagboxError
        ``weights-mismatch``.
    """
    # The counters of seen batches decide nothing in a frozen network; old checkpoints lack them.
    wanted = {
        key: tuple(value.shape)
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    require_same_shapes(wanted, {k: tuple(v.shape) for k, v in state.items()}, name, file)
    network.load_state_dict({key: state[key] for key in wanted}, strict=False)


AFTER_THE_MAP = frozenset(
    {"avgpool", "flatten", "dropout", "classifier", "fc", "head", "heads", "aux1", "aux2"}
)
BESIDE_THE_PATH = frozenset({"AuxLogits"})
TRANSFORM_INPUT = frozenset({"googlenet", "inception_v3"})
"""Their weights expect 0.5 as mean and std; torchvision converts ImageNet's to that inside the model."""


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
        network = torchvision.models.get_model(self.name, weights=None, **settings)
        module = _ClassToken(network) if transformer else _Path(network)
        if state is not None:
            if transformer and "encoder.pos_embedding" in state:
                state = dict(
                    torchvision.models.vision_transformer.interpolate_embeddings(
                        size, network.patch_size, dict(state)
                    )
                )
            load_strictly(module.network, state, self.name, file)
        return module


class _Path(nn.Module):
    """The children of a model one after the other, up to its pooling."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = nn.Module()
        for name, child in network.named_children():
            if name in AFTER_THE_MAP:
                break
            if name not in BESIDE_THE_PATH:
                steps = nn.Sequential(*child) if isinstance(child, nn.ModuleList) else child
                self.network.add_module(name, steps)
        if type(network).__name__ == "DenseNet":
            self.network.add_module("relu", nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        for child in self.network.children():
            x = child(x)
        return x


class _ClassToken(nn.Module):
    """A vision transformer's class token as a map of one position."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        network.heads = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        token: Tensor = self.network(x)
        return token[:, :, None, None]


class TimmArchitecture(Architecture):
    """One of them; ``NAME.TAG`` chooses between published weights."""

    source = "timm"

    def __init__(self, name: str) -> None:
        import timm

        try:
            found = timm.models.get_pretrained_cfg(name, allow_unregistered=False)
        except RuntimeError as error:
            raise TagboxError(
                "backbone-unknown",
                f"timm knows no weights called {name!r}",
                where="backbone",
                hint=f"leave the tag out: {name.split('.')[0]}",
            ) from error
        self.name = name
        self._published: dict[str, Any] = found.to_dict()
        self.default_size = self._published["input_size"][-1]
        self.mean = tuple(self._published["mean"])
        self.std = tuple(self._published["std"])

    def url(self) -> str:
        """See `Architecture.url`: the model's page on the Hugging Face hub, else the address timm knows."""
        page = self._published.get("hf_hub_id")
        if page:
            file = self._published.get("hf_hub_filename") or "model.safetensors"
            return f"https://huggingface.co/{page}/resolve/main/{file}"
        if self._published.get("url"):
            return str(self._published["url"])
        raise TagboxError(
            "weights-missing",
            f"nobody published weights of {self.name}",
            where="weights",
            hint="pass --weights PATH or --weights none",
        )

    def build(self, size: int, state: State | None, file: Path | None) -> nn.Module:
        """See `Architecture.build`; timm converts old names and resamples position embeddings."""
        import timm

        settings: dict[str, Any] = {"num_classes": 0}
        if self._published.get("fixed_input_size") and size != self.default_size:
            settings["img_size"] = size
        if state is None:
            return _LastMap(timm.create_model(self.name, pretrained=False, **settings))
        classes = self._classes(state)
        overlay = {"state_dict": dict(state), "num_classes": classes}
        try:
            network = timm.create_model(
                self.name,
                pretrained=True,
                pretrained_cfg_overlay=overlay,
                **{**settings, "num_classes": classes},
            )
        except (RuntimeError, KeyError) as error:
            raise self._mismatch(" ".join(str(error).split())[:200], file) from error
        if not classes:
            # Without a classifier timm loads what fits and reports no missing weights.
            absent = [key for key in network.state_dict() if key not in state]
            if absent:
                listed = ", ".join(absent[:3])
                raise self._mismatch(f"{len(absent)} weights are missing ({listed}…)", file)
        network.reset_classifier(0)
        # The configuration would keep a second copy of every weight.
        network.pretrained_cfg = network.default_cfg = {}
        return _LastMap(network)

    def _classes(self, state: State) -> int:
        """Outputs of the checkpoint's classifier; 0 where it has none."""
        named = self._published.get("classifier") or ()
        for layer in (named,) if isinstance(named, str) else named:
            for suffix in ("weight", "bias"):
                value = state.get(f"{layer}.{suffix}")
                if value is not None:
                    return int(value.shape[0])
        return 0

    def _mismatch(self, what: str, file: Path | None) -> TagboxError:
        return TagboxError(
            "weights-mismatch",
            f"not the weights of {self.name}: {what.rstrip('.')}",
            file=file,
            hint="give a checkpoint of that architecture, or the --backbone it belongs to",
        )


class _LastMap(nn.Module):
    """The last map, channels first; for models of tokens the feature before the classifier."""

    network: Any

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network.forward_features(x)
        if found.ndim != 4:
            token: Tensor = self.network.forward_head(found, pre_logits=True)
            return token[:, :, None, None]
        channels_last = getattr(self.network, "output_fmt", "NCHW") == "NHWC"
        return found.permute(0, 3, 1, 2) if channels_last else found
