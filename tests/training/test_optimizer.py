"""Our AdamW and one-cycle schedule against torch's."""

from __future__ import annotations

import pytest
import torch

from tagbox.training.optim import AdamW, Schedule, cosine, one_cycle, step_down


def layers() -> tuple[torch.nn.Linear, torch.nn.Linear]:
    torch.manual_seed(3)
    one, two = torch.nn.Linear(6, 4), torch.nn.Linear(6, 4)
    two.load_state_dict(one.state_dict())
    return one, two


@pytest.mark.parametrize("total", [10, 37, 200])
@pytest.mark.parametrize("decay", [0.0, 0.05, 2.0])
def test_the_same_weights_as_torchs_after_every_step(total: int, decay: float) -> None:
    ours, theirs = layers()
    optimizer = AdamW(ours.parameters(), 3e-2, decay)
    schedule = Schedule(optimizer, one_cycle(total, 0.3))
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
    optimizer = AdamW(one.parameters(), 1e-2, 0.0)
    schedule = Schedule(optimizer, one_cycle(total, 0.3))
    rates = []
    for _ in range(total + 1):
        rates.append(schedule.get_last_lr()[0])
        schedule.step()
    assert all(0 < rate <= 1e-2 + 1e-12 for rate in rates)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_every_group_of_torchs_optimizers_follows_its_own_peak(kind: type) -> None:
    one, two = layers()
    optimizer = kind(
        [{"params": one.parameters(), "lr": 1e-2}, {"params": two.parameters(), "lr": 1e-3}]
    )
    schedule = Schedule(optimizer, one_cycle(20, 0.25))
    for _ in range(20):
        high, low = schedule.get_last_lr()
        assert high == pytest.approx(10 * low)
        schedule.step()


def test_a_schedule_is_where_its_number_of_steps_says() -> None:
    one, two = layers()
    walked = Schedule(AdamW(one.parameters(), 1e-2, 0.0), one_cycle(30, 0.3))
    jumped = Schedule(AdamW(two.parameters(), 1e-2, 0.0), one_cycle(30, 0.3))
    for _ in range(17):
        walked.step()
    jumped.go_to(17)
    assert walked.optimizer.param_groups[0]["lr"] == jumped.optimizer.param_groups[0]["lr"]
    assert walked.optimizer.param_groups[0]["betas"] == jumped.optimizer.param_groups[0]["betas"]


def test_cosine_by_hand() -> None:
    course = cosine(10, 0.2)
    # Two steps up, then half a cosine over eight: at its middle the half, at its end nothing.
    assert [course(step)[0] for step in (0, 1, 2, 6, 10)] == pytest.approx([0.5, 1, 1, 0.5, 0])
    assert course(3)[1] is None


def test_steps_down_by_hand() -> None:
    course = step_down(9)
    assert [course(step)[0] for step in (0, 2, 3, 5, 6, 8, 9)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01, 0.01]
    )


def test_the_state_of_our_optimizer_goes_on_where_it_was() -> None:
    one, two = layers()
    first, second = AdamW(one.parameters(), 1e-2, 0.1), AdamW(two.parameters(), 1e-2, 0.1)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(5, 6, generator=generator) for _ in range(6)]

    def train(layer: torch.nn.Linear, optimizer: AdamW, batches: list[torch.Tensor]) -> None:
        for x in batches:
            optimizer.zero_grad()
            layer(x).square().mean().backward()
            optimizer.step()

    train(one, first, batches)
    train(two, second, batches[:3])
    again = AdamW(two.parameters(), 1e-2, 0.1)
    again.load_state_dict(second.state_dict())
    train(two, again, batches[3:])
    assert torch.equal(one.weight, two.weight)
