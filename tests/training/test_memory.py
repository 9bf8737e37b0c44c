"""Whether feature maps fit: the limits of a container, and what is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tagbox.backends.create import create_encoders
from tagbox.config import ClassifierConfig, DataConfig, FinetuneConfig
from tagbox.errors import TagboxError
from tagbox.progress import Silent
from tagbox.training import memory
from tagbox.training.memory import available_memory, require_room, train_val_in_memory
from tagbox.training.train_val import load_train_val


def group(folder: Path, limit: str, used: int, given_back: int, *, first: bool) -> Path:
    """Files as the kernel's first or second interface has them."""
    names = (
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat")
        if first
        else ("memory.max", "memory.current", "memory.stat")
    )
    key = "total_inactive_file" if first else "inactive_file"
    contents = (limit, str(used), f"anon 5\n{key} {given_back}\nslab 7")
    for name, content in zip(names, contents, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return folder


@pytest.mark.parametrize("first", [True, False])
def test_a_container_has_what_its_limit_leaves(tmp_path: Path, first: bool) -> None:
    # 1000 bytes, of which 900 are used, of which 300 would be given back.
    assert available_memory(group(tmp_path, "1000", 900, 300, first=first)) == 400
    assert available_memory(group(tmp_path, "1000", 1200, 100, first=first)) == 0


def test_without_a_limit_the_machine_counts(tmp_path: Path) -> None:
    machine = psutil.virtual_memory()
    for groups in (tmp_path / "none", group(tmp_path, "max", 900, 300, first=False)):
        assert 0 < available_memory(groups) <= machine.total


def test_maps_may_take_half_of_it(
    scenes: Path, small: ClassifierConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(small, head="csra")
    train = scenes / "annotations" / "instances_train.json"
    train_val = load_train_val(train, config, DataConfig(), Silent())
    encoders = create_encoders(config)
    # 60 training pictures and their mirror images, 30 of validation, maps of 1280 x 3 x 3 at 4 bytes.
    needed = (2 * 60 + 30) * 1280 * 3 * 3 * 4
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * needed)
    require_room(train_val, encoders, config)
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * needed - 2)
    with pytest.raises(TagboxError, match="60 pictures") as raised:
        require_room(train_val, encoders, config)
    assert raised.value.code == "features-too-large"
    require_room(train_val, encoders, replace(config, mirror=False))
    require_room(train_val, encoders, small)
    # Where the network is trained afterwards, half the memory means half of either side.
    monkeypatch.setattr(memory, "available_memory", lambda: needed)
    whole = replace(config, finetune=FinetuneConfig(unfreeze="all"))
    fitting = train_val_in_memory(train_val, encoders, whole, Silent())
    assert abs(len(fitting.train) - 30) <= 2
    assert abs(len(fitting.validation) - 15) <= 2
    assert set(fitting.train.images.files) < set(train_val.train.images.files)
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * needed)
    assert train_val_in_memory(train_val, encoders, whole, Silent()) is train_val
