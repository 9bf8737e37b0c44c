"""File names that are no UTF-8: everything is done, and files that are written stay valid UTF-8."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tagbox.config import DataConfig
from tagbox.data.load import load_dataset
from tagbox.data.name_matching import match_names
from tagbox.data.split import Split
from tagbox.errors import TagboxError, visible
from tagbox.predictions.files import encode_csv
from tagbox.predictions.files import encode_json as encode_predictions
from tagbox.predictions.predictions import Predictions
from tagbox.text_output import encode_json, encode_text, unescaped, written

NAMES = (b"caf\xe9.png", b"\xff\xfe.png", b"gr\xc3\xbc\xc3\x9fe.png", b"\xe3\x81.png")


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """A folder a class, some names in Latin-1, cut within a character, or no text at all."""
    for number, name in enumerate([*NAMES, b"1.png", b"2.png"]):
        for category in (b"disc", b"bar"):
            folder = os.path.join(os.fsencode(tmp_path / "data"), category)
            os.makedirs(folder, exist_ok=True)
            image = Image.new("RGB", (32, 24), (len(category) * 20, number * 9, 80))
            path = tmp_path / "image.png"
            image.save(path)
            os.rename(path, os.path.join(folder, name))
    return tmp_path / "data"


@pytest.mark.parametrize("command", ["check", "show", "split"])
def test_commands_say_how_a_name_is_written(
    classes: Path,
    tmp_path: Path,
    command: str,
    cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    out = tmp_path / ("sheet.png" if command == "show" else "out")
    more = () if command == "check" else ("--out", out)
    done = cli(command, classes, "--json", *more)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    if command != "check":
        assert done.stderr.count("is written with its bytes escaped") == 1
    if command == "show":
        assert r"bar/caf\xe9.png" in json.loads(done.stdout)["images"]
        assert "bar/grüße.png" in json.loads(done.stdout)["images"]


def test_a_split_finds_its_images_again(classes: Path, tmp_path: Path) -> None:
    dataset = load_dataset(classes)
    assert len(dataset) == 12 and len(dataset.fingerprint) == 64
    split = Split.of(dataset, {"a": np.arange(5), "b": np.arange(5, 12)}, seed=0)
    split.save(tmp_path / "split.json")
    json.loads((tmp_path / "split.json").read_bytes())
    rows = Split.load(tmp_path / "split.json").rows(dataset)
    assert rows["a"].tolist() == [0, 1, 2, 3, 4] and len(rows["b"]) == 7


@pytest.mark.parametrize("format", ["coco", "csv"])
@pytest.mark.parametrize("pictures", ["reference", "copy"])
def test_the_parts_of_a_split_find_their_pictures(
    classes: Path,
    tmp_path: Path,
    format: str,
    pictures: str,
    cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    out = tmp_path / "out"
    done = cli("split", classes, "--to", format, "--pictures", pictures, "--out", out)
    assert done.returncode == 0, done.stderr
    part = out / ("train.csv" if format == "csv" else "train.json")
    images = load_dataset(part).images
    assert all(images.path(row).is_file() for row in range(len(images)))
    assert any("\udc80" <= letter <= "\udcff" for name in images.files for letter in name)
    checked = json.loads(cli("check", part, "--json").stdout)
    assert "image-missing" not in {finding["code"] for finding in checked["findings"]}


def test_the_keys_of_labels_find_their_pictures(classes: Path) -> None:
    labels = classes / "bar/labels.json"
    labels.write_text(json.dumps({r"caf\xe9": [0], r"\xff\xfe": [1], r"\xe9-gone": [1], "1": []}))
    files = [os.fsencode(name) for name in load_dataset(labels).images.files]
    assert files == [b"caf\xe9.png", b"\xff\xfe.png", b"\xe9-gone.jpg", b"1.png"]


def test_a_name_that_begins_with_an_escaped_byte_stays_in_its_folder(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("image,labels\n\\xff.png,a\n1.png,b\n")
    assert os.fsencode(load_dataset(table).images.files[0]) == b"\xff.png"


def test_a_part_is_found_in_another_folder_too(classes: Path, tmp_path: Path) -> None:
    """Folders of the names are others than where the pictures are now; names of two files mean none."""
    table = tmp_path / "table.csv"
    table.write_text("image,labels\nold/caf\\xe9.png,a\nold/1.png,b\n")
    images = load_dataset(table, DataConfig(images=classes / "bar")).images
    assert os.fsencode(images.path(0)).endswith(b"bar/caf\xe9.png") and images.path(0).is_file()
    assert match_names([r"caf\xe9.png"], ["caf\udce9.png", "caf\udce9.PNG"]) == {
        r"caf\xe9.png": "caf\udce9.png"
    }
    assert match_names([r"caf\xe9"], ["caf\udce9.png", "caf\udce9.jpg"], (".png", ".jpg")) == {}
    (tmp_path / "x").mkdir()
    for name in (b"caf\xe9.png", rb"caf\xe9.png"):
        shutil.copy(classes / "bar/1.png", os.path.join(os.fsencode(tmp_path / "x"), name))
    shutil.copy(classes / "bar/1.png", tmp_path / "x/1.png")
    table.write_text("image,labels\ncaf\\xe9.png,a\n1.png,b\n")
    with contextlib.suppress(TagboxError):
        images = load_dataset(table, DataConfig(images=tmp_path / "x")).images
        assert not images.path(0).is_file()


@given(st.binary(max_size=12).filter(lambda name: b"\\" not in name))
def test_a_written_name_is_read_as_the_same_bytes(name: bytes) -> None:
    text = os.fsdecode(name)
    assert unescaped(written(text)) == text


def test_predictions_are_valid_files() -> None:
    images = tuple(os.fsdecode(name) for name in NAMES)
    predictions = Predictions(
        images=images, categories=("cat",), probabilities=np.full((4, 1), 0.5, np.float32)
    )
    expected = [r"caf\xe9.png", r"\xff\xfe.png", "grüße.png", r"\xe3\x81.png"]
    content = json.loads(encode_predictions(predictions))
    assert [image["image"] for image in content["images"]] == expected
    rows = [*csv.reader(io.StringIO(encode_csv(predictions).decode()))]
    assert [row[0] for row in rows[1:]] == expected


@given(st.binary(max_size=12))
def test_any_bytes_are_written_as_utf_8(name: bytes) -> None:
    text = os.fsdecode(name)
    assert written(text).encode() == encode_text(text)
    assert json.loads(encode_json({text: [text, {"a": text}]})) == {
        written(text): [written(text), {"a": written(text)}]
    }
    try:
        assert written(text) == name.decode()
    except UnicodeDecodeError:
        assert written(text) == name.decode("utf-8", "backslashreplace")


def test_tables_and_errors_show_the_bytes() -> None:
    name = os.fsdecode(NAMES[0])
    assert visible(name) == r"caf\xe9.png"
    assert r"caf\xe9.png: damaged" in str(TagboxError("image-corrupt", "damaged", file=name))
