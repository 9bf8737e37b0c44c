"""Weights from torchvision's and timm's servers, or from a mirror of them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tagbox.data.fetch import fetch
from tagbox.files import cache_folder, sha256_of

MIRROR_VARIABLE = "TAGBOX_WEIGHTS_URL"
"""Environment variable: the base URL of a mirror, which keeps the paths of the original URLs."""


def download_weights(url: str) -> Path:
    """The file behind `url`, downloaded once and kept in the user's cache folder.

    Digits of a SHA-256 in the file's name (``resnet18-f37072fd.pth``) are verified, on what was
    kept too. ``$TAGBOX_WEIGHTS_URL`` takes the place of the URL's scheme and host.

    Raises
    ------
    TagboxError
        The ``download-…`` codes of `data.fetch.fetch`.
    """
    parts = urlsplit(url)
    # Model pages call every file model.safetensors; the whole path keeps them apart.
    path = cache_folder("weights") / parts.netloc.replace(":", "_") / parts.path.strip("/")
    digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", parts.path)
    prefix = digits[1] if digits else None
    if path.is_file() and (prefix is None or sha256_of(path).startswith(prefix)):
        return path
    source = mirrored(url)
    return fetch(
        source,
        path,
        sha256_prefix=prefix,
        progress=_Teller(source),
        hint=f"download {url} on another computer and pass --weights PATH",
    )


def mirrored(url: str) -> str:
    """`url` at the mirror, where one is set."""
    mirror = os.environ.get(MIRROR_VARIABLE, "").rstrip("/")
    return mirror + urlsplit(url).path if mirror else url


class _Teller:
    """Says on stderr what is being downloaded, and on a terminal how far it is."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._percent = -1

    def __call__(self, held: int, total: int | None) -> None:
        percent = 100 * held // total if total else 0
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
