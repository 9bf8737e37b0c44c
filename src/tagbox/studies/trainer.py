"""One training of a study, as cheap as its settings allow: what was encoded once is encoded for all."""

from __future__ import annotations

import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig, DataConfig
from tagbox.engines.cache import FeatureCache
from tagbox.engines.encoder import choose_device, create_encoders
from tagbox.inference.predict import Classifier
from tagbox.models.heads import wants_map
from tagbox.progress import Advance, Progress, Silent
from tagbox.training.classifier import Trained, encode, train
from tagbox.training.encoded import Encoded
from tagbox.training.head import train_head
from tagbox.training.history import Row
from tagbox.training.memory import SHARE, available_memory
from tagbox.training.plan import resolve
from tagbox.training.run import bundle_of, write_run
from tagbox.training.runtime import Runtime
from tagbox.training.sides import Sides
from tagbox.training.teacher import mixed_targets
from tagbox.training.work import open_work

RUNS = "trials"
"""Folder of whole trainings inside the study's own."""

MEASURED = ("precision", "channels_last")
"""Settings of `finetune` whose ``auto`` is measured."""
DECIDE_FEATURES = (
    "backbone",
    "weights",
    "geometry",
    "pooling",
    "mirror",
    "engine",
    "device",
    "precision",
)
"""Settings that features follow from; whether the head takes maps is another."""

