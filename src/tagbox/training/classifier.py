"""Training a classifier: a head on frozen features, fine-tuning where configured, then evaluation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.create import create_encoders
from tagbox.backends.encoder import Encoder
from tagbox.config import ClassifierConfig
from tagbox.data.dataset import rows_of
from tagbox.device import choose_device
from tagbox.evaluation.evaluate_labels import tune_and_evaluate
from tagbox.metrics.multilabel import class_priors
from tagbox.models.bundle import ClassifierBundle
from tagbox.models.heads import activate, head_logits
from tagbox.predictions.predictions import Predictions
from tagbox.progress import Progress
from tagbox.training.failures import require_torch
from tagbox.training.frozen import Encoded, Stage, encode, train_frozen
from tagbox.training.history import penalty_text
from tagbox.training.resolve_config import (
    head_kind,
    head_sentence,
    kind_sentence,
    label_kind,
    resolve,
)
from tagbox.training.saved_run import Trained, versions
from tagbox.training.stacking import with_detector
from tagbox.training.tensorboard import TensorBoardLog
from tagbox.training.train_val import TrainVal
from tagbox.training.transfer import transfer_note, transfer_of

if TYPE_CHECKING:
    from tagbox.backends.feature_cache import FeatureCache
    from tagbox.training.distributed import Runtime
    from tagbox.training.history import Row
    from tagbox.training.run_dir import RunDir


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedClassifier(Trained):
    """A trained classifier with its `encoders`, the trained backbones."""

    config: ClassifierConfig
    bundle: ClassifierBundle
    predictions: Predictions
    encoders: Sequence[Encoder]


def train(
    train_val: TrainVal,
    config: ClassifierConfig,
    *,
    cache: FeatureCache | None,
    run_dir: RunDir | None = None,
    runtime: Runtime | None = None,
    teacher: NDArray[np.float32] | None = None,
    encoded: Encoded | None = None,
    log: TensorBoardLog | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    progress: Progress,
) -> TrainedClassifier | None:
    """Encode all images, train the head, fine-tune if configured, and evaluate.

    Parameters
    ----------
    run_dir
        The run directory, for checkpoints; needed for fine-tuning.
    runtime
        The group of processes, if a launcher started several.
    teacher
        (N, K) float32 probabilities of the training images by another model.
    encoded
        Features that an earlier training of the same backbones encoded.
    on_epoch
        Called with each history row of the last stage; an exception ends the training.

    Returns
    -------
    None on processes other than the main one.
    """
    # Importing torch needs one core for about as long as encoding a hundred images: do both at the same time.
    importing = threading.Thread(target=require_torch, daemon=True)
    importing.start()
    requested, config = config, resolve(config, train_val)
    for sentence in (
        kind_sentence(requested, config, train_val),
        head_sentence(requested, config, len(train_val.train)),
    ):
        if sentence is not None:
            progress.say(sentence)
    encoders = create_encoders(config) if encoded is None else encoded.encoders
    device = choose_device(config.device, config.engine)
    resumed = run_dir is not None and run_dir.state is not None
    if encoded is None and not resumed:
        encoded = encode(train_val, encoders, config, cache, progress, runtime)
    importing.join()
    runtime = runtime or _runtime(device)
    transfer = transfer_of(config)
    stage = None
    if not resumed:
        assert encoded is not None
        # The encoded images may be a subset of the training data: match them by id.
        rows = rows_of(encoded.train.images.ids, train_val.train.images.ids)
        stage = train_frozen(
            encoded,
            config,
            runtime,
            teacher=None if teacher is None else teacher[rows],
            log=log,
            on_epoch=None if config.finetune.active else on_epoch,
            progress=progress,
            in_folds=_in_folds(config, encoded),
        )
        if encoded.sampled:
            # The head was trained on a sample; the network is trained on all images.
            stage = replace(
                stage,
                train=train_val.train,
                validation=train_val.validation,
                rows=(np.arange(len(train_val.train)), np.arange(len(train_val.validation))),
            )
    if config.finetune.active:
        from tagbox.training.finetune import finetune

        assert run_dir is not None
        stage = finetune(
            stage,
            train_val,
            encoders,
            config,
            runtime,
            run_dir,
            teacher=teacher,
            log=log,
            on_epoch=on_epoch,
            progress=progress,
        )
    assert stage is not None
    if not runtime.main:
        return None
    trained = _evaluated(stage, transfer)
    for note in trained.notes or ():
        progress.say(note)
    for reason in trained.metrics["reasons"]:
        progress.say(f"warning: {reason}")
    return trained


def _evaluated(stage: Stage, transfer: str | None) -> TrainedClassifier:
    """The classifier with thresholds and metrics of the validation images, computed as prediction does."""
    config, train, validation = stage.config, stage.train, stage.validation
    probabilities = stage.out_of_fold
    if probabilities is None:
        probabilities = activate(head_logits(stage.head, stage.features), label_kind(config))
    priors = class_priors(train.labels)
    stage, probabilities, stacked = with_detector(stage, probabilities, priors)
    tuned, metrics = tune_and_evaluate(
        validation.labels,
        probabilities,
        categories=validation.categories.names,
        labels=label_kind(config),
        objective=config.objective,
        rates=priors,
        seed=config.seed,
        at_least_one=config.at_least_one,
        top_k=config.top_k,
    )
    return TrainedClassifier(
        config=config,
        bundle=ClassifierBundle(
            backbones=tuple((e.backbone.spec, e.backbone.arrays()) for e in stage.encoders),
            head=dict(stage.head),
            head_kind=head_kind(config),
            categories=train.categories,
            geometry=config.geometry,
            pooling=config.pooling,
            thresholds=tuned.thresholds,
            ema=stage.ema,
            versions=versions(),
            data_fingerprint=train.fingerprint,
            base_rates=tuple(priors.tolist()),
            labels=label_kind(config),
            transfer=transfer,
        ),
        encoders=stage.encoders,
        train=train,
        validation=validation,
        predictions=Predictions(
            images=tuple(validation.images.stems.tolist()),
            categories=validation.categories.names,
            probabilities=probabilities,
        ),
        metrics=metrics,
        tuning=tuned.report,
        history=[dict(row) for row in stage.train_state.history],
        best_epoch=stage.train_state.best_epoch,
        parameters=stage.parameters,
        left_out=stage.left_out,
        notes=[*(_notes(stage) or ()), *stacked, *_transfer_note(transfer)] or None,
    )


def _notes(stage: Stage) -> list[str] | None:
    """How the model was validated, where no image was held out from it."""
    if stage.out_of_fold is None:
        return None
    exclusive = label_kind(stage.config) == "exclusive"
    if stage.config.head == "ridge":
        penalty = penalty_text(float(stage.train_state.history[-1]["penalty"] or 0))
        return [
            f"{stage.config.folds} folds: every image was predicted by a regression on the other folds; the "
            f"calibration{'' if exclusive else ', the thresholds'} and the metrics are of these predictions; the "
            f"head that is saved is the {penalty} on all {len(stage.train):,} images"
        ]
    thresholds = "" if exclusive else " and the thresholds"
    return [
        f"{stage.config.folds} folds: every image was predicted by a head that was not trained on it; these "
        f"predictions chose epoch {stage.train_state.best_epoch}{thresholds}, and are what the metrics are of; "
        f"the head that is saved was trained on all {len(stage.train):,} images"
    ]


def _in_folds(config: ClassifierConfig, encoded: Encoded) -> Any:
    """What trains the head, if it is not `train_head`."""
    require_torch()
    if config.head == "ridge":
        from tagbox.training.ridge_head import fit_ridge_head

        return fit_ridge_head
    if encoded.fold_of is None:
        return None
    from tagbox.training.folds import train_in_folds

    return train_in_folds


def _transfer_note(transfer: str | None) -> list[str]:
    return [] if transfer is None else [transfer_note(transfer)]


def _runtime(device: str) -> Runtime:
    require_torch()
    from tagbox.training.distributed import Runtime

    return Runtime(device)
