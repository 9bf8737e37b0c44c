"""When the loop is saved, what of it, and how it is taken up again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tagbox.training.runtime import Runtime, unwrapped

if TYPE_CHECKING:
    from tagbox.training.checkpoint import Checkpoints
    from tagbox.training.loop import Figures, Fitted, Task


class Keeper:
    """Checkpoints of one training.

    Parameters
    ----------
    checkpoints
        Where they are; only the main process writes.
    seconds
        Between two of them; 0 saves after every step. When they are made changes no number.
    about
        Kept beside the loop's state: what must be known before the loop can be set up again.
    state
        The checkpoint to go on from, as `Checkpoints.latest` gave it, on every process.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        runtime: Runtime,
        *,
        seconds: float,
        about: Mapping[str, Any],
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self._checkpoints, self._runtime = checkpoints, runtime
        self._seconds = seconds
        self._about = dict(about)
        self._state = state
        self._saved = time.monotonic()

    def begin(self, task: Task, at: Fitted, seen: Figures[Any]) -> dict[str, Any]:
        """Put the loop where the checkpoint left it, if there is one; the best epoch's weights."""
        if self._state is None:
            best = {name: value.clone() for name, value in task.evaluated.state_dict().items()}
            self.keep_best(at.best_epoch, best)
            return best
        state, runtime = self._state, self._runtime
        unwrapped(task.model).load_state_dict(state["model"])
        if task.ema is not None:
            task.ema.load_state_dict(state["ema"])
        task.optimizer.load_state_dict(state["optimizer"])
        runtime.restore_scaler(state["scaler"])
        for name, value in state["at"].items():
            setattr(at, name, value)
        task.schedule.go_to(at.step)
        shares = state["processes"]
        if len(shares) == runtime.processes:
            runtime.restore_random_state(shares[runtime.rank]["random"])
            seen.load_state_dict(shares[runtime.rank]["seen"])
        elif runtime.main:
            # Another number of processes: the running figures of all of them go on in the first.
            seen.load_state_dict(shares[0]["seen"])
            for other in shares[1:]:
                seen.extend(other["seen"])
        held = self._checkpoints.load_best(at.best_epoch) if runtime.main else None
        best = runtime.from_main(held)
        return {name: value.to(runtime.device) for name, value in best.items()}

    def keep_best(self, epoch: int, weights: Mapping[str, Any]) -> None:
        """Save the weights of the best epoch, before any checkpoint names it."""
        if self._runtime.main:
            self._checkpoints.save_best(epoch, weights)

    def after_step(self, task: Task, at: Fitted, seen: Figures[Any]) -> None:
        """Save, where it is time to."""
        due = time.monotonic() - self._saved >= self._seconds
        # One clock decides, for all must take part.
        if self._runtime.from_main(due):
            self._save(task, at, seen)

    def after_epoch(self, task: Task, at: Fitted, seen: Figures[Any]) -> None:
        """Save, where it is time to or the training is over."""
        due = at.over or time.monotonic() - self._saved >= self._seconds
        if self._runtime.from_main(due):
            self._save(task, at, seen)

    def _save(self, task: Task, at: Fitted, seen: Figures[Any]) -> None:
        runtime = self._runtime
        own = {"random": runtime.random_state(), "seen": seen.state_dict()}
        processes = runtime.gather(own)
        if runtime.main:
            state = {
                "about": self._about,
                "at": dict(vars(at)),
                "model": dict(unwrapped(task.model).state_dict()),
                "ema": None if task.ema is None else task.ema.state_dict(),
                "optimizer": task.optimizer.state_dict(),
                "scaler": runtime.scaler_state(),
                "processes": processes,
            }
            self._checkpoints.save(at.step, state, at.best_epoch)
        self._saved = time.monotonic()
