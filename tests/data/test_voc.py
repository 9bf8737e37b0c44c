"""Pascal VOC: boxes, difficult objects, lists of ImageSets, layouts of other tools, and XML that means harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

from tagbox import DataConfig, TagboxError
from tagbox.checks.check import check_datasets
from tagbox.data.export import export
from tagbox.data.load import load_dataset, recognise, stated_names

Picture = Callable[..., Path]


def xml(
    path: Path, *objects: tuple[str, int, int, int, int], filename: str = "", more: str = ""
) -> Path:
    found = "".join(
        f"<object><name>{name}</name><difficult>{int(name.endswith('!'))}</difficult><bndbox>"
        f"<xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>".replace(
            "!<", "<"
        )
        for name, a, b, c, d in objects
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<?xml version='1.0'?>\n<annotation>{more}<filename>{filename}</filename><size><width>96</width>"
        f"<height>80</height><depth>3</depth></size>{found}</annotation>"
    )
    return path


@pytest.fixture
def voc(tmp_path: Path, picture: Picture) -> Path:
    """Three annotated images of VOC's layout, one of them with a difficult object, and one without annotation."""
    for name in "abcd":
        picture(tmp_path / f"VOC/JPEGImages/{name}.jpg", (96, 80))
    folder = tmp_path / "VOC/Annotations"
    xml(folder / "a.xml", ("dog", 10, 20, 30, 60), filename="a.jpg")
    xml(folder / "b.xml", ("cat", 0, 0, 96, 80), ("dog!", 5, 5, 9, 9), filename="b.jpg")
    xml(folder / "c.xml", filename="c.jpg")
    return tmp_path / "VOC"


def test_boxes(voc: Path) -> None:
    for path in (voc, voc.parent):
        assert recognise(path) == "voc"
    dataset = load_dataset(voc)
    assert dataset.categories.names == ("cat", "dog")
    assert dataset.images.files.tolist() == [f"JPEGImages/{n}.jpg" for n in "abcd"]
    assert dataset.images.labelled.tolist() == [True, True, True, False]
    assert_allclose(dataset.annotations.boxes, [[10, 20, 20, 40], [0, 0, 96, 80], [5, 5, 4, 4]])
    assert dataset.annotations.crowd.tolist() == [False, False, True]
    assert dataset.images.widths.tolist() == [96, 96, 96, 0]


def test_difficult_is_said(voc: Path) -> None:
    findings = check_datasets([voc], pictures=False).findings
    assert findings.counts["difficult-as-crowd"] == 1
    assert findings.totals["error"] == 0


def test_boxes_of_the_challenge_count_from_1(tmp_path: Path) -> None:
    source = "<source><database>The VOC2007 Database</database></source>"
    xml(tmp_path / "a.xml", ("cat", 1, 1, 96, 80), more=source)
    assert load_dataset(tmp_path).annotations.boxes.tolist() == [[0, 0, 96, 80]]


def test_lists(voc: Path) -> None:
    lists = voc / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("a\nb\n")
    (lists / "dog_trainval.txt").write_text("a 1\nb 0\n")
    (lists / "test.txt").write_text("c\n")
    assert stated_names(voc, DataConfig()) == ("train", "test")
    with pytest.raises(TagboxError, match="states the splits train, test"):
        load_dataset(voc)
    assert load_dataset(voc, split="test").images.files.tolist() == ["JPEGImages/c.jpg"]
    (lists / "train.txt").write_text("b\n")
    (lists / "val.txt").write_text("a\n")
    assert stated_names(voc, DataConfig()) == ("train", "val", "test")
    train = load_dataset(voc, split="train")
    assert train.images.files.tolist() == ["JPEGImages/b.jpg"]
    assert train.categories.names == load_dataset(voc, split="val").categories.names
    (lists / "val.txt").write_text("a\nz\n")
    with pytest.raises(TagboxError, match="no annotation of 'z'") as caught:
        load_dataset(voc, split="val")
    assert caught.value.code == "file-missing"


def test_beside_the_images_in_splits(tmp_path: Path, picture: Picture) -> None:
    for split in ("train", "valid"):
        picture(tmp_path / split / "same.jpg")
        xml(tmp_path / split / "same.xml", ("cat" if split == "train" else "dog", 1, 1, 5, 5))
    train, validation = (load_dataset(tmp_path, split=split) for split in ("train", "val"))
    assert train.images.files.tolist() == ["train/same.jpg"]
    assert validation.images.files.tolist() == ["valid/same.jpg"]
    assert train.categories.names == validation.categories.names == ("cat", "dog")


