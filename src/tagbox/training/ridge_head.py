"""The head `ridge`: ridge regression on the pooled features, saved as a linear head."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig
from tagbox.metrics.multilabel import class_priors
from tagbox.models.heads import head_logits
from tagbox.training.calibration import fit_shared_logistic
from tagbox.training.classification_task import ClassificationMetrics
from tagbox.training.frozen import Encoded, configured_head
from tagbox.training.history import Row
from tagbox.training.losses import create_loss
from tagbox.training.resolve_config import label_kind
from tagbox.training.ridge import RidgeFit
from tagbox.training.task import TrainState

if TYPE_CHECKING:
    from torch import nn

    from tagbox.training.distributed import Runtime

LEAST_SLOPE = 1.0
"""Of the calibration: outputs that tell nothing are not turned round."""


def fit_ridge_head(
    encoded: Encoded,
    config: ClassifierConfig,
    runtime: Runtime,
    *,
    targets: NDArray[np.float32] | None = None,
    on_batch: Callable[[int, float], None] | None = None,
    on_epoch: Callable[[Row, ClassificationMetrics], None] | None = None,
    advance: Callable[[], None] | None = None,
) -> tuple[nn.Module, TrainState, NDArray[np.float32] | None]:
    """Fit a linear head to all training images in closed form; can stand where `train_in_folds` does.

    The outputs for images that were left out, by folds where there are any and else one at a time (with its copies), are
    calibrated: the logit is a sum of the output (without its intercept, over the labels' standard deviation), the logit of
    the category's base rate and a constant, with coefficients that all categories share. It is linear in the features, so the saved head computes it.

    Parameters
    ----------
    encoded
        Of the images view 0 is used.
    config
        Resolved.
    targets, on_batch
        Without a meaning here.
    on_epoch
        Called once, with the only row of the history, and the metrics of the left-out images in folds, else of the
        validation images.
    advance
        Called when the head is fitted.

    Returns
    -------
    tuple of Module, TrainState and NDArray
        The head; a history of one row with the ``penalty`` (see `ridge.RidgeFit.share`) and validation metrics; (N, K)
        float32 probabilities of left-out images where there are folds, else None.
    """
    import torch

    kind = label_kind(config)
    features, labels = encoded.train_features[:, 0], encoded.train.labels
    rates = class_priors(labels)
    # What a head of the configured kind begins with, which is the answer where features say nothing.
    base = np.log(rates) if kind == "exclusive" else np.log(rates) - np.log1p(-rates)
    fit = RidgeFit.of(features, labels)
    groups = _copies(features) if encoded.fold_of is None else encoded.fold_of
    # A rare category's outputs are small for the images that have it, too. The intercept of a regression without an image
    # is lower if the image has the category: of few images that would tell more than the features.
    spread = np.sqrt(rates * (1 - rates))
    outputs = (fit.left_out(groups) - fit.means_without(groups)) / spread
    inputs = [outputs, base[None], np.ones((1, 1))]
    slope, prior, constant = fit_shared_logistic(inputs, labels, rates, kind)
    if slope < LEAST_SLOPE:
        slope, prior, constant = LEAST_SLOPE, 1.0, 0.0
    head: Any = configured_head(config, fit.scale, rates)
    with torch.no_grad():
        head.output.weight.copy_(torch.from_numpy(slope * fit.weight / spread[:, None]))
        head.output.bias.copy_(torch.from_numpy(prior * base + constant))
    metrics = ClassificationMetrics(kind, config.objective)
    if encoded.fold_of is None:
        arrays = {name: value.numpy() for name, value in head.state_dict().items()}
        logits = head_logits(arrays, encoded.validation_features[:, 0])
        truth = encoded.validation.labels
    else:
        logits = (slope * outputs + prior * base + constant).astype(np.float32)
        truth = labels
    metrics.extend({"rows": [np.arange(len(truth))], "logits": [logits], "targets": [truth]})
    loss = create_loss("cross_entropy" if kind == "exclusive" else "bce", torch.empty(0))
    tables = torch.from_numpy(logits), torch.from_numpy(truth.astype(np.float32))
    metrics.add_loss(loss.total(*tables).item(), loss.known(tables[1]))
    row: Row = {
        "epoch": 1,
        "penalty": fit.share,
        **{f"val_{name}": value for name, value in metrics.scores().items()},
    }
    if on_epoch is not None:
        on_epoch(row, metrics)
    if advance is not None:
        advance()
    state = TrainState(history=[row], best_row=row, best_epoch=1, over=True)
    out_of_fold = None if encoded.fold_of is None else metrics.probabilities
    return head.to(runtime.device), state, out_of_fold


def _copies(features: NDArray[np.float32]) -> NDArray[np.intp]:
    """(N,) the first image with the same features."""
    first: dict[bytes, int] = {}
    found = (hashlib.blake2b(row.tobytes(), digest_size=16) for row in features)
    return np.array([first.setdefault(each.digest(), n) for n, each in enumerate(found)], np.intp)
