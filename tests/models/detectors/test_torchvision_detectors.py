"""torchvision's detectors behind our face, against torchvision's own forward with the same weights."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
torchvision = pytest.importorskip("torchvision", reason="needs the train extra")

from detector_data import descend, enliven, lighten, pictures, target, truth  # noqa: E402
from torch import nn  # noqa: E402
from torchvision.models import detection  # noqa: E402
from torchvision.models.detection.transform import GeneralizedRCNNTransform  # noqa: E402

from tagbox.config.detector import OF_TORCHVISION, DetectorConfig  # noqa: E402
from tagbox.errors import TagboxError  # noqa: E402
from tagbox.models.detectors.create import build_detector, create_detector  # noqa: E402
from tagbox.models.detectors.torchvision_detectors import PUBLISHED  # noqa: E402

CATEGORIES = 3
HEAVY = ("ssd300_vgg16", "fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
"""VGG16 takes as long as all others together; the other two are like their second versions."""
EACH = [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in PUBLISHED]


def side_of(name: str) -> int:
    return PUBLISHED[name].side or 128


def fresh(name: str, categories: int = CATEGORIES, **settings: Any) -> Any:
    config = DetectorConfig(detector=name, size=side_of(name), weights="none", **settings)
    return create_detector(config, [str(row) for row in range(categories)])


@cache
def alive(name: str) -> Any:
    """One of each; the tests that use it do not change it."""
    torch.set_num_threads(1)
    return enliven(fresh(name), side_of(name))


def theirs(name: str, ours: Any) -> Any:
    """torchvision's own, with the same weights, taking normalised pictures as they are."""
    classes = ours.spec.categories + ours.background
    model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=classes)
    model.load_state_dict(ours.model.state_dict())
    side = side_of(name)
    model.transform = GeneralizedRCNNTransform(
        side, side, [0.0] * 3, [1.0] * 3, size_divisible=1, _skip_resize=True
    )
    filters = model.roi_heads if hasattr(model, "roi_heads") else model
    filters.score_thresh = ours.spec.options["score_threshold"]
    filters.detections_per_img = ours.spec.options["detections"]
    return lighten(model)


def test_names_that_need_no_torch_are_those_there_are() -> None:
    assert tuple(PUBLISHED) == OF_TORCHVISION


@pytest.mark.parametrize("name", EACH)
def test_detections_are_torchvisions(name: str) -> None:
    ours, side = alive(name).eval(), side_of(name)
    other = theirs(name, ours).eval()
    batch = pictures(side)
    with torch.no_grad():
        losses, found = ours(batch, [(side, side)] * 3)
        expected = other(list(ours.normalise(batch)))
    assert losses == {}
    assert sum(len(f.scores) for f in found) > 0
    for mine, wanted in zip(found, expected, strict=True):
        assert torch.equal(mine.boxes, wanted["boxes"])
        assert torch.equal(mine.scores, wanted["scores"])
        assert torch.equal(mine.labels, wanted["labels"] - ours.background)
        assert len(mine.scores) <= 100
        assert torch.equal(mine.scores, mine.scores.sort(descending=True).values)
        if len(mine.labels):
            assert 0 <= int(mine.labels.min()) <= int(mine.labels.max()) < CATEGORIES


@pytest.mark.parametrize("name", EACH)
def test_losses_are_torchvisions(name: str) -> None:
    ours, side = alive(name).train(), side_of(name)
    other = theirs(name, ours).train()
    batch, targets = pictures(side), truth(side, CATEGORIES)
    torch.manual_seed(5)
    with torch.no_grad():
        losses, found = ours(batch, [(side, side)] * 3, targets)
    assert found is None
    told = [{"boxes": t.boxes, "labels": t.labels + ours.background} for t in targets]
    torch.manual_seed(5)
    # Normalisation moved the statistics of ours; those of a batch are what training uses.
    with torch.no_grad():
        expected = other(list(ours.normalise(batch)), told)
    assert set(losses) == set(expected)
    count = ours.loss_count(targets)
    assert count == 3
    for key, value in expected.items():
        assert float(losses[key]) / count == pytest.approx(float(value), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "ssd300_vgg16"])
