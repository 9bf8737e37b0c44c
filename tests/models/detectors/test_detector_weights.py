"""Published weights of torchvision's detectors, from a server on loopback: real files, random numbers."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopback_server import Site, closed_port_url, serve

torch = pytest.importorskip("torch", reason="needs the train extra")
torchvision = pytest.importorskip("torchvision", reason="needs the train extra")

from detector_data import pictures  # noqa: E402
from torch import nn  # noqa: E402
from torchvision.models import detection  # noqa: E402
from torchvision.models.detection.transform import GeneralizedRCNNTransform  # noqa: E402

from tagbox.config.detector import DetectorConfig  # noqa: E402
from tagbox.errors import TagboxError  # noqa: E402
from tagbox.models.detectors.create import create_detector  # noqa: E402

LITE = "ssdlite320_mobilenet_v3_large"
OFFICIAL = "/models/ssdlite320_mobilenet_v3_large_coco-a79551df.pth"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("TAGBOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tagbox.data.http_download.time.sleep", lambda _: None)


def published(name: str, classes: int = 91) -> Any:
    """torchvision's model as its weights have it, with random numbers and statistics that matter."""
    torch.manual_seed(0)
    model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(1e-4, 1.0)
            module.running_mean.normal_(std=0.1)
    return model.eval()


def saved(state: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    return saved(published(LITE).state_dict())


def coco(name: str, content: bytes, monkeypatch: pytest.MonkeyPatch, categories: int) -> Any:
    """The detector from a mirror; random weights cannot have the official digest, so that is replaced."""
    path = f"/models/coco-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    weights = SimpleNamespace(DEFAULT=SimpleNamespace(url=f"https://download.pytorch.org{path}"))
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda _: weights)
    with serve(Site({path: content})) as site:
        monkeypatch.setenv("TAGBOX_WEIGHTS_URL", site.url)
        size = 320 if name == LITE else 64
        return create_detector(
            DetectorConfig(detector=name, size=size), [str(row) for row in range(categories)]
        )


