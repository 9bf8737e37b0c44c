"""What `predict` takes and returns: any kind of images in, a sequence of results out, shown and converted."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tagbox.backends.openvino_backend", reason="needs the train extra")
pytest.importorskip("openvino", reason="needs the train extra")

import torch

from tagbox.data.dataset import Annotations, Categories, Dataset, Images, memory_source
from tagbox.data.image_files import collect_images
from tagbox.errors import TagboxError
from tagbox.images.gallery import MOST
from tagbox.inference.box_results import BoxResults
from tagbox.inference.classifier import Classifier
from tagbox.inference.detector import DetectorModel
from tagbox.inference.ensemble import EnsembleClassifier
from tagbox.inference.label_results import LabelResults
from tagbox.models.backbones import BackboneRequest, create_backbone
from tagbox.models.bundle import ClassifierBundle
from tagbox.models.ensembles import Ensemble, Member, View
from tagbox.predictions.thresholds import Thresholds
from toy_detectors import PatchDetector, patch_bundle, patch_spec, scene

NAMES = ("elk", "<b>yak</b>", "gnu")


def classifier(head: str = "linear") -> Classifier:
    backbone = create_backbone(BackboneRequest("efficientnet_lite0", 64))
    random = np.random.default_rng(3)
    weights: dict[str, Any] = {
        "mean": random.normal(0, 0.1, 1280).astype(np.float32),
        "scale": random.uniform(0.5, 1, 1280).astype(np.float32),
    }
    if head == "linear":
        weights["output.weight"] = random.normal(0, 0.05, (3, 1280)).astype(np.float32)
        weights["output.bias"] = random.normal(0, 0.5, 3).astype(np.float32)
    else:
        from tagbox.models.heads import FeatureScale, create_head

        scale = FeatureScale(mean=weights["mean"], scale=weights["scale"])
        made = create_head(
            head,
            scale,
            np.array([0.2, 0.5, 0.7]),
            hidden=24,
            queries=2,
            attention=0.4,
            attention_heads=4,  # type: ignore[arg-type]
        )
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        weights = {name: value.numpy() for name, value in made.state_dict().items()}
    bundle = ClassifierBundle(
        backbones=((backbone.spec, backbone.arrays()),),
        head=weights,
        head_kind=head,  # type: ignore[arg-type]
        categories=Categories.from_names(NAMES),
        geometry="squash",
        pooling="mean",
        thresholds=Thresholds(value=0.3),
    )
    return Classifier(bundle, device="cpu")


def detector() -> DetectorModel:
    spec = patch_spec(128)
    return DetectorModel(patch_bundle(spec), engine="torch", detector=PatchDetector(spec))


@pytest.fixture(scope="module")
def model() -> Classifier:
    return classifier()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures with a red patch each, one of them in a folder below."""
    out = tmp_path_factory.mktemp("pictures")
    (out / "below").mkdir()
    for number, name in enumerate(("a.png", "b.png", "below/c.png")):
        Image.fromarray(picture(number)).save(out / name)
    return out


def picture(number: int) -> Any:
    return scene(150, 100, [("red", (10 + 20 * number, 20, 40, 30))])


@pytest.mark.parametrize("kind", ["classifier", "detector"])
def test_every_kind_of_input_gives_the_same(kind: str, folder: Path, model: Classifier) -> None:
    predictor: Any = model if kind == "classifier" else detector()
    paths = collect_images([folder])
    arrays = [np.asarray(Image.open(path)) for path in paths]
    dataset = Dataset(
        images=Images(
            ids=np.arange(3),
            files=np.array([str(path.relative_to(folder)) for path in paths]),
            widths=np.full(3, 150, np.int32),
            heights=np.full(3, 100, np.int32),
            labelled=np.ones(3, bool),
            root=folder,
        ),
        categories=Categories.from_names(NAMES),
        annotations=Annotations.from_labels(np.zeros(0, np.int32), np.zeros(0, np.int32)),
        source=memory_source(3, 0),
    )
    whole = predictor.predict(folder)
    names = [str(path) for path in paths]
    numbered = ["image 0", "image 1", "image 2"]
    for given, expected in (
        (str(folder), names),
        (paths, names),
        ([str(folder / "a.png"), folder / "b.png", folder / "below"], names),
        ([path.read_bytes() for path in paths], numbered),
        ([Image.open(path) for path in paths], numbered),
        (arrays, numbered),
        (np.stack(arrays), numbered),
        (iter(arrays), numbered),
        (dataset, [str(path.relative_to(folder)) for path in paths]),
    ):
        found = predictor.predict(given)
        assert list(found.names) == expected
        assert content(found) == content(whole)
    for single, name in (
        (str(folder / "a.png"), names[0]),
        (str(folder / "a*.png"), names[0]),
        ((folder / "a.png").read_bytes(), "image 0"),
        (Image.open(folder / "a.png"), "image 0"),
        (arrays[0], "image 0"),
    ):
        found = predictor.predict(single)
        assert (len(found), found.names) == (1, (name,))
        assert content(found) == content(whole)[:1]


