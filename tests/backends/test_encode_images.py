"""Pictures to features: order, views, errors, and when the cache hits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tagbox.backends import encoder as encoder_module
from tagbox.backends.create import create_encoder
from tagbox.backends.encoder import Encoder
from tagbox.backends.feature_cache import FeatureCache
from tagbox.backends.features import _squares, as_head_takes, encode_images
from tagbox.backends.pipeline import AHEAD
from tagbox.backends.torch_backend import TorchQueue
from tagbox.errors import TagboxError
from tagbox.images.decode import default_threads, read_image
from tagbox.images.geometry import to_square
from tagbox.models.backbones import Backbone, BackboneRequest, create_backbone


def make(backbone: Backbone, **settings: Any) -> Encoder:
    return create_encoder(backbone, **{"geometry": "squash", "engine": "openvino", **settings})


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("geometry", ["squash", "pad", "crop"])
def test_rows_are_the_pictures_in_order(
    pictures: list[Path], lite0: Backbone, engine: Any, geometry: Any
) -> None:
    encoder = make(lite0, engine=engine, geometry=geometry)
    told: list[int] = []
    found = encode_images(pictures, [encoder], progress=told.append)
    squares = np.stack([to_square(read_image(p, 96), 96, geometry) for p in pictures])
    assert np.array_equal(found.features[:, 0], encoder.encode(squares))
    assert found.ok.all()
    assert not found.errors
    assert sum(told) == len(pictures)


def test_encoders_stand_side_by_side(pictures: list[Path], lite0: Backbone) -> None:
    other = create_backbone(BackboneRequest("efficientnet_lite1", 64))
    encoders = [make(lite0, pooling="max"), make(other)]
    found = encode_images(pictures, encoders, mirror=True).features
    assert found.shape == (5, 2, 2560)
    for part, encoder in ((found[..., :1280], encoders[0]), (found[..., 1280:], encoders[1])):
        assert np.array_equal(part, encode_images(pictures, [encoder], mirror=True).features)


def test_maps_are_cached_and_take_the_heads_shape(
    pictures: list[Path], lite0: Backbone, cache: FeatureCache
) -> None:
    encoder = make(lite0, pooling="map")
    found = encode_images(pictures, [encoder], mirror=True, cache=cache)
    maps = as_head_takes(found.features, [encoder], "csra")
    assert maps.shape == (5, 2, 1280, 3, 3)
    squares = np.stack([to_square(read_image(p, 96), 96, "squash") for p in pictures])
    assert np.array_equal(maps[:, 0], encoder.maps(squares))
    assert np.array_equal(maps[:, 1], encoder.maps(squares[:, :, ::-1]))
    again = encode_images(pictures, [encoder], mirror=True, cache=cache)
    assert again.cached == 5
    assert np.array_equal(again.features, found.features)
    pooled = encode_images(pictures, [make(lite0)], cache=cache)
    assert pooled.cached == 0
    assert as_head_takes(pooled.features, [make(lite0)], "mlp").shape == (5, 1, 1280)


def test_view_1_is_the_mirrored_square(pictures: list[Path], lite0: Backbone) -> None:
    encoder = make(lite0)
    found = encode_images(pictures, [encoder], mirror=True).features
    squares = np.stack([to_square(read_image(p, 96), 96, "squash") for p in pictures])
    assert np.array_equal(found[:, 1], encoder.encode(squares[:, :, ::-1]))
    assert not np.array_equal(found[:, 0], found[:, 1])


@pytest.mark.parametrize("shape", [(640, 480), (479, 700), (1200, 900), (90, 2000), (255, 257)])
@pytest.mark.parametrize("sizes", [(64, 96), (96, 120), (224, 384), (100, 380)])
def test_pixels_do_not_depend_on_the_encoders_beside(
    tmp_path: Path, lite0: Backbone, shape: tuple[int, int], sizes: tuple[int, int]
) -> None:
    rng = np.random.default_rng(3)
    path = tmp_path / "a.jpg"
    Image.fromarray(rng.integers(0, 255, (shape[1], shape[0], 3), dtype=np.uint8)).save(path)
    encoders = [make(create_backbone(BackboneRequest("efficientnet_lite0", s))) for s in sizes]
    together = _squares(path.read_bytes(), path, encoders)
    for encoder in encoders:
        alone = to_square(read_image(path, encoder.spec.size), encoder.spec.size, "squash")
        assert np.array_equal(together[id(encoder)], alone)


def test_a_second_run_encodes_nothing(
    pictures: list[Path], lite0: Backbone, cache: FeatureCache
) -> None:
    first = encode_images(pictures, [make(lite0)], mirror=True, cache=cache)
    again = encode_images(pictures, [make(lite0)], mirror=True, cache=cache)
    assert (first.cached, again.cached) == (0, 5)
    assert np.array_equal(first.features, again.features)
    # One picture more, or another view less, costs what is new.
    assert encode_images(pictures, [make(lite0)], cache=cache).cached == 5
    assert cache.count() == 10


def test_a_run_that_stops_at_a_bad_picture_keeps_what_it_encoded(
    pictures: list[Path], lite0: Backbone, cache: FeatureCache, tmp_path: Path
) -> None:
    with pytest.raises(TagboxError):
        encode_images([*pictures, tmp_path / "no.jpg"], [make(lite0)], cache=cache)
    assert encode_images(pictures, [make(lite0)], cache=cache).cached == 5


def test_an_interrupted_run_keeps_what_it_submitted(
    lite0: Backbone, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In torch no batch of 32 is full yet when the interrupt comes.
    encoder, submitted = make(lite0, engine="torch"), 0
    submit = TorchQueue.submit

    def counted(queue: TorchQueue, square: Any, put: Any) -> None:
        nonlocal submitted
        submitted += 1
        submit(queue, square, put)

    monkeypatch.setattr(TorchQueue, "submit", counted)
    images = [np.full((40, 40, 3), n, np.uint8) for n in range(AHEAD * default_threads() + 9)]

    def interrupted() -> Iterator[Any]:
        yield from images
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_images(interrupted(), [encoder], most=1000, cache=cache)
    kept = submitted
    assert 0 < kept < 32
    assert encode_images(images, [encoder], cache=cache).cached == kept


def test_the_cache_misses_when_anything_that_matters_changes(
    pictures: list[Path], lite0: Backbone, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pictures[:1]

    def cached(**settings: Any) -> int:
        return encode_images(path, [make(lite0, **settings)], cache=cache).cached

    assert cached() == 0
    assert cached() == 1
    # The geometry, the pooling, the engine, its version, the precision, our own pixels.
    assert cached(geometry="pad") == 0
    assert cached(pooling="max") == 0
    assert cached(engine="torch") == 0
    assert cached(engine="torch", precision="bf16") == 0
    with monkeypatch.context() as patch:
        patch.setattr("tagbox.backends.openvino_backend.installed_version", lambda _: "9.9")
        assert cached() == 0
    with monkeypatch.context() as patch:
        patch.setattr(encoder_module, "pixels_version", lambda: "other")
        assert cached() == 0
    # An EXIF flag: the pixels turn, the compressed picture is the same.
    exif = Image.Exif()
    exif[0x0112] = 3
    upright = path[0].read_bytes()
    block = exif.tobytes()
    marker = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    before = encode_images(path, [make(lite0)], cache=cache).features
    path[0].write_bytes(upright[:2] + marker + upright[2:])
    turned = encode_images(path, [make(lite0)], cache=cache)
    assert turned.cached == 0
    assert not np.array_equal(turned.features, before)
    # One byte, in a comment that no pixel depends on.
    comment = b"\xff\xfe\x00\x04ab"
    path[0].write_bytes(upright[:2] + comment + upright[2:])
    assert cached() == 0
    path[0].write_bytes(upright[:2] + comment[:-1] + b"c" + upright[2:])
    assert cached() == 0
    path[0].write_bytes(upright)
    assert cached() == 1
    # The same bytes under another name are the same picture.
    path[0].rename(path[0].with_name("renamed.jpg"))
    path = [path[0].with_name("renamed.jpg")]
    assert cached() == 1


def test_bad_pictures_raise_or_are_listed(
    pictures: list[Path], lite0: Backbone, tmp_path: Path, cache: FeatureCache
) -> None:
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(pictures[0].read_bytes()[:-200])
    paths = [pictures[0], cut, pictures[1], tmp_path / "no.jpg", pictures[2]]
    with pytest.raises(TagboxError) as raised:
        encode_images(paths, [make(lite0)], cache=cache)
    assert raised.value.code == "image-truncated"
    told: list[int] = []
    found = encode_images(paths, [make(lite0)], skip_errors=True, progress=told.append, cache=cache)
    assert found.ok.tolist() == [True, False, True, False, True]
    assert [(e.code, e.file) for e in found.errors] == [
        ("image-truncated", str(cut)),
        ("image-missing", str(paths[3])),
    ]
    assert sum(told) == 5
    assert not found.features[~found.ok].any()
    good = encode_images([p for p, ok in zip(paths, found.ok, strict=True) if ok], [make(lite0)])
    assert np.array_equal(found.features[found.ok], good.features)


def test_no_pictures(lite0: Backbone) -> None:
    found = encode_images([], [make(lite0)])
    assert found.features.shape == (0, 1, 1280)


def test_engines_agree_on_real_pictures(shared_data: Path) -> None:
    paths = sorted((shared_data / "coco-sample" / "val2017").glob("*.jpg"))[:8]
    backbone = create_backbone(BackboneRequest("efficientnet_lite0"))
    ours, theirs = (
        encode_images(paths, [make(backbone, engine=engine)]).features
        for engine in ("openvino", "torch")
    )
    assert np.abs(ours - theirs).max() / np.abs(theirs).max() < 1e-4
