"""Text from outside that means harm: depth, digits, repeated keys, aliases, tags, and files that are no files."""

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tagbox.atomic_io import sha256_of
from tagbox.checks.check import check_datasets
from tagbox.config.base import read_yaml as read_settings
from tagbox.config.recipes import load_recipe
from tagbox.data.categories import read_mapping
from tagbox.data.formats.coco import read_coco
from tagbox.data.formats.labelme import read_labelme_file
from tagbox.data.formats.yolo import read_data_yaml
from tagbox.data.formats.yolo_lines import read_yolo_file
from tagbox.data.load import load_dataset
from tagbox.data.split import Split
from tagbox.data.submission import read_submission
from tagbox.data.unzip import same_content
from tagbox.errors import TagboxError
from tagbox.files import open_file, read_file
from tagbox.images.drawn_files import refuse_drawn
from tagbox.output_folder import MARK, marked_by
from tagbox.predictions.coco_results import read_results
from tagbox.predictions.files import read_predictions
from tagbox.predictions.thresholds import read_thresholds
from tagbox.text_files import read_text
from tagbox.yaml_files import read_yaml

Reader = Callable[[Path], object]

COCO = (
    '{"images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}], "categories": [{"id": 1, '
    '"name": "x"}], "annotations": [{"id": 1, "image_id": 1, "category_id": 1%s}]%s}'
)


def results(path: Path) -> object:
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "labels.json"
        labels.write_text(COCO % ("", ""))
        return read_results(path, load_dataset(labels))


JSON_READERS: dict[str, Reader] = {
    "dataset": load_dataset,
    "coco": read_coco,
    "labelme": read_labelme_file,
    "split": Split.load,
    "submission": read_submission,
    "predictions": lambda path: read_predictions(path, ["x"]),
    "results": results,
    "thresholds": lambda path: read_thresholds(path, ["x"]),
}
YAML_READERS: dict[str, Reader] = {
    "settings": read_settings,
    "recipe": load_recipe,
    "mapping": read_mapping,
    "data.yaml": read_data_yaml,
}