def content(found: LabelResults | BoxResults) -> list[list[float]]:
    if isinstance(found, LabelResults):
        # A product's last bits may depend on the number of its rows.
        return found.probabilities.round(5).tolist()
    return [[*each.boxes.ravel().tolist(), *each.scores.tolist()] for each in found]


def test_a_path_given_twice_is_predicted_twice(folder: Path, model: Classifier) -> None:
    assert len(model.predict([folder / "a.png", folder / "a.png"])) == 2


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("nowhere.png", "image-missing"),
        (["nowhere.png"], "image-missing"),
        (3, "image-unreadable"),
        (np.zeros((4, 4), np.uint8), "image-unreadable"),
        (b"x", "image-corrupt"),
    ],
)
def test_what_is_no_image_is_refused(given: Any, code: str, model: Classifier) -> None:
    for predictor in (model, detector()):
        with pytest.raises(TagboxError) as caught:
            predictor.predict(given)
        assert caught.value.code == code


def test_label_results_are_a_sequence_of_what_was_decided(folder: Path, model: Classifier) -> None:
    found = model.predict([folder / "a.png", b"nothing", picture(2)], skip_errors=True)
    assert len(found) == 3 and [each.name for each in found] == [*found.names]
    assert found[-1].name == found[2].name and [e.name for e in found[:2]] == [*found.names[:2]]
    first = found[0]
    assert first.path == folder / "a.png" and first.categories == NAMES
    expected = {n: p for n, p in zip(NAMES, first.probabilities, strict=True) if p >= 0.3}
    assert dict(first.labels) == expected and expected
    assert [p for _, p in first.top(3)] == sorted(first.probabilities.tolist(), reverse=True)
    assert np.array_equal(np.asarray(first.image), np.asarray(Image.open(folder / "a.png")))
    failed = found[1]
    assert failed.error is found.errors[0] and not failed.labels and failed.path is None
    assert np.array_equal(np.asarray(found[2].image), picture(2))
    with pytest.raises(IndexError):
        found[3]
    top = found.at(top_k=1)
    assert top.decisions.sum(axis=1).tolist() == [1, 0, 1]
    assert not found.at(threshold=1.0).decisions.any()
    with pytest.raises(TagboxError):
        found.at(threshold=2)


def test_images_of_a_generator_are_not_kept(model: Classifier) -> None:
    found = model.predict(picture(n) for n in range(2))
    assert found.sources == (None, None)
    with pytest.raises(TagboxError) as caught:
        _ = found[0].image
    assert caught.value.code == "image-missing"
    assert "<img" not in found._repr_html_() and "image 1" in found._repr_html_()


def test_box_results_hold_the_boxes_that_reach_the_thresholds(folder: Path) -> None:
    found = detector().predict(folder)
    assert isinstance(found, BoxResults) and len(found) == 3
    first = found[0]
    # The image is scaled to 128 pixels and back.
    assert np.abs(first.boxes - [10, 20, 40, 30]).max() < 1.5
    assert np.array_equal(first.xyxy[:, 2:], first.boxes[:, :2] + first.boxes[:, 2:])
    assert first.labels == ("red",) and first.size == (150, 100) and len(first) == 1
    assert not any(len(each) for each in found.at(1.0)) or found[0].scores[0] == 1.0
    assert len(found.at(0.0)[0]) == (found.detections.image_rows == 0).sum()
    assert not found.at(2.0).decisions.any()


