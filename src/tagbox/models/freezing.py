"""The stages of a backbone, from the picture to the feature map: what is unfrozen, and slowed down, together.

What of a backbone is trained, and what stays exactly as it is: weights and statistics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from torch import nn

CHAINS = frozenset({"blocks", "encoder", "features", "layers", "stages"})
"""Names that architectures give to a chain of stages; each link of it is one."""

Stages = list[list[str]]
"""Names of the parameters of each stage."""


def lite_stages(names: Sequence[str]) -> Stages:
    """Stages of an EfficientNet-Lite: stem, seven stages of blocks, head."""
    found: dict[int, list[str]] = {}
    for name in names:
        first, *rest = name.split(".")
        place = {"conv_stem": -1, "bn1": -1, "conv_head": 99, "bn2": 99}.get(first)
        found.setdefault(int(rest[0]) if place is None else place, []).append(name)
    return [found[place] for place in sorted(found)]


def module_stages(network: nn.Module, prefix: str) -> Stages:
    """Stages of a network of torchvision's or timm's, in the order in which a picture meets them.

    timm's models say themselves what their stages are. Of others, the children are the stages, and
    where one of them is a chain (`CHAINS`), its links are.
    """
    matcher: Any = getattr(network, "group_matcher", None)
    if matcher is not None:
        from timm.models import group_parameters

        groups = group_parameters(network, matcher(coarse=True))
        return [[f"{prefix}{name}" for name in groups[place]] for place in sorted(groups)]
    found: Stages = []
    for path, child in _links(network):
        names = [f"{prefix}{path}.{key}" for key, _ in child.named_parameters()]
        if found and (_is_norm(child) or not names):
            found[-1] += names
        elif names:
            found.append(names)
    listed = {name for names in found for name in names}
    # Tokens and position embeddings hang on the network itself: they meet the picture first.
    own = [f"{prefix}{key}" for key, _ in network.named_parameters()]
    found[0] += [name for name in own if name not in listed]
    return found


def _links(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in network.named_children():
        path = f"{prefix}{name}"
        inside = dict(child.named_children())
        if name in CHAINS and not CHAINS.isdisjoint(inside):
            yield from _links(child, f"{path}.")
        elif name in CHAINS and inside:
            yield from ((f"{path}.{key}", link) for key, link in inside.items())
        else:
            yield path, child


def _is_norm(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm))


def last_stages(
    all_stages: Sequence[Sequence[str]], unfreeze: str, *, name: str, where: str
) -> list[Sequence[str]]:
    """The stages that are trained, from the picture on.

    Parameters
    ----------
    unfreeze
        ``none``, ``all``, or how many of the last stages.
    name, where
        The backbone, and the setting that asks, for the error.

    Raises
    ------
    TagboxError
        ``config-value`` where there are fewer stages.
    """
    if unfreeze == "none":
        return []
    if unfreeze == "all":
        return list(all_stages)
    if int(unfreeze) > len(all_stages):
        raise TagboxError(
            "config-value",
            f"{unfreeze} stages are to be trained, {name} has {len(all_stages)}",
            where=where,
            hint="give a smaller number, or all",
        )
    return list(all_stages[-int(unfreeze) :])


def still_modules(backbone: nn.Module, trained: set[str], train_norms: bool) -> list[nn.Module]:
    """Modules that stay in eval: all of frozen stages, and batch normalisation unless `train_norms`.

    Parameters
    ----------
    trained
        Names of the parameters in `backbone` that are trained.
    """
    from torch import nn

    still = []
    for name, module in backbone.named_modules():
        own = [f"{name}.{key}" if name else key for key, _ in module.named_parameters()]
        is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        frozen = bool(own) and not any(key in trained for key in own)
        if frozen or (is_norm and not train_norms):
            still.append(module)
    return still
