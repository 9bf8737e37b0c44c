"""One way to predict: any kind of image, in order, errors in their place, a bounded number in memory."""

from __future__ import annotations

import io
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

# Before openvino itself, whose statistics this module keeps from being sent.
pytest.importorskip("tagbox.backends.openvino_backend", reason="needs the train extra")
pytest.importorskip("openvino", reason="needs the train extra")

from tagbox.backends import features
from tagbox.backends.feature_cache import FeatureCache
from tagbox.backends.pipeline import AHEAD, UNDER_WAY
from tagbox.data.dataset import Categories
from tagbox.errors import TagboxError
from tagbox.images.decode import default_threads
from tagbox.inference import classifier as classifier_module
from tagbox.inference import views
from tagbox.inference.classifier import Classifier
from tagbox.inference.detector import DetectorModel
from tagbox.inference.ensemble import EnsembleClassifier
from tagbox.inference.predictor import Predictor
from tagbox.inference.views import ImageBoxes, Tiles
from tagbox.models.backbones import BackboneRequest, create_backbone
from tagbox.models.bundle import ClassifierBundle
from tagbox.models.ensembles import Ensemble, Member, View
from tagbox.predictions.thresholds import Thresholds
from toy_detectors import PatchDetector, patch_bundle, patch_spec, scene

BOUND = AHEAD * default_threads() + UNDER_WAY + 2
KINDS = ("classifier", "ensemble", "detector")


def bundle() -> ClassifierBundle:
    """Packaged weights and a random head."""
    backbone = create_backbone(BackboneRequest("efficientnet_lite0", 64))
    random = np.random.default_rng(3)
    return ClassifierBundle(
        backbones=((backbone.spec, backbone.arrays()),),
        head={
            "mean": np.zeros(1280, np.float32),
            "scale": np.ones(1280, np.float32),
            "output.weight": random.normal(0, 0.05, (3, 1280)).astype(np.float32),
            "output.bias": np.zeros(3, np.float32),
        },
        head_kind="linear",
        categories=Categories.from_names(("elk", "yak", "gnu")),
        geometry="squash",
        pooling="mean",
        thresholds=Thresholds(),
    )


def predictor(kind: str, engine: Any = "openvino") -> Predictor[Any]:
    if kind == "classifier":
        return Classifier(bundle(), engine=engine)
    if kind == "ensemble":
        views = (View(), View(mirror=True))
        members = (Member(bundle=bundle(), run="a", weight=1.0, views=views),)
        ensemble = Ensemble(members=members, thresholds=Thresholds())
        return EnsembleClassifier(ensemble, engine=engine)
    spec = patch_spec(128)
    return DetectorModel(patch_bundle(spec), engine=engine, detector=PatchDetector(spec))


def values(result: Any) -> NDArray[Any]:
    """All numbers of a result in one array."""
    assert not isinstance(result, TagboxError), result
    if isinstance(result, ImageBoxes):
        size = [result.width, result.height]
        return np.concatenate([size, result.boxes.ravel(), result.scores, result.labels])
    return np.asarray(result)


def picture(number: int = 0) -> NDArray[np.uint8]:
    return scene(150, 100, [("red", (10 + number % 90, 20, 40, 30))])


def png(image: NDArray[np.uint8], orientation: int | None = None) -> bytes:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", [None, 1, 6])
def test_paths_bytes_pillow_images_and_arrays_agree(
    tmp_path: Path, kind: str, orientation: int | None
) -> None:
    data = png(picture(), orientation)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    pillow = Image.open(path)
    upright = np.asarray(ImageOps.exif_transpose(pillow))
    assert upright.shape[:2] == ((150, 100) if orientation == 6 else (100, 150))
    # The same image twice, as threads share what reads its file.
    images = [path, str(path), data, upright, pillow, Image.open(io.BytesIO(data)), pillow]
    expected, *others = map(values, predictor(kind).results(iter(images)))
    assert len(others) == 6
    for other in others:
        assert np.array_equal(other, expected)


def test_tables_hold_the_results_in_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(picture(20)))
    images = [picture(), path, b"nothing", png(picture(40))]
    for kind in ("classifier", "ensemble"):
        model: Any = predictor(kind)
        output = model.predict(iter(images), skip_errors=True)
        assert output.ok.tolist() == [True, True, False, True]
        assert not output.probabilities[2].any()
        rows = [r for r in model.results(images) if not isinstance(r, TagboxError)]
        assert np.array_equal(output.probabilities[output.ok], rows)
    detector: Any = predictor("detector")
    found = detector.detect(iter(images), skip_errors=True)
    assert found.detections.images == ("image 0", str(path), "image 2", "image 3")
    assert found.detections.image_rows.tolist() == [0, 1, 3]
    np.testing.assert_allclose(found.detections.boxes[:, 0], [10, 30, 50], atol=2)
    assert found.sizes.tolist() == [[150, 100], [150, 100], [0, 0], [150, 100]]


