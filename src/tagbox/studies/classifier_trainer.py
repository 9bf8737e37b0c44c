"""Trainings of classifiers in a study: trials with the same encoder settings share features."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.create import create_encoders
from tagbox.backends.feature_cache import FeatureCache
from tagbox.config import ClassifierConfig, DataConfig
from tagbox.data.dataset import Dataset, require_single_label
from tagbox.device import choose_device
from tagbox.inference.classifier import Classifier
from tagbox.models.heads import wants_map
from tagbox.progress import Advance, Progress, Silent
from tagbox.studies.comparison import compare_labels
from tagbox.studies.trainer import OnEpoch, Outcome, Trainer
from tagbox.training.classifier import TrainedClassifier, train
from tagbox.training.distributed import Runtime
from tagbox.training.frozen import Encoded, encode, train_head
from tagbox.training.memory import MEMORY_SHARE, available_memory
from tagbox.training.resolve_config import label_kind, resolve
from tagbox.training.ridge_head import fit_ridge_head
from tagbox.training.run_dir import RunDir
from tagbox.training.task import TrainState
from tagbox.training.teacher import mixed_targets, teacher_probabilities
from tagbox.training.train_val import TrainVal

FEATURE_SETTINGS = (
    "backbone",
    "weights",
    "geometry",
    "pooling",
    "mirror",
    "engine",
    "device",
    "precision",
)
"""Settings that the features depend on, besides whether the head takes feature maps."""


class ClassifierTrainer(Trainer[ClassifierConfig]):
    """Trains heads on features that are encoded once, or full networks."""

    def __init__(self, train_val: TrainVal, source: DataConfig, progress: Progress) -> None:
        super().__init__(train_val, source, progress)
        self._cache: FeatureCache | None = None
        self._teacher: NDArray[np.float32] | None = None
        self._features: OrderedDict[tuple[Any, ...], Encoded] = OrderedDict()

    def resolve(self, config: ClassifierConfig) -> ClassifierConfig:
        """Resolve ``auto``, such as the kind of labels."""
        return resolve(config, self.train_val)

    def require_test(self, test: Dataset, base: ClassifierConfig) -> None:
        """Refuse images without exactly one label where labels are exclusive."""
        if base.labels == "exclusive":
            require_single_label(test)

    def begin(
        self,
        folder: Path,
        base: ClassifierConfig,
        machine: Mapping[str, str] | None,
        cache: FeatureCache | None,
    ) -> None:
        """Prepare, with the teacher's probabilities of the training images."""
        super().begin(folder, base, machine, cache)
        self._cache = cache
        if base.teacher is not None:
            self._teacher = teacher_probabilities(base.teacher, self.train_val.train, self.progress)

    def run(self, config: ClassifierConfig, name: str, on_epoch: OnEpoch | None = None) -> Outcome:
        """Train a head on shared features, or the full network."""
        config = self.resolve(config)
        self.began = time.perf_counter()
        encoded = self.encoded(config)
        self.began = time.perf_counter()
        if config.finetune.active:
            return self.train_network(config, name, on_epoch)
        fit: Callable[..., tuple[Any, ...]] = train_head
        if config.head == "ridge":
            fit = fit_ridge_head
        state: TrainState = fit(
            encoded,
            config,
            Runtime(choose_device(config.device, config.engine)),
            targets=self._targets(encoded, config),
            on_epoch=lambda row, _: on_epoch(row) if on_epoch else None,
        )[1]
        assert state.best_row is not None
        return Outcome(row=state.best_row, epoch=state.best_epoch, epochs=len(state.history))

    def classifier(self, config: ClassifierConfig, name: str) -> Classifier:
        """The model of that configuration: from ``trials/name`` where it was kept, else trained.

        Raises
        ------
        TagboxError
            What training raises.
        """
        config = self.resolve(config)
        if config.finetune.active:
            return Classifier.load(
                self.full_run(config, name),
                engine=config.engine,
                device=config.device,
                precision=config.precision,
            )
        trained = train(
            self.train_val,
            config,
            cache=None,
            teacher=self._teacher,
            encoded=self.encoded(config),
            progress=Silent(),
        )
        assert trained is not None
        return Classifier(trained.bundle, encoders=trained.encoders)

    def encoded(self, config: ClassifierConfig, progress: Progress | None = None) -> Encoded:
        """The features for a resolved configuration; kept in memory while they fit."""
        maps = wants_map(config.head)
        key = (
            *(getattr(config, name) for name in FEATURE_SETTINGS),
            maps,
            # Before fine-tuning the head may be trained on a sample of the maps.
            maps and config.finetune.active,
        )
        if key not in self._features:
            while self._features and self._feature_bytes() > MEMORY_SHARE * available_memory():
                self._features.popitem(last=False)
            if progress is None:
                self.progress.say(f"encoding the images with {config.backbone}")
                progress = WithoutBars(self.progress)
            encoders = create_encoders(config)
            self._features[key] = encode(self.train_val, encoders, config, self._cache, progress)
        self._features.move_to_end(key)
        return self._features[key]

    def prepare(
        self, config: ClassifierConfig, searched: Collection[str], progress: Progress
    ) -> None:
        """Encode the images, where all trainings have the same features."""
        if not {*FEATURE_SETTINGS, "head"} & set(searched):
            self.encoded(config, progress)

    def compare(
        self,
        test: Dataset,
        configs: Mapping[str, ClassifierConfig],
        runs: Mapping[str, str],
        progress: Progress,
    ) -> dict[str, Any]:
        """Compare two classifiers, each at its own thresholds, with paired intervals of the differences."""
        models = {
            name: partial(self.classifier, config, runs[name]) for name, config in configs.items()
        }
        labels = label_kind(next(iter(configs.values())))
        return compare_labels(test, models, labels, cache=self._cache, progress=progress)

    def _feature_bytes(self) -> int:
        return sum(
            each.train_features.nbytes + each.validation_features.nbytes
            for each in self._features.values()
        )

    def _train(
        self, config: ClassifierConfig, run_dir: RunDir, on_epoch: OnEpoch | None
    ) -> TrainedClassifier | None:
        # Training changes the backbone in place, so each training has its own.
        encoded = replace(self.encoded(config), encoders=create_encoders(config))
        return train(
            self.train_val,
            config,
            cache=self._cache,
            run_dir=run_dir,
            teacher=self._teacher,
            encoded=encoded,
            on_epoch=on_epoch,
            progress=Silent(),
        )

    def _targets(self, encoded: Encoded, config: ClassifierConfig) -> NDArray[np.float32] | None:
        if self._teacher is None:
            return None
        rows = self._teacher[encoded.train_rows]
        return mixed_targets(encoded.train.labels, rows, config.teacher_weight)


class WithoutBars:
    """A `Progress` without bars, for a task inside another bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def say(self, message: str) -> None:
        """One line."""
        self._progress.say(message)

    def bar(self, description: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """No bar."""
        return Silent().bar(description, total, unit)
