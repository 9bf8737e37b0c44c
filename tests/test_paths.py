"""Names that come from data never lead out of their folder; the user's files stay as they were."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tagbox.data.dataset import Annotations, Categories
from tagbox.data.export import export
from tagbox.data.formats.common import build_dataset
from tagbox.data.load import load_dataset
from tagbox.data.split import Split
from tagbox.errors import TagboxError
from tagbox.paths import inside, is_plain_name, leading_outside, leads_outside
from user_files import hashes

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """Pictures with labels of three kinds, and beside them a folder that no command was told of."""
    folder = tmp_path / "user"
    for name in ("data/a", "data/b", "secret/private"):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path)
    (folder / "data/d.csv").write_text("image,labels\na.png,cat\nb.png,dog\n")
    return folder


def split_file(user: Path, parts: dict[str, list[str]]) -> Path:
    path = user / "saved.json"
    content = {"version": 1, "parts": parts, "key": "stem", "seed": 0, "folds": False}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "part",
    [
        "../escaped",
        "/tmp/escaped",
        "..",
        ".",
        "a/b",
        "a\\b",
        "",
        "C:x",
        "~",
        ".x",
        "n\0",
        "x" * 300,
    ],
)
@pytest.mark.parametrize("format", ["csv", "yolo"])
def test_parts_of_a_split_stay_in_out(
    cli: Cli, user: Path, tmp_path: Path, part: str, format: str
) -> None:
    saved = split_file(user, {part: ["a"], "val": ["b"]})
    if format == "yolo":  # In process: the command line is tried with the other format.
        with pytest.raises(TagboxError) as caught:
            Split.load(saved)
        assert caught.value.code == "split-file"
        return
    before = hashes(tmp_path)
    done = cli("split", user / "data/d.csv", "--split", saved, "--out", tmp_path / "out/parts")
    assert done.returncode == 1
    assert f"[split-file]: {saved}: parts: " in done.stderr
    assert "Traceback" not in done.stderr
    assert hashes(tmp_path) == before


def test_parts_that_only_some_file_systems_tell_apart(user: Path) -> None:
    with pytest.raises(TagboxError, match="but for its case"):
        Split.load(split_file(user, {"Val": ["a"], "val": ["b"]}))


@pytest.mark.parametrize("key", ["../secret/private", "/secret/private", "x/../../secret/private"])
def test_keys_of_labels_stay_in_the_folder(cli: Cli, user: Path, tmp_path: Path, key: str) -> None:
    labels = user / "data/labels.json"
    labels.write_text(json.dumps({"a": [0], "b": [1], key: [0]}))
    before = hashes(tmp_path)
    done = cli("split", labels, "--out", tmp_path / "out", "--pictures", "copy")
    assert done.returncode == 1
    assert f"[file-name-outside]: {labels}: key 2 (counted from 0): '{key}" in done.stderr
    assert hashes(tmp_path) == before
    with pytest.raises(TagboxError):
        load_dataset(labels)


def test_a_dataset_made_in_memory_is_not_written_outside(user: Path, tmp_path: Path) -> None:
    """Readers refuse such names; the Python API can make them nevertheless."""
    dataset = load_dataset(user / "data/d.csv")
    dataset.images.files[1] = "../a"
    before = hashes(tmp_path)
    for format in ("csv", "coco"):
        with pytest.raises(TagboxError) as caught:
            export(dataset, tmp_path / "out", "train", format, "copy")
        assert caught.value.code == "file-name-outside"
    assert {k: v for k, v in hashes(tmp_path).items() if "/out/" not in k} == before
    with pytest.raises(TagboxError, match="leads out"):
        export(dataset, tmp_path / "out", "../train", "csv", "reference")


def test_every_format_without_ids_is_checked() -> None:
    with pytest.raises(TagboxError, match="leads out"):
        build_dataset(
            path=Path("x"),
            format="csv",
            root=Path(),
            files=["a.png", "../b.png"],
            categories=Categories.from_names(["cat"]),
            annotations=Annotations.from_labels(np.zeros(0, np.int32), np.zeros(0, np.int32)),
            labelled=[True, True],
        )


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/../../x", "a\\..\\x", "C:\\x", "c:/x", "\\\\host\\x"]
)
def test_inside_refuses(name: str) -> None:
    with pytest.raises(TagboxError) as caught:
        inside(Path("folder"), name, file=Path("data.json"), where="here")
    assert caught.value.code == "file-name-outside"
    assert str(caught.value).startswith("data.json: here: ")


@pytest.mark.parametrize(
    "name", ["x", "a/b.jpg", "..x", "a..b/c", "...", "~x", "1:30.jpg", "a/.hidden"]
)
def test_inside_joins(name: str) -> None:
    assert inside(Path("folder"), name) == Path("folder") / name


def test_names_of_runs_and_parts() -> None:
    for name in ("first", "a-1.2_x y", "résumé", "0", "x" * 200):
        assert is_plain_name(name), name
    for name in (
        "",
        ".",
        "..",
        "a/b",
        "-x",
        " x",
        "x ",
        "x.",
        "con",
        "LPT1.txt",
        "a\nb",
        "é" * 101,
    ):
        assert not is_plain_name(name), name


@given(st.lists(st.text("a.:/\\~\n C"), max_size=6))
def test_many_names_are_judged_as_each_is(names: list[str]) -> None:
    wanted = [position for position, name in enumerate(names) if leads_outside(name)]
    assert leading_outside(names) == wanted


@pytest.mark.parametrize("name", ["/a", "\\a", "../a", "a/..", "a\\..\\b", "C:\\a", "c:/a", ".."])
def test_one_name_that_leads_outside_is_found_among_many(name: str) -> None:
    names = ["a.jpg", "b..c/d.jpg", "a:b.jpg", "~/a", "\n/a"]
    assert leading_outside([*names, name, *names]) == [len(names)]
    assert leading_outside(names) == []
