"""Stacking: a head's logit and a detector's logit of the same category, added with weights that all categories share.

Where a category is called as one of COCO's, its final logit is ``a z + b s + c r + d``: ``z`` the head's logit, ``s``
the highest logit of the detector, ``r`` the logit of the category's base rate. The four weights are fitted on
probabilities of images by heads that were not trained on them, and are kept where they predict images that they
were not fitted on better than without the detector. They then become part of the head, whose kind stays what it was.

References
----------
Wolpert, "Stacked Generalization", Neural Networks 1992.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tagbox.data.categories import NAMES, folded
from tagbox.data.dataset import PRESENT, UNKNOWN
from tagbox.metrics.multilabel import average_precision, mean_average_precision
from tagbox.models.heads import activate, head_logits, kind_of, sigmoid
from tagbox.models.heads.numpy_forward import Weights
from tagbox.training.frozen import Stage
from tagbox.training.resolve_config import label_kind

Doubles = NDArray[np.float64]
PARTS = 5
"""Parts of the images, each predicted with weights that were fitted on the others."""
PENALTY = 1.0
"""Of the squared distance of the weights to those of the head alone; as much as about one label counts."""
ALONE = np.array([1.0, 0.0, 0.0, 0.0])
_MOST_STEPS = 50
_CLOSEST = 1e-7
"""Of a probability to 0 and 1."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Stack:
    """Weights that were fitted, and what they do to images they were not fitted on.

    Attributes
    ----------
    weights
        (4,): of the head's logit, of the detector's, of the base rate's, and the constant.
    rows
        (M,) the categories that are called as one of COCO's.
    scores
        (M,) which of COCO's each is.
    probabilities
        (N, K) float32 with those of `rows` predicted by weights that were fitted on other images.
    loss, loss_alone
        Mean log loss of the labels of `rows`: cross-fitted, and without the detector's logit, with or without other
        weights, whichever is less.
    """

    weights: Doubles
    rows: NDArray[np.intp]
    scores: NDArray[np.intp]
    probabilities: NDArray[np.float32]
    loss: float
    loss_alone: float

    @property
    def better(self) -> bool:
        """Whether it is to be kept."""
        return self.loss < self.loss_alone


def with_detector(
    stage: Stage, probabilities: NDArray[np.float32], rates: NDArray[np.float64]
) -> tuple[Stage, NDArray[np.float32], list[str]]:
    """The stage with the detector's logits in its head, the probabilities of its validation images, and what to say.

    Nothing changes, and nothing is said, without a detector among the backbones, where no category is called as one of
    COCO's, where labels are exclusive (a softmax has no logit of one category), and for heads that take maps.

    Parameters
    ----------
    probabilities
        (N, K) float32 of the validation images by `Stage.head`, or out of fold. So are those that are returned: in folds
        they are predicted by weights that were fitted on other images, else by the saved model.
    rates
        (K,) base rates in (0, 1).
    """
    first = width = 0
    detector = False
    for encoder in stage.encoders:
        if encoder.spec.source == "detector":
            first, detector = width, True
        width += encoder.dim
    exclusive = label_kind(stage.config) == "exclusive"
    if not detector or exclusive or kind_of(stage.head) not in ("linear", "mlp"):
        return stage, probabilities, []
    labels, names = stage.validation.labels, stage.validation.categories.names
    scores = stage.features[:, first : first + len(NAMES)]
    stack = fit_stack(labels, probabilities, scores, rates, names)
    if stack is None:
        return stage, probabilities, []
    losses = f"log loss {stack.loss:.4f} on images that they were not fitted on, {stack.loss_alone:.4f} without it"
    count = f"{len(stack.rows)} categor{'y' if len(stack.rows) == 1 else 'ies'} called as COCO's"
    if not stack.better:
        note = f"the detector's logit of {count} is not added to the head's: with fitted weights {losses}"
        return stage, probabilities, [note]
    stage = replace(stage, head=with_stack(stage.head, stack, rates, first))
    own, other, rate, constant = stack.weights
    note = (
        f"the logit of {count} is {own:.2f} of the head's {other:+.2f} of the detector's {rate:+.2f} of the base rate's "
        f"{constant:+.2f}, weights fitted on these predictions: {losses}"
    )
    if stage.out_of_fold is not None:
        return stage, stack.probabilities, [note]
    found = mean_average_precision(average_precision(labels, stack.probabilities))
    if found is not None:
        note += f"; mAP of images that they were not fitted on {found:.4f}"
    return stage, activate(head_logits(stage.head, stage.features), "multi"), [note]


