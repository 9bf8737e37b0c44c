"""Checkpoint files (`.safetensors`, or `.pth` read without unpickling code) and downloads of published weights."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from numpy.typing import NDArray

from tagbox.atomic_io import cache_folder, sha256_of
from tagbox.config import require_no_password
from tagbox.errors import TagboxError, visible
from tagbox.files import open_file
from tagbox.paths import inside

if TYPE_CHECKING:
    from torch import Tensor

MIRROR_VARIABLE = "TAGBOX_WEIGHTS_URL"
"""Environment variable: the base URL of a mirror, which keeps the paths of the original URLs."""


def download_weights(url: str) -> Path:
    """The file behind `url`, downloaded once and kept in the user's cache folder.

    Digits of a SHA-256 in the file's name (``resnet18-f37072fd.pth``) are verified, on what was
    kept too. ``$TAGBOX_WEIGHTS_URL`` takes the place of the URL's scheme and host.

    Raises
    ------
    TagboxError
        The ``download-…`` codes of `tagbox.data.http_download.download_file`.
    """
    parts = urlsplit(url)
    # Model pages call every file model.safetensors; the whole path keeps them apart.
    host = parts.netloc.rpartition("@")[2].replace(":", "_")
    if parts.query:
        host += f"/{hashlib.sha256(parts.query.encode(errors='surrogatepass')).hexdigest()[:16]}"
    name = f"{host}/{parts.path.strip('/')}"
    path = inside(cache_folder("weights"), name)
    digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", parts.path)
    prefix = digits[1] if digits else None
    if os.path.isfile(path) and (prefix is None or sha256_of(path).startswith(prefix)):
        return path
    from tagbox.data.http_download import download_file, shown_url

    source = mirrored(url)
    return download_file(
        source,
        path,
        sha256_prefix=prefix,
        progress=_DownloadProgress(source),
        hint=f"download {shown_url(url)} on another computer and pass --weights PATH",
    )


def mirrored(url: str) -> str:
    """`url` at the mirror, where one is set."""
    mirror = os.environ.get(MIRROR_VARIABLE, "").rstrip("/")
    return mirror + urlsplit(url).path if mirror else url


class _DownloadProgress:
    """Prints the URL of a download to stderr, on a terminal with its progress."""

    def __init__(self, url: str) -> None:
        from tagbox.data.http_download import shown_url

        self._url = visible(shown_url(url))
        self._percent = -1

    def __call__(self, received: int, total: int | None) -> None:
        percent = 100 * received // total if total else 0
        if percent == self._percent:
            return
        screen = sys.stderr.isatty()
        if self._percent < 0 and not screen:
            print(f"tagbox: downloading {self._url}", file=sys.stderr)
        if screen:
            end = "\n" if percent == 100 else ""
            size = f" of {total / 1e6:.0f} MB" if total else ""
            print(f"\rtagbox: downloading {self._url}: {percent} %{size}", end=end, file=sys.stderr)
            sys.stderr.flush()
        self._percent = percent


WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which training programs store the weights, the averaged ones first."""


def locate_checkpoint(weights: str) -> tuple[Path, str]:
    """The file of a path or URL, and its SHA-256.

    Raises
    ------
    TagboxError
        ``weights-missing`` where there is no such file; ``config-value`` for a URL with a password; the
        ``download-…`` codes for a URL.
    """
    require_no_password(weights, "weights")
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
        with open_file(path) as opened:
            start = opened.read(16)
        if start[8:9] == b"{":  # A safetensors file: the header's length, then its JSON.
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message advises loading the file in the way that runs pickled code.
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
