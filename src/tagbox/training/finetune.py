"""Fine-tuning a classifier: the backbone trained together with a head that was trained on frozen features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.create import create_encoder
from tagbox.backends.encoder import Encoder
from tagbox.backends.features import as_head_takes, encode_images
from tagbox.config import ClassifierConfig, FinetuneConfig, HeadKind
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.metrics.multilabel import class_priors
from tagbox.models.backbones import Arrays, Backbone, trained_backbone
from tagbox.progress import Progress
from tagbox.training.frozen import Stage, configured_head
from tagbox.training.history import Row, epoch_summary
from tagbox.training.network import train_network
from tagbox.training.optim import optimizer_of
from tagbox.training.resolve_config import head_kind, label_kind
from tagbox.training.run_dir import RANDAUGMENT, RunDir, require_same_data, require_same_randaugment
from tagbox.training.tensorboard import TensorBoardLog, watch_labels
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from torch import nn

    from tagbox.models.classifier_network import Network
    from tagbox.training.distributed import Runtime
    from tagbox.training.image_batches import ImageBatches
    from tagbox.training.task import TrainState


def finetune(
    first: Stage | None,
    train_val: TrainVal,
    encoders: Sequence[Encoder],
    config: ClassifierConfig,
    runtime: Runtime,
    run_dir: RunDir,
    *,
    teacher: NDArray[np.float32] | None,
    log: TensorBoardLog | None,
    on_epoch: Callable[[Row], None] | None = None,
    progress: Progress,
) -> Stage:
    """Train the network, starting from the head of `first` or from the checkpoint of ``run_dir.state``.

    Raises
    ------
    TagboxError
        ``finetune-backbones``; ``resume-data``, ``resume-changed``; the codes of `training.network.train_network`.
    """
    import torch

    from tagbox.training.classification_task import ClassificationTask
    from tagbox.training.image_batches import ImageBatches
    from tagbox.training.losses import create_losses

    encoder = require_one_backbone(encoders)
    start: TrainState | None = None
    rows: tuple[NDArray[np.intp], NDArray[np.intp]] | None
    if first is not None:
        train, validation, rows = first.train, first.validation, first.rows
        assert rows is not None
        assert first.module is not None
        network = build(encoder.backbone, first.module, config)
        start, left_out = first.train_state, list(first.left_out)
    else:
        assert run_dir.state is not None
        require_same_data(run_dir.state, train_val)
        require_same_randaugment(run_dir.state, config)
        about = run_dir.state["about"]
        rows = (about["rows"][0], about["rows"][1])
        train, validation = train_val.train.take(rows[0]), train_val.validation.take(rows[1])
        network = build(encoder.backbone, _empty_head(config, train, about["features"]), config)
        left_out = list(about["left_out"])
    targets = None
    if teacher is not None:
        from tagbox.training.teacher import mixed_targets

        targets = mixed_targets(train.labels, teacher[rows[0]], config.teacher_weight)

    def batches(how: Mapping[str, Any]) -> tuple[ImageBatches, ImageBatches]:
        square = (network.spec.size, config.geometry)
        train_batches = ImageBatches(
            train,
            *square,
            augment=config.augment,
            targets=targets,
            parts=config.finetune.accumulate,
            seed=config.seed,
            **how,
        )
        return train_batches, ImageBatches(validation, *square, **how)

    rates = torch.from_numpy(class_priors(train.labels)).float()
    loss, validation_loss = create_losses(config, config.loss, rates)
    trained = train_network(
        network,
        config,
        train_val,
        runtime,
        run_dir,
        task=ClassificationTask(loss, validation_loss, label_kind(config), config.objective),
        optimizer=create_optimizer(network, config.finetune),
        batches=batches,
        about={
            "rows": [rows[0], rows[1]],
            "features": int(network.head.state_dict()["mean"].shape[0]),
            **({"randaugment": RANDAUGMENT} if config.augment.randaugment else {}),
        },
        left_out=left_out,
        start=start,
        watch=watch_labels(config, train.categories.names, log if runtime.main else None),
        epoch_summary=partial(epoch_summary, best_by=config.best_by),
        on_epoch=on_epoch,
        progress=progress,
    )
    config = trained.config
    final = create_encoder(
        trained_backbone(encoder.backbone, _arrays(trained.model.backbone)),
        geometry=encoder.geometry,
        pooling=encoder.pooling,
        engine=config.engine,
        device=config.device,
        precision=config.precision,
    )
    features = np.zeros((0, final.dim), np.float32)
    if runtime.main:
        # Evaluated through the encoder, as prediction does; images that became unreadable are left out.
        validation, features = _encoded(validation, final, head_kind(config), progress)
    return Stage(
        config=config,
        encoders=[final],
        train=train,
        validation=validation,
        head=_arrays(trained.model.head),
        features=features,
        train_state=trained.train_state,
        ema=config.finetune.ema if _from_this_stage(trained.train_state) else 0.0,
        parameters=trained.parameters,
        left_out=left_out,
    )


def _from_this_stage(train_state: TrainState) -> bool:
    """Whether the best epoch is one of fine-tuning, not of the frozen stage before."""
    return train_state.best_epoch > len(train_state.history) - (train_state.epoch - 1)


def _encoded(
    validation: Dataset, encoder: Encoder, head: HeadKind, progress: Progress
) -> tuple[Dataset, NDArray[np.float32]]:
    """The validation images that can still be read, and their features."""
    paths = [validation.images.path(row) for row in range(len(validation))]
    with progress.bar("encoding validation pictures", len(paths), "images") as advance:
        encoding = encode_images(paths, [encoder], skip_errors=True, progress=advance)
    rows = np.flatnonzero(encoding.ok)
    features = as_head_takes(encoding.features[rows, 0], [encoder], head)
    return validation.take(rows), features


def require_one_backbone(encoders: Sequence[Encoder]) -> Encoder:
    """The only backbone, which is to be trained.

    Raises
    ------
    TagboxError
        ``finetune-backbones`` where there are several.
    """
    if len(encoders) > 1:
        raise TagboxError(
            "finetune-backbones",
            f"{len(encoders)} backbones side by side cannot be trained",
            where="backbone",
            hint="train them one by one and join the runs with tagbox ensemble",
        )
    return encoders[0]


def build(backbone: Backbone, head: nn.Module, config: ClassifierConfig) -> Network:
    """The network with the configured part of it trainable."""
    from tagbox.models.classifier_network import Network

    return Network(
        backbone,
        head,
        head_kind=head_kind(config),
        pooling=config.pooling,
        unfreeze=config.finetune.unfreeze,
        train_norms=config.finetune.batch_norm == "train",
    )


def _empty_head(config: ClassifierConfig, train: Dataset, features: int) -> nn.Module:
    """A head of the configured kind for D = `features`, whose weights come from a checkpoint."""
    from tagbox.models.heads import FeatureScale

    scale = FeatureScale(mean=np.zeros(features, np.float32), scale=np.ones(features, np.float32))
    return configured_head(config, scale, class_priors(train.labels))


def create_optimizer(network: Network, config: FinetuneConfig) -> Any:
    """torch's optimizer for a classifier; see `training.optim.optimizer_of`."""
    return optimizer_of(
        dict(network.backbone.named_parameters()),
        network.trained,
        [p for p in network.head.parameters() if p.requires_grad],
        config,
    )


def _arrays(module: nn.Module) -> Arrays:
    """Weights and statistics under the architecture's own names."""
    inner: Any = getattr(module, "network", module)
    return {name: value.detach().cpu().numpy() for name, value in inner.state_dict().items()}