def test_the_loss_in_eval_mode_is_repeatable_and_moves_nothing(name: str) -> None:
    ours, side = alive(name).eval(), side_of(name)
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    batch, sizes, targets = pictures(side), [(side, side)] * 3, truth(side, CATEGORIES)
    state = torch.get_rng_state()
    with torch.no_grad():
        first, found = ours(batch, sizes, targets)
        second, _ = ours(batch, sizes, targets)
    assert found is not None
    assert first == second
    assert all(torch.isfinite(value) for value in first.values())
    assert torch.equal(torch.get_rng_state(), state)
    after = ours.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(module.training for module in ours.modules())


LIGHT = [
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "ssdlite320_mobilenet_v3_large",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
]


@pytest.mark.parametrize("name", LIGHT)
def test_one_step_lowers_the_loss(name: str) -> None:
    torch.set_num_threads(1)
    before, after = descend(enliven(fresh(name), side_of(name)), side_of(name), 1e-4)
    assert after < before


@pytest.mark.parametrize("name", LIGHT)
def test_one_category_and_no_object_at_all(name: str) -> None:
    torch.set_num_threads(1)
    detector, side = fresh(name, categories=1).train(), side_of(name)
    losses, _ = detector(pictures(side, 2), [(side, side)] * 2, [target([], [])] * 2)
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    with torch.no_grad():
        _, found = detector.eval()(pictures(side, 2), [(side, side)] * 2)
    assert all(f.boxes.shape[1] == 4 and not f.labels.any() for f in found)


