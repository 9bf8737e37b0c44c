"""A saved detector in use: boxes land on the picture's own pixels, whatever its size and the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tagbox.errors import TagboxError
from tagbox.inference.detector import DetectorModel
from toy_detectors import NAMES, PatchDetector, patch_bundle, patch_spec, scene

ENGINES = ("torch", "openvino")


def model(engine: str = "torch", size: int = 128, *, fixed: bool = False) -> DetectorModel:
    spec = patch_spec(size, fixed=fixed)
    return DetectorModel(patch_bundle(spec), engine=engine, detector=PatchDetector(spec))  # type: ignore[arg-type]


def save(folder: Path, name: str, image: NDArray[np.uint8]) -> Path:
    Image.fromarray(image).save(folder / name)
    return folder / name


@pytest.mark.parametrize("engine", ENGINES)
def test_boxes_are_in_pixels_of_the_picture(tmp_path: Path, engine: str) -> None:
    small = [("red", (5, 7, 20, 9)), ("blue", (40, 30, 11, 13))]
    paths = [
        save(tmp_path, "small.png", scene(60, 50, small)),
        save(tmp_path, "empty.png", scene(90, 40, [])),
        # Scaled down to a quarter; edges on multiples of four stay sharp.
        save(tmp_path, "large.png", scene(512, 400, [("green", (100, 200, 80, 40))])),
        save(tmp_path, "high.png", scene(100, 512, [("green", (20, 200, 40, 80))])),
    ]
    found = model(engine).detect(paths)
    assert found.ok.all() and not found.errors
    assert found.sizes.tolist() == [[60, 50], [90, 40], [512, 400], [100, 512]]
    said = found.detections
    assert said.images == tuple(map(str, paths)) and said.categories == NAMES
    assert said.image_rows.tolist() == [0, 0, 2, 3]
    assert [NAMES[k] for k in said.category_rows] == ["red", "blue", "green", "green"]
    assert said.boxes[:2].tolist() == [[5, 7, 20, 9], [40, 30, 11, 13]]
    np.testing.assert_allclose(said.boxes[2], [100, 200, 80, 40], atol=4)
    np.testing.assert_allclose(said.boxes[3], [20, 200, 40, 80], atol=4)
    assert said.boxes.dtype == said.scores.dtype == np.float64


@settings(max_examples=20)
@given(st.integers(20, 400), st.integers(20, 400), st.data())
def test_a_patch_comes_back_where_it_is(width: int, height: int, data: st.DataObject) -> None:
    w = data.draw(st.integers(16, width))
    h = data.draw(st.integers(16, height))
    x, y = data.draw(st.integers(0, width - w)), data.draw(st.integers(0, height - h))
    (found,) = model().stream([scene(width, height, [("red", (x, y, w, h))])])
    # What is shrunk is found to the pixel of the smaller picture.
    atol = 1e-6 if max(width, height) <= 128 else 1.5 * max(width, height) / 128
    np.testing.assert_allclose(found.boxes, [[x, y, w, h]], atol=atol)
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, :2] + found.boxes[:, 2:] <= [width + 1e-9, height + 1e-9]).all()


def test_a_detector_of_fixed_size_stretches_pictures() -> None:
    (found,) = model(fixed=True).stream([scene(64, 32, [("blue", (16, 8, 32, 16))])])
    np.testing.assert_allclose(found.boxes, [[16, 8, 32, 16]], atol=0.5)


@pytest.mark.parametrize("engine", ENGINES)
def test_neighbours_and_order_change_nothing(tmp_path: Path, engine: str) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for row in range(40):
        width, height = rng.integers(40, 300, 2).tolist()
        patch = (NAMES[row % 3], (width // 4, height // 4, width // 3, height // 3))
        paths.append(save(tmp_path, f"{row}.png", scene(width, height, [patch])))
    detector = model(engine)
    together = detector.detect(paths).detections
    backwards = detector.detect(paths[::-1]).detections
    for row in range(40):
        at, other = together.image_rows == row, backwards.image_rows == 39 - row
        np.testing.assert_array_equal(together.boxes[at], backwards.boxes[other])
        np.testing.assert_array_equal(together.scores[at], backwards.scores[other])
    alone = detector.detect(paths[:1]).detections
    np.testing.assert_array_equal(alone.boxes, together.boxes[together.image_rows == 0])


def test_engines_agree(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    paths = []
    for row in range(6):
        noise = rng.integers(0, 70, (150 + 30 * row, 300 - 20 * row, 3))
        image = scene(300 - 20 * row, 150 + 30 * row, [("red", (30, 40, 50, 60))])
        mixed = np.clip(image.astype(int) - noise, 0, 255).astype(np.uint8)
        paths.append(save(tmp_path, f"{row}.png", mixed))
    one, other = (model(engine).detect(paths).detections for engine in ENGINES)
    np.testing.assert_array_equal(one.image_rows, other.image_rows)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_equal_scores_come_in_the_order_of_categories_and_boxes() -> None:
    patches = [("blue", (2, 2, 9, 9)), ("red", (60, 30, 9, 9)), ("red", (30, 60, 9, 9))]
    (found,) = model().stream([scene(100, 100, patches)])
    assert len(set(found.scores.tolist())) == 1
    assert found.labels.tolist() == [0, 0, 2]
    assert found.boxes[:, 0].tolist() == [30, 60, 2]


def test_pictures_are_upright_and_large_jpegs_keep_their_pixels(tmp_path: Path) -> None:
    image = scene(1200, 800, [("green", (600, 80, 320, 240))])
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned a quarter to the right.
    Image.fromarray(image).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    Image.fromarray(image).save(tmp_path / "plain.jpg", quality=95)
    found = model().detect([tmp_path / "plain.jpg", tmp_path / "turned.jpg"])
    assert found.sizes.tolist() == [[1200, 800], [800, 1200]]
    np.testing.assert_allclose(found.detections.boxes[0], [600, 80, 320, 240], atol=15)
    np.testing.assert_allclose(found.detections.boxes[1], [480, 600, 240, 320], atol=15)


def test_an_unreadable_picture_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    good = save(tmp_path, "good.png", scene(50, 50, [("red", (5, 5, 30, 30))]))
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    ticks: list[int] = []
    found = model().detect([bad, good], skip_errors=True, progress=ticks.append)
    assert found.ok.tolist() == [False, True] and len(ticks) == 2
    assert [error.code for error in found.errors] == ["image-corrupt"]
    assert found.detections.image_rows.tolist() == [1]
    with pytest.raises(TagboxError, match=r"bad\.png"):
        model().detect([bad, good])


def test_no_pictures_and_low_scores(tmp_path: Path) -> None:
    nothing = model().detect([])
    assert len(nothing.detections) == 0 and nothing.sizes.shape == (0, 2)
    dull = scene(50, 50, [("red", (5, 5, 30, 30))]) // 2 + 40
    path = save(tmp_path, "dull.png", dull)
    whole = model().detect([path]).detections.scores
    assert len(model().detect([path], min_score=0.999).detections) == (whole >= 0.999).sum()


def test_a_caller_who_stops_early_leaves_nothing_behind() -> None:
    detector = model("openvino")
    images = [scene(50, 50, [("red", (k, 5, 10, 10))]) for k in range(8)]
    stream = detector.stream(images)
    next(stream)
    stream.close()
    assert [found.boxes[0, 0] for found in detector.stream(images[::-1])] == list(range(7, -1, -1))
