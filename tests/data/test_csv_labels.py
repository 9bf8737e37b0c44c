"""CSV in its narrow and wide forms."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagbox import TagboxError
from tagbox.data.dataset import Categories, Dataset
from tagbox.data.formats.common import build_dataset, from_label_lists
from tagbox.data.formats.csv import read_csv, write_csv


def table(tmp_path: Path, text: str, name: str = "labels.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


NARROW = {
    "bar": "image,labels\na.jpg,cat|traffic light\nb.jpg,\n",
    "semicolon": "image,labels\na.jpg,cat;traffic light\nb.jpg,\n",
    "quoted commas": 'image,labels\na.jpg,"cat, traffic light"\nb.jpg,""\n',
    "more cells": "image,labels\na.jpg,cat,traffic light\nb.jpg\n",
    "windows, bom, blank lines": "\ufeffimage,labels\r\n\r\na.jpg,cat|traffic light\r\nb.jpg,\r\n\r\n",
    "other columns": "id,filename,tags\n1,a.jpg,cat|traffic light\n2,b.jpg,\n",
    "tabs": "image\tlabels\na.jpg\tcat|traffic light\nb.jpg\t\n",
    "semicolons between cells": "image;labels\na.jpg;cat|traffic light\nb.jpg;\n",
    "label twice": "image,labels\na.jpg,cat|traffic light|cat\nb.jpg,\n",
}


@pytest.mark.parametrize("text", NARROW.values(), ids=NARROW.keys())
def test_narrow(tmp_path: Path, text: str) -> None:
    dataset = read_csv(table(tmp_path, text))
    assert dataset.images.files.tolist() == ["a.jpg", "b.jpg"]
    assert dataset.categories.names == ("cat", "traffic light")
    assert dataset.images.labelled.all()
    assert dataset.labels.tolist() == [[1, 1], [0, 0]]


def test_spaces_separate_where_nothing_else_does(tmp_path: Path) -> None:
    dataset = read_csv(table(tmp_path, "image,labels\na.jpg,cat dog\nb.jpg,dog\n"))
    assert dataset.categories.names == ("cat", "dog")
    assert dataset.labels.tolist() == [[1, 1], [0, 1]]


def test_known_names_with_spaces_are_not_cut(tmp_path: Path) -> None:
    names = table(tmp_path, "traffic light\ncat\n", "names.txt")
    path = table(tmp_path, "image,label\na.jpg,traffic light\nb.jpg,cat\n")
    assert read_csv(path, names=names).labels.tolist() == [[1, 0], [0, 1]]


def test_indices_with_names(tmp_path: Path) -> None:
    names = table(tmp_path, "cat\ndog\nfox\n", "names.txt")
    dataset = read_csv(table(tmp_path, "image,labels\na.jpg,0 2\nb.jpg,\n"), names=names)
    assert dataset.categories.names == ("cat", "dog", "fox")
    assert dataset.labels.tolist() == [[1, 0, 1], [0, 0, 0]]


def test_question_mark_is_unlabelled(tmp_path: Path) -> None:
    dataset = read_csv(table(tmp_path, "image,labels\na.jpg,cat\nb.jpg,?\n"))
    assert dataset.images.labelled.tolist() == [True, False]
    assert dataset.labels.tolist() == [[1], [-1]]


def test_wide(tmp_path: Path) -> None:
    dataset = read_csv(
        table(tmp_path, "image,cat,dog,fox\na.jpg,1,0,?\nb.jpg,1.0,true,FALSE\nc.jpg,-1,,?\n")
    )
    assert dataset.categories.names == ("cat", "dog", "fox")
    assert dataset.labels.tolist() == [[1, 0, -1], [1, 1, 0], [-1, -1, -1]]
    assert dataset.images.labelled.tolist() == [True, True, False]
    assert dataset.unknown.tolist() == [[0, 2]]


def test_wide_in_the_order_of_the_names(tmp_path: Path) -> None:
    names = table(tmp_path, "fox\ncat\ndog\n", "names.txt")
    dataset = read_csv(table(tmp_path, "image,cat,dog\na.jpg,1,0\n"), names=names)
    assert dataset.categories.names == ("fox", "cat", "dog")
    assert dataset.labels.tolist() == [[-1, 1, 0]]


FAULTS = [
    ("empty", "", "csv-header", None),
    ("no image column", "scene,labels\na,b\n", "csv-header", "line 1"),
    ("no label column", "image\na.jpg\n", "csv-header", "line 1"),
    ("column twice", "image,cat,cat\na.jpg,1,1\n", "csv-header", "line 1"),
    ("nameless column", "image,cat,\na.jpg,1,1\n", "csv-header", "line 1"),
    ("image twice", "image,labels\na.jpg,x\n\na.jpg,y\n", "csv-duplicate", "line 4"),
    ("no image", "image,labels\n,x\n", "csv-line", "line 2"),
    ("two in a cell", "image,cat\na.jpg,2\n", "csv-line", "line 2"),
    ("too few cells", "image,cat,dog\na.jpg,1\n", "csv-line", "line 2"),
    ("too many cells", "image,cat\na.jpg,1,0\n", "csv-line", "line 2"),
    ("too many cells before", "labels,image\nx,a.jpg,3\n", "csv-line", "line 2"),
    ("open quote", 'image,labels\na.jpg,"x\n', "csv-line", "line 2"),
    ("outside", "image,labels\n../a.jpg,x\n", "file-name-outside", "image 0 (counted from 0)"),
]


@pytest.mark.parametrize(
    ("text", "code", "where"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_faults(tmp_path: Path, text: str, code: str, where: str | None) -> None:
    path = table(tmp_path, text)
    with pytest.raises(TagboxError) as caught:
        read_csv(path)
    assert (caught.value.code, caught.value.where) == (code, where)
    assert caught.value.file == str(path)


def test_unknown_label_has_near_names(tmp_path: Path) -> None:
    names = table(tmp_path, "bicycle\ncar\n", "names.txt")
    path = table(tmp_path, "image,labels\na.jpg,car|bicylce\n")
    with pytest.raises(TagboxError, match="did you mean 'bicycle'") as caught:
        read_csv(path, names=names)
    assert (caught.value.code, caught.value.where) == ("unknown-category", "line 2")


@pytest.mark.parametrize(
    "text",
    [
        "image,labels\na.jpg,cat|traffic light\nsub/b.jpg,\nc.jpg,?\n",
        "image,cat,dog\na.jpg,1,?\nb.jpg,0,0\nc.jpg,?,?\n",
        'image,"a, b","c|d"\nx.jpg,1,0\ny.jpg,0,1\n',
    ],
)
def test_written_and_read_again(tmp_path: Path, text: str) -> None:
    dataset = read_csv(table(tmp_path, text))
    write_csv(dataset, tmp_path / "out" / "x.csv")
    again = read_csv(tmp_path / "out" / "x.csv")
    assert again.categories.names == dataset.categories.names
    assert again.images.files.tolist() == dataset.images.files.tolist()
    assert again.labels.tolist() == dataset.labels.tolist()
    assert again.images.labelled.tolist() == dataset.images.labelled.tolist()


NAMES = st.text("ab ,;|?\"'é0", min_size=1, max_size=5).map(str.strip).filter(bool)


@st.composite
def any_dataset(draw: st.DrawFn) -> Dataset:
    """Any labels over any names, some of them called like the file's own columns."""
    words = st.one_of(NAMES, st.sampled_from(["labels", "name", "class", "0", "1", "?", "-1"]))
    names = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    count = draw(st.integers(1, 5))
    table = draw(
        st.lists(st.lists(st.sampled_from([1, 0, -1] if draw(st.booleans()) else [1, 0]), min_size=len(names), max_size=len(names)), min_size=count, max_size=count)
    )  # fmt: skip
    labels = np.array(table)
    labelled = (labels != -1).any(1)
    unknown = np.argwhere((labels == -1) & labelled[:, None]).astype(np.int32)
    return build_dataset(
        path=Path("x"),
        format="memory",
        root=Path("x"),
        files=[f"{row}.jpg" for row in range(count)],
        categories=Categories.from_names(names),
        annotations=from_label_lists([np.flatnonzero(row == 1).tolist() for row in labels]),
        labelled=labelled,
        unknown=unknown,
    )


@settings(deadline=None, max_examples=150)
@given(any_dataset())
def test_any_labels_survive(dataset: Dataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_csv(dataset, Path(folder) / "x.csv")
        again = read_csv(Path(folder) / "x.csv")
    assert again.categories.names == dataset.categories.names
    assert again.labels.tolist() == dataset.labels.tolist()
    assert again.images.labelled.tolist() == dataset.images.labelled.tolist()
