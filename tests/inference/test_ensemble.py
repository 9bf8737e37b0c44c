"""An ensemble in use: the means are those of its parts, computed one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Before openvino itself, whose statistics this module keeps from being sent.
pytest.importorskip("tagbox.backends.openvino_backend", reason="needs the train extra")
pytest.importorskip("openvino", reason="needs the train extra")

from tagbox.backends.create import create_encoder
from tagbox.backends.feature_cache import FeatureCache
from tagbox.data.dataset import Categories
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image
from tagbox.images.geometry import to_square
from tagbox.inference import ensemble as module
from tagbox.inference.classifier import Classifier
from tagbox.inference.ensemble import EnsembleClassifier
from tagbox.inference.load import load_model
from tagbox.models.backbones import BackboneRequest, create_backbone, load_backbone
from tagbox.models.bundle import ClassifierBundle
from tagbox.models.ensembles import Ensemble, Member, View, save_ensemble
from tagbox.predictions.thresholds import Thresholds

NAMES = ("elk", "yak", "gnu")


def bundle(
    seed: int, *, size: int = 64, names: tuple[str, ...] = NAMES, geometry: str = "squash"
) -> ClassifierBundle:
    """Packaged weights and a random head."""
    backbone = create_backbone(BackboneRequest("efficientnet_lite0", size))
    random = np.random.default_rng(seed)
    return ClassifierBundle(
        backbones=((backbone.spec, backbone.arrays()),),
        head={
            "mean": np.zeros(2560, np.float32),
            "scale": np.ones(2560, np.float32),
            "output.weight": random.normal(0, 0.05, (len(names), 2560)).astype(np.float32),
            "output.bias": random.normal(0, 1, len(names)).astype(np.float32),
        },
        head_kind="linear",
        categories=Categories.from_names(names),
        geometry=geometry,  # type: ignore[arg-type]
        pooling="mean+max",
        thresholds=Thresholds(),
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Seven smooth pictures of several shapes."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(5)
    paths = []
    for index in range(7):
        small = Image.fromarray(random.integers(0, 255, (6, 8, 3), dtype=np.uint8))
        shape = (100 + 20 * index, 160 - 10 * index)
        paths.append(folder / f"{index}.jpg")
        small.resize(shape, Image.Resampling.BICUBIC).save(paths[-1], quality=92)
    return paths


def by_hand(one: ClassifierBundle, path: Path, size: int | None, mirror: bool) -> dict[str, float]:
    """One model's probabilities of one view of one picture, from the square on."""
    spec, arrays = one.backbones[0]
    backbone = load_backbone(replace(spec, size=size or spec.size), arrays)
    encoder = create_encoder(backbone, geometry=one.geometry, pooling=one.pooling, device="cpu")
    image = read_image(path, min_size=backbone.spec.size)
    square = to_square(image, backbone.spec.size, one.geometry)
    if mirror:
        square = np.asarray(Image.fromarray(square).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    feature = encoder.encode(np.ascontiguousarray(square)[None])[0].astype(np.float64)
    logits = one.head["output.weight"] @ feature + one.head["output.bias"]
    return dict(zip(one.categories.names, 1 / (1 + np.exp(-logits)), strict=True))


def test_the_means_are_those_of_views_and_members_computed_one_by_one(
    pictures: list[Path],
) -> None:
    views = (View(size=48), View(size=48, mirror=True), View())
    members = (
        Member(bundle=bundle(1), run="a", weight=0.7, views=views),
        # Another order of categories, another size and geometry.
        Member(
            bundle=bundle(2, size=96, names=("gnu", "elk", "yak"), geometry="pad"),
            run="b",
            weight=0.3,
            views=(View(mirror=True),),
        ),
    )
    model = EnsembleClassifier(Ensemble(members=members, thresholds=Thresholds()), device="cpu")
    found = model.predict(pictures[:3])
    assert model.categories == NAMES
    assert found.ok.all() and found.probabilities.dtype == np.float32
    for path, row in zip(pictures[:3], found.probabilities, strict=True):
        expected = np.zeros(3)
        for member in members:
            for view in member.views:
                said = by_hand(member.bundle, path, view.size, view.mirror)
                part = member.weight / len(member.views)
                expected += part * np.array([said[name] for name in NAMES])
        assert row == pytest.approx(expected, abs=2e-5)


def test_one_member_as_it_is_says_what_the_run_says(pictures: list[Path]) -> None:
    one = bundle(1)
    model = EnsembleClassifier(
        Ensemble(members=(Member(bundle=one, run="a", weight=1.0),), thresholds=Thresholds())
    )
    alone = Classifier(one).predict(pictures).probabilities
    assert np.array_equal(model.predict(pictures).probabilities, alone)


def test_probabilities_do_not_depend_on_what_else_is_computed(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other views beside it, members without weight, and where one stretch of pictures ends."""
    monkeypatch.setattr(module, "BLOCK", 2)
    monkeypatch.setattr(module, "PART_BYTES", 2 * 4 * 2 * 2560 * 4)
    views = (View(), View(mirror=True))
    members = tuple(
        Member(bundle=bundle(seed), run=str(seed), weight=weight, views=views)
        for seed, weight in ((1, 0.6), (2, 0.4), (3, 0.0))
    )
    whole = Ensemble(members=members, thresholds=Thresholds())
    expected = EnsembleClassifier(whole).predict(pictures).probabilities
    fewer = replace(whole, members=members[:2])
    assert np.array_equal(EnsembleClassifier(fewer).predict(pictures).probabilities, expected)
    more = replace(
        whole,
        members=tuple(replace(m, weight=1 / 3, views=(*views, View(size=96))) for m in members),
    )
    tables = EnsembleClassifier(more).predict_views(pictures).tables
    assert [[t.shape for t in views] for views in tables] == [[(7, 3)] * 3] * 3
    means = [(a.astype(float) + b) / 2 for a, b, _ in tables]
    assert 0.6 * means[0] + 0.4 * means[1] == pytest.approx(expected, abs=1e-7)
    # A member without weight is not computed.
    assert not EnsembleClassifier(whole).predict_views(pictures).tables[2][0].any()


def test_members_with_one_backbone_encode_each_view_once(
    pictures: list[Path], tmp_path: Path
) -> None:
    members = tuple(
        Member(bundle=bundle(seed), run="a", weight=0.5, views=(View(), View(mirror=True)))
        for seed in (1, 2)
    )
    model = EnsembleClassifier(Ensemble(members=members, thresholds=Thresholds()))
    cache = FeatureCache(tmp_path)
    first = model.predict(pictures, cache=cache)
    assert cache.count() == 2 * len(pictures)
    again = EnsembleClassifier(model.ensemble).predict(pictures, cache=cache)
    assert cache.count() == 2 * len(pictures)
    assert np.array_equal(first.probabilities, again.probabilities)
    cache.close()


def test_a_picture_that_cannot_be_read(pictures: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(pictures[0].read_bytes()[:200])
    member = Member(bundle=bundle(1), run="a", weight=1.0, views=(View(), View(size=48)))
    model = EnsembleClassifier(Ensemble(members=(member,), thresholds=Thresholds()))
    steps: list[int] = []
    mixed = [pictures[0], broken, pictures[1]]
    outputs = model.predict(mixed, skip_errors=True, progress=steps.append)
    assert outputs.ok.tolist() == [True, False, True]
    assert not outputs.probabilities[1].any() and outputs.probabilities[2].all()
    assert len(outputs.errors) == 1 and "broken.jpg" in str(outputs.errors[0])
    assert sum(steps) == 3
    with pytest.raises(TagboxError, match=r"broken\.jpg"):
        model.predict(mixed)
    assert model.predict([]).probabilities.shape == (0, 3)


def test_a_size_that_a_backbone_does_not_take_is_refused() -> None:
    pytest.importorskip("torchvision", reason="needs the train extra")
    backbone = create_backbone(BackboneRequest("vit_b_32", 32), weights="none")
    vit = replace(
        bundle(1),
        backbones=((backbone.spec, backbone.arrays()),),
        head={
            "mean": np.zeros(768, np.float32),
            "scale": np.ones(768, np.float32),
            "output.weight": np.zeros((3, 768), np.float32),
            "output.bias": np.zeros(3, np.float32),
        },
    )
    for size in (64, 50):
        member = Member(bundle=vit, run="runs/vit", weight=1.0, views=(View(size=size),))
        model = EnsembleClassifier(Ensemble(members=(member,), thresholds=Thresholds()))
        with pytest.raises(TagboxError) as caught:
            model.require_views()
        assert caught.value.code == "backbone-size"
        assert f"vit_b_32 of runs/vit does not take {size}x{size} pixels" in str(caught.value)
    own = Member(bundle=vit, run="runs/vit", weight=1.0, views=(View(size=32),))
    EnsembleClassifier(Ensemble(members=(own,), thresholds=Thresholds())).require_views()


def test_a_convolutional_network_is_tried_at_each_size() -> None:
    pytest.importorskip("torchvision", reason="needs the train extra")
    backbone = create_backbone(BackboneRequest("alexnet", 96), weights="none")
    one = replace(bundle(1), backbones=((backbone.spec, backbone.arrays()),))

    def tried(size: int) -> EnsembleClassifier:
        member = Member(bundle=one, run="runs/s", weight=1.0, views=(View(size=size),))
        return EnsembleClassifier(Ensemble(members=(member,), thresholds=Thresholds()))

    tried(128).require_views()
    # Its last pooling has nothing left to pool.
    with pytest.raises(TagboxError, match="alexnet of runs/s does not take 32x32 pixels"):
        tried(32).require_views()


def test_whatever_a_folder_holds_is_loaded_as_it_is(pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    bundle(1).save(tmp_path / "one")
    member = Member(bundle=bundle(1), run="a", weight=1.0)
    save_ensemble(Ensemble(members=(member,), thresholds=Thresholds(value=0.2)), tmp_path / "all")
    single, many = load_model(tmp_path / "one"), load_model(str(tmp_path / "all"))
    assert isinstance(single, Classifier) and isinstance(many, EnsembleClassifier)
    assert single.categories == many.categories and many.thresholds.value == 0.2
    assert single.has_evidence and not many.has_evidence
    for refused in (many.require_evidence, lambda: many.evidence(read_image(pictures[0]), [0])):
        with pytest.raises(TagboxError, match="members/0") as caught:
            refused()
        assert caught.value.code == "evidence-ensemble"
    with pytest.raises(TagboxError, match=r"tagbox\.load_model") as caught:
        Classifier.load(tmp_path / "all")
    assert caught.value.code == "run-ensemble"
