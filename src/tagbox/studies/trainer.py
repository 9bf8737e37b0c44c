"""Trainings of a study, of either kind of model: one train/val split, and the best one's run directory."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from tagbox.atomic_io import TEMPORARY
from tagbox.backends.feature_cache import FeatureCache
from tagbox.config import DataConfig
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.output_folder import made_by_run, require_made
from tagbox.progress import Progress, Silent
from tagbox.training.history import Row
from tagbox.training.resolve_config import Training, steps, with_steps
from tagbox.training.run_dir import RunDir, open_run_dir
from tagbox.training.saved_run import Trained, write_run
from tagbox.training.train_val import TrainVal

RUNS = "trials"
"""Folder of full trainings inside the study's own."""

MACHINE_SETTINGS = ("precision", "channels_last")
"""Settings of training a network whose ``auto`` depends on the machine."""

OnEpoch = Callable[[Row], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of one training.

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
    """Trains configurations on one train/val split, one after the other.

    Parameters
    ----------
    train_val
        The images; every training has the same split, whatever its seed.
    source
        How they were read, for the run directories.
    progress
        Receives messages about long operations.

    Attributes
    ----------
    machine
        `MACHINE_SETTINGS` as the first training resolved them; all trainings of a study use the same.
    began
        `time.perf_counter` at the start of the last training, after the steps that trainings share.
    """

    def __init__(self, train_val: TrainVal, source: DataConfig, progress: Progress) -> None:
        self.train_val, self.source, self.progress = train_val, source, progress
        self.machine: dict[str, str] = {}
        self.began = time.perf_counter()
        self.runs = Path(RUNS)

    @abstractmethod
    def resolve(self, config: Training) -> Training:
        """`config` with every ``auto`` resolved that depends on the data.

        Raises
        ------
        TagboxError
            Where it cannot be trained on this data.
        """

    @abstractmethod
    def require_test(self, test: Dataset, base: Training) -> None:
        """Refuse a test dataset on which such a model cannot be evaluated."""

    def begin(
        self,
        folder: Path,
        base: Training,
        machine: Mapping[str, str] | None,
        cache: FeatureCache | None,
    ) -> None:
        """Prepare for the trainings of a study.

        Parameters
        ----------
        folder
            Of the study: full trainings are written into its ``trials``.
        base
            Where the search begins, resolved.
        machine
            `MACHINE_SETTINGS`, where an earlier training has resolved them.
        cache
            Features on disk.
        """
        self.runs, self.machine = folder / RUNS, dict(machine or {})

    @abstractmethod
    def run(self, config: Training, name: str, on_epoch: OnEpoch | None = None) -> Outcome:
        """Train once; where the full network is trained, into the run directory ``trials/name``.

        Parameters
        ----------
        on_epoch
            Called with each history row of the last stage; an exception ends the training.

        Raises
        ------
        TagboxError
            What training raises; ``trials`` is then left as it was.
        """

    @abstractmethod
    def compare(
        self,
        test: Dataset,
        configs: Mapping[str, Training],
        runs: Mapping[str, str],
        progress: Progress,
    ) -> dict[str, Any]:
        """Metrics of two configurations on other images; see `studies.retrain_best.compare_on`.

        Returns
        -------
        dict
            ``images``, the headline metrics by the configurations' names, and ``differences``.

        Raises
        ------
        TagboxError
            What training raises; ``no-readable-images``.
        """

    @abstractmethod
    def prepare(self, config: Training, searched: Collection[str], progress: Progress) -> None:
        """Do the steps that all trainings share, before the first one.

        Parameters
        ----------
        config
            Where the search begins.
        searched
            Paths of the settings that trainings differ in.
        """

    def kept(self) -> set[str]:
        """Names of the finished full trainings whose run directories exist."""
        if not self.runs.exists():
            return set()
        return {folder.name for folder in self.runs.iterdir() if not folder.name.startswith(".")}

    def keep_only(self, names: set[str]) -> None:
        """Remove every other run directory, also partial ones; what tagbox did not make stays."""
        if not self.runs.exists():
            return
        for folder in self.runs.iterdir():
            if folder.name not in names and _is_run(folder):
                shutil.rmtree(folder, ignore_errors=True)
        if not any(self.runs.iterdir()):
            self.runs.rmdir()

    def train_network(self, config: Training, name: str, on_epoch: OnEpoch | None) -> Outcome:
        """Train all stages into the run directory ``trials/name``; the first training sets `machine`."""
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
            ) as (run_dir, config):
                trained = self._train(config, run_dir, on_epoch)
                assert trained is not None
                write_run(run_dir.folder, self.train_val, trained, self.source, command="")
        finally:
            # The next training does not resume from checkpoints of a pruned one.
            self.keep_only(self.kept())
        settings = steps(trained.config)
        self.machine = {name: getattr(settings, name) for name in MACHINE_SETTINGS}
        best, history = trained.best_epoch, trained.history
        return Outcome(row=history[best - 1], epoch=best, epochs=len(history))

    def full_run(self, config: Training, name: str) -> Path:
        """The run directory ``trials/name`` of a full training, which is trained where it was not kept.

        Raises
        ------
        TagboxError
            What training raises.
        """
        if not (self.runs / name).exists():
            self.train_network(config, name, None)
        return self.runs / name

    @abstractmethod
    def _train(self, config: Training, run_dir: RunDir, on_epoch: OnEpoch | None) -> Trained | None:
        """Train all stages and evaluate."""


def _is_run(folder: Path) -> bool:
    """Whether a folder is a run, whole or partial, and holds nothing that tagbox did not write."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    if folder.name.startswith("."):
        return folder.name.endswith((".partial", ".old.tmp", TEMPORARY))
    with suppress(TagboxError):
        require_made(folder, "run", made_by_run)
        return True
    return False


def with_machine(config: Training, machine: Mapping[str, str]) -> Training:
    """`config` with the `MACHINE_SETTINGS` of earlier trainings in place of ``auto``."""
    auto = {
        name: value for name, value in machine.items() if getattr(steps(config), name) == "auto"
    }
    return with_steps(config, auto)
