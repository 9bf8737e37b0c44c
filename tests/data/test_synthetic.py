"""Generated scenes keep what their specification promises."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tagbox.config import DataConfig, SynthConfig
from tagbox.data.load import load_dataset
from tagbox.data.synthetic.generate import generate
from tagbox.data.synthetic.scene import COVERED_BELOW, SMALL_AREA, SPEC_VERSION, Scene, make_scene
from tagbox.data.synthetic.shapes import shapes
from tagbox.errors import TagboxError

# Of pixels before JPEG and of the truth, so that no encoder takes part. It changes with SPEC_VERSION only.
SPEC_SHA256 = "4488d314d5a71e964f30cb9b985e059c8a0fd04d8301b9e7c58e14cae2d7fb23"


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(0, 0, index, 640, 480) for index in range(160)]


def test_the_specification_has_not_changed() -> None:
    digest = hashlib.sha256()
    for seed, part, index, width, height in [
        (0, 0, 0, 640, 480),
        (0, 0, 1, 640, 480),
        (0, 1, 0, 640, 480),
        (7, 2, 5, 333, 512),
        (0, 0, 2, 96, 64),
    ]:
        scene = make_scene(seed, part, index, width, height)
        digest.update(scene.picture.tobytes())
        digest.update(repr(scene.objects).encode())
    assert SPEC_VERSION == 1
    assert digest.hexdigest() == SPEC_SHA256


def test_the_promised_shares(scenes: list[Scene]) -> None:
    objects = [thing for scene in scenes for thing in scene.objects]
    counts = [len(scene.objects) for scene in scenes]
    assert min(counts) == 0 and max(counts) <= 8 and max(counts) >= 7
    assert np.mean([thing.area < SMALL_AREA * 640 * 480 for thing in objects]) >= 0.30
    # By the area of the box too, for those who have no masks.
    assert np.mean([thing.box[2] * thing.box[3] < 32**2 for thing in objects]) >= 0.30
    assert np.mean([thing.visible < COVERED_BELOW for thing in objects]) >= 0.25
    assert SMALL_AREA * 640 * 480 == 32**2  # COCO's own line at COCO's usual size.
    assert min(thing.visible for thing in objects) > 0.5
    assert min(thing.area for thing in objects) > 50
    assert len(shapes()) >= 12
    assert len({shape.name for shape in shapes()}) == len(shapes())


def test_frequencies_have_a_long_tail(scenes: list[Scene]) -> None:
    images = Counter(row for scene in scenes for row in {thing.category for thing in scene.objects})
    assert set(images) == set(range(len(shapes())))
    assert images[0] > 3 * min(images.values())
    assert sum(images[row] for row in range(4)) > sum(images[row] for row in range(7, 14))


def test_boxes_and_areas_are_those_of_the_visible_pixels(scenes: list[Scene]) -> None:
    for scene in scenes[:50]:
        for number, thing in enumerate(scene.objects, start=1):
            ys, xs = np.nonzero(scene.owners == number)
            assert thing.area == len(xs)
            assert thing.box == (
                xs.min(),
                ys.min(),
                xs.max() - xs.min() + 1,
                ys.max() - ys.min() + 1,
            )
            assert 0 < thing.visible <= 1


def test_colour_says_nothing_about_the_category() -> None:
    """Mean hue of the objects of two frequent categories, and of one category twice, differ alike."""
    colours: dict[int, list[np.ndarray]] = {0: [], 1: []}
    for index in range(150):
        scene = make_scene(5, 0, index, 128, 96)
        pixels = np.asarray(scene.picture, float)
        for number, thing in enumerate(scene.objects, start=1):
            if thing.category in colours:
                colours[thing.category].append(pixels[scene.owners == number].mean(0))
    first, second = (np.array(colours[row]) for row in (0, 1))
    assert min(len(first), len(second)) > 40
    error = np.sqrt(first.var(0) / len(first) + second.var(0) / len(second))
    assert (np.abs(first.mean(0) - second.mean(0)) < 4 * error).all()


def test_scenes_of_chosen_categories_hold_no_others(tmp_path: Path) -> None:
    """Whatever their order, they keep that of the shapes; one and two categories are fewer than a scene may have."""
    for names, kept in [(("butterfly",), ["butterfly"]), (("cup", "house"), ["house", "cup"])]:
        for form in ("coco", "cls"):
            config = SynthConfig(
                images=20, val=4, width=96, height=72, categories=names, format=form
            )
            generate(tmp_path / f"{form}{len(names)}", config)
        document = json.loads(
            (tmp_path / f"coco{len(names)}/annotations/instances_train.json").read_bytes()
        )
        assert [c["name"] for c in document["categories"]] == kept
        ids = {c["id"] for c in document["categories"]}
        assert ids == set(range(1, len(kept) + 1))
        assert {a["category_id"] for a in document["annotations"]} == ids
        folder = tmp_path / f"cls{len(names)}"
        assert (folder / "classes.txt").read_text().split() == kept
        for image in document["images"]:
            present = {
                a["category_id"] - 1
                for a in document["annotations"]
                if a["image_id"] == image["id"]
            }
            labels = folder / "labels/train" / image["file_name"].replace(".jpg", ".cls")
            assert set(map(int, labels.read_text().split())) == present


def test_all_categories_by_name_are_the_dataset_without_names(tmp_path: Path) -> None:
    every = tuple(shape.name for shape in shapes())
    generate(tmp_path / "a", SynthConfig(images=6, width=96, height=72))
    generate(tmp_path / "b", SynthConfig(images=6, width=96, height=72, categories=every[::-1]))
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**63),
    st.integers(0, 2),
    st.integers(0, 10**8),
    st.integers(32, 400),
    st.integers(32, 400),
)
def test_any_seed_and_size(seed: int, part: int, index: int, width: int, height: int) -> None:
    scene = make_scene(seed, part, index, width, height)
    assert scene.picture.size == (width, height)
    assert scene.picture.mode == "RGB"
    assert len(scene.objects) <= 8
    for thing in scene.objects:
        x, y, w, h = thing.box
        assert 0 <= x < x + w <= width and 0 <= y < y + h <= height
        assert 0 < thing.area <= w * h


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_seed_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    config = SynthConfig(images=70, val=3, test=2, width=96, height=72)
    seen: list[int] = []
    generate(tmp_path / "a", config, progress=seen.append)
    generate(tmp_path / "b", config, workers=2)
    assert sum(seen) == 75
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    generate(tmp_path / "c", SynthConfig(images=70, seed=1, width=96, height=72))
    assert (
        files_of(tmp_path / "c")["train/000000000001.jpg"]
        != (files_of(tmp_path / "a")["train/000000000001.jpg"])
    )


def test_a_longer_run_begins_with_a_shorter_one(tmp_path: Path) -> None:
    short = generate(tmp_path / "short", SynthConfig(images=3, val=2, width=96, height=72))
    long = generate(tmp_path / "long", SynthConfig(images=5, val=2, width=96, height=72))
    few, many = files_of(tmp_path / "short"), files_of(tmp_path / "long")
    assert all(many[name] == content for name, content in few.items() if name.endswith(".jpg"))
    records = [
        json.loads(done.parts["train"].read_bytes())["annotations"] for done in (short, long)
    ]
    assert records[1][: len(records[0])] == records[0]
    assert few["annotations/instances_val.json"] == many["annotations/instances_val.json"]


def test_coco_output_opens_here_and_in_pycocotools(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    done = generate(tmp_path / "out", SynthConfig(images=20, width=160, height=120))
    dataset = load_dataset(done.parts["train"], DataConfig())
    assert len(dataset) == done.images == 20
    assert len(dataset.annotations) == done.objects
    assert dataset.categories.names == tuple(shape.name for shape in shapes())
    assert "animal" in dataset.categories.supercategories
    with Image.open(dataset.images.path(0)) as picture:
        assert picture.size == (160, 120)
    coco = COCO(str(done.parts["train"]))
    assert len(coco.getAnnIds()) == done.objects
    assert sorted(coco.getImgIds()) == dataset.images.ids.tolist()


def test_challenge_output_has_the_labels_of_the_coco_output(tmp_path: Path) -> None:
    parts = {"images": 20, "val": 6, "test": 5, "width": 96, "height": 72}
    coco = generate(tmp_path / "coco", SynthConfig(**parts)).parts
    cls = generate(tmp_path / "cls", SynthConfig(**parts, format="cls")).parts
    train, val = load_dataset(cls["train"]), load_dataset(cls["val"])
    wanted = load_dataset(coco["train"]).labels
    assert (train.labels[train.images.labelled] == wanted).all()
    assert (~train.images.labelled).sum() == 5  # The test pictures: unlabelled, not empty.
    assert (val.labels == load_dataset(coco["val"]).labels).all()
    truth = json.loads(cls["test"].read_bytes())
    test = load_dataset(coco["test"])
    assert truth == {
        stem: np.flatnonzero(row).tolist()
        for stem, row in zip(test.images.stems.tolist(), test.labels, strict=True)
    }
    assert train.categories.names == tuple(shape.name for shape in shapes())


def test_a_folder_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(TagboxError) as caught:
        generate(tmp_path / "out", SynthConfig(images=1, width=32, height=32))
    assert caught.value.code == "exists"
    assert files_of(tmp_path) == {"out/mine.txt": b"keep"}
    with pytest.raises(TagboxError) as caught:
        generate(tmp_path / "out", SynthConfig(images=1, width=32, height=32), overwrite=True)
    assert caught.value.code == "not-made-by-tagbox"
    assert "mine.txt" in caught.value.found
    assert files_of(tmp_path) == {"out/mine.txt": b"keep"}
    (tmp_path / "out/mine.txt").unlink()
    generate(tmp_path / "out", SynthConfig(images=1, width=32, height=32), overwrite=True)
    assert sorted(files_of(tmp_path / "out")) == [
        ".tagbox",
        "annotations/instances_train.json",
        "train/000000000001.jpg",
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [("images", 0), ("val", -1), ("width", 31), ("height", 10_000), ("seed", -1)],
)
def test_a_bad_value_is_named(field: str, value: int) -> None:
    with pytest.raises(TagboxError, match=field) as caught:
        SynthConfig(**{field: value})
    assert caught.value.code == "config-value"
