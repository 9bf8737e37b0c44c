"""Transformer detectors: tiny models saved to a folder, against Transformers' own forward."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
transformers = pytest.importorskip("transformers", reason="needs the transformers extra")
pytest.importorskip("scipy", reason="needs the transformers extra")

from detector_data import descend, pictures, target, truth  # noqa: E402

from loopback_server import Site, closed_port_url, serve  # noqa: E402
from tagbox.config.detector import DetectorConfig  # noqa: E402
from tagbox.errors import TagboxError  # noqa: E402
from tagbox.models.detectors.create import build_detector, create_detector  # noqa: E402

SIDE = 96
FAMILIES = ("rt_detr", "rt_detr_v2", "d_fine")


def settings(family: str, labels: int = 5) -> Any:
    """The smallest network of the family that still has all its parts."""
    resnet = {
        "model_type": "rt_detr_resnet",
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_indices": [2, 3, 4],
    }
    hgnet = {
        "model_type": "hgnet_v2",
        "stem_channels": [3, 8, 8],
        "hidden_sizes": [16, 16, 24, 32],
        "stage_in_channels": [8, 16, 16, 24],
        "stage_mid_channels": [8, 8, 8, 8],
        "stage_out_channels": [16, 16, 24, 32],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_numb_of_layers": [1, 1, 1, 1],
        "stage_downsample": [False, True, True, True],
        "stage_light_block": [False, False, False, False],
        "stage_kernel_size": [3, 3, 3, 3],
        "out_indices": [2, 3, 4],
    }
    return transformers.AutoConfig.for_model(
        family,
        backbone_config=hgnet if family == "d_fine" else resnet,
        encoder_in_channels=[16, 24, 32],
        encoder_hidden_dim=16,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_in_channels=[16, 16, 16],
        d_model=16,
        decoder_ffn_dim=16,
        decoder_layers=2,
        decoder_attention_heads=2,
        num_queries=30,
        num_denoising=4,
        num_labels=labels,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved model of each family, with random weights."""
    torch.set_num_threads(1)
    made = {}
    for family in FAMILIES:
        torch.manual_seed(0)
        model = transformers.AutoModelForObjectDetection.from_config(settings(family))
        made[family] = tmp_path_factory.mktemp(family)
        model.save_pretrained(made[family])
    return made


def loaded(folder: Path, categories: int = 5, **changes: Any) -> Any:
    return create_detector(
        DetectorConfig(detector=str(folder), size=SIDE, **changes),
        [str(row) for row in range(categories)],
    )


def theirs(folder: Path) -> Any:
    return transformers.AutoModelForObjectDetection.from_pretrained(folder)


def told(side: int, targets: list[Any]) -> list[dict[str, Any]]:
    labels = []
    for t in targets:
        x0, y0, x1, y1 = (t.boxes / side).unbind(1)
        boxes = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], dim=1)
        labels.append({"class_labels": t.labels, "boxes": boxes})
    return labels


@pytest.mark.parametrize("family", FAMILIES)
def test_detections_and_losses_are_those_of_transformers(
    family: str, folders: dict[str, Path]
) -> None:
    ours, other = loaded(folders[family]).eval(), theirs(folders[family]).eval()
    batch, sizes, targets = pictures(SIDE), [(SIDE, SIDE)] * 3, truth(SIDE, 5)
    with torch.no_grad():
        losses, found = ours(batch, sizes, targets)
        pixels = batch.permute(0, 3, 1, 2).float() / 255
        expected = other(pixel_values=pixels, labels=told(SIDE, targets))
    count = ours.loss_count(targets)
    assert count == 3
    assert float(sum(losses.values())) / count == pytest.approx(float(expected.loss), rel=1e-4)
    assert set(losses) >= {"loss_vfl", "loss_bbox", "loss_giou"}
    assert not any("_aux_" in name for name in losses)
    processor = transformers.RTDetrImageProcessorFast()
    wanted = processor.post_process_object_detection(expected, 0.01, [(SIDE, SIDE)] * 3)
    for mine, theirs_ in zip(found, wanted, strict=True):
        boxes = theirs_["boxes"].clamp(0, SIDE)
        real = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        count = min(len(mine.scores), int(real.sum()))
        assert count > 0
        assert torch.allclose(mine.scores[:count], theirs_["scores"][real][:count], atol=1e-5)
        assert torch.allclose(mine.scores, mine.scores.sort(descending=True).values)
        assert mine.labels.dtype == torch.int64
        assert 0 <= int(mine.labels.min()) <= int(mine.labels.max()) < 5


