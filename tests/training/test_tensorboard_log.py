"""TensorBoard's own reader is the oracle: it checks every record's checksum."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorboard", reason="needs the extra train")

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tagbox.errors import TagboxError
from tagbox.training.tensorboard import TensorBoardLog, Watch


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def test_both_sides_share_their_tags(tmp_path: Path) -> None:
    with TensorBoardLog(tmp_path) as log:
        for step in range(4):
            log.batch(step, 1 / (step + 1))
        for epoch in (1, 2):
            log.epoch(
                epoch,
                {
                    "epoch": epoch,
                    "train_loss": 0.5 / epoch,
                    "val_loss": 0.75 / epoch,
                    "train_map": 0.25 * epoch,
                    "val_map": 0.125 * epoch,
                    "val_challenge_f1": None,
                    "learning_rate": 0.5,
                },
            )
    assert points(tmp_path / "train", "loss/batch") == [
        (step, pytest.approx(1 / (step + 1))) for step in range(4)
    ]
    assert points(tmp_path / "train", "loss/epoch") == [(1, 0.5), (2, 0.25)]
    assert points(tmp_path / "val", "loss/epoch") == [(1, 0.75), (2, 0.375)]
    assert points(tmp_path / "train", "metrics/map") == [(1, 0.25), (2, 0.5)]
    assert points(tmp_path / "val", "metrics/map") == [(1, 0.125), (2, 0.25)]
    assert points(tmp_path / "train", "run/learning_rate") == [(1, 0.5), (2, 0.5)]
    # Two folders with one event file each, however many curves there are.
    assert sorted(path.parent.name for path in tmp_path.rglob("*tfevents*")) == ["train", "val"]
    assert "metrics/challenge_f1" not in read(tmp_path / "val").Tags()["scalars"]


def test_parts_of_a_loss_are_in_the_group_of_losses(tmp_path: Path) -> None:
    with TensorBoardLog(tmp_path) as log:
        watch: Watch[np.ndarray] = Watch(
            log,
            categories=["cat", "dog"],
            per_category=lambda values: {"ap": values},
        )
        watch.batch(11, 4.0)
        row = {"epoch": 3, "learning_rate": 0.25}
        for side, loss in (("train", 2.0), ("val", 3.0)):
            row |= {f"{side}_loss": loss, f"{side}_loss_box": loss / 2, f"{side}_loss_class": loss}
        watch.epoch(row | {"val_ap": 0.5, "val_ar100": 0.75}, np.array([0.5, math.nan]))
    losses = {"loss/epoch", "loss/box", "loss/class"}
    train, val = (set(read(tmp_path / side).Tags()["scalars"]) for side in ("train", "val"))
    assert train == losses | {"loss/batch", "run/learning_rate"}
    assert val == losses | {"metrics/ap", "metrics/ar100", "ap/cat"}
    assert points(tmp_path / "train", "loss/batch") == [(11, 4.0)]
    assert points(tmp_path / "train", "loss/box") == [(3, 1.0)]
    assert points(tmp_path / "val", "loss/box") == [(3, 1.5)]


def test_without_a_log_nothing_is_asked() -> None:
    watch: Watch[None] = Watch(None, per_category=lambda held: pytest.fail("asked"))
    watch.batch(1, 1.0)
    watch.epoch({"epoch": 1}, None)


def test_categories_and_pictures(tmp_path: Path) -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, 15:] = (255, 0, 0)
    with TensorBoardLog(tmp_path) as log:
        log.per_category(3, "average_precision", ["cat", "dog", "日本"], [0.5, math.nan, 0.25])
        log.picture(3, "worst/1", image[:, ::-1])
    events = read(tmp_path / "val")
    assert events.Tags()["scalars"] == ["average_precision/cat", "average_precision/日本"]
    (stored,) = events.Images("worst/1")
    assert (stored.width, stored.height, stored.step) == (30, 20, 3)
    pixels = np.asarray(Image.open(io.BytesIO(stored.encoded_image_string)), int)
    assert np.abs(pixels[10, 2] - (255, 0, 0)).max() < 12
    assert pixels[10, 28].max() < 12


def test_a_resumed_run_continues_in_a_second_file(tmp_path: Path) -> None:
    for epoch in (1, 2):
        with TensorBoardLog(tmp_path) as log:
            log.epoch(epoch, {"val_loss": 0.5})
    assert len(list((tmp_path / "val").iterdir())) == 2
    assert points(tmp_path / "val", "loss/epoch") == [(1, 0.5), (2, 0.5)]


def test_events_of_an_epoch_are_readable_while_the_run_goes_on(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path)
    log.batch(0, 0.5)
    log.epoch(1, {"val_loss": 0.25})
    assert points(tmp_path / "train", "loss/batch") == [(0, 0.5)]
    log.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TagboxError, match="check that the folder can be written") as caught:
        TensorBoardLog(tmp_path / "file")
    assert caught.value.code == "cannot-write"