def refused(reader: Reader, path: Path) -> TagboxError:
    with pytest.raises(TagboxError) as caught:
        reader(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 600
    return caught.value


@pytest.mark.parametrize("reader", JSON_READERS.values(), ids=JSON_READERS)
@pytest.mark.parametrize(
    "text",
    [
        COCO % ("", ', "info": ' + '{"a":' * 2000 + "1" + "}" * 2000),
        "[" * 100_000,
        '{"a": [' + "[" * 50_000 + "]" * 50_000 + "]}",
        '{"format": "tagbox-predictions", "a": ' + "[" * 5000,
    ],
    ids=["info", "open", "closed", "predictions"],
)
def test_json_that_is_too_deep(reader: Reader, text: str, tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text(text)
    refused(reader, path)


NUMBERS = ["1e400", "-1e999", "9" * 5000, "1" + "0" * 310, "NaN", "1e99999999999"]


@pytest.mark.parametrize("number", NUMBERS, ids=range(len(NUMBERS)))
def test_numbers_out_of_range_in_a_segmentation(number: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(COCO % (f', "segmentation": [[{number}, 0, 1, 1, 2, 2]]', ""))
    if number == "NaN":
        assert refused(read_coco, path).code == "json-number"
    else:
        assert [note.code for note in read_coco(path).source.notes] == ["bad-polygon"]


@pytest.mark.parametrize("number", NUMBERS, ids=range(len(NUMBERS)))
def test_numbers_out_of_range_in_results(number: str, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    for record in (
        f'{{"image_id": {number}, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}}',
        f'{{"image_id": 1, "category_id": 1, "bbox": [0, {number}, 1, 1], "score": 0.5}}',
        f'{{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": {number}}}',
    ):
        path.write_text(f"[{record}]")
        assert "[0]" in str(refused(results, path)) or number == "NaN"


@pytest.mark.parametrize(
    "text",
    [
        '{"images": [], "categories": [], "images": [{"id": 1, "file_name": "a.jpg"}]}',
        COCO % ("", ', "annotations": []'),
        COCO % ("", ', "note": "a \\" [ { ", "note": 1'),
    ],
)
def test_a_section_that_stands_twice_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    fault = refused(read_coco, path)
    assert fault.code == "json-syntax" and "twice" in fault.found and fault.where


def test_keys_are_compared_as_they_are_decoded(tmp_path: Path) -> None:
    """The image's key stands in the list and in the object, which is no repetition; ``\\u0061`` is an ``a``."""
    path = tmp_path / "labels.json"
    path.write_text(COCO % ("", ' , "images\\u0061" :  {"images": "\\"images\\": []"}\n') + "\n")
    assert len(read_coco(path)) == 1
    path.write_text(COCO % ("", ', "\\u0069mages": []'))
    assert "twice" in refused(read_coco, path).found


@pytest.mark.parametrize(
    "repeated",
    [
        ', "category_id": 1',
        ', "bbox": [0, 0, 2, 2], "area": 4, "bbox": [0, 0, 3, 3]',
        ', "\\u0069d": 2',
        ', "attributes": {"occluded": 1, "occluded": 0}',
        ', "note": "{", "iscrowd": "0", "note": null',
    ],
)
def test_a_key_that_a_record_names_twice_is_refused(repeated: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(COCO % (repeated, ""))
    fault = refused(load_dataset, path)
    assert (fault.code, fault.where) == ("json-syntax", "annotations[0]")
    assert "twice" in fault.found
    findings = check_datasets([path], pictures=False).findings
    same = [(f.where, f.found) for f in findings.kept if f.code == "json-syntax"]
    assert same == [(fault.where, fault.found)]


def test_a_key_that_stands_twice_in_what_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(COCO % ("", ', "info": {"year": 1, "year": 2}'))
    assert len(read_coco(path)) == 1
    assert not check_datasets([path], pictures=False).findings.counts["json-syntax"]


def test_a_key_that_each_record_of_a_large_file_names_twice(tmp_path: Path) -> None:
    """Of a file that a program wrote, parts are looked at."""
    one = '{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5'
    path = tmp_path / "found.json"
    path.write_text("[" + ", ".join([one + "}"] * 130_000) + "]")
    assert path.stat().st_size > 1 << 23
    assert results(path)
    path.write_text("[" + ", ".join([one + ', "score": 0.6}'] * 130_000) + "]")
    fault = refused(results, path)
    assert (fault.code, fault.where) == ("json-syntax", "[0]") and "'score'" in fault.found


@pytest.mark.parametrize("opened", ["{", '{"a":', '{"a": 1, "b": {'])
def test_large_text_of_open_objects_takes_no_time(opened: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(opened * ((10 << 20) // len(opened)))
    refused(read_coco, path)


@pytest.mark.parametrize("reader", ["thresholds", "results"])
def test_a_threshold_or_score_that_stands_twice(reader: str, tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    path.write_text(
        '{"per_category": {"x": 0.5, "x": 0.9}}'
        if reader == "thresholds"
        else '[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1, "score": 0}]'
    )
    fault = refused(JSON_READERS[reader], path)
    assert fault.code == "json-syntax" and "twice" in fault.found


def test_a_part_that_a_split_names_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text('{"version": 1, "parts": {"train": ["a"], "train": ["b"]}}')
    assert refused(Split.load, path)


YAML = {
    "deep": "[" * 2000,
    "deep mappings": "".join(" " * n + "a:\n" for n in range(200)),
    "bomb": "a: &a [" + "1, " * 100 + "]\n"
    "b: &b [" + "*a, " * 100 + "]\nc: &c [" + "*b, " * 100 + "]\nd: [" + "*c, " * 100 + "]\n",
    "loop": "a: &a [*a]\n",
    "no anchor": "a: *b\n",
    "python tag": "a: !!python/object/apply:os.system ['true']\n",
    "own tag": "a: !thing 1\n",
    "set": "a: !!set {b, c}\n",
    "binary": "a: !!binary aGk=\n",
    "list as key": "[1, 2]: a\n",
    "mapping as key": "{a: 1}: a\n",
    "twice": "a: 1\nb: 2\na: 3\n",
    "merge": "a: 1\n<<: 5\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "control character": "a: \x01\n",
    "tab": "a:\n\t- b\n",
    "cut off": "a: {b: [c, d\n",
}


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
@pytest.mark.parametrize("reader", YAML_READERS.values(), ids=YAML_READERS)
def test_yaml_that_is_refused(reader: Reader, text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    fault = refused(reader, path)
    assert fault.code in ("config-syntax", "mapping-file", "yolo-yaml")
    assert (fault.where or "").startswith("line ") or text == YAML["control character"]


@pytest.mark.parametrize("reader", YAML_READERS.values(), ids=YAML_READERS)
@pytest.mark.parametrize(
    "value", ["2001-99-99", "2001-01-01T99:99:99Z", "9" * 5000, "0x" + "f" * 9]
)
def test_scalars_that_a_library_would_convert(reader: Reader, value: str, tmp_path: Path) -> None:
    """Dates, large numbers and numbers of another base are texts, and texts are no exception of a constructor."""
    path = tmp_path / "file.yaml"
    path.write_text(f"a: {value}\n")
    try:
        found = reader(path)
    except TagboxError:
        return
    assert found == {"a": value}


def test_names_of_categories_are_texts_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    words = [
        "no",
        "yes",
        "off",
        "007",
        "1.10",
        "1_000",
        "null",
        "~",
        "0x10",
        "12:30",
        "1e5",
        "true",
    ]
    path.write_text(f"names: [{', '.join(words)}]\nnc: {len(words)}\n")
    assert read_data_yaml(path) == {"names": words, "nc": len(words)}
    path.write_text("names:\n" + "".join(f"  {n}: {word}\n" for n, word in enumerate(words)))
    assert read_data_yaml(path) == {"names": dict(enumerate(words))}


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_what_yaml_wrote_is_read_as_it_reads_it(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    """Equal to PyYAML for everything that PyYAML writes, but for texts that only here are numbers (1e5)."""
    path = tmp_path_factory.getbasetemp() / "value.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    assert read_yaml(path, "code", "hint") == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_aliases_and_merges_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\nmany: {<<: [*b, {x: 5, z: 6}]}\n")
    assert read_yaml(path, "c", "h") == yaml.safe_load(path.read_text())


def test_a_category_index_of_many_digits(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for index in ("9" * 5000, "1" * 30, "9999999999.0"):
        path.write_text(f"{index} 0.5 0.5 0.1 0.1\n")
        assert refused(lambda path: read_yolo_file(path, 80), path).code == "yolo-line"


def special_files(folder: Path) -> dict[str, Path]:
    found = {"device": Path("/dev/zero"), "folder": folder, "kernel": Path("/proc/self/status")}
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "link").symlink_to("/dev/zero")
    with open(folder / "huge", "wb") as huge:
        huge.truncate(1 << 36)
    found |= {name: folder / name for name in ("pipe", "loop", "link", "huge")}
    return found | {"long": folder / ("n" * 300), "nul": folder / "a\0b"}


ALL_READERS = JSON_READERS | YAML_READERS | {"text": read_text}


@pytest.mark.parametrize("name", ALL_READERS)
def test_special_files_are_refused_before_they_are_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for kind, path in {**special_files(tmp_path), "socket": tmp_path / "socket"}.items():
            if (name, kind) == ("dataset", "folder"):
                continue
            with pytest.raises(TagboxError) as caught:
                ALL_READERS[name](path)
            assert caught.value.file is not None or name == "recipe", kind


def test_pictures_that_are_special_files(tmp_path: Path) -> None:
    from tagbox.images.decode import read_image

    for path in special_files(tmp_path).values():
        with pytest.raises(TagboxError) as caught:
            read_image(path)
        assert caught.value.code in ("image-unreadable", "image-missing")


def test_files_of_folders_of_the_user_that_are_special(tmp_path: Path) -> None:
    """A mark, a picture that may be replaced, one side of a comparison, what a digest is of."""
    kept = tmp_path / "kept"
    kept.write_bytes(b"x")
    for kind, path in special_files(tmp_path).items():
        folder = tmp_path / f"out of {kind}"
        folder.mkdir()
        if kind not in ("long", "nul"):
            (folder / MARK).symlink_to(path)
            (folder / "kept.jpg").symlink_to(path)
            assert marked_by(folder) is None
            with pytest.raises(TagboxError, match="--save-images"):
                refuse_drawn(folder, [tmp_path / "other" / "kept.png"])
        assert not same_content(path, kept) and not same_content(kept, path)
        if kind != "huge":
            with pytest.raises(OSError):
                sha256_of(path)


def test_a_file_may_have_the_largest_size_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    assert read_file(path, 10) == bytes(10)
    with pytest.raises(OSError, match="more than"):
        read_file(path, 9)
    with open_file(path) as opened:
        assert np.frombuffer(opened.read(), np.uint8).sum() == 0


@pytest.mark.parametrize("name", ["a" * 256 + ".jpg", "a\0.jpg", "b/" * 2100 + "a.jpg"])
def test_names_of_pictures_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    """They are names of pictures that are not there, for the readers of all formats."""
    from tagbox.data.image_files import require_images

    path = tmp_path / "labels.json"
    path.write_text(COCO.replace("a.jpg", name.replace("\0", "\\u0000")) % ("", ""))
    with pytest.raises(TagboxError) as caught:
        require_images(load_dataset(path))
    assert caught.value.code == "images-not-found"
