"""Progress without a terminal: lines with time left, rates that make sense, and what is foretold."""

from __future__ import annotations

import pytest

from tagbox.progress import PlainProgress, duration, foretelling, rate


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.2, "1 s"),
        (40, "40 s"),
        (59.6, "1 min"),
        (150, "2 min"),
        (3540, "59 min"),
        (3600, "1 h"),
        (4800, "1 h 20 min"),
        (36 * 3600 + 600, "36 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("speed", "unit", "shown"),
    [
        (251.4, "images", "251 images/s"),
        (1.26, "images", "1.3 images/s"),
        (0.2381, "steps", "4.2 s a step"),
        (0.5, "images", "2.0 s an image"),
        (0.5, "batches", "2.0 s a batch"),
        (1 / 1500, "trials", "25 min a trial"),
        (2_500_000, "bytes", "2.5 MB/s"),
    ],
)
def test_rates(speed: float, unit: str, shown: str) -> None:
    assert rate(speed, unit) == shown


def test_lines_come_now_and_then_with_the_time_left() -> None:
    clock, said = Clock(), list[str]()
    advance = PlainProgress("training", 100, "steps", said.append, clock)
    for _ in range(100):
        clock.now += 4.0
        advance(note="epoch 1" if clock.now > 200 else None)
    # At 12, 24, 48, 96, 192 and 312 seconds: the pauses double, up to two minutes.
    assert said == [
        "training: 3 of 100 steps, 4.0 s a step, about 6 min left",
        "training: 6 of 100 steps, 4.0 s a step, about 6 min left",
        "training: 12 of 100 steps, 4.0 s a step, about 6 min left",
        "training: 24 of 100 steps, 4.0 s a step, about 5 min left",
        "training: 48 of 100 steps, 4.0 s a step, about 3 min left",
        "training, epoch 1: 78 of 100 steps, 4.0 s a step, about 1 min left",
    ]


def test_short_work_is_silent_and_what_an_earlier_run_did_is_not_measured() -> None:
    clock, said = Clock(), list[str]()
    advance = PlainProgress("training", 1000, "steps", said.append, clock)
    advance(900)
    for _ in range(20):
        clock.now += 1.0
        advance()
    assert said == ["training: 910 of 1,000 steps, 1.0 steps/s, about 2 min left", said[-1]]
    quick = PlainProgress("drawing", 9, "images", said.append, Clock())
    for _ in range(9):
        quick()
    assert len(said) == 2


def test_the_whole_time_is_foretold_once_after_the_first_steps() -> None:
    clock, said, counted = Clock(), list[str](), list[int]()

    def advance(count: int = 1, /, *, note: str | None = None) -> None:
        counted.append(count)

    told = foretelling(advance, 600, "steps", "training takes at most", said.append, clock)
    told(0)
    clock.now += 30  # Imports and the first step.
    told(1)
    for _ in range(50):
        clock.now += 2.0
        told(1)
    assert said == ["training takes at most about 20 min (2.0 s a step)"]
    assert sum(counted) == 51


def test_little_work_is_not_foretold() -> None:
    clock, said = Clock(), list[str]()
    told = foretelling(lambda *_, **__: None, 10, "steps", "it takes", said.append, clock)
    for _ in range(10):
        clock.now += 1.5
        told(1)
    assert said == []
