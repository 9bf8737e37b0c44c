"""Checkpoint files of a user's: `.safetensors`, or `.pth` read without running what is pickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.files import sha256_of
from tagbox.models.hub import download_weights

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which training programs put the weights, the averaged ones first."""


def locate_checkpoint(weights: str) -> tuple[Path, str]:
    """The file of a path or URL, and its SHA-256.

    Raises
    ------
    TagboxError
        ``weights-missing`` where there is no such file; the ``download-…`` codes for a URL.
    """
    if weights.startswith(("http://", "https://")):
        path = download_weights(weights)
    else:
        path = Path(weights).expanduser()
    try:
        return path, sha256_of(path)
    except OSError as error:
        raise TagboxError(
            "weights-missing",
            error.strerror or str(error),
            file=path,
            hint="give default, packaged, none, or the path or URL of a checkpoint",
        ) from error


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without the prefixes of wrappers.

    Raises
    ------
    TagboxError
        ``weights-corrupt`` where the file is damaged, is no checkpoint, or needs code to be run.
    """
    import torch

    try:
        with open(path, "rb") as opened:
            start = opened.read(16)
        if start[8:9] == b"{":  # A safetensors file: the header's length, then its JSON.
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own words advise loading the file in the way that runs what is pickled in it.
        raise _corrupt(path, "damaged, or holding more than tensors") from error
    except Exception as error:  # safetensors raises a class of its own, not an OSError.
        raise _corrupt(path, str(error).split("\n")[0]) from error
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
            break
    if not isinstance(state, dict) or not any(isinstance(v, torch.Tensor) for v in state.values()):
        raise _corrupt(path, "it holds no tensors by name")
    return {
        str(name).removeprefix("module."): value
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """`read_checkpoint` as NumPy arrays."""
    return {name: value.numpy() for name, value in read_checkpoint(path).items()}


def _corrupt(path: Path, reason: str) -> TagboxError:
    return TagboxError(
        "weights-corrupt",
        f"not a readable checkpoint ({reason.rstrip('.') or 'damaged'})",
        file=path,
        hint="give a .safetensors file, or a .pth that holds only tensors",
    )
