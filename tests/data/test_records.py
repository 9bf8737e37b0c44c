"""A dataset as a sequence: records against the file they come from, in pixels, and shown without surprises."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tagbox
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.images.gallery import MOST, SIDE

NAMES = ("cat", "<script>alert(1)</script>", "dog")


def write(folder: Path, count: int = 3, **image: Any) -> Path:
    """COCO with `count` images of 40 x 30; the first has two boxes and a crowd, the second none."""
    for number in range(1, count + 1):
        Image.new("RGB", (40, 30), (10 * number % 255, 90, 30)).save(folder / f"{number}.png")
    boxes = [(1, 5, [1, 2, 10, 12], 0), (1, 9, [20, 4, 8, 8], 0), (1, 5, [0, 0, 40, 30], 1)]
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": 40, "height": 30, **image}
            for n in range(1, count + 1)
        ],
        "categories": [{"id": i, "name": n} for i, n in zip((5, 7, 9), NAMES, strict=True)],
        "annotations": [
            {
                "id": k,
                "image_id": i,
                "category_id": c,
                "bbox": b,
                "iscrowd": crowd,
                "area": b[2] * b[3],
            }
            for k, (i, c, b, crowd) in enumerate(boxes, start=1)
        ],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return tagbox.load_dataset(write(tmp_path))


def test_a_record_is_what_the_file_says(dataset: Dataset, tmp_path: Path) -> None:
    record = dataset[0]
    assert (record.id, record.file, record.path) == (1, "1.png", tmp_path / "1.png")
    assert (record.width, record.height, record.labelled) == (40, 30, True)
    assert record.labels == ("cat", "dog") and record.unknown == ()
    assert record.boxes.tolist() == [[1, 2, 10, 12], [20, 4, 8, 8], [0, 0, 40, 30]]
    assert record.names == ("cat", "dog", "cat") and record.crowd.tolist() == [False, False, True]
    assert record.image.size == (40, 30) and record.image.getpixel((0, 0)) == (10, 90, 30)
    assert dataset[1].labels == () and dataset[1].boxes.shape == (0, 4)


def test_a_dataset_is_a_sequence(dataset: Dataset) -> None:
    assert len(dataset) == 3
    assert [record.id for record in dataset] == [1, 2, 3]
    assert dataset[-1].id == dataset[np.int64(2)].id == 3
    part = dataset[1:]
    assert isinstance(part, Dataset) and [record.id for record in part] == [2, 3]
    assert dataset[::-1][2].boxes.tolist() == dataset[0].boxes.tolist()
    for wrong in (3, -4):
        with pytest.raises(IndexError):
            dataset[wrong]


def test_images_are_opened_when_asked_for(dataset: Dataset) -> None:
    (dataset.images.root / "2.png").unlink()
    record = dataset[1]
    with pytest.raises(TagboxError) as caught:
        _ = record.image
    assert caught.value.code == "image-missing"
    assert "no such image" in record._repr_html_()


def test_a_dataset_prints_short(dataset: Dataset) -> None:
    text = repr(dataset)
    assert "3 images, 3 categories" in text and "2 labels, 3 boxes" in text
    assert len(text) < 400 and "array" not in text
    assert repr(dataset[0]) == "<Record '1.png': labels=cat, dog, 3 boxes>"


class Tags(HTMLParser):
    """The tags of HTML that is well nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.sources: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.sources += [value or "" for name, value in attrs if name == "src"]
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_escaped_and_bounded(tmp_path: Path) -> None:
    path = write(tmp_path, 40)
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = "a<b>\"&'.png"
    (tmp_path / "1.png").rename(tmp_path / "a<b>\"&'.png")
    content["annotations"][1]["category_id"] = 7
    Image.effect_noise((3000, 2000), 90).convert("RGB").save(tmp_path / "2.png")
    path.write_text(json.dumps(content))
    html = tagbox.load_dataset(path)._repr_html_()
    tags = Tags(html)
    assert tags.seen.count("img") == MOST and f"and {40 - MOST} more" in html
    assert "script" not in tags.seen and "b" not in tags.seen
    assert "&lt;script&gt;" in html
    assert len(html) < MOST * 60_000
    for source in tags.sources:
        picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        assert max(picture.size) <= 2 * SIDE


