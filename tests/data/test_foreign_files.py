"""Files of other tools and other kinds are named for what they are, with a way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tagbox import TagboxError
from tagbox.checks.check import check_dataset
from tagbox.data.load import load_dataset

CVAT = """<?xml version="1.0"?><annotations><version>1.1</version>
<image id="0" name="a.png" width="9" height="9"><box label="cat" xtl="1" ytl="1" xbr="5" ybr="5"/></image>
</annotations>"""
VIA_3 = {
    "project": {"pid": "__VIA_PROJECT_ID__", "rev": "__VIA_PROJECT_REV_ID__"},
    "file": {"1": {"fid": "1", "fname": "a.png"}},
    "metadata": {"1_x": {"vid": "1", "xy": [2, 1, 2, 5, 5], "av": {"1": "cat"}}},
}
VIA_CSV = """filename,file_size,region_count,region_id,region_shape_attributes,region_attributes
a.png,9,1,0,"{""name"":""rect""}","{""label"":""cat""}"
"""
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
FILES: dict[str, tuple[str, Any, str, str]] = {
    "VIA 2": ("v.json", {"_via_settings": {}, "_via_img_metadata": {}}, "format-unknown", "VGG"),
    "VIA 3": ("v.json", VIA_3, "format-unknown", "VGG"),
    "VIA's CSV": ("v.csv", VIA_CSV, "csv-header", "VGG"),
    "VIA 3's CSV": ("v.csv", '# SHAPE_ID = {"POINT":1}\n"1_x",0\n', "csv-header", "VGG"),
    "tasks to be labelled": (
        *("t.json", [{"data": {"image": "a.png"}}], "format-unknown", "Label Studio"),
    ),
    "CreateML's classes": (
        *("c.json", [{"image": "a.png", "annotation": "cat"}], "format-unknown", "CreateML"),
    ),
    "an archive": ("coco.zip", "PK\x03\x04", "format-unknown", "unpack it"),
    "a packed JSON": ("coco.json.gz", "\x1f", "format-unknown", "unpack it"),
    "lines of JSON": ("metadata.jsonl", '{"file_name": "a.png"}\n', "format-unknown", "as a CSV"),
    "a workbook": ("labels.xlsx", "PK\x03\x04", "format-unknown", "as a CSV"),
    "a pointer for JSON": ("coco.json", POINTER, "file-unreadable", "git lfs pull"),
    "a pointer for a CSV": ("labels.csv", POINTER, "file-unreadable", "git lfs pull"),
}


@pytest.mark.parametrize(("name", "content", "code", "words"), FILES.values(), ids=FILES.keys())
def test_files_of_other_tools(
    tmp_path: Path, name: str, content: Any, code: str, words: str
) -> None:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(TagboxError) as caught:
        load_dataset(path)
    assert caught.value.code == code
    assert words in f"{caught.value.found}; {caught.value.hint}"
    assert code in {finding.code for finding in check_dataset(path)}


def test_the_xml_of_cvat_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_text(CVAT)
    with pytest.raises(TagboxError, match=r"annotations\.xml: this XML is not Pascal VOC"):
        load_dataset(tmp_path)


def test_the_metadata_of_hugging_face_as_csv(tmp_path: Path) -> None:
    """What the hint for its JSON lines asks for."""
    (tmp_path / "metadata.csv").write_text("file_name,label\na.png,cat\nb.png,dog\n")
    assert load_dataset(tmp_path).labels.tolist() == [[1, 0], [0, 1]]
