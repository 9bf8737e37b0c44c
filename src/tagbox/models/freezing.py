"""What of a backbone is trained, and what stays exactly as it is: weights and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from torch import nn


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