@pytest.mark.parametrize("family", FAMILIES)
def test_in_training_the_network_sees_the_truth(family: str, folders: dict[str, Path]) -> None:
    """Denoising adds losses, and everything learns, a picture without objects included."""
    detector = loaded(folders[family], categories=2).train()
    losses, found = detector(pictures(SIDE), [(SIDE, SIDE)] * 3, truth(SIDE, 2))
    assert found is None
    sum(losses.values()).backward()
    denoising = [p for n, p in detector.named_parameters() if "denoising_class_embed" in n]
    assert denoising and all(p.grad is not None and p.grad.abs().sum() > 0 for p in denoising)
    empty, _ = detector(pictures(SIDE), [(SIDE, SIDE)] * 3, [target([], [])] * 3)
    assert all(torch.isfinite(value) for value in empty.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_one_step_lowers_the_loss(family: str, folders: dict[str, Path]) -> None:
    before, after = descend(loaded(folders[family], categories=2), SIDE, 1e-3)
    assert after < before


def test_losses_from_the_bodys_outputs_are_the_same(folders: dict[str, Path]) -> None:
    detector = loaded(folders["rt_detr_v2"]).eval()
    batch, sizes, targets = pictures(SIDE), [(SIDE, SIDE)] * 3, truth(SIDE, 5)
    with torch.no_grad():
        losses, found = detector(batch, sizes, targets)
        pixels = detector.normalise(batch)
        parts = detector.body(pixels)
        again = detector.losses(parts, pixels, sizes, targets)
        seen = detector.found(parts, pixels, sizes)
    assert losses == again
    assert all(torch.equal(a.boxes, b.boxes) for a, b in zip(found, seen, strict=True))
    with torch.no_grad():
        one = detector.losses((), pixels[:1], sizes[:1], targets[:1])
        rest = detector.losses((), pixels[1:], sizes[1:], targets[1:])
    for name, value in losses.items():
        assert float(one[name] + rest[name]) == pytest.approx(float(value), rel=1e-3)


def test_a_crowd_is_no_background(folders: dict[str, Path]) -> None:
    detector = loaded(folders["rt_detr_v2"]).eval()
    everything = [[0.0, 0.0, float(SIDE), float(SIDE)]]
    batch, sizes = pictures(SIDE), [(SIDE, SIDE)] * 3
    with torch.no_grad():
        without, _ = detector(batch, sizes, [target([], [])] * 3)
        within, _ = detector(batch, sizes, [target([], [], everything)] * 3)
        again, _ = detector(batch, sizes, [target([], [])] * 3)
    assert float(within["loss_vfl"]) < 0.2 * float(without["loss_vfl"])
    assert without == again


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["rt_detr_v2", pytest.param("d_fine", marks=pytest.mark.slow)])
def test_another_engine_runs_the_body(family: str, folders: dict[str, Path]) -> None:
    """Weights large enough that queries differ: among equals, engines choose differently."""
    openvino = pytest.importorskip("openvino")
    detector = loaded(folders[family])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if parameter.ndim > 1 and "norm" not in name:
                parameter.normal_(std=(1.5 / parameter[0].numel()) ** 0.5, generator=generator)
    for module in detector.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    batch, sizes = pictures(SIDE), [(SIDE, SIDE)] * 3
    with torch.no_grad():
        detector.train()(batch, sizes, truth(SIDE, 5))
        _, expected = detector.eval()(batch, sizes)
        pixels = detector.normalise(batch)
        model = openvino.convert_model(detector.body, example_input=pixels)
    assert not any(module.training for module in detector.modules())
    precise = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    outputs = openvino.Core().compile_model(model, "CPU", precise)(pixels.numpy())
    parts = [torch.from_numpy(value.copy()) for value in outputs.to_tuple()]
    for mine, wanted in zip(detector.found(parts, pixels, sizes), expected, strict=True):
        assert len(mine.scores) > 0
        assert torch.allclose(mine.scores[:10], wanted.scores[:10], atol=5e-3)