def test_results_print_as_a_table(folder: Path, model: Classifier) -> None:
    text = repr(model.predict([picture(0), b"nothing"], skip_errors=True))
    assert text.splitlines()[0] == "2 images, 1 of which could not be read"
    assert re.search(r"^image 0 +.*\d%", text, re.M) and "image 1" in text
    text = repr(detector().predict(folder))
    assert re.search(r"a\.png +red 1?\d\d?(\.\d)?%", text)
    many = repr(model.predict([picture(0)] * 30))
    assert "and 10 more" in many and len(many.splitlines()) < 30
    assert [row["image"] for row in model.predict(folder).table()] == list(
        model.predict(folder).names
    )


def test_results_show_pictures_in_a_notebook(folder: Path, model: Classifier) -> None:
    html = model.predict([picture(0)] * 30)._repr_html_()
    assert html.count("<img") == MOST and f"and {30 - MOST} more" in html
    assert "<b>" not in html
    boxes = detector().predict(folder)._repr_html_()
    source = re.search(r'src="data:image/jpeg;base64,([^"]+)"', boxes)
    assert source is not None
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(source[1])))).astype(int)
    plain = np.asarray(Image.fromarray(picture(0)).resize(drawn.shape[1::-1])).astype(int)
    assert np.abs(drawn - plain).max() > 100
    failed = model.predict([b"<i>"], skip_errors=True)._repr_html_()
    assert "<img" not in failed and "image 0" in failed


def test_to_pandas(folder: Path, model: Classifier) -> None:
    pytest.importorskip("pandas")
    found = model.predict([folder / "a.png", b"nothing"], skip_errors=True)
    frame = found.to_pandas()
    assert list(frame.columns) == ["image", "labels", *NAMES]
    assert np.array_equal(frame[list(NAMES)].to_numpy()[0], found.probabilities[0])
    assert frame[list(NAMES)].isna().to_numpy().tolist() == [[False] * 3, [True] * 3]
    assert frame["labels"][0] == tuple(name for name, _ in found[0].labels)
    boxes = detector().predict(folder).to_pandas()
    expected = [[10 + 20 * n, 20, 40, 30] for n in range(3)]
    assert np.abs(boxes[["x", "y", "w", "h"]].to_numpy() - expected).max() < 1.5


@pytest.mark.parametrize("head", ["linear", "mlp", "ml_decoder", "csra"])
def test_a_classifiers_network_computes_what_it_predicts(head: str, folder: Path) -> None:
    model = classifier(head)
    network = model.network()
    assert isinstance(network, torch.nn.Module) and not network.training
    assert all(parameter.requires_grad for parameter in network.backbone.parameters())
    logits = network(torch.from_numpy(model.prepare(folder)))
    expected = model.predict(folder).probabilities
    assert logits.shape == (3, 3) and np.ptp(expected) > 0.05
    assert np.abs(torch.sigmoid(logits).detach().numpy() - expected).max() < 1e-3


def test_training_the_network_leaves_the_model_as_it_is(folder: Path) -> None:
    model = classifier()
    before = model.predict(folder).probabilities
    network = model.network().train()
    network(torch.from_numpy(model.prepare(folder)).float()).sum().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            assert parameter.grad is not None
            parameter.add_(1.0)
    assert np.array_equal(classifier().predict(folder).probabilities, before)
    assert np.array_equal(
        Classifier(model.bundle, device="cpu").predict(folder).probabilities, before
    )


def test_a_detectors_network_finds_what_it_predicts(folder: Path) -> None:
    model = detector()
    image, size = model.prepare(folder / "a.png")
    with torch.no_grad():
        losses, found = model.network()(torch.from_numpy(image)[None], [size])
    assert losses == {} and found is not None
    expected = model.predict(folder / "a.png")[0]
    scale = np.array([150 / size[1], 100 / size[0]] * 2)
    assert np.abs(found[0].boxes.numpy() * scale - expected.xyxy).max() < 1e-3
    assert np.allclose(found[0].scores.numpy(), expected.scores, atol=1e-4)


def test_an_ensemble_has_no_single_network() -> None:
    member = Member(bundle=classifier().bundle, run="a", weight=1.0, views=(View(),))
    with pytest.raises(TagboxError) as caught:
        EnsembleClassifier(Ensemble(members=(member,), thresholds=Thresholds())).network()
    assert caught.value.code == "run-ensemble"