def test_all_but_the_categories_layers_is_kept(
    checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = coco(LITE, checkpoint, monkeypatch, 3)
    theirs = torch.load(io.BytesIO(checkpoint), weights_only=True)
    ours = detector.model.state_dict()
    changed = [k for k in theirs if not torch.equal(ours[k], theirs[k])]
    assert changed == [
        f"head.classification_head.module_list.{level}.1.{part}"
        for level in range(6)
        for part in ("weight", "bias")
    ]


def test_weights_of_old_names_and_norms_without_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the published file of 2020 has them: its names are older, its norms add nothing."""
    name = "retinanet_resnet50_fpn"
    other = published(name, 7)
    with torch.no_grad():
        other.head.classification_head.cls_logits.bias.fill_(-2.0)
    old = {
        re.sub(r"_head\.conv\.(\d)\.0\.", lambda m: f"_head.conv.{2 * int(m[1])}.", key): value
        for key, value in other.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "head.regression_head.conv.6.weight" in old
    # A plain dictionary: without versions, torchvision's modules look for their older names.
    detector = coco(name, saved(old), monkeypatch, 7).eval()
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    other.transform = GeneralizedRCNNTransform(
        64, 64, [0.0] * 3, [1.0] * 3, size_divisible=1, _skip_resize=True
    )
    other.detections_per_img = 100
    batch = pictures(64)
    with torch.no_grad():
        _, found = detector(batch, [(64, 64)] * 3)
        expected = other(list(detector.normalise(batch)))
    assert sum(len(f.scores) for f in found) > 0
    for mine, wanted in zip(found, expected, strict=True):
        assert torch.allclose(mine.scores, wanted["scores"], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "size", "network", "first", "last"),
    [
        (
            "fcos_resnet50_fpn",
            64,
            "resnet50",
            ("backbone.body.conv1.weight", "conv1.weight"),
            ("backbone.body.layer4.2.bn3.running_var", "layer4.2.bn3.running_var"),
        ),
        (
            "fasterrcnn_mobilenet_v3_large_320_fpn",
            64,
            "mobilenet_v3_large",
            ("backbone.body.0.0.weight", "features.0.0.weight"),
            ("backbone.body.16.1.running_var", "features.16.1.running_var"),
        ),
        (
            "ssd300_vgg16",
            300,
            "vgg16",
            ("backbone.features.0.weight", "features.0.weight"),
            ("backbone.extra.0.5.bias", "features.28.bias"),
        ),
    ],
)
def test_a_backbones_weights(
    name: str,
    size: int,
    network: str,
    first: tuple[str, str],
    last: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(1)
    # VGG's classifier would make the file four times as large, and is not read.
    state = torchvision.models.get_model(network, weights=None).state_dict()
    state = {k: v for k, v in state.items() if not k.startswith("classifier.")}
    content = saved(state)
    path = f"/models/net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    weights = SimpleNamespace(url=f"https://download.pytorch.org{path}")
    asked: list[str] = []
    monkeypatch.setattr(torchvision.models, "get_weight", lambda n: asked.append(n) or weights)
    with serve(Site({path: content})) as site:
        monkeypatch.setenv("TAGBOX_WEIGHTS_URL", site.url)
        config = DetectorConfig(detector=name, size=size, weights="backbone")
        detector = create_detector(config, "ab")
    ours = detector.model.state_dict()
    for mine, theirs in (first, last):
        assert torch.equal(ours[mine], state[theirs])
    listed = [key.removeprefix("model.") for stage in detector.stages() for key in stage]
    wanted = [k for k in state if not k.startswith("fc.") and "running" not in k]
    wanted = [k for k in wanted if "num_batches" not in k]
    assert len(listed) == len(wanted)
    for mine, theirs in zip(listed, wanted, strict=True):
        assert torch.equal(ours[mine], state[theirs])


def test_the_names_of_the_weights_exist() -> None:
    from torchvision.models import get_model_weights, get_weight

    from tagbox.models.detectors.torchvision_detectors import PUBLISHED

    for name, entry in PUBLISHED.items():
        assert get_model_weights(name).DEFAULT.url.startswith("https://download.pytorch.org/")
        if entry.backbone_weights:
            assert get_weight(entry.backbone_weights).url.startswith("https://")


@pytest.mark.parametrize(
    ("code", "misbehaviour"),
    [
        ("download-truncated", {"break_after": [1000, 1000, 1000]}),
        ("download-hash", {}),
        ("download-status", {"files": {}}),
    ],
)
def test_every_failure_is_one_sentence_with_the_offline_way_out(
    code: str, misbehaviour: dict[str, Any], checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(Site(**{"files": {OFFICIAL: checkpoint}, **misbehaviour})) as site:
        monkeypatch.setenv("TAGBOX_WEIGHTS_URL", site.url)
        with pytest.raises(TagboxError) as raised:
            create_detector(DetectorConfig(detector=LITE), "ab")
    check(raised.value, code)


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGBOX_WEIGHTS_URL", closed_port_url())
    with pytest.raises(TagboxError) as raised:
        create_detector(DetectorConfig(detector=LITE), "ab")
    check(raised.value, "download-network")


def check(error: TagboxError, code: str) -> None:
    assert error.code == code
    assert "\n" not in str(error)
    assert f"download https://download.pytorch.org{OFFICIAL} on another computer" in str(error)
    assert "--weights PATH" in str(error)


def from_path(path: Path, categories: int = 90, name: str = LITE) -> Any:
    size = 320 if name == LITE else 64
    return create_detector(
        DetectorConfig(detector=name, size=size, weights=str(path)),
        [str(row) for row in range(categories)],
    )


def test_a_file_of_ones_own_keeps_the_layers_of_as_many_categories(
    checkpoint: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "own.pth"
    path.write_bytes(checkpoint)
    theirs = torch.load(path, weights_only=True)
    ours = from_path(path).model.state_dict()
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("fasterrcnn_mobilenet_v3_large_320_fpn", "none", "weights-mismatch"),
        (LITE, "missing", "weights-mismatch"),
        (LITE, "truncated", "weights-corrupt"),
        (LITE, "absent", "weights-missing"),
    ],
)
def test_files_that_do_not_fit(
    name: str, change: str, code: str, checkpoint: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "own.pth"
    content = checkpoint
    if change == "truncated":
        content = checkpoint[: len(checkpoint) // 2]
    if change == "missing":
        state = torch.load(io.BytesIO(checkpoint), weights_only=True)
        del state["backbone.extra.0.0.0.weight"]
        content = saved(state)
    if change != "absent":
        path.write_bytes(content)
    with pytest.raises(TagboxError) as raised:
        from_path(path, name=name)
    assert raised.value.code == code
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