def test_names_that_the_file_says(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "images/photo.jpg")
    xml(tmp_path / "labels/1.xml", ("cat", 1, 1, 5, 5), filename="C:\\me\\photo.jpg")
    assert load_dataset(tmp_path).images.files.tolist() == ["images/photo.jpg"]
    picture(tmp_path / "images/1.jpg")
    with pytest.raises(TagboxError, match="may be") as caught:
        load_dataset(tmp_path)
    assert caught.value.code == "image-ambiguous"
    (tmp_path / "images/1.jpg").unlink()
    (tmp_path / "images/photo.jpg").unlink()
    picture(tmp_path / "images/other.jpg")
    with pytest.raises(TagboxError) as caught:
        load_dataset(tmp_path)
    assert caught.value.code == "label-without-image"


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("<xmin>10</xmin>", "<xmin>ten</xmin>", "voc-field", "object 1"),
        ("<xmin>10</xmin>", "<xmin>nan</xmin>", "voc-field", "object 1"),
        ("<xmin>10</xmin>", "", "voc-field", "object 1"),
        ("<xmax>30</xmax>", "<xmax>3</xmax>", "voc-field", "before it begins"),
        ("<name>dog</name>", "<name> </name>", "voc-field", "no name"),
        ("</annotation>", "", "xml-syntax", "not XML"),
        (
            "<annotation>",
            "<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><annotation>",
            "xml-syntax",
            "DOCTYPE",
        ),
        ("<filename>", "<x>" * 1000 + "</x>" * 1000 + "<filename>", "xml-syntax", "inside each"),
        ("encoding", "encoding", "xml-syntax", "this is not XML|encoding"),
    ],
)
def test_bad_xml(voc: Path, old: str, new: str, code: str, said: str) -> None:
    path = voc / "Annotations/a.xml"
    text = path.read_text()
    if old == "encoding":
        text = text.replace("version='1.0'", "version='1.0' encoding='nothing'")
    path.write_text(text.replace(old, new))
    with pytest.raises(TagboxError, match=said) as caught:
        load_dataset(voc)
    assert (caught.value.code, caught.value.file) == (code, str(path))
    assert check_datasets([voc], pictures=False).findings.counts[code] == 1


def test_written_and_read_again(voc: Path, tmp_path: Path) -> None:
    dataset = load_dataset(voc)
    labelled = dataset.take([0, 1, 2])
    written = export(labelled, tmp_path / "out", "train", "voc", "copy")
    again = load_dataset(written)
    assert again.images.files.tolist() == labelled.images.files.tolist()
    assert_allclose(again.annotations.boxes, labelled.annotations.boxes)
    assert again.annotations.crowd.tolist() == labelled.annotations.crowd.tolist()
    assert again.labels.tolist() == labelled.labels.tolist()


@pytest.mark.parametrize("name", ["<b>&amp;\"'", "ünï 猫", "a/b"])
def test_names_survive_and_what_cannot_is_refused(voc: Path, tmp_path: Path, name: str) -> None:
    from dataclasses import replace

    dataset = load_dataset(voc).take([0, 1])
    named = replace(dataset, categories=replace(dataset.categories, names=(name, "dog")))
    written = export(named, tmp_path / "out", "train", "voc", "link")
    assert set(load_dataset(written).categories.names) == {name, "dog"}
    bad = replace(dataset, categories=replace(dataset.categories, names=("a\nb", "dog")))
    with pytest.raises(TagboxError, match="cannot be written in XML"):
        export(bad, tmp_path / "bad", "train", "voc", "link")


def test_what_is_not_voc(tmp_path: Path, picture: Picture) -> None:
    (tmp_path / "annotations.xml").write_text("<annotations><image id='0'/></annotations>")
    with pytest.raises(TagboxError, match="not Pascal VOC; export it as COCO"):
        load_dataset(tmp_path / "annotations.xml")
    one = xml(tmp_path / "x/a.xml", ("cat", 1, 1, 5, 5))
    with pytest.raises(TagboxError, match="point at its folder"):
        load_dataset(one)
    project = tmp_path / "project"
    for dataset in ("ds0", "ds1"):
        picture(project / dataset / "img/a.png")
        ann = project / dataset / "ann/a.png.json"
        ann.parent.mkdir()
        ann.write_text('{"size": {"height": 5, "width": 5}, "objects": []}')
    (project / "meta.json").write_text('{"classes": []}')
    for path in (project, project / "ds0"):
        with pytest.raises(TagboxError, match="Supervisely"):
            load_dataset(path)
