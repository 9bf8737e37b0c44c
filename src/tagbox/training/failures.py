"""Errors of torch in a training as `TagboxError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tagbox.errors import TagboxError, extra_missing

MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")
WORKER_WORDS = ("DataLoader worker",)
GROUP_WORDS = (
    "gloo",
    "NCCL",
    "ProcessGroup",
    "Connection closed by peer",
    "Connection reset by peer",
)

COMPILER_MODULES = ("torch._dynamo", "torch._inductor")


@contextmanager
def understood() -> Iterator[None]:
    """Raise torch's errors of memory, data-loading processes, lost processes and compilation as `TagboxError`.

    Raises
    ------
    TagboxError
        ``memory-full``, ``worker-killed``, ``process-lost``, ``compile-failed``.
    """
    try:
        yield
    except MemoryError as error:
        raise _memory() from error
    except RuntimeError as error:
        text = str(error)
        if type(error).__module__.startswith(COMPILER_MODULES):
            raise TagboxError(
                "compile-failed",
                f"torch.compile could not compile the network ({text.splitlines()[0][:120]})",
                where="finetune.compile",
                hint="leave --finetune.compile out, or install the C++ compiler that it needs",
            ) from error
        if any(word in text for word in WORKER_WORDS):
            raise TagboxError(
                "worker-killed",
                "a process that reads pictures was ended from outside, perhaps for want of memory",
                where="finetune.workers",
                hint="go on with --resume and fewer --finetune.workers; 0 reads in the training itself",
            ) from error
        if any(word in text.lower() for word in MEMORY_WORDS):
            raise _memory() from error
        if any(word in text for word in GROUP_WORDS):
            raise TagboxError(
                "process-lost",
                f"another process of this training could not be reached ({text.splitlines()[0][:120]})",
                hint="go on with --resume; torchrun --max-restarts does so by itself",
            ) from error
        raise


def _memory() -> TagboxError:
    return TagboxError(
        "memory-full",
        "there was not enough memory for a step of the training",
        where="finetune.batch_size",
        hint="go on with --resume and more --finetune.accumulate, or train smaller pictures or a smaller model",
    )


def require_torch() -> None:
    """Refuse to train without the packages of the extra ``train``.

    Raises
    ------
    TagboxError
        ``extra-missing``.
    """
    try:
        import accelerate  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise extra_missing("training", error.name) from error
