"""File names that are no UTF-8: everything is done, and files that are written stay valid UTF-8."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tagbox.data.load import load_dataset
from tagbox.data.split import Split
from tagbox.errors import TagboxError, visible
from tagbox.predictions.files import encode_csv
from tagbox.predictions.files import encode_json as encode_predictions
from tagbox.predictions.predictions import Predictions
from tagbox.text_output import encode_json, encode_text, written

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