OnEpoch = Callable[[Row], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one training came to.

    Attributes
    ----------
    row, epoch
        The best epoch's row and its number.
    epochs
        How many there were.
    """

    row: Row
    epoch: int
    epochs: int


class Trainer:
    """Trains configurations on two sides of a dataset, one after the other.

    Parameters
    ----------
    sides
        The images; every training has the same split, whatever its seed.
    source
        How they were read, for the run folders.
    cache
        Features on disk.
    teacher
        (N, K) float32 probabilities of the training images by another model.
    folder
        Of the study: whole trainings are written into its ``trials``.
    machine
        Arithmetic and memory layout of a step, where an earlier training has measured them.

    Attributes
    ----------
    machine
        The same, once it is known: all trainings of a study compute alike.
    began
        `time.perf_counter` when the last training began, its pictures encoded.
    """

    def __init__(
        self,
        sides: Sides,
        source: DataConfig,
        *,
        cache: FeatureCache | None,
        teacher: NDArray[np.float32] | None,
        folder: Path,
        machine: Mapping[str, str] | None = None,
        progress: Progress,
    ) -> None:
        self.sides, self.progress = sides, progress
        self.machine: dict[str, str] = dict(machine or {})
        self.began = time.perf_counter()
        self.runs = folder / RUNS
        self._source, self._cache, self._teacher = source, cache, teacher
        self._features: OrderedDict[tuple[Any, ...], Encoded] = OrderedDict()

    def run(self, config: ClassifierConfig, name: str, on_epoch: OnEpoch | None = None) -> Outcome:
        """Train once; where the backbone is trained too, into the run folder ``trials/name``.

        Parameters
        ----------
        on_epoch
            Called with each epoch's row of the last stage; what it raises ends the training.

        Raises
        ------
        TagboxError
            What training raises; nothing is left of it in ``trials``.
        """
        config = resolve(config, self.sides)
        self.began = time.perf_counter()
        encoded = self.encoded(config)
        self.began = time.perf_counter()
        if config.finetune.active:
            trained = self._whole(config, name, on_epoch)
            history: list[Any] = trained.history
            row, epoch = history[trained.best_epoch - 1], trained.best_epoch
        else:
            _, fitted = train_head(
                encoded,
                config,
                Runtime(choose_device(config.device, config.engine)),
                targets=self._targets(encoded, config),
                on_epoch=lambda row, _: on_epoch(row) if on_epoch else None,
            )
            assert fitted.best_row is not None
            history, row, epoch = fitted.history, fitted.best_row, fitted.best_epoch
        return Outcome(row=row, epoch=epoch, epochs=len(history))

    def classifier(self, config: ClassifierConfig, name: str) -> Classifier:
        """The model of that configuration: that of ``trials/name`` where it was kept, else trained now.

        Raises
        ------
        TagboxError
            What training raises.
        """
        config = resolve(config, self.sides)
        if config.finetune.active:
            if not (self.runs / name).exists():
                self._whole(config, name, None)
            return Classifier.load(
                self.runs / name,
                engine=config.engine,
                device=config.device,
                precision=config.precision,
            )
        trained = train(
            self.sides,
            config,
            cache=None,
            teacher=self._teacher,
            encoded=self.encoded(config),
            progress=Silent(),
        )
        assert trained is not None
        return Classifier(bundle_of(trained), encoders=trained.encoders)

    def kept(self) -> set[str]:
        """Names of the finished whole trainings whose folders are there."""
        if not self.runs.exists():
            return set()
        return {folder.name for folder in self.runs.iterdir() if not folder.name.startswith(".")}

    def keep_only(self, names: set[str]) -> None:
        """Remove the run folders of every other training, also those that a kill left half written."""
        if not self.runs.exists():
            return
        for folder in self.runs.iterdir():
            if folder.name not in names:
                shutil.rmtree(folder, ignore_errors=True)
        if not any(self.runs.iterdir()):
            self.runs.rmdir()

    def encoded(self, config: ClassifierConfig, progress: Progress | None = None) -> Encoded:
        """The features for a resolved configuration; held in memory as long as there is room."""
        maps = wants_map(config.head)
        key = (
            *(getattr(config, name) for name in DECIDE_FEATURES),
            maps,
            # A sample may do for the head that a network begins with.
            maps and config.finetune.active,
        )
        if key not in self._features:
            while self._features and self._held_bytes() > SHARE * available_memory():
                self._features.popitem(last=False)
            if progress is None:
                self.progress.say(f"encoding the pictures with {config.backbone}")
                progress = Unbarred(self.progress)
            encoders = create_encoders(config)
            self._features[key] = encode(self.sides, encoders, config, self._cache, progress)
        self._features.move_to_end(key)
        return self._features[key]

    def _held_bytes(self) -> int:
        return sum(
            each.train_features.nbytes + each.validation_features.nbytes
            for each in self._features.values()
        )

    def _whole(self, config: ClassifierConfig, name: str, on_epoch: OnEpoch | None) -> Trained:
        how = config.finetune
        decided = {k: v for k, v in self.machine.items() if getattr(how, k) == "auto"}
        config = replace(config, finetune=replace(how, **decided))  # type: ignore[arg-type]
        # Training changes the backbone where it lies, so each has one of its own.
        encoded = replace(self.encoded(config), encoders=create_encoders(config))
        self.keep_only(self.kept())
        try:
            with open_work(
                self.runs,
                name,
                config,
                self._source,
                command="",
                overwrite=True,
                resume=False,
                runtime=None,
                progress=Silent(),
            ) as (work, config):
                trained = train(
                    self.sides,
                    config,
                    cache=self._cache,
                    work=work,
                    teacher=self._teacher,
                    encoded=encoded,
                    on_epoch=on_epoch,
                    progress=Silent(),
                )
                assert trained is not None
                write_run(
                    work.folder, self.sides, trained, bundle_of(trained), self._source, command=""
                )
        finally:
            # Checkpoints of a training that was given up are of no use to the next one.
            self.keep_only(self.kept())
        self.machine = {name: getattr(trained.config.finetune, name) for name in MEASURED}
        return trained

    def _targets(self, encoded: Encoded, config: ClassifierConfig) -> NDArray[np.float32] | None:
        if self._teacher is None:
            return None
        rows = self._teacher[encoded.train_rows]
        return mixed_targets(encoded.train.labels, rows, config.teacher_weight)


class Unbarred:
    """A `Progress` without bars of its own, for work inside another bar.

    Parameters
    ----------
    progress
        Who is told the lines.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def say(self, message: str) -> None:
        """One line."""
        self._progress.say(message)

    def bar(self, description: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """No bar."""
        return Silent().bar(description, total, unit)