@pytest.mark.parametrize("name", LIGHT)
def test_nothing_is_found_in_what_fills_a_picture_up(name: str) -> None:
    detector, side = alive(name).eval(), side_of(name)
    if detector.spec.fixed:
        pytest.skip("fills its square")
    with torch.no_grad():
        _, found = detector(pictures(side), [(side, side), (side // 2, side), (side, 40)])
    for f, (height, width) in zip(
        found, [(side, side), (side // 2, side), (side, 40)], strict=True
    ):
        if len(f.boxes):
            assert float(f.boxes[:, [0, 2]].max()) <= width
            assert float(f.boxes[:, [1, 3]].max()) <= height


@pytest.mark.parametrize("name", LIGHT)
def test_a_crowd_is_no_background(name: str) -> None:
    """Where the whole picture is a crowd region, only what touches an object teaches anything."""
    detector, side = alive(name).eval(), side_of(name)
    everything = [[0.0, 0.0, float(side), float(side)]]
    plain = [target([], [])] * 3
    crowd = [target([], [], everything)] * 3
    with torch.no_grad():
        without, _ = detector(pictures(side), [(side, side)] * 3, plain)
        within, _ = detector(pictures(side), [(side, side)] * 3, crowd)
        nothing, _ = detector(
            pictures(side), [(side, side)] * 3, [target([], [], [[0, 0, 0.1, 0.1]])] * 3
        )
    parts = {"classification", "loss_objectness"} & set(without)
    assert parts
    for part in parts:
        if name.startswith("ssd"):  # Without objects SSD counts no background either.
            assert float(within[part]) == pytest.approx(0, abs=1e-3)
        else:
            assert float(within[part]) < float(without[part])
        assert float(nothing[part]) == float(without[part])


def test_retinanets_sums_over_parts_of_a_batch_add_up() -> None:
    detector = alive("retinanet_resnet50_fpn").eval()
    batch, sizes, targets = pictures(128), [(128, 128)] * 3, truth(128, CATEGORIES)
    with torch.no_grad():
        whole, _ = detector(batch, sizes, targets)
        one, _ = detector(batch[:1], sizes[:1], targets[:1])
        rest, _ = detector(batch[1:], sizes[1:], targets[1:])
    for key in whole:
        assert float(one[key] + rest[key]) == pytest.approx(float(whole[key]), rel=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_stages_are_the_backbones_and_a_spec_builds_it_again(name: str) -> None:
    detector = alive(name)
    stages = detector.stages()
    named = dict(detector.named_parameters())
    listed = [key for stage in stages for key in stage]
    assert len(set(listed)) == len(listed)
    assert set(listed) <= set(named)
    assert all(stages)
    assert len(stages) >= 5
    again = build_detector(detector.spec)
    again.load_state_dict(detector.state_dict())
    assert [p.requires_grad for p in again.parameters()] == [True] * len(named)
    first = "features.0" if "ssd" in name else "body."
    assert f"backbone.{first}" in stages[0][0]


def test_a_resnets_stages_are_its_layers() -> None:
    stages = alive("fcos_resnet50_fpn").stages()
    starts = [stage[0].removeprefix("model.backbone.body.").split(".")[0] for stage in stages]
    assert starts == ["conv1", "layer1", "layer2", "layer3", "layer4"]
    assert [len(stage) // 2 for stage in alive("ssd300_vgg16").stages()] == [2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    "name",
    [
        "fasterrcnn",
        pytest.param("fcos", marks=pytest.mark.slow),
        pytest.param("ssdlite320_mobilenet_v3_large", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_another_engine_runs_the_body(name: str) -> None:
    """What the body gives on OpenVINO is all that the rest needs; exporting leaves every mode as it was."""
    openvino = pytest.importorskip("openvino")
    torch.set_num_threads(1)
    side = 320 if name.startswith("ssd") else 128
    config = DetectorConfig(detector=name, size=side, weights="none")
    detector = enliven(create_detector(config, "ab"), side).eval()
    batch, sizes = pictures(side), [(side, side)] * 3
    pixels = detector.normalise(batch)
    with torch.no_grad():
        model = openvino.convert_model(detector.body, example_input=pixels)
        _, expected = detector(batch, sizes)
    assert not any(module.training for module in detector.modules())
    precise = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    outputs = openvino.Core().compile_model(model, "CPU", precise)(pixels.numpy())
    parts = [torch.from_numpy(value.copy()) for value in outputs.to_tuple()]
    assert all(part.dtype == torch.float32 for part in parts)
    found = detector.found(parts, pixels, sizes)
    assert sum(len(f.scores) for f in found) > 0
    for mine, wanted in zip(found, expected, strict=True):
        best = min(5, len(wanted.scores))
        assert torch.allclose(mine.scores[:best], wanted.scores[:best], atol=1e-3)


@pytest.mark.parametrize("name", ["fcos", "retinanet", "fasterrcnn"])
@pytest.mark.parametrize("backbone", ["efficientnet_lite0", "timm/mobilenetv3_small_050"])
def test_heads_on_any_backbone(name: str, backbone: str) -> None:
    torch.set_num_threads(1)
    weights = "packaged" if backbone == "efficientnet_lite0" else "none"
    config = DetectorConfig(detector=name, backbone=backbone, size=96, weights=weights)
    detector = enliven(create_detector(config, "ab"), 96)
    before, after = descend(detector, 96, 1e-4)
    assert after < before
    assert detector.spec.multiple == 32
    held = {key for key, _ in detector.named_parameters()}
    assert {key for stage in detector.stages() for key in stage} <= held
    again = build_detector(detector.spec).eval()
    lighten(again.model)
    again.load_state_dict(detector.state_dict())
    with torch.no_grad():
        _, mine = detector.eval()(pictures(96), [(96, 96)] * 3)
        _, other = again(pictures(96), [(96, 96)] * 3)
    assert all(torch.equal(a.boxes, b.boxes) for a, b in zip(mine, other, strict=True))


@pytest.mark.parametrize("name", ["fcos", "retinanet", "fasterrcnn"])
def test_heads_on_a_backbone_are_torchvisions(name: str) -> None:
    """The same losses as the class of torchvision's that the head is of."""
    torch.set_num_threads(1)
    config = DetectorConfig(detector=name, size=96, weights="packaged")
    ours = enliven(create_detector(config, "ab"), 96).train()
    model = ours.model
    model.transform = GeneralizedRCNNTransform(
        96, 96, [0.0] * 3, [1.0] * 3, size_divisible=1, _skip_resize=True
    )
    batch, targets = pictures(96), truth(96, 2)
    torch.manual_seed(3)
    losses, _ = ours(batch, [(96, 96)] * 3, targets)
    torch.manual_seed(3)
    told = [{"boxes": t.boxes, "labels": t.labels + ours.background} for t in targets]
    expected = model(list(ours.normalise(batch)), told)
    for key, value in expected.items():
        assert float(losses[key].detach()) / 3 == pytest.approx(float(value.detach()), rel=1e-6)


@pytest.mark.parametrize("proposals", [300, 5])
def test_the_second_stage_looks_at_so_many_proposals(proposals: int) -> None:
    torch.set_num_threads(1)
    config = DetectorConfig(detector="fasterrcnn", size=96, weights="none")
    made = create_detector(config, "ab")
    assert made.spec.options["proposals"] == 300
    options = {**made.spec.options, "proposals": proposals}
    detector = build_detector(replace(made.spec, options=options)).eval()
    detector.load_state_dict(made.state_dict())
    seen: list[int] = []
    detector.model.roi_heads.box_head.register_forward_pre_hook(
        lambda _, inputs: seen.append(len(inputs[0]))
    )
    with torch.no_grad():
        detector(pictures(96)[:1], [(96, 96)])
    assert 0 < seen[0] <= proposals
    assert proposals == 300 or seen == [5]


def test_new_layers_follow_from_the_seed() -> None:
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    one, same, other = (fresh(name, seed=seed).state_dict() for seed in (0, 0, 1))
    key = "model.roi_heads.box_predictor.cls_score.weight"
    assert torch.equal(one[key], same[key])
    assert not torch.equal(one[key], other[key])


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        (
            {"detector": "fasterrcnn_resnet50"},
            "detector-unknown",
            "did you mean fasterrcnn_resnet50",
        ),
        ({"detector": "yolo"}, "detector-unknown", "there are dense, fcos"),
        (
            {"detector": "ssd300_vgg16", "size": 320},
            "detector-size",
            "300x300 pixels only, not 320",
        ),
        ({"detector": "fcos_resnet50_fpn", "size": 4000}, "detector-size", "from 64 to 2048"),
        ({"detector": "fcos", "size": 32}, "detector-size", "from 64 to 2048"),
        ({"detector": "fcos_resnet50_fpn", "weights": "packaged"}, "weights-packaged", "dense"),
        (
            {"detector": "ssdlite320_mobilenet_v3_large", "weights": "backbone"},
            "detector-weights",
            "nobody published",
        ),
        ({"detector": "fcos", "backbone": "vit_b_32"}, "detector-backbone", "strides"),
        ({"detector": "fcos", "backbone": "resnat18"}, "backbone-unknown", "did you mean"),
    ],
)
def test_what_cannot_be_made_is_said_in_a_sentence(
    settings: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(TagboxError) as raised:
        create_detector(DetectorConfig(**{"weights": "none", **settings}), "ab")
    assert raised.value.code == code
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_every_norm_can_follow_the_batches() -> None:
    """torchvision freezes them for good where there are weights; whether they move is the recipe's choice."""
    kinds = {type(m).__name__ for name in PUBLISHED for m in alive(name).modules()}
    assert "FrozenBatchNorm2d" not in kinds
    assert any(isinstance(m, nn.BatchNorm2d) for m in alive("fcos_resnet50_fpn").modules())


def test_a_small_picture_in_a_large_square_is_looked_at_where_it_is() -> None:
    """The first batch a Faster R-CNN sees does not decide where its second stage looks later."""
    torch.set_num_threads(1)
    config = DetectorConfig(detector="fasterrcnn", size=128, weights="packaged")
    detector = enliven(create_detector(config, "ab"), 128).eval()
    pool = detector.model.roi_heads.box_roi_pool
    pool.scales = pool.map_levels = None  # As before the first batch.
    with torch.no_grad():
        detector(pictures(128), [(30, 20)] * 3)
    assert pool.scales == [1 / 8, 1 / 16, 1 / 32]