def test_boxes_are_drawn_where_the_objects_are(tmp_path: Path) -> None:
    # The record states half of the file's size: its boxes are scaled, and a contradictory one is said.
    path = write(tmp_path)
    Image.new("RGB", (80, 60)).save(tmp_path / "1.png")
    record = tagbox.load_dataset(path)[0]
    drawn = record.figure().boxes
    assert [box.box for box in drawn] == [(2, 4, 20, 24), (40, 8, 16, 16), (0, 0, 80, 60)]
    Image.new("RGB", (80, 20)).save(tmp_path / "1.png")
    record = tagbox.load_dataset(path)[0]
    assert not record.figure().boxes
    assert "no place in the file" in record._repr_html_()


def test_an_unlabelled_image_is_not_an_empty_one(dataset: Dataset) -> None:
    from dataclasses import replace

    labelled = np.array([True, True, False])
    some = replace(dataset, images=replace(dataset.images, labelled=labelled))
    assert not some[2].labelled and some[2].labels == () and some[2].unknown == NAMES
    assert "not labelled" in repr(some[2]) and "1 not labelled" in repr(some)


def test_to_pandas(dataset: Dataset) -> None:
    pandas = pytest.importorskip("pandas")
    images = dataset.to_pandas()
    assert isinstance(images, pandas.DataFrame)
    assert list(images.columns) == ["id", "file", "width", "height", "labelled", "labels", *NAMES]
    assert images["labels"].tolist() == [("cat", "dog"), (), ()]
    assert images[list(NAMES)].to_numpy().tolist() == dataset.labels.tolist()
    boxes = dataset.to_pandas("annotations")
    assert boxes[["x", "y", "w", "h"]].to_numpy().tolist() == dataset.annotations.boxes.tolist()
    assert boxes["category"].tolist() == ["cat", "dog", "cat"]
    assert boxes["image_id"].tolist() == [1, 1, 1] and boxes["crowd"].tolist() == [
        False,
        False,
        True,
    ]


def test_without_pandas_it_is_one_sentence(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['pandas'] = None\nimport tagbox\n"
        f"data = tagbox.load_dataset({str(write(tmp_path))!r})\n"
        "try:\n    data.to_pandas()\n"
        "except tagbox.TagboxError as error:\n    print(error.code, error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r'extra-missing to_pandas needs pandas, which is not installed; run: pip install "tagbox\[pandas\]"\.\n',
        done.stdout,
    )


def test_a_category_has_one_colour_in_all_pictures(tmp_path: Path) -> None:
    # The dog is alone in one picture and beside a cat in the other; its box has the same colour in both.
    path = write(tmp_path)
    content = json.loads(path.read_text())
    content["annotations"] = [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 5,
            "bbox": [2, 2, 10, 10],
            "area": 100,
            "iscrowd": 0,
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 9,
            "bbox": [22, 6, 16, 20],
            "area": 320,
            "iscrowd": 0,
        },
        {
            "id": 3,
            "image_id": 2,
            "category_id": 9,
            "bbox": [22, 6, 16, 20],
            "area": 320,
            "iscrowd": 0,
        },
    ]
    for number in (1, 2):
        Image.new("RGB", (400, 300), (128, 128, 128)).save(tmp_path / f"{number}.png")
    path.write_text(json.dumps(content))
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))), int)
        for source in Tags(tagbox.load_dataset(path)._repr_html_()).sources
    ]
    # The left side of the dog's box at the middle of its height: 22 and 16 of 40 x 30 in a file ten times as large.
    height, width = pictures[0].shape[:2]
    row, column = round(16 / 30 * height), round(22 / 40 * width)
    first, second = (image[row, column - 2 : column + 3].reshape(-1, 3) for image in pictures[:2])
    assert np.abs(first - second).max() < 40
    assert np.abs(first - 128).max() > 60
