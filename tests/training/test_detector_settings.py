"""Settings of training that each detector brings: those it was published with, unless the user names others."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from tagbox.config import DetectorConfig, FinetuneConfig, load_recipe
from tagbox.config.detector import NANODET, OF_TORCHVISION, ON_A_BACKBONE
from tagbox.config.detector_training import (
    PUBLISHED,
    input_size,
    own_settings_sentence,
    with_own_settings,
)
from tagbox.models.detectors.base import Target
from tagbox.models.detectors.create import create_detector
from tagbox.training.optim import Schedule, create_course, multistep, optimizer_of
from tagbox.training.resolve_config import steps

TRANSFORMER = "huggingface/PekingU/rtdetr_v2_r18vd"
OPEN = [field.name for field in fields(DetectorConfig) if field.default is None]
OPEN = [name for name in OPEN if name not in ("val", "val_images", "workers")]


@pytest.mark.parametrize(
    ("detector", "batch", "optimizer", "rate", "decay", "size"),
    [
        # 0.02 for 8 GPUs of 2 images, README of torchvision's references/detection.
        ("fasterrcnn", 16, "sgd", 0.02, 1e-4, 320),
        ("fasterrcnn", 4, "sgd", 0.005, 1e-4, 320),
        ("fasterrcnn_mobilenet_v3_large_fpn", 8, "sgd", 0.01, 1e-4, 320),
        ("fasterrcnn_resnet50_fpn", 8, "sgd", 0.01, 1e-4, 320),
        # pytorch/vision #5763: 0.1 for 4 nodes of 8 GPUs of 2 images.
        ("fasterrcnn_resnet50_fpn_v2", 64, "sgd", 0.1, 4e-5, 320),
        ("retinanet_resnet50_fpn", 16, "sgd", 0.01, 1e-4, 320),
        # pytorch/vision #5756.
        ("retinanet_resnet50_fpn_v2", 16, "adamw", 1e-4, 0.05, 320),
        ("fcos_resnet50_fpn", 8, "sgd", 0.005, 1e-4, 320),
        # 0.002 for 8 GPUs of 4 images; 0.15 for 8 of 24.
        ("ssd300_vgg16", 8, "sgd", 0.0005, 5e-4, 300),
        ("ssdlite320_mobilenet_v3_large", 24, "sgd", 0.01875, 4e-5, 320),
        # RT-DETR: 1e-4 for 16 images; D-FINE: 2e-4 for 32.
        (TRANSFORMER, 32, "adamw", 2e-4, 1e-4, 640),
        # What was measured here, for any batch.
        ("dense", 8, "adamw", 0.002, 0.02, 320),
        ("dense", 64, "adamw", 0.002, 0.02, 320),
        ("nanodet_g", 8, "adamw", 0.002, 0.02, 416),
    ],
)
def test_the_published_settings_in_proportion_to_the_batch(
    detector: str, batch: int, optimizer: str, rate: float, decay: float, size: int
) -> None:
    used = with_own_settings(DetectorConfig(detector=detector, batch_size=batch))
    assert (used.optimizer, used.weight_decay, used.size) == (optimizer, decay, size)
    assert used.learning_rate == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("detector", [*ON_A_BACKBONE, NANODET, *OF_TORCHVISION, TRANSFORMER])
def test_every_detector_has_all_settings_and_named_ones_win(detector: str) -> None:
    assert (detector in PUBLISHED) == (detector != TRANSFORMER)
    given = DetectorConfig(detector=detector)
    used = with_own_settings(given)
    assert [name for name in OPEN if getattr(used, name) is None] == []
    assert with_own_settings(used) == used
    assert input_size(given) == used.size
    named: dict[str, Any] = {
        "optimizer": "adamw",
        "learning_rate": 0.002,
        "backbone_rate": 0.25,
        "clip": 10.0,
        "weight_decay": 0.02,
        "schedule": "cosine",
        "warmup": 0.05,
        "ema": 0.99,
        "batch_norm": "frozen",
        "size": 320,
    }
    assert named.keys() == set(OPEN)
    # Each alone, though it is the value of the default detector.
    for name, value in named.items():
        assert getattr(with_own_settings(replace(given, **{name: value})), name) == value
    whole = replace(given, **named)
    assert with_own_settings(whole) == whole
    assert own_settings_sentence(whole, whole) is None


def test_the_default_detector_is_trained_as_before() -> None:
    used = with_own_settings(DetectorConfig())
    assert {name: getattr(used, name) for name in OPEN} == {
        "optimizer": "adamw",
        "learning_rate": 0.002,
        "backbone_rate": 0.25,
        "clip": 10.0,
        "weight_decay": 0.02,
        "schedule": "cosine",
        "warmup": 0.05,
        "ema": 0.99,
        "batch_norm": "frozen",
        "size": 320,
    }
    assert own_settings_sentence(DetectorConfig(), used) is None


def test_the_recipe_of_faster_r_cnn_has_its_own_settings() -> None:
    recipe = load_recipe("fasterrcnn").config()
    assert isinstance(recipe, DetectorConfig)
    own = with_own_settings(
        DetectorConfig(
            detector=recipe.detector, size=800, epochs=26, trainable_layers=recipe.trainable_layers
        )
    )
    assert with_own_settings(recipe) == own
    assert own.learning_rate == pytest.approx(0.0125)


def test_what_was_chosen_is_said_with_its_source() -> None:
    given = DetectorConfig(detector="fasterrcnn", batch_size=4, weight_decay=0.5)
    sentence = own_settings_sentence(given, with_own_settings(given))
    assert sentence is not None
    for words in ("fasterrcnn", "references/detection", "learning rate 0.005 (0.02 for 16 images)"):
        assert words in sentence
    assert "optimizer sgd" in sentence and "weight decay" not in sentence
    # torchvision clips no gradients.
    assert "clip 10 (added here)" in sentence


def test_norms_follow_the_batches_where_no_weights_are_pretrained() -> None:
    for weights, expected in [("none", "train"), ("default", "frozen"), ("packaged", "frozen")]:
        given = DetectorConfig(detector="fasterrcnn", weights=weights)
        assert with_own_settings(given).batch_norm == expected


def test_the_loop_s_settings_are_complete() -> None:
    how = steps(DetectorConfig(detector="retinanet", batch_size=8, accumulate=2, workers=1))
    assert (how.learning_rate, how.optimizer, how.clip) == (0.005, "sgd", 10.0)
    assert (how.accumulate, how.workers, how.schedule) == (2, 1, "multistep")
    assert all(
        getattr(how, field.name) is not None
        for field in fields(FinetuneConfig)
        if field.name != "workers"
    )


def test_multistep_is_torch_s_schedule_of_26_epochs() -> None:
    """A linear warm-up in the first epoch, then MultiStepLR at epochs 16 and 22."""
    layer = torch.nn.Linear(2, 2)
    ours, theirs = (torch.optim.SGD(layer.parameters(), lr=0.02) for _ in range(2))
    each = 10
    schedule = Schedule(ours, create_course("multistep", 26 * each, 1 / 26))
    oracle = torch.optim.lr_scheduler.MultiStepLR(theirs, [16, 22], gamma=0.1)
    for step in range(26 * each):
        epoch, batch = divmod(step, each)
        share = (batch + 1) / each if epoch == 0 else 1.0
        assert schedule.get_last_lr()[0] == pytest.approx(oracle.get_last_lr()[0] * share), step
        theirs.step()
        schedule.step()
        if batch == each - 1:
            oracle.step()


@pytest.mark.parametrize("total", [1, 2, 5])
def test_multistep_of_a_few_steps(total: int) -> None:
    shares = [multistep(total, 0.05)(step)[0] for step in range(total + 1)]
    assert all(0 < share <= 1 for share in shares)


def losses_of(config: DetectorConfig, count: int) -> list[float]:
    """The loss of each step on one batch of squares, with the detector's own settings."""
    config = with_own_settings(config)
    how = steps(config)
    detector = create_detector(config, ["a", "b"])
    detector.freeze("all", train_norms=how.batch_norm == "train")
    named = dict(detector.named_parameters())
    backbone = {name for stage in detector.stages() for name in stage}
    own = [p for name, p in named.items() if name not in backbone]
    optimizer = optimizer_of(named, detector.trained, own, how)
    schedule = Schedule(optimizer, create_course(how.schedule, 10 * count, how.warmup))
    generator = torch.Generator().manual_seed(0)
    side = detector.spec.size
    images = torch.randint(0, 90, (2, side, side, 3), generator=generator, dtype=torch.uint8)
    boxes = torch.tensor([[0.2, 0.3, 0.6, 0.8], [0.5, 0.1, 0.9, 0.4]]) * side
    for row, box in enumerate(boxes.int().tolist()):
        left, top, right, bottom = box
        images[row, top:bottom, left:right] = 220
    targets = [
        Target(boxes=box[None], labels=torch.tensor([row]), ignore=torch.zeros(0, 4))
        for row, box in enumerate(boxes)
    ]
    found = []
    torch.manual_seed(0)
    detector.train()
    for _ in range(count):
        optimizer.zero_grad()
        losses, _ = detector(images, [(side, side)] * 2, targets)
        loss = sum(losses.values()) / detector.loss_count(targets)
        loss.backward()
        if how.clip:
            torch.nn.utils.clip_grad_norm_(detector.parameters(), how.clip)
        optimizer.step()
        schedule.step()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize(
    ("detector", "weights", "size"),
    [
        ("fasterrcnn", "packaged", 96),
        ("fasterrcnn", "none", 96),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", "none", 96),
        ("ssdlite320_mobilenet_v3_large", "none", None),
        pytest.param("retinanet", "packaged", 96, marks=pytest.mark.slow),
        pytest.param("retinanet", "none", 96, marks=pytest.mark.slow),
        pytest.param("fcos", "packaged", 96, marks=pytest.mark.slow),
        pytest.param("fcos", "none", 96, marks=pytest.mark.slow),
        pytest.param("fasterrcnn_resnet50_fpn", "none", 96, marks=pytest.mark.slow),
        pytest.param("fasterrcnn_resnet50_fpn_v2", "none", 96, marks=pytest.mark.slow),
        pytest.param("fasterrcnn_mobilenet_v3_large_fpn", "none", 96, marks=pytest.mark.slow),
        pytest.param("retinanet_resnet50_fpn", "none", 96, marks=pytest.mark.slow),
        pytest.param("retinanet_resnet50_fpn_v2", "none", 96, marks=pytest.mark.slow),
        pytest.param("fcos_resnet50_fpn", "none", 96, marks=pytest.mark.slow),
        pytest.param("ssd300_vgg16", "none", None, marks=pytest.mark.slow),
    ],
)
def test_losses_fall_from_the_first_step_on(detector: str, weights: str, size: int | None) -> None:
    """From packaged weights of the backbone, and from random weights, at the rate of a default batch."""
    rate = with_own_settings(DetectorConfig(detector=detector)).learning_rate
    config = DetectorConfig(detector=detector, weights=weights, size=size, learning_rate=rate)
    found = losses_of(config, 8)
    assert all(map(math.isfinite, found)), found
    assert max(found) < 3 * found[0], found
    assert min(found[4:]) < found[0], found
