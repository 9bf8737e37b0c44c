"""How many of torch's threads a training step is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

SMALL_STEP = 3e7
"""Multiplications of a forward pass under which threads wait for each other longer than they compute.

A linear head's step takes a millisecond on one core. On a busy machine of two cores, two threads took four to
five times as long as one.
"""


@contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """One thread of torch's inside it where a step is small; all of them where it is not."""
    import torch

    before = torch.get_num_threads()
    if multiplications < SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
