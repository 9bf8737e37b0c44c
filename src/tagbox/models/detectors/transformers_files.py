"""Where the files of a transformer are: a folder, Hugging Face's own cache, or the hub."""

from __future__ import annotations

import os
from pathlib import Path

from tagbox.errors import TagboxError
from tagbox.models.hub import download_weights

HUGGINGFACE = "huggingface/"
NEEDED = "config.json"
WEIGHTS = "model.safetensors"
BESIDE = "preprocessor_config.json"
OFFLINE = "HF_HUB_OFFLINE"


def model_folder(name: str, *, weights: bool) -> Path:
    """The folder of ``huggingface/OWNER/NAME``, fetched once, or `name` itself.

    What Hugging Face's programs left in their cache is used; ``$TAGBOX_WEIGHTS_URL`` takes the place of
    the hub's address.

    Raises
    ------
    TagboxError
        ``weights-missing`` where a folder lacks a file; ``detector-unknown`` for a name that is not
        OWNER/NAME; the ``download-…`` codes of `data.fetch.fetch`.
    """
    wanted = (NEEDED, WEIGHTS) if weights else (NEEDED,)
    if not name.startswith(HUGGINGFACE):
        folder = Path(name).expanduser()
        for file in wanted:
            if not (folder / file).is_file():
                raise TagboxError(
                    "weights-missing",
                    "no such file",
                    file=folder / file,
                    hint="give the folder of a model that is saved as config.json and model.safetensors",
                )
        return folder
    owner_name = name.removeprefix(HUGGINGFACE)
    if owner_name.count("/") != 1 or not all(owner_name.split("/")):
        raise TagboxError(
            "detector-unknown",
            f"{name!r} does not name a model of the hub",
            where="detector",
            hint=f"write {HUGGINGFACE}OWNER/NAME, as in {HUGGINGFACE}PekingU/rtdetr_v2_r18vd",
        )
    cached = _cached(owner_name, wanted)
    if cached is not None:
        return cached
    return _downloaded(owner_name, wanted)


def _cached(owner_name: str, wanted: tuple[str, ...]) -> Path | None:
    """The folder in Hugging Face's cache, when all that is wanted is there."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(owner_name, file) for file in wanted]
    paths = [Path(path) for path in found if isinstance(path, str)]
    return paths[0].parent if len(paths) == len(wanted) else None


def _downloaded(owner_name: str, wanted: tuple[str, ...]) -> Path:
    way_out = (
        f"download {' and '.join(wanted)} of https://huggingface.co/{owner_name} on another computer "
        "and pass their folder as --detector"
    )
    if os.environ.get(OFFLINE, "").lower() in ("1", "true", "yes", "on"):
        raise TagboxError(
            "download-network",
            f"{owner_name} is not in the cache of Hugging Face, and {OFFLINE} is set",
            hint=way_out,
        )
    address = f"https://huggingface.co/{owner_name}/resolve/main/"
    try:
        paths = [download_weights(f"{address}{file}") for file in wanted]
    except TagboxError as error:
        if not error.code.startswith("download-"):
            raise
        raise TagboxError(error.code, error.found, where=error.where, hint=way_out) from error
    try:
        download_weights(f"{address}{BESIDE}")
    except TagboxError as error:
        # A model need not say how pictures are normalised.
        if error.code != "download-status":
            raise
    return paths[0].parent
