"""Checkpoints: what goes in comes out, damage is found, the newest sound one counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tagbox.errors import TagboxError
from tagbox.training.checkpoint import Checkpoints, flatten, unflatten

plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text()
nested = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(-100, 100), inner)
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and one != one:
        return isinstance(other, float) and other != other
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(v, other[k]) for k, v in one.items())
    if isinstance(one, (list, tuple)):
        return (
            type(one) is type(other)
            and len(one) == len(other)
            and all(same(a, b) for a, b in zip(one, other, strict=True))
        )
    return type(one) is type(other) and one == other


@given(nested)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    found, tensors = flatten(value)
    assert not tensors
    assert same(unflatten(found, tensors), value)


def test_tensors_and_arrays_come_back_in_their_places() -> None:
    state = {"a": [torch.arange(3), {"b": np.array([[1, 2]], np.int8)}], 7: (torch.ones(()), 1.5)}
    found, tensors = flatten(state)
    back = unflatten(found, tensors)
    assert torch.equal(back["a"][0], torch.arange(3))
    assert back["a"][1]["b"].dtype == np.int8
    assert back[7][1] == 1.5
    assert back[7][0].shape == ()


def state(number: float) -> dict[str, Any]:
    return {"weights": torch.full((4,), number), "history": [{"epoch": 1, "val_map": None}]}


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def checkpoints(tmp_path: Path, said: list[str]) -> Checkpoints:
    made = Checkpoints(tmp_path, keep=2, say=said.append)
    for step in (1, 2, 3):
        made.save_best(step, {"weight": torch.full((2,), float(step))})
        made.save(step, state(step), best_epoch=step)
    return made


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.folder.iterdir())


def test_the_last_ones_and_the_best_they_name_stay(checkpoints: Checkpoints) -> None:
    assert names(checkpoints) == [
        "000000002",
        "000000003",
        "best-2.safetensors",
        "best-3.safetensors",
    ]
    latest = checkpoints.latest()
    assert latest is not None
    assert torch.equal(latest["weights"], torch.full((4,), 3.0))
    assert latest["history"] == [{"epoch": 1, "val_map": None}]
    assert torch.equal(checkpoints.load_best(3)["weight"], torch.full((2,), 3.0))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "state.safetensors").write_bytes(b""),
        lambda folder: truncate(folder / "state.safetensors"),
        lambda folder: flip(folder / "state.safetensors"),
        lambda folder: truncate(folder / "state.json"),
        lambda folder: (folder / "state.json").unlink(),
        lambda folder: (folder / "state.json").write_text("[]"),
        lambda folder: truncate(folder.parent / "best-3.safetensors"),
    ],
    ids=["empty", "truncated", "a bit", "description", "none", "other JSON", "best weights"],
)
def test_a_damaged_one_is_named_and_the_one_before_it_used(
    checkpoints: Checkpoints, said: list[str], damage: Any
) -> None:
    damage(checkpoints.folder / "000000003")
    latest = checkpoints.latest()
    assert latest is not None
    assert torch.equal(latest["weights"], torch.full((4,), 2.0))
    assert len(said) == 1
    assert said[0].startswith("passed over: ")


def test_where_all_are_damaged_there_is_none(checkpoints: Checkpoints) -> None:
    for folder in checkpoints.folder.glob("0*"):
        truncate(folder / "state.safetensors")
    assert checkpoints.latest() is None


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).latest() is None


def test_damaged_best_weights_are_one_sentence(checkpoints: Checkpoints) -> None:
    truncate(checkpoints.folder / "best-3.safetensors")
    with pytest.raises(TagboxError, match=r"best-3\.safetensors") as raised:
        checkpoints.load_best(3)
    assert raised.value.code == "checkpoint-damaged"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_a_pipe_in_a_checkpoint_is_passed_over(checkpoints: Checkpoints, said: list[str]) -> None:
    newest = sorted(path for path in checkpoints.folder.iterdir() if path.is_dir())[-1]
    for name in ("state.safetensors", "state.json"):
        assert (newest / name).exists()
        (newest / name).unlink()
        os.mkfifo(newest / name)
        assert checkpoints.latest() is not None
        assert "not an ordinary file" in said[-1]
