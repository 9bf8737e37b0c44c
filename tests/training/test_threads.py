"""A step too small to share is computed by one thread; torch has its threads again afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tagbox.backends.create import create_encoders
from tagbox.config import ClassifierConfig, DataConfig
from tagbox.device import SMALL_STEP, threads_for
from tagbox.progress import Silent
from tagbox.training.distributed import Runtime
from tagbox.training.frozen import encode_train_val, train_head
from tagbox.training.resolve_config import resolve
from tagbox.training.train_val import load_train_val


@pytest.fixture
def three_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_threads_are_taken_and_given_back() -> None:
    for multiplications, threads in ((SMALL_STEP - 1, 1), (SMALL_STEP, 3)):
        with pytest.raises(KeyError), threads_for(multiplications):
            assert torch.get_num_threads() == threads
            raise KeyError
        assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
def test_a_linear_head_takes_one_thread_and_a_wide_one_all(
    scenes: Path, small: ClassifierConfig
) -> None:
    config = replace(small, epochs=1)
    train_val = load_train_val(
        scenes / "annotations" / "instances_train.json", config, DataConfig(), Silent()
    )
    config = resolve(config, train_val)
    encoded = encode_train_val(
        train_val,
        create_encoders(config),
        head=config.head,
        mirror=False,
        cache=None,
        progress=Silent(),
    )
    seen: list[int] = []
    for head, hidden in (("linear", 512), ("mlp", 4096)):
        train_head(
            encoded,
            replace(config, head=head, hidden=hidden),  # type: ignore[arg-type]
            Runtime("cpu"),
            on_batch=lambda step, loss: seen.append(torch.get_num_threads()),
        )
    steps = len(seen) // 2
    assert seen == [1] * steps + [3] * steps
    assert torch.get_num_threads() == 3