def test_boxes_lie_on_the_picture(folders: dict[str, Path]) -> None:
    detector = loaded(folders["rt_detr"]).eval()
    sizes = [(SIDE, SIDE), (40, 70), (90, 20)]
    with torch.no_grad():
        _, found = detector(pictures(SIDE), sizes)
    for f, (height, width) in zip(found, sizes, strict=True):
        assert len(f.scores) <= 100
        assert (f.boxes[:, 2:] > f.boxes[:, :2]).all()
        assert (f.boxes >= 0).all()
        assert (f.boxes[:, [0, 2]] <= width).all()
        assert (f.boxes[:, [1, 3]] <= height).all()
    assert sum(len(f.scores) for f in found) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_spec_builds_it_again_without_a_network(family: str, folders: dict[str, Path]) -> None:
    detector = loaded(folders[family], categories=2).eval()
    spec = detector.spec
    assert json.loads(json.dumps(spec.options)) == spec.options
    assert spec.detector == f"huggingface/{folders[family].name}"
    assert (spec.multiple, spec.fixed) == (SIDE, False)
    again = build_detector(spec).eval()
    again.load_state_dict(detector.state_dict())
    with torch.no_grad():
        _, one = detector(pictures(SIDE), [(SIDE, SIDE)] * 3)
        _, other = again(pictures(SIDE), [(SIDE, SIDE)] * 3)
    assert all(torch.equal(a.scores, b.scores) for a, b in zip(one, other, strict=True))
    named = dict(detector.named_parameters())
    listed = [name for stage in detector.stages() for name in stage]
    assert set(listed) <= set(named)
    assert len(detector.stages()) >= 5
    assert all("model.backbone." in name for name in listed)
    assert all(p.requires_grad for p in named.values())


def test_weights_are_kept_where_the_categories_do_not_matter(folders: dict[str, Path]) -> None:
    one, other, none = (
        loaded(folders["d_fine"], categories=categories, weights=weights).state_dict()
        for categories, weights in ((5, "default"), (2, "default"), (2, "none"))
    )
    kept = [k for k in one if one[k].shape == other[k].shape and one[k].is_floating_point()]
    assert all(torch.equal(one[k], other[k]) for k in kept)
    assert {k.split(".")[1] for k in set(one) - set(kept) if one[k].is_floating_point()} <= {
        "model",
        "class_embed",
    }
    key = "model.model.enc_output.0.weight"
    assert not torch.equal(one[key], none[key])


REPO = "/someone/tiny/resolve/main/"


def hub_files(folder: Path) -> dict[str, bytes]:
    names = ("config.json", "model.safetensors")
    return {REPO + name: (folder / name).read_bytes() for name in names}


def from_hub() -> Any:
    return create_detector(DetectorConfig(detector="huggingface/someone/tiny", size=SIDE), "abcde")


@pytest.fixture
def _own_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGBOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tagbox.data.http_download.time.sleep", lambda _: None)


@pytest.mark.usefixtures("_own_hub")
def test_from_the_hub_once(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Site(hub_files(folders["rt_detr"]))) as site:
        monkeypatch.setenv("TAGBOX_WEIGHTS_URL", site.url)
        first = from_hub()
    monkeypatch.setenv("TAGBOX_WEIGHTS_URL", closed_port_url())
    same = loaded(folders["rt_detr"]).state_dict()
    assert all(torch.equal(value, same[key]) for key, value in first.state_dict().items())
    assert first.spec.detector == "huggingface/someone/tiny"


