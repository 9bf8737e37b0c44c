"""Names are data: every format gives a category and a file back as they were, or refuses to write them."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tagbox.config import DataConfig
from tagbox.data.export import Format, export
from tagbox.data.load import load_dataset
from tagbox.errors import LONGEST_VALUE, TagboxError, visible
from tagbox.inference.detector import DetectorOutput
from tagbox.inference.detector_outputs import BoxPredictions
from tagbox.predictions.files import encode_csv, encode_json, read_csv, read_json
from tagbox.predictions.predictions import Detections, Predictions
from tagbox.predictions.thresholds import ScoreThresholds

HOSTILE = (
    "[/b]",
    "<script>alert(1)</script>",
    "=cmd()|' /C calc'!A0",
    "+1",
    "-1",
    "@SUM(1)",
    "a,b",
    "a;b;;;c",
    "a|b;;;;c",
    "a\tb\t\t\tc",
    "?",
    "a\nb",
    "a\rb",
    "a\x85b",
    "a\u2028b",
    "\x1b[31mred",
    " lead",
    "trail ",
    "\ufeffmark",
    "\u202egnp.exe",
    'q"uote',
    "null",
    "yes",
    "1.5",
    "nan",
    "~",
    "*alias",
    "{flow}",
    "a: b #c",
    "%41",
    "labels",
    "images",
    "test",
    "..",
    "a/b",
    "a\\b",
    "A" * 300,
    "e\u0301",
    "ß",
)
NAMES = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12),
    st.text("[]<>&'\"=+-@,;|?\t\n\r\\/ .#:~\x1b\x85\u2028\ufeffaé", min_size=1, max_size=8),
)
FORMATS: tuple[Format, ...] = get_args(Format)


def pixels(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (20, 20), (9, 9, 9)).save(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in "abc":
        pixels(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=60)
@given(first=NAMES, second=NAMES)
@example(first="a|b;;;;c", second="dog")
@example(first="=1", second="a;b")
def test_categories_survive_or_are_refused(
    photos: Path, format: Format, first: str, second: str
) -> None:
    if first == second or not (first.strip() and second.strip()):
        return
    records = [
        {"id": n, "image_id": n, "category_id": k, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
        for n, k in ((1, 1), (2, 2), (3, 2))
    ]
    document = {
        "images": [
            {"id": n, "file_name": f"{name}.png", "width": 20, "height": 20}
            for n, name in enumerate("abc", 1)
        ],
        "categories": [{"id": 1, "name": first}, {"id": 2, "name": second}],
        "annotations": records,
    }
    with TemporaryDirectory() as folder:
        source = Path(folder, "source.json")
        source.write_text(json.dumps(document))
        dataset = load_dataset(source, DataConfig(images=photos))
        try:
            written = export(dataset, Path(folder, "out"), "train", format, "link")
        except TagboxError as error:
            assert error.code == "name-unwritable"
            assert format not in ("coco", "yolo", "labelme")
            odd = re.compile(r"\s|[\x00-\x1f\x7f-\x9f\ufeff\u2028\u2029]")
            refused = [n for n in (first, second) if odd.search(n)]
            assert refused or format == "folders"
            return
        read = load_dataset(Path(folder, "out") if format == "yolo" else written)
        found = {
            Path(file).name: {read.categories.names[k] for k in np.flatnonzero(read.labels[row])}
            for row, file in enumerate(read.images.files.tolist())
        }
    assert found == {"a.png": {first}, "b.png": {second}, "c.png": {second}}
    assert set(read.categories.names) == {first, second}


@pytest.mark.parametrize("name", ["a/b", "a\\b", "../up", "..", ".hidden", "train", "n" * 300])
def test_a_category_that_is_no_folder_is_refused_when_writing(name: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(f"image,labels\na.png,{name}\n")
    dataset = load_dataset(tmp_path / "labels.csv")
    assert dataset.categories.names == (name,)
    with pytest.raises(TagboxError) as caught:
        export(dataset, tmp_path / "out", "train", "folders", "copy")
    assert caught.value.code == "name-unwritable"
    assert not list((tmp_path).rglob("out/**/*"))


@settings(max_examples=150)
@given(
    categories=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    images=st.lists(NAMES, min_size=1, max_size=4, unique=True),
)
def test_predictions_survive_or_are_refused(categories: list[str], images: list[str]) -> None:
    shape = (len(images), len(categories))
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    predictions = Predictions(
        images=tuple(images), categories=tuple(categories), probabilities=values
    )
    with TemporaryDirectory() as folder:
        path = Path(folder, "p")
        path.write_bytes(encode_json(predictions))
        stored = read_json(path)[0]
        assert (stored.images, stored.categories) == (tuple(images), tuple(categories))
        try:
            path.write_bytes(encode_csv(predictions))
        except TagboxError as error:
            assert error.code == "name-unwritable"
            assert any(n != n.strip() or "\r" in n for n in (*categories, *images))
            return
        stored = read_csv(path)
    assert (stored.images, stored.categories) == (tuple(images), tuple(categories))
    assert np.array_equal(stored.probabilities, values)


# What a file system takes as one name, and a stem is left of.
FILE_NAMES = NAMES.map(lambda name: re.sub(r"[/\\\0]", "_", name)).filter(
    lambda name: not name.startswith(".") and len(name.encode()) < 200
)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=40)
@given(first=FILE_NAMES, second=FILE_NAMES)
@example(first="a|b;;;;c", second=" lead")
@example(first="=1", second="a\rb")
def test_picture_files_survive_or_are_refused(format: Format, first: str, second: str) -> None:
    # Two names that are one on some systems, or one stem, are another matter.
    if first.casefold().strip() == second.casefold().strip():
        return
    names = [f"{first}.png", f"{second}.png"]
    document = {
        "images": [
            {"id": n, "file_name": name, "width": 20, "height": 20} for n, name in enumerate(names)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(("cat", "dog"))],
        "annotations": [
            {"id": n, "image_id": n, "category_id": n, "bbox": [1, 1, 5, 5], "area": 25}
            for n in (0, 1)
        ],
    }
    with TemporaryDirectory() as folder:
        for name in names:
            pixels(Path(folder, name))
        source = Path(folder, "source.json")
        source.write_text(json.dumps(document))
        dataset = load_dataset(source)
        assert dataset.images.files.tolist() == names
        try:
            written = export(dataset, Path(folder, "out"), "train", format, "copy")
        except TagboxError as error:
            assert error.code == "name-unwritable"
            odd = re.compile(r"^\s|\s$|[\x00-\x1f\x7f-\x9f\ufeff\u2028\u2029]")
            assert any(odd.search(name) for name in (first, second)), (format, names)
            return
        read = load_dataset(Path(folder, "out") if format == "yolo" else written)
        there = [read.images.path(row).is_file() for row in range(len(read))]
        found = {
            Path(file).name: {read.categories.names[k] for k in np.flatnonzero(read.labels[row])}
            for row, file in enumerate(read.images.files.tolist())
        }
    assert all(there)
    assert found == {names[0]: {"cat"}, names[1]: {"dog"}}


@given(category=NAMES, image=NAMES)
def test_boxes_survive_or_are_refused(category: str, image: str) -> None:
    path = Path(image.replace("\0", "_"))
    detections = Detections(
        images=(str(path),),
        categories=(category,),
        image_rows=np.zeros(1, np.int32),
        category_rows=np.zeros(1, np.int32),
        boxes=np.array([[1.0, 2.0, 3.0, 4.0]]),
        scores=np.array([0.5]),
    )
    output = DetectorOutput(
        detections=detections, sizes=np.full((1, 2), 9, np.int32), ok=np.ones(1, bool), errors=[]
    )
    boxes = BoxPredictions(paths=[path], outputs=output, thresholds=ScoreThresholds(value=0.1))
    [entry] = json.loads(boxes.encode("json"))["images"]
    assert (entry["image"], entry["objects"][0]["name"]) == (str(path), category)
    try:
        content = boxes.encode("csv")
    except TagboxError as error:
        assert error.code == "name-unwritable"
        assert any(n != n.strip() or "\r" in n for n in (category, str(path)))
        return
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert rows[1][:2] == [str(path), category]


def test_a_formula_is_read_back_as_it_was(tmp_path: Path) -> None:
    predictions = Predictions(
        images=("=1+1", "a"), categories=("@x",), probabilities=np.ones((2, 1), np.float32)
    )
    assert encode_csv(predictions) == b"image,@x\n=1+1,1.0\na,1.0\n"


@given(st.text())
def test_what_is_shown_has_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = visible(text)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    shown.encode()
    if text.isascii() and text.isprintable():
        assert shown == text


@given(st.text(min_size=81, max_size=4000))
def test_values_in_errors_are_cut(value: str) -> None:
    error = TagboxError("x", f"{value!r} is not a number", where="a", hint="change it")
    sentence = str(error)
    assert sentence.startswith("a: ") and sentence.endswith(" is not a number; change it.")
    assert len(sentence) <= LONGEST_VALUE + len("a: '…' is not a number; change it.")
    assert error.found == f"{value!r} is not a number"


def test_prose_and_paths_in_errors_are_not_cut() -> None:
    prose = "the run's pictures are those of another folder than the one which the user's setting named, as its file's line says"
    path = "/data/" + "folder/" * 30 + "a.jpg"
    assert str(TagboxError("x", prose, file=path)) == f"{path}: {prose}."
    unbroken = str(TagboxError("x", f"the category {'A' * 500} is unknown"))
    assert unbroken == f"the category {'A' * 79}… is unknown."


def test_an_error_is_one_line() -> None:
    error = TagboxError("x", "a\nb \x1b[31m", file="c\r\nd\udce9", where="\u202ee", hint="f")
    assert str(error) == "c\\r\\nd\\xe9: \\u202ee: a\\nb \\x1b[31m; f."
    assert (error.file, error.found) == ("c\r\nd\udce9", "a\nb \x1b[31m")


@given(title=NAMES, header=NAMES, cell=NAMES)
def test_tables_and_messages_show_names_as_they_are(title: str, header: str, cell: str) -> None:
    from rich.text import Text

    from tagbox.cli import console, tables

    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.setenv("COLUMNS", "2000")
        tables.print_table(title, [header], [[cell]])
    printed = out.getvalue()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", printed)
    for name in (title, header, cell):
        assert Text(visible(name)).plain.strip() in printed
    error = io.StringIO()
    with redirect_stderr(error):
        console.say(cell.replace("\n", ""))
    assert error.getvalue() == visible(cell.replace("\n", "")) + "\n"
