"""Checkpoints of a training: one folder each, written atomically, read without pickle, verified by SHA-256.

``checkpoints/000000120/`` is the training after 120 steps: ``state.safetensors`` holds every tensor,
``state.json`` everything else and the SHA-256 of the former. ``checkpoints/best-7.safetensors`` holds the
weights of the best epoch so far. `Checkpointer` saves the loop's state at intervals and restores it.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tagbox.atomic_io import atomic_path, atomic_write, cannot_write, sha256_of
from tagbox.errors import TagboxError
from tagbox.files import open_file, read_file
from tagbox.output_folder import atomic_folder
from tagbox.training.distributed import Runtime, unwrapped

if TYPE_CHECKING:
    from tagbox.training.task import Metrics, TrainSetup, TrainState

CHECKPOINTS = "checkpoints"
STATE, DESCRIPTION = "state.safetensors", "state.json"
FORMAT_VERSION = 1


class Checkpoints:
    """The checkpoints of one run.

    Parameters
    ----------
    run
        The run directory.
    keep
        How many of the newest stay.
    say
        Called with a sentence for each damaged checkpoint that is skipped.
    """

    def __init__(
        self, run: Path, *, keep: int = 2, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.folder = run / CHECKPOINTS
        self.keep = keep
        self._say = say

    def save(self, step: int, state: Mapping[str, Any], best_epoch: int) -> None:
        """Write the state after `step` steps, then remove what is older than the last `keep`.

        The weights of `best_epoch` were saved before; those that no kept checkpoint needs are removed.

        Raises
        ------
        TagboxError
            ``cannot-write``, for a full disk too; the checkpoints before it are untouched.
        """
        target = self.folder / f"{step:09d}"
        try:
            with atomic_folder(target, overwrite=True) as folder:
                plain, tensors = flatten(state)
                _save_tensors(tensors, folder / STATE)
                description = {
                    "format": "tagbox-checkpoint",
                    "format_version": FORMAT_VERSION,
                    "best_epoch": best_epoch,
                    "sha256": sha256_of(folder / STATE),
                    "state": plain,
                }
                atomic_write(folder / DESCRIPTION, msgspec.json.encode(description))
        except OSError as error:
            raise cannot_write(target, error) from error
        for old in self._found()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)
        self._prune_best({best_epoch, *(_best_of(folder) for folder in self._found())})

    def save_best(self, epoch: int, weights: Mapping[str, Any]) -> None:
        """Write the weights of the best epoch; the former best stays while a checkpoint needs it."""
        path = self._best(epoch)
        with atomic_path(path) as temporary:
            try:
                _save_tensors(weights, temporary)
            except OSError as error:
                raise cannot_write(path, error) from error

    def load_best(self, epoch: int) -> dict[str, Any]:
        """The weights of that epoch.

        Raises
        ------
        TagboxError
            ``checkpoint-damaged``.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self._best(epoch)
        try:
            open_file(path).close()
            return dict(load_file(path))
        except (OSError, SafetensorError, ValueError) as error:
            raise TagboxError(
                "checkpoint-damaged",
                f"the best epoch's weights cannot be read ({error})",
                file=path,
                hint="train again with --overwrite",
            ) from error

    def latest(self) -> dict[str, Any] | None:
        """The newest intact state whose best weights can be read; None without one."""
        for folder in reversed(self._found()):
            try:
                return self._read(folder)
            except TagboxError as error:
                self._say(f"passed over: {error}")
        return None

    def _read(self, folder: Path) -> dict[str, Any]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            description = msgspec.json.decode(read_file(folder / DESCRIPTION))
            if description["format_version"] != FORMAT_VERSION:
                raise ValueError(f"it has format version {description['format_version']}")
            if sha256_of(folder / STATE) != description["sha256"]:
                raise ValueError("its tensors are not those it describes")
            tensors = load_file(folder / STATE)
            state: dict[str, Any] = unflatten(description["state"], tensors)
            self.load_best(description["best_epoch"])
        except TagboxError:
            raise
        except (
            *(OSError, ValueError, TypeError, LookupError),
            *(msgspec.MsgspecError, SafetensorError),
        ) as error:
            raise TagboxError(
                "checkpoint-damaged",
                f"the checkpoint cannot be used ({error})",
                file=folder,
                hint="the one before it is used",
            ) from error
        return state

    def _prune_best(self, epochs: set[int]) -> None:
        kept = {self._best(epoch) for epoch in epochs}
        for path in self.folder.glob("best-*.safetensors"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.safetensors"

    def _found(self) -> list[Path]:
        """Folders of checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.name.isdecimal())


def _best_of(folder: Path) -> int:
    """The best epoch that a checkpoint names; -1 where it is damaged."""
    try:
        return int(msgspec.json.decode(read_file(folder / DESCRIPTION))["best_epoch"])
    except (OSError, KeyError, TypeError, ValueError):
        return -1


def _save_tensors(tensors: Mapping[str, Any], path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    try:
        save_file(own, path)
    except SafetensorError as error:
        # It holds the operating system's error, such as a full disk, only as text.
        raise OSError(str(error)) from error


def flatten(value: Any) -> tuple[Any, dict[str, Any]]:
    """A nested state as plain JSON values, and its tensors by number.

    Dicts (with keys of any plain type), lists, tuples, NumPy arrays, numbers, strings and None keep their
    types, so that `unflatten` restores the state.
    """
    import torch

    tensors: dict[str, Any] = {}

    def plain(item: Any) -> Any:
        if isinstance(item, torch.Tensor):
            tensors[str(len(tensors))] = item
            return {"tensor": len(tensors) - 1}
        if isinstance(item, np.ndarray):
            return {"array": plain(torch.from_numpy(np.ascontiguousarray(item)))}
        if isinstance(item, Mapping):
            return {"dict": [[key, plain(inner)] for key, inner in item.items()]}
        if isinstance(item, tuple):
            return {"tuple": [plain(inner) for inner in item]}
        if isinstance(item, list):
            return [plain(inner) for inner in item]
        if isinstance(item, np.generic):
            return plain(item.item())
        if isinstance(item, float) and not math.isfinite(item):
            return {"float": repr(item)}
        return item

    return plain(value), tensors


def unflatten(value: Any, tensors: Mapping[str, Any]) -> Any:
    """The inverse of `flatten`."""
    if isinstance(value, list):
        return [unflatten(inner, tensors) for inner in value]
    if not isinstance(value, Mapping):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[str(inner)]
    if kind == "array":
        return unflatten(inner, tensors).numpy()
    if kind == "dict":
        return {key: unflatten(item, tensors) for key, item in inner}
    if kind == "tuple":
        return tuple(unflatten(item, tensors) for item in inner)
    return float(inner)


class Checkpointer:
    """Saves the training loop's state at intervals, and restores it.

    Parameters
    ----------
    checkpoints
        Where checkpoints are; only the main process writes.
    seconds
        Between two checkpoints; 0 saves after every step. It does not change the result.
    about
        Saved beside the loop's state: what is needed to build the model before its weights are loaded.
    resume_from
        The checkpoint to resume from, as `Checkpoints.latest` gave it, on every process.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        runtime: Runtime,
        *,
        seconds: float,
        about: Mapping[str, Any],
        resume_from: Mapping[str, Any] | None = None,
    ) -> None:
        self._checkpoints, self._runtime = checkpoints, runtime
        self._seconds = seconds
        self._about = dict(about)
        self._resume_from = resume_from
        self._saved = time.monotonic()

    def begin(self, setup: TrainSetup, state: TrainState, metrics: Metrics[Any]) -> dict[str, Any]:
        """Restore the loop from the checkpoint, if there is one; returns the best epoch's weights."""
        if self._resume_from is None:
            best = {name: value.clone() for name, value in setup.eval_model.state_dict().items()}
            self.keep_best(state.best_epoch, best)
            return best
        saved, runtime = self._resume_from, self._runtime
        unwrapped(setup.model).load_state_dict(saved["model"])
        if setup.ema is not None:
            setup.ema.load_state_dict(saved["ema"])
        setup.optimizer.load_state_dict(saved["optimizer"])
        runtime.restore_scaler(saved["scaler"])
        for name, value in saved["at"].items():
            setattr(state, name, value)
        setup.schedule.go_to(state.step)
        shares = saved["processes"]
        if len(shares) == runtime.processes:
            runtime.restore_random_state(shares[runtime.rank]["random"])
            metrics.load_state_dict(shares[runtime.rank]["seen"])
        elif runtime.main:
            # Another number of processes: the main process takes over the running metrics of all.
            metrics.load_state_dict(shares[0]["seen"])
            for other in shares[1:]:
                metrics.extend(other["seen"])
        weights = self._checkpoints.load_best(state.best_epoch) if runtime.main else None
        best = runtime.from_main(weights)
        return {name: value.to(runtime.device) for name, value in best.items()}

    def keep_best(self, epoch: int, weights: Mapping[str, Any]) -> None:
        """Save the weights of the best epoch, before any checkpoint names it."""
        if self._runtime.main:
            self._checkpoints.save_best(epoch, weights)

    def save_if_due(self, setup: TrainSetup, state: TrainState, metrics: Metrics[Any]) -> None:
        """Save a checkpoint if the interval has passed or the training is over."""
        due = state.over or time.monotonic() - self._saved >= self._seconds
        # The main process's clock decides: all processes take part in saving.
        if self._runtime.from_main(due):
            self._save(setup, state, metrics)

    def _save(self, setup: TrainSetup, state: TrainState, metrics: Metrics[Any]) -> None:
        runtime = self._runtime
        own = {"random": runtime.random_state(), "seen": metrics.state_dict()}
        processes = runtime.gather(own)
        if runtime.main:
            saved = {
                "about": self._about,
                "at": dict(vars(state)),
                "model": dict(unwrapped(setup.model).state_dict()),
                "ema": None if setup.ema is None else setup.ema.state_dict(),
                "optimizer": setup.optimizer.state_dict(),
                "scaler": runtime.scaler_state(),
                "processes": processes,
            }
            self._checkpoints.save(state.step, saved, state.best_epoch)
        self._saved = time.monotonic()
