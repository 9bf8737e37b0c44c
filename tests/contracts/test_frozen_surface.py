"""Names, flags and error codes that somebody may rely on are still there; `freeze.py` noted them."""

from __future__ import annotations

import contract_surface as surface
import pytest


def assert_kept(losses: list[str]) -> None:
    assert not losses, "\n  ".join(["no longer as frozen:", *losses])


def test_the_frozen_surface_is_not_empty() -> None:
    assert len(surface.frozen("api.json")) > 20
    assert len(surface.frozen("commands.json")) > 15
    assert len(surface.frozen("error_codes.json")) > 100
    assert len(surface.frozen("finding_codes.json")) > 40


def test_public_names_keep_their_parameters_and_fields() -> None:
    assert_kept(surface.losses(surface.frozen("api.json"), surface.api()))


def test_commands_keep_their_flags_and_defaults() -> None:
    assert_kept(surface.losses(surface.frozen("commands.json"), surface.commands()))


@pytest.mark.parametrize("name", ["error_codes.json", "finding_codes.json"])
def test_codes_are_still_said_somewhere(name: str) -> None:
    gone = sorted(set(surface.frozen(name)) - surface.literals())
    assert not gone, f"codes that no string of src/tagbox is any more: {', '.join(gone)}"


def test_what_is_frozen_is_what_freeze_writes() -> None:
    """Of codes too that one error takes from another: `freeze.py surface` drops none."""
    assert not set(surface.frozen("error_codes.json")) - set(surface.error_codes())
    assert "config-missing" in surface.error_codes()


def test_a_loss_is_named() -> None:
    before = {"train": {"--epochs": {"default": "30", "names": {"--epochs": "is a name"}}}}
    now = {"train": {"--epochs": {"default": "20", "names": {}}, "--more": {}}, "more": {}}
    assert surface.losses(before, now) == [
        "train --epochs default was '30' and is '20'",
        "train --epochs names --epochs is gone",
    ]