@pytest.mark.usefixtures("_own_hub")
@pytest.mark.parametrize(
    ("code", "misbehaviour", "variables"),
    [
        ("download-status", {"files": {}}, {}),
        ("download-truncated", {"break_after": [10**6, 1000, 1000, 1000]}, {}),
        ("download-network", {"files": {}}, {"HF_HUB_OFFLINE": "1"}),
    ],
)
def test_no_model_no_network(
    code: str,
    misbehaviour: dict[str, Any],
    variables: dict[str, str],
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    files = {"files": hub_files(folders["rt_detr"])} | misbehaviour
    with serve(Site(**files)) as site:
        monkeypatch.setenv("TAGBOX_WEIGHTS_URL", site.url)
        with pytest.raises(TagboxError) as raised:
            from_hub()
    sentence = str(raised.value)
    assert raised.value.code == code
    assert "config.json and model.safetensors of https://huggingface.co/someone/tiny" in sentence
    assert "--detector" in sentence
    assert "\n" not in sentence


def broken(folder: Path, tmp_path: Path, **changes: Any) -> Path:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_bytes()) | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_another_family_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as raised:
        loaded(broken(folders["rt_detr"], tmp_path, model_type="detr"))
    assert raised.value.code == "detector-transformer"
    assert "rt_detr_v2" in str(raised.value)


def test_a_configuration_that_is_none(folders: dict[str, Path], tmp_path: Path) -> None:
    broken(folders["rt_detr"], tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(TagboxError) as raised:
        loaded(tmp_path)
    assert raised.value.code == "detector-transformer"


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_configuration_that_is_a_pipe_or_too_deep(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = broken(folders["rt_detr"], tmp_path)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    # A folder without an ordinary config.json is not taken for a model.
    found = "no detector" if name == "config.json" else "not an ordinary file"
    with pytest.raises(TagboxError, match=found):
        loaded(folder)
    (folder / name).unlink()
    (folder / name).write_text('{"a":' * 10_000)
    with pytest.raises(TagboxError, match="cannot be read") as caught:
        loaded(folder)
    assert caught.value.code == "detector-transformer"


def test_other_weights_than_the_configurations(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as raised:
        loaded(broken(folders["rt_detr"], tmp_path, decoder_ffn_dim=32))
    assert raised.value.code == "weights-mismatch"
    assert "\n" not in str(raised.value)


def test_damaged_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    broken(folders["rt_detr"], tmp_path)
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(TagboxError) as raised:
        loaded(tmp_path)
    assert raised.value.code == "weights-mismatch"


def test_pickled_weights_are_not_read(folders: dict[str, Path], tmp_path: Path) -> None:
    broken(folders["rt_detr"], tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(TagboxError) as raised:
        loaded(tmp_path)
    assert raised.value.code == "weights-missing"
    assert "model.safetensors" in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"size": 32}, "detector-size"),
        ({"size": 4000}, "detector-size"),
        ({"weights": "packaged"}, "detector-weights"),
        ({"detector": "huggingface/tiny"}, "detector-unknown"),
    ],
)
def test_what_cannot_be_made(changes: dict[str, Any], code: str, folders: dict[str, Path]) -> None:
    named = {"detector": str(folders["rt_detr"]), "size": SIDE}
    with pytest.raises(TagboxError) as raised:
        create_detector(DetectorConfig(**(named | changes)), "ab")
    assert raised.value.code == code


def test_loading_says_nothing(folders: dict[str, Path]) -> None:
    """Transformers' progress bars and reports stay out of the terminal."""
    program = (
        "from tagbox.config.detector import DetectorConfig\n"
        "from tagbox.models.detectors.create import create_detector\n"
        f"create_detector(DetectorConfig(detector={str(folders['rt_detr'])!r}, size=96), 'ab')\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout == ""
    assert told.stderr == ""
