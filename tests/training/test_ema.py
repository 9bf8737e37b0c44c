"""The moving average against the formula, and a checkpoint of it."""

from __future__ import annotations

import torch

from tagbox.training.optim import Ema


def test_the_formula() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    ema = Ema(model, 0.9)
    expected = 1.0
    for step in range(1, 200):
        with torch.no_grad():
            model.weight.fill_(1.0 + step)
        ema.update(model)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (1.0 + step)
        torch.testing.assert_close(ema.model.weight, torch.full((1, 2), expected))


def test_statistics_are_averaged_and_counters_copied() -> None:
    model = torch.nn.BatchNorm1d(3)
    ema = Ema(model, 0.99)
    model(torch.randn(8, 3) + 5)
    ema.update(model)
    # The first step's decay is 2 / 11.
    torch.testing.assert_close(ema.model.running_mean, model.running_mean * 9 / 11)
    assert ema.model.num_batches_tracked == 1
    assert not any(p.requires_grad for p in ema.model.parameters())


def test_it_goes_on_from_its_state() -> None:
    model, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    ema = Ema(model, 0.5)
    ema.update(other)
    again = Ema(other, 0.5)
    again.load_state_dict(ema.state_dict())
    for each in (ema, again):
        each.update(model)
    assert torch.equal(ema.model.weight, again.model.weight)
