"""timm's models as backbones."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tagbox.errors import TagboxError
from tagbox.models.torch_backbones import Architecture, State


@cache
def timm_names() -> frozenset[str]:
    """Every model's name, without tags of weights."""
    import timm

    return frozenset(timm.list_models())


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
            return _FeatureMap(timm.create_model(self.name, pretrained=False, **settings))
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
            # Without a classifier timm loads what fits and says nothing of the rest.
            absent = [key for key in network.state_dict() if key not in state]
            if absent:
                listed = ", ".join(absent[:3])
                raise self._mismatch(f"{len(absent)} weights are missing ({listed}…)", file)
        network.reset_classifier(0)
        # The configuration would keep a second copy of every weight.
        network.pretrained_cfg = network.default_cfg = {}
        return _FeatureMap(network)

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


class _FeatureMap(nn.Module):
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
