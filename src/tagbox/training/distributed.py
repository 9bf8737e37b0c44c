"""Device, precision and processes of a training (Hugging Face Accelerate).

`torchrun` and `accelerate launch` start several processes, among which each batch is divided; sums and gathered
values make their result that of one process. A single process is a group of one.
"""

from __future__ import annotations

import atexit
import copy
import importlib
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from tagbox.device import Device, Engine, Precision, choose_device
from tagbox.errors import TagboxError
from tagbox.interrupts import end_with_parent

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

    from tagbox.training.optim import Optimizer


def launched_processes() -> int:
    """How many processes a launcher started; 1 without one. Needs no torch."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def was_restarted() -> bool:
    """Whether torchrun started this process again after one of its group had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


class Runtime:
    """A device and a group of processes.

    Parameters
    ----------
    device
        ``cpu``, ``cuda`` or ``mps``.
    precision
        Arithmetic of forward and backward passes; weights stay in float32.
    """

    def __init__(self, device: str = "cpu", precision: Precision = "fp32") -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState

        # One Python process may train several times, with other settings each time.
        AcceleratorState._reset_state()
        mixed = "no" if precision == "fp32" else precision
        try:
            if launched_processes() > 1:
                if "TORCHELASTIC_RUN_ID" in os.environ:  # Then the launcher is the parent.
                    end_with_parent()
                # DDP imports this module, whose functions keep the group of that moment as their default:
                # imported once there is a group, it would hold it, and its threads, past `leave_processes`.
                importlib.import_module("torch.distributed.nn")
                if was_restarted():
                    _join_again("nccl" if device == "cuda" else "gloo")
            self._accelerator: Accelerator = Accelerator(cpu=device == "cpu", mixed_precision=mixed)
        except (RuntimeError, ValueError) as error:
            raise TagboxError(
                "processes-not-joined",
                f"the processes could not be set up ({' '.join(str(error).split())[:160]})",
                hint="start them with torchrun or accelerate launch, on machines that reach each other",
            ) from error
        self.precision: Precision = precision
        self.processes: int = self._accelerator.num_processes
        self.rank: int = self._accelerator.process_index
        if self.processes > 1:
            atexit.unregister(leave_processes)
            atexit.register(leave_processes)

    def alone(self) -> Runtime:
        """A runtime of this process only, for work that every process repeats."""
        alone = copy.copy(self)
        alone.processes, alone.rank = 1, 0
        return alone

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and messages."""
        return bool(self._accelerator.is_main_process)

    @property
    def device(self) -> Any:
        """The torch device of this process."""
        return self._accelerator.device

    def distribute(self, model: nn.Module) -> nn.Module:
        """`model` on the device; with several processes, one whose gradients are averaged over them."""
        if not any(parameter.requires_grad for parameter in model.parameters()):
            return model.to(self.device)
        if self.processes == 1:
            return model.to(self.device)
        prepared: nn.Module = self._accelerator.prepare_model(model)
        return prepared

    def autocast(self) -> AbstractContextManager[None]:
        """Forward passes inside it compute in `precision`."""
        import torch

        if self.precision == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype)

    def accumulating(self, model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Backward passes inside it are exchanged between processes only for the `last` part of a batch."""
        if last or self.processes == 1:
            return nullcontext()
        waiting: AbstractContextManager[None] = self._accelerator.no_sync(model)
        return waiting

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`, scaled for fp16 where that is the precision."""
        import torch

        scaler = self._accelerator.scaler
        torch.autograd.backward(loss if scaler is None else scaler.scale(loss))

    def update(self, optimizer: Optimizer, parameters: list[Any], clip: float) -> None:
        """One optimizer step, with the norm of all gradients together held to `clip` where that is above 0."""
        import torch

        scaler: Any = self._accelerator.scaler
        if scaler is not None:
            scaler.unscale_(optimizer)
        if clip:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()

    def total(self, *values: float) -> tuple[float, ...]:
        """Each value summed over all processes, in double precision."""
        if self.processes == 1:
            return values
        summed = sum(np.array(each, np.float64) for each in self.gather(values))
        return tuple(np.asarray(summed).tolist())

    def gather(self, value: Any) -> list[Any]:
        """The value of every process, in the order of their ranks, on every process."""
        if self.processes == 1:
            return [value]
        import torch.distributed

        found: list[Any] = [None] * self.processes
        torch.distributed.all_gather_object(found, value)
        return found

    def from_main(self, value: Any) -> Any:
        """The main process's value, on every process."""
        if self.processes == 1:
            return value
        import torch.distributed

        shared = [value]
        torch.distributed.broadcast_object_list(shared, src=0)
        return shared[0]

    def share_statistics(self, model: nn.Module) -> None:
        """Give every process the main one's buffers: statistics of batches differ between processes."""
        if self.processes == 1:
            return
        import torch.distributed

        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)

    def machine(self) -> dict[str, Any]:
        """Everything that must be equal for a resumed run to be bit-equal."""
        import torch

        return {
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "device": self.device.type,
            "threads": torch.get_num_threads(),
            "processes": self.processes,
        }

    def random_state(self) -> dict[str, Any]:
        """State of this process's generators, for a checkpoint."""
        import torch

        state: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def restore_random_state(self, state: dict[str, Any]) -> None:
        """Restore a `random_state`."""
        import torch

        torch.set_rng_state(state["cpu"])
        if "cuda" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], self.device)

    def scaler_state(self) -> dict[str, Any]:
        """State of fp16's loss scaling; empty without."""
        scaler = self._accelerator.scaler
        return {} if scaler is None else dict(scaler.state_dict())

    def restore_scaler(self, state: dict[str, Any]) -> None:
        """Restore a `scaler_state`."""
        if state and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state)


def join_processes(device: Device, engine: Engine) -> Runtime | None:
    """The group of the processes that a launcher started; None where there is no launcher.

    Raises
    ------
    TagboxError
        ``processes-not-joined``; ``device-missing``; ``extra-missing``.
    """
    return Runtime(choose_device(device, engine)) if launched_processes() > 1 else None


def _join_again(backend: str) -> None:
    """Form the group of a restart, with a prefix in the launcher's store of its own.

    torch takes the store for a new one at each restart. With a fixed master port it is the old one, and a process
    that reads the address of one that has died, before the new one has written its own, waits for it for ever.
    """
    import torch.distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    if torch.distributed.is_initialized():
        return
    store, rank, processes = next(rendezvous("env://"))
    fresh = PrefixStore(f"restart_{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    torch.distributed.init_process_group(backend, store=fresh, rank=rank, world_size=processes)


def leave_processes() -> None:
    """Leave the group, where this process is in one.

    It waits for gloo's threads to end. One that lets go of a tensor while the interpreter shuts down aborts the
    process ("terminate called without an active exception"), and its launcher takes the finished run for a failed
    one.
    """
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def unwrapped(model: nn.Module) -> nn.Module:
    """The model without the wrapper of several processes."""
    inner = getattr(model, "module", model)
    assert hasattr(inner, "state_dict")
    return inner