@pytest.mark.parametrize("kind", KINDS)
def test_errors_come_in_their_place(tmp_path: Path, kind: str) -> None:
    missing = tmp_path / "missing.jpg"
    bad: list[Any] = [
        b"nothing",
        missing,
        np.zeros((20, 20), np.uint8),
        np.zeros((20, 20, 3), np.float32),
        Image.open(io.BytesIO(png(picture())[:-200])),
        None,
    ]
    images = [picture()]
    for each in bad:
        images += [each, picture()]
    results = list(predictor(kind).results(images))
    assert [isinstance(result, TagboxError) for result in results] == [False, *[True, False] * 6]
    expected = values(results[0])
    for result in results[::2]:
        assert np.array_equal(values(result), expected)
    errors = [(error.code, error.file) for error in results[1::2]]
    assert errors == [
        ("image-corrupt", "image 1"),
        ("image-missing", str(missing)),
        ("image-unreadable", "image 5"),
        ("image-unreadable", "image 7"),
        ("image-truncated", "image 9"),
        ("image-unreadable", "image 11"),
    ]


def test_the_first_error_is_raised_unless_errors_are_skipped() -> None:
    images: list[Any] = [picture(), b"nothing", picture()]
    for kind, method in (
        ("classifier", "predict"),
        ("ensemble", "predict"),
        ("detector", "detect"),
    ):
        with pytest.raises(TagboxError, match="image 1"):
            getattr(predictor(kind), method)(images)
    detector: Any = predictor("detector")
    with pytest.raises(TagboxError, match="image 1"):
        list(detector.stream(images))


class Alive:
    """Counts the arrays it has seen that something still refers to."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def watch(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self.now += 1
        self.most = max(self.most, self.now)
        weakref.finalize(image, self._gone)
        return image

    def _gone(self) -> None:
        self.now -= 1


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("kind", [*KINDS, "tiles"])
def test_a_generator_of_many_images_holds_a_bounded_number_in_memory(
    kind: str, engine: str
) -> None:
    alive, drawn, count = Alive(), 0, 2 * BOUND

    def images() -> Iterator[NDArray[np.uint8]]:
        nonlocal drawn
        for number in range(count):
            drawn += 1
            yield alive.watch(picture(number))

    model: Any = predictor("detector" if kind == "tiles" else kind, engine)
    options = {"tiles": Tiles(side=96)} if kind == "tiles" else {}
    results = model.results(images(), **options)
    first = next(results)
    if isinstance(first, ImageBoxes):
        assert drawn <= BOUND  # Boxes come as they are found; probabilities part by part.
    rest = list(results)
    assert len(rest) == count - 1 and alive.most <= BOUND


def test_files_are_decoded_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(picture()))
    alive = Alive()
    for module, name in ((features, "decode_source"), (views, "decode_bytes")):
        decode = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, _decode=decode, **k: alive.watch(_decode(*a, **k))
        )
    for kind in KINDS:
        assert sum(1 for _ in predictor(kind).results([path] * 2 * BOUND)) == 2 * BOUND
    assert 0 < alive.most <= BOUND


def test_parts_of_many_images_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [picture(number) for number in range(7)]
    model: Any = predictor("classifier")
    whole = model.predict(images).probabilities
    monkeypatch.setattr(classifier_module, "PART_BYTES", 3 * 1280 * 4)
    np.testing.assert_allclose(np.stack(list(model.results(iter(images)))), whole, rtol=1e-5)
    assert model.predict(iter([])).probabilities.shape == (0, 3)
    assert list(model.results(iter([]))) == []
    # The number that names an image counts on from part to part.
    with pytest.raises(TagboxError, match="image 7"):
        model.predict([*images, b"nothing"])


def test_arrays_are_found_in_the_cache_by_their_pixels(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    model: Any = predictor("classifier")
    first = model.predict([picture(1), picture(2)], cache=cache).probabilities
    again = features.encode_images([picture(1), picture(3)], model.encoders, cache=cache)
    assert again.cached == 1
    assert np.array_equal(model.predict([picture(1), picture(2)], cache=cache).probabilities, first)
