"""Transformer detectors by name or folder: their files made into a network, or one built from its description.

A model is its ``config.json`` and ``model.safetensors``, from the hub or a folder; no code that comes with a
model is run, and nothing pickled is read.

Where the files of a transformer are: a folder, Hugging Face's own cache, or the hub.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tagbox.config.detector import HUGGINGFACE, DetectorConfig
from tagbox.config.detector_training import input_size
from tagbox.errors import TagboxError
from tagbox.files import read_file
from tagbox.models.backbones import Colour
from tagbox.models.detectors.base import DetectorSpec
from tagbox.models.detectors.transformers_detector import TransformerDetector
from tagbox.models.weights import download_weights

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
        OWNER/NAME; the ``download-…`` codes of `tagbox.data.http_download.download_file`.
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
        raise error.replace(file=None, hint=way_out) from error
    try:
        download_weights(f"{address}{BESIDE}")
    except TagboxError as error:
        # A model need not state how images are normalised.
        if error.code != "download-status":
            raise
    return paths[0].parent


FAMILIES = ("rt_detr", "rt_detr_v2", "d_fine")
PER_CATEGORY = ("class_embed", "enc_score_head")
"""Parts of the names of layers whose size follows from the number of categories."""
STRIDE = 32
LARGEST = 2048
SCORE_THRESHOLD = 0.01
DETECTIONS = 100
_MOST_BYTES = 1 << 26


def create_transformer(config: DetectorConfig, categories: int) -> TransformerDetector:
    """A new one from ``huggingface/OWNER/NAME`` or a folder, with its weights (``default``) or without (``none``).

    Layers whose size follows from the number of categories are drawn from the seed, unless that is the
    same.

    Raises
    ------
    TagboxError
        ``detector-transformer`` for another family or a folder that cannot be read; ``detector-size``;
        ``detector-weights`` for other weights; ``weights-mismatch``; ``weights-missing``; ``download-…``.
    """
    if config.weights not in ("default", "none"):
        raise TagboxError(
            "detector-weights",
            f"{config.detector} brings its own weights, {config.weights!r} cannot be loaded into it",
            where="weights",
            hint="pass the folder that holds config.json and model.safetensors as --detector",
        )
    folder = model_folder(config.detector, weights=config.weights == "default")
    settings, mean, std = _settings(folder, config.detector)
    settings.num_labels = categories
    # Any size, and norms that the recipe may let follow the batches.
    settings.anchor_image_size = settings.eval_size = None
    settings.freeze_backbone_batch_norms = False
    side = _side(config, settings)
    with _quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _network(settings, folder if config.weights == "default" else None)
    spec = DetectorSpec(
        detector=config.detector
        if config.detector.startswith(HUGGINGFACE)
        else f"{HUGGINGFACE}{folder.name}",
        backbone="",
        categories=categories,
        size=input_size(config),
        fixed=False,
        multiple=side,
        mean=mean,
        std=std,
        options={
            "config": json.loads(settings.to_json_string(use_diff=False)),
            "score_threshold": SCORE_THRESHOLD,
            "detections": DETECTIONS,
        },
    )
    return TransformerDetector(spec, model)


def build_transformer(spec: DetectorSpec) -> TransformerDetector:
    """An empty one for saved weights, from the configuration in the specification."""
    from transformers import AutoConfig

    given = dict(spec.options["config"])
    with _quiet():
        settings = AutoConfig.for_model(given.pop("model_type"), **given)
        return TransformerDetector(spec, _network(settings, None))


def _settings(folder: Path, name: str) -> tuple[Any, Colour, Colour]:
    """The configuration, and the mean and deviation of normalisation; none where the model has none."""
    from transformers import AutoConfig

    try:
        kind = json.loads(read_file(folder / "config.json", _MOST_BYTES)).get("model_type")
        if kind not in FAMILIES:
            raise TagboxError(
                "detector-transformer",
                f"a model of the type {kind!r}",
                file=folder / "config.json",
                where="model_type",
                hint=f"tagbox trains {', '.join(FAMILIES)}, such as {HUGGINGFACE}PekingU/rtdetr_v2_r18vd",
            )
        with _quiet():
            settings = AutoConfig.from_pretrained(folder, local_files_only=True)
        processor = folder / "preprocessor_config.json"
        preprocessing = {}
        if os.path.lexists(processor):
            preprocessing = json.loads(read_file(processor, _MOST_BYTES))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TagboxError(
            "detector-transformer",
            f"its configuration cannot be read ({_first_line(error)})",
            file=folder,
            hint=f"restore config.json of {name}",
        ) from error
    if not preprocessing.get("do_normalize"):
        return settings, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return settings, tuple(preprocessing["image_mean"]), tuple(preprocessing["image_std"])


def _side(config: DetectorConfig, settings: Any) -> int:
    """The side of every batch; each query starts at a position of its own, so that there must be enough."""

    def positions(side: int) -> int:
        return sum(math.ceil(side / stride) ** 2 for stride in settings.feat_strides)

    least = STRIDE
    while positions(least) < settings.num_queries:
        least += STRIDE
    side = math.ceil(input_size(config) / STRIDE) * STRIDE
    if not least <= side <= LARGEST:
        raise TagboxError(
            "detector-size",
            f"{config.detector} takes sizes from {least} to {LARGEST} pixels, not {input_size(config)}",
            where="size",
            hint="pass --size 640, or another between them",
        )
    return side


def _network(settings: Any, folder: Path | None) -> Any:
    """The model, with the weights of `folder`; of its layers only those of the categories may differ."""
    from transformers import AutoModelForObjectDetection

    if folder is None:
        return AutoModelForObjectDetection.from_config(settings)
    try:
        model, report = AutoModelForObjectDetection.from_pretrained(
            folder,
            config=settings,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (
        Exception
    ) as error:  # Of Transformers and of safetensors, which have classes of their own.
        raise _mismatch(folder, _first_line(error)) from error
    other = [entry[0] for entry in report["mismatched_keys"]]
    missing = [k for k in report["missing_keys"] if not k.endswith("num_batches_tracked")]
    wrong = [k for k in (*other, *missing) if not any(part in k for part in PER_CATEGORY)]
    if wrong:
        raise _mismatch(
            folder, f"{len(wrong)} weights are missing or of another shape ({wrong[0]}…)"
        )
    return model


def _mismatch(folder: Path, what: str) -> TagboxError:
    return TagboxError(
        "weights-mismatch",
        f"not the weights of its config.json: {what.rstrip('.')}",
        file=folder / "model.safetensors",
        hint="restore both files from the same model",
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160].rstrip(".")


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and loading reports of Transformers, which speak to its developers."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
