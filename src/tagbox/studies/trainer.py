"""What the trainings of every study share: the same two sides, run folders of which the best stays, one machine."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from tagbox.config import DataConfig
from tagbox.data.dataset import Dataset
from tagbox.progress import Progress, Silent
from tagbox.training.history import Row
from tagbox.training.resolve_config import Training, steps, with_steps
from tagbox.training.run_dir import RunDir, open_run_dir
from tagbox.training.train_val import TrainVal

RUNS = "trials"
"""Folder of whole trainings inside the study's own."""

MEASURED = ("precision", "channels_last")
"""Settings of a step on pictures whose ``auto`` depends on the machine, and perhaps on a clock."""

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


class Trainer(ABC, Generic[Training]):
    """Trains configurations on two sides of a dataset, one after the other.

    Parameters
    ----------
    train_val
        The images; every training has the same split, whatever its seed.
    source
        How they were read, for the run folders.
    folder
        Of the study: whole trainings are written into its ``trials``.
    machine
        Arithmetic and memory layout of a step, where an earlier training has measured them.
    progress
        Who is told what takes long.

    Attributes
    ----------
    machine
        The same, once it is known: all trainings of a study compute alike.
    began
        `time.perf_counter` when the last training began, what trainings share being there.
    """

    def __init__(
        self,
        train_val: TrainVal,
        source: DataConfig,
        *,
        folder: Path,
        machine: Mapping[str, str] | None = None,
        progress: Progress,
    ) -> None:
        self.train_val, self.source, self.progress = train_val, source, progress
        self.machine: dict[str, str] = dict(machine or {})
        self.began = time.perf_counter()
        self.runs = folder / RUNS

    @abstractmethod
    def run(self, config: Training, name: str, on_epoch: OnEpoch | None = None) -> Outcome:
        """Train once; where a whole network is trained, into the run folder ``trials/name``.

        Parameters
        ----------
        on_epoch
            Called with each epoch's row of the last stage; what it raises ends the training.

        Raises
        ------
        TagboxError
            What training raises; nothing is left of it in ``trials``.
        """

    @abstractmethod
    def compare(
        self,
        test: Dataset,
        configs: Mapping[str, Training],
        runs: Mapping[str, str],
        progress: Progress,
    ) -> dict[str, Any]:
        """Figures of two configurations on other images; see `studies.retrain_best.compare_on`.

        Returns
        -------
        dict
            ``images``, the headline figures by the configurations' names, and ``differences``.

        Raises
        ------
        TagboxError
            What training raises; ``no-readable-images``.
        """

    @abstractmethod
    def prepare(self, config: Training, searched: Collection[str], progress: Progress) -> None:
        """Do what all trainings share, before the first one.

        Parameters
        ----------
        config
            Where the search begins.
        searched
            Dotted settings that trainings differ in.
        """

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

    @contextmanager
    def open_run(self, config: Training, name: str) -> Iterator[tuple[RunDir, Training]]:
        """The run directory of a training of all stages, ``trials/name``, and the configuration to train with."""
        self.keep_only(self.kept())
        try:
            with open_run_dir(
                self.runs,
                name,
                with_machine(config, self.machine),
                self.source,
                command="",
                overwrite=True,
                resume=False,
                runtime=None,
                progress=Silent(),
            ) as opened:
                yield opened
        finally:
            # Checkpoints of a training that was given up are of no use to the next one.
            self.keep_only(self.kept())

    def measured(self, config: Training) -> None:
        """Take down what a training has measured: all later ones compute alike."""
        self.machine = {name: getattr(steps(config), name) for name in MEASURED}


def with_machine(config: Training, machine: Mapping[str, str]) -> Training:
    """`config` with what trainings measured in place of ``auto``."""
    auto = {
        name: value for name, value in machine.items() if getattr(steps(config), name) == "auto"
    }
    return with_steps(config, auto)
