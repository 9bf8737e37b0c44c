"""Trainings of detectors in a study: each writes a run directory."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from tagbox.config import DataConfig, DetectorConfig
from tagbox.config.detector_training import with_own_settings
from tagbox.data.dataset import Dataset
from tagbox.device import choose_device
from tagbox.inference.detector import DetectorModel
from tagbox.models.detectors.create import create_detector, require_detector
from tagbox.progress import Progress, Silent
from tagbox.studies.comparison import compare_boxes, require_boxes
from tagbox.studies.trainer import OnEpoch, Outcome, Trainer
from tagbox.training.detector import TrainedDetector, train
from tagbox.training.distributed import Runtime
from tagbox.training.failures import require_torch
from tagbox.training.run_dir import RunDir
from tagbox.training.train_val import TrainVal

NETWORK_SETTINGS = ("detector", "backbone", "weights", "size", "trainable_layers")
"""Settings that the network depends on; the others are of its training."""


class DetectorTrainer(Trainer[DetectorConfig]):
    """Trains detectors, each into a run directory."""

    def __init__(self, train_val: TrainVal, source: DataConfig, progress: Progress) -> None:
        super().__init__(train_val, source, progress)
        self._created: set[tuple[Any, ...]] = set()

    def resolve(self, config: DetectorConfig) -> DetectorConfig:
        """`config` with the detector's own settings, after its network has been created once.

        Raises
        ------
        TagboxError
            The codes of `models.detectors.create.create_detector`; ``config-value`` where the backbone has
            fewer stages than are to be trained; ``extra-missing``.
        """
        config = with_own_settings(config)
        key = tuple(getattr(config, name) for name in NETWORK_SETTINGS)
        if key not in self._created:
            require_detector(config.detector)
            require_torch()
            network = create_detector(config, self.train_val.train.categories.names)
            network.freeze(config.trainable_layers, train_norms=config.batch_norm == "train")
            self._created.add(key)
        return config

    def require_test(self, test: Dataset, base: DetectorConfig) -> None:
        """Refuse a dataset without boxes."""
        require_boxes(test)

    def run(self, config: DetectorConfig, name: str, on_epoch: OnEpoch | None = None) -> Outcome:
        """Train the full network."""
        self.began = time.perf_counter()
        return self.train_network(config, name, on_epoch)

    def prepare(
        self, config: DetectorConfig, searched: Collection[str], progress: Progress
    ) -> None:
        """Nothing: trainings share no steps."""

    def detector(self, config: DetectorConfig, name: str) -> DetectorModel:
        """The detector of that configuration: from ``trials/name`` where it was kept, else trained.

        Raises
        ------
        TagboxError
            What training raises.
        """
        folder = self.full_run(config, name)
        return DetectorModel.load(folder, engine=config.engine, device=config.device)

    def compare(
        self,
        test: Dataset,
        configs: Mapping[str, DetectorConfig],
        runs: Mapping[str, str],
        progress: Progress,
    ) -> dict[str, Any]:
        """Compare two detectors; the differences have no interval."""
        models = {
            name: partial(self.detector, config, runs[name]) for name, config in configs.items()
        }
        return compare_boxes(test, models, progress)

    def _train(
        self, config: DetectorConfig, run_dir: RunDir, on_epoch: OnEpoch | None
    ) -> TrainedDetector | None:
        return train(
            self.train_val,
            config,
            run_dir=run_dir,
            runtime=Runtime(choose_device(config.device, "torch")),
            on_epoch=on_epoch,
            progress=Silent(),
        )
