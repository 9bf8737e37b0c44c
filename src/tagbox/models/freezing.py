"""Stages of a backbone, from the image to the feature map, and which of them are trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from torch import nn

CHAINS = frozenset({"blocks", "encoder", "features", "layers", "stages"})
"""Names that architectures give to a sequence of stages; each of its children is a stage."""

Stages = list[list[str]]
"""Names of the parameters of each stage."""


def module_stages(network: nn.Module, prefix: str) -> Stages:
    """Stages of a torchvision or timm network, in forward order.

    timm's models define their stages themselves (``group_matcher``). In others each child is a stage, and of
    a child that is a sequence of stages (`CHAINS`) each of its children.
    """
    matcher: Any = getattr(network, "group_matcher", None)
    if matcher is not None:
        from timm.models import group_parameters

        groups = group_parameters(network, matcher(coarse=True))
        return [[f"{prefix}{name}" for name in groups[order]] for order in sorted(groups)]
    stages: Stages = []
    for path, child in _children(network):
        names = [f"{prefix}{path}.{key}" for key, _ in child.named_parameters()]
        if stages and (_is_norm(child) or not names):
            stages[-1] += names
        elif names:
            stages.append(names)
    listed = {name for names in stages for name in names}
    # Tokens and position embeddings belong to the network itself and are used first.
    own = [f"{prefix}{key}" for key, _ in network.named_parameters()]
    stages[0] += [name for name in own if name not in listed]
    return stages


def _children(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in network.named_children():
        path = f"{prefix}{name}"
        inside = dict(child.named_children())
        if name in CHAINS and not CHAINS.isdisjoint(inside):
            yield from _children(child, f"{path}.")
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
    """The stages that are trained, in forward order.

    Parameters
    ----------
    unfreeze
        ``none``, ``all``, or how many of the last stages.
    name, where
        The backbone and the setting, named in the error.

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