def coco_names(names: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the categories called as one of COCO's 80, but for case and spaces, and which of these each is."""
    known = {folded(name): row for row, name in enumerate(NAMES)}
    pairs = [(row, known[folded(name)]) for row, name in enumerate(names) if folded(name) in known]
    table = np.array(pairs, np.intp).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def fit_stack(
    labels: NDArray[np.int8],
    probabilities: NDArray[np.float32],
    scores: NDArray[np.float32],
    rates: NDArray[np.float64],
    names: Sequence[str],
) -> Stack | None:
    """Fit the weights by logistic regression; None where no category is called as one of COCO's.

    Parameters
    ----------
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    probabilities
        (N, K) float32 of heads that were not trained on these images.
    scores
        (N, 80) float32 logits of the detector.
    rates
        (K,) base rates in (0, 1).
    names
        Of the K categories.
    """
    rows, columns = coco_names(names)
    known = labels[:, rows] != UNKNOWN
    if not known.any():
        return None
    terms = _terms(probabilities[:, rows], scores[:, columns], rates[rows])
    present = labels[:, rows] == PRESENT
    logits = _cross_fitted(terms, present, known)
    # What the other weights gain is no merit of the detector.
    calibrated = _cross_fitted(terms * [1, 0, 1, 1], present, known)
    alone = min(_log_loss(z[known], present[known]) for z in (calibrated, terms @ ALONE))
    stacked = probabilities.copy()
    stacked[:, rows] = sigmoid(logits.astype(np.float32))
    return Stack(
        weights=fit_weights(terms[known], present[known]),
        rows=rows,
        scores=columns,
        probabilities=stacked,
        loss=_log_loss(logits[known], present[known]),
        loss_alone=alone,
    )


def _cross_fitted(terms: Doubles, present: NDArray[np.bool_], known: NDArray[np.bool_]) -> Doubles:
    """(N, M) logits of each part of the images, with weights that were fitted on the known labels of the others."""
    part_of = np.arange(len(terms)) % PARTS
    logits = np.empty(present.shape)
    for part in range(PARTS):
        held, others = part_of == part, part_of != part
        weights = fit_weights(terms[others][known[others]], present[others][known[others]])
        logits[held] = terms[held] @ weights
    return logits


def fit_weights(terms: Doubles, present: NDArray[np.bool_]) -> Doubles:
    """(4,) weights of (P, 4) terms that minimise the log loss of (P,) labels, drawn to `ALONE`; by Newton's method."""
    weights = ALONE.copy()
    for _ in range(_MOST_STEPS):
        likely = _expit(terms @ weights)
        gradient = terms.T @ (likely - present) + PENALTY * (weights - ALONE)
        spread = likely * (1 - likely)
        hessian = (terms * spread[:, None]).T @ terms + PENALTY * np.eye(len(ALONE))
        step = np.linalg.solve(hessian, gradient)
        before = _objective(terms, present, weights)
        # The loss is convex, and half a step is always enough in the end.
        while _objective(terms, present, weights - step) > before and np.abs(step).max() > 1e-10:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def with_stack(
    head: Weights, stack: Stack, rates: NDArray[np.float64], first: int
) -> dict[str, NDArray[np.float32]]:
    """The state of a linear or MLP head whose logits are those of the stack.

    A linear head takes the detector's logit as one more multiple of that feature. An MLP does by two more hidden units
    a category, ``relu(s)`` and ``relu(-s)``, whose difference it is.

    Parameters
    ----------
    rates
        (K,) base rates in (0, 1).
    first
        Which feature is the detector's first score.
    """
    own, detector, rate, constant = stack.weights
    rows, columns = stack.rows, first + stack.scores
    found = {name: np.asarray(value).copy() for name, value in head.items()}
    scale, mean = (head[name][columns].astype(np.float64) for name in ("scale", "mean"))
    weight, bias = (found[f"output.{part}"].astype(np.float64) for part in ("weight", "bias"))
    weight[rows] *= own
    bias[rows] = own * bias[rows] + rate * _logit(rates[rows]) + constant
    if kind_of(head) == "linear":
        weight[rows, columns] += detector / scale
        bias[rows] += detector * mean
    else:
        # (x - mean) scale is what the hidden layer is given.
        hidden = np.zeros((2 * len(rows), head["hidden.weight"].shape[1]))
        number = np.arange(len(rows))
        outputs = np.zeros((len(weight), 2 * len(rows)))
        shift = np.concatenate([mean, -mean])
        for half, sign in ((0, 1), (len(rows), -1)):
            hidden[half + number, columns] = sign / scale
            outputs[rows, half + number] = sign * detector
        found["hidden.weight"] = np.concatenate([head["hidden.weight"], hidden]).astype(np.float32)
        found["hidden.bias"] = np.concatenate([head["hidden.bias"], shift]).astype(np.float32)
        weight = np.concatenate([weight, outputs], axis=1)
    found["output.weight"], found["output.bias"] = (v.astype(np.float32) for v in (weight, bias))
    return found


def _terms(
    probabilities: NDArray[np.float32], scores: NDArray[np.float32], rates: Doubles
) -> Doubles:
    """(N, M, 4): the head's logit, the detector's, the base rate's, 1."""
    head = _logit(np.clip(probabilities.astype(np.float64), _CLOSEST, 1 - _CLOSEST))
    base = np.broadcast_to(_logit(rates), head.shape)
    return np.stack([head, scores.astype(np.float64), base, np.ones_like(head)], axis=2)


def _logit(p: Doubles) -> Doubles:
    return np.asarray(np.log(p) - np.log1p(-p))


def _expit(x: Doubles) -> Doubles:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def _log_loss(logits: Doubles, present: NDArray[np.bool_]) -> float:
    return float((np.logaddexp(0, logits) - present * logits).mean())


def _objective(terms: Doubles, present: NDArray[np.bool_], weights: Doubles) -> float:
    logits = terms @ weights
    apart = weights - ALONE
    return float((np.logaddexp(0, logits) - present * logits).sum() + PENALTY / 2 * apart @ apart)
