"""COCO in, split, COCO out: no byte of a record changes."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagbox import DataConfig, TagboxError
from tagbox.data.categories import apply_mapping, keep
from tagbox.data.formats.coco import read_coco
from tagbox.data.formats.coco_write import write_coco
from tagbox.data.load import load_dataset
from tagbox.data.split import Split, stratified_parts

Write = Callable[..., Path]

SPACE = st.sampled_from(["", " ", "\n  ", "\t"])
# Values whose spelling a decoder would lose: escapes, exponents, trailing zeros, 40-digit numbers.
SPELLED = st.sampled_from(
    [
        "1.50",
        "1e2",
        "1E-7",
        "-0.0",
        "0.1000000000000000055511151231257827",
        "9007199254740993",
        "1234567890123456789012345678901234567890",
        '"caf\\u00e9 \\ud83d\\ude00"',
        '"\\/slash\\n"',
        '"naïve 日本"',
        "null",
        "true",
        "[1, 2.0 ,3]",
        "[[10.00, 2e0, 3, 4, 5, 6]]",
        '{"counts": [1, 2], "size": [3, 4]}',
        '{"id": 1, "category_id": 2}',
    ]
)
EXTRA = st.dictionaries(
    st.sampled_from(["segmentation", "licen\\u0073e", "x", "attributes", "", "ключ", "keypoints"]),
    SPELLED,
    max_size=3,
)


@st.composite
def record(draw: st.DrawFn, fields: dict[str, str]) -> str:
    """A JSON object of the fields and others nobody knows, in any order and spacing."""
    pairs = draw(st.permutations([*fields.items(), *draw(EXTRA).items()]))
    space = draw(SPACE)
    return "{" + f",{space}".join(f'"{k}"{space}:{space}{v}' for k, v in pairs) + space + "}"


@st.composite
def coco_text(draw: st.DrawFn) -> str:
    """A COCO file as some exporter might write it."""
    images = draw(st.lists(st.integers(0, 10**12), unique=True, min_size=2, max_size=12))
    categories = draw(st.lists(st.integers(0, 200), unique=True, min_size=1, max_size=4))
    quoted = '"' if draw(st.booleans()) else ""
    lists = {"images": [], "annotations": [], "categories": []}
    for image in images:
        name = draw(
            st.sampled_from([f"{image}.jpg", f"sub/{image}.png", f"caf\\u00e9-{image}.jpg"])
        )
        fields = {"id": f"{quoted}{image}{quoted}", "file_name": f'"{name}"'}
        lists["images"].append(draw(record(fields)))
        for _ in range(draw(st.integers(0, 3))):
            fields = {
                "id": str(draw(st.integers(0, 10**6))),
                "image_id": f"{quoted}{image}{quoted}",
                "category_id": str(draw(st.sampled_from(categories))),
                "bbox": draw(st.sampled_from(["[0, 1.0, 2.50, 3e0]", "[1,2,3,4]"])),
            }
            lists["annotations"].append(draw(record(fields)))
    for category in categories:
        lists["categories"].append(
            draw(record({"id": str(category), "name": f'"category \\u00e9{category}"'}))
        )
    top = [f'"{k}": [{", ".join(v)}]' for k, v in lists.items()]
    top += [f'"{k}": {v}' for k, v in draw(EXTRA).items()]
    return "{" + ",\n".join(draw(st.permutations(top))) + "}"


def raw_lists(path: Path) -> dict[str, list[bytes]]:
    top = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    return {
        name: [bytes(raw) for raw in msgspec.json.decode(top[name], type=list[msgspec.Raw])]
        for name in ("images", "annotations", "categories")
    }


def others(path: Path) -> dict[str, bytes]:
    top = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    return {
        key: bytes(value)
        for key, value in top.items()
        if key not in ("images", "annotations", "categories")
    }


@settings(deadline=None, max_examples=60)
@given(text=coco_text(), seed=st.integers(0, 5), share=st.floats(0.2, 0.8))
def test_split_and_written_no_byte_of_a_record_changes(text: str, seed: int, share: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all.json"
        path.write_text(text)
        whole = read_coco(path)
        rows = stratified_parts(whole.labels, (share, 1 - share), seed)
        split = Split.of(whole, {"train": rows[0], "val": rows[1]}, seed=seed)
        pieces = []
        for part, dataset in split.apply(whole).items():
            target = Path(folder) / f"{part}.json"
            write_coco(dataset, target)
            pieces.append(raw_lists(target))
            assert others(target) == others(path)
            again = read_coco(target)
            assert again.images.ids.tolist() == dataset.images.ids.tolist()
            assert again.labels.tolist() == dataset.labels.tolist()
        original = raw_lists(path)
        for name in ("images", "annotations"):
            assert sorted(pieces[0][name] + pieces[1][name]) == sorted(original[name])
        assert pieces[0]["categories"] == pieces[1]["categories"] == original["categories"]


def test_real_file_in_three_parts(shared_data: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    path = shared_data / "coco-eval/instances_val2014_100.json"
    whole = read_coco(path)
    rows = stratified_parts(whole.labels, (0.6, 0.2, 0.2), 0)
    found = []
    for number, part in enumerate(rows):
        target = tmp_path / f"{number}.json"
        write_coco(whole.take(part), target)
        found += json.loads(target.read_text())["annotations"]
        with contextlib.redirect_stdout(io.StringIO()):
            assert len(COCO(str(target)).imgs) == len(part)
    expected = json.loads(path.read_text())["annotations"]
    assert sorted(found, key=lambda a: a["id"]) == sorted(expected, key=lambda a: a["id"])


def test_renamed_category_changes_its_id_and_nothing_else(coco: Write, tmp_path: Path) -> None:
    annotations = [
        {"x": 1.5, "id": 1, "image_id": 3, "category_id": 7, "area": 9},
        {"id": 2, "image_id": 5, "category_id": 4, "area": 9},
    ]
    path = coco(annotations=annotations)
    merged = apply_mapping(read_coco(path), {"cat": "pet", "dog": "pet"}, path)
    write_coco(merged, tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["annotations"] == [annotations[0], annotations[1] | {"category_id": 7}]
    assert raw_lists(tmp_path / "out.json")["annotations"][0] == raw_lists(path)["annotations"][0]
    assert [c["name"] for c in written["categories"]] == ["pet", "car"]
    again = read_coco(tmp_path / "out.json")
    assert again.labels.tolist() == merged.labels.tolist()


def test_kept_categories_keep_their_records(coco: Write, tmp_path: Path) -> None:
    path = coco()
    write_coco(keep(read_coco(path), ["car"]), tmp_path / "out.json")
    written = raw_lists(tmp_path / "out.json")
    assert written["categories"] == [raw_lists(path)["categories"][1]]
    assert written["annotations"] == [raw_lists(path)["annotations"][1]]
    assert written["images"] == raw_lists(path)["images"]


def test_unlabelled_images_stay_unlabelled(coco: Write, tmp_path: Path) -> None:
    write_coco(read_coco(coco(drop=("annotations",))), tmp_path / "out.json")
    assert not read_coco(tmp_path / "out.json").images.labelled.any()


def test_changed_source_is_noticed(coco: Write, tmp_path: Path) -> None:
    dataset = read_coco(coco())
    for lists in (
        {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []},
        {"images": [{"id": n, "file_name": "a.jpg"} for n in (5, 3, 8)]},
    ):
        coco(**lists)
        with pytest.raises(TagboxError) as caught:
            write_coco(dataset, tmp_path / "out.json")
        assert caught.value.code == "source-changed"
        assert not (tmp_path / "out.json").exists()


def test_half_labelled_cannot_be_written(coco: Write, tmp_path: Path) -> None:
    dataset = read_coco(coco())
    images = replace(dataset.images, labelled=np.array([True, False, True]))
    with pytest.raises(TagboxError) as caught:
        write_coco(replace(dataset, images=images), tmp_path / "out.json")
    assert caught.value.code == "labels-unknown"


def test_over_its_own_source(coco: Write) -> None:
    path = coco()
    dataset = read_coco(path)
    write_coco(dataset.take([0, 2]), path)
    assert read_coco(path).images.ids.tolist() == [5, 9]


def test_from_another_format(tmp_path: Path, picture: Callable[..., Path]) -> None:
    picture(tmp_path / "cat" / "1.png", (30, 20))
    picture(tmp_path / "dog" / "2.png", (10, 40))
    write_coco(load_dataset(tmp_path), tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["images"] == [
        {"id": 1, "file_name": "cat/1.png", "width": 30, "height": 20},
        {"id": 2, "file_name": "dog/2.png", "width": 10, "height": 40},
    ]
    assert written["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 0, "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 1, "iscrowd": 0},
    ]
    again = load_dataset(tmp_path / "out.json", DataConfig())
    assert again.images.path(0).is_file()
    assert again.labels.tolist() == [[1, 0], [0, 1]]
