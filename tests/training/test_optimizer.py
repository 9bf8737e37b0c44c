"""Our AdamW and one-cycle schedule against torch's."""

from __future__ import annotations

import pytest
import torch

from tagbox.training.optimizer import AdamW, OneCycle


def layers() -> tuple[torch.nn.Linear, torch.nn.Linear]:
    torch.manual_seed(3)
    one, two = torch.nn.Linear(6, 4), torch.nn.Linear(6, 4)
    two.load_state_dict(one.state_dict())
    return one, two


@pytest.mark.parametrize("total", [10, 37, 200])
@pytest.mark.parametrize("decay", [0.0, 0.05, 2.0])
def test_the_same_weights_as_torchs_after_every_step(total: int, decay: float) -> None:
    ours, theirs = layers()
    optimizer = AdamW(ours.parameters(), decay)
    schedule = OneCycle(optimizer, 3e-2, total)
    oracle = torch.optim.AdamW(
        [
            {"params": [theirs.weight], "weight_decay": decay},
            {"params": [theirs.bias], "weight_decay": 0.0},
        ],
        lr=3e-2,
    )
    oracle_schedule = torch.optim.lr_scheduler.OneCycleLR(oracle, 3e-2, total_steps=total)
    generator = torch.Generator().manual_seed(0)
    for step in range(total):
        x = torch.randn(5, 6, generator=generator)
        for layer, each in ((ours, optimizer), (theirs, oracle)):
            each.zero_grad()
            layer(x).square().mean().backward()
            each.step()
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-5, atol=1e-7)
        if step < total - 1:
            schedule.step()
            oracle_schedule.step()
        assert schedule.get_last_lr()[0] == pytest.approx(oracle_schedule.get_last_lr()[0])


@pytest.mark.parametrize("total", [1, 2, 3, 4])
def test_trainings_of_a_few_steps_have_a_schedule_too(total: int) -> None:
    one, _ = layers()
    optimizer = AdamW(one.parameters(), 0.0)
    schedule = OneCycle(optimizer, 1e-2, total)
    rates = []
    for _ in range(total + 1):
        rates.append(schedule.get_last_lr()[0])
        schedule.step()
    assert all(0 < rate <= 1e-2 + 1e-12 for rate in rates)
