"""Bad input for a detector, each kind once: what `tagbox check` says, and what a training refuses.

The form is that of `test_bad_input`: code, file and place are said, nothing changes on disk, and there is
no traceback. A training's refusals are those of reading the data and of `training_boxes`, which come
before its first step.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bad_input_data import Build, both, challenge, coco, coco_text, field, labelme, without, yolo
from tagbox import TagboxError
from tagbox.cli.app import main
from tagbox.data.load import load_dataset
from tagbox.data.training_boxes import training_boxes
from test_bad_input import content_hash

BOX = "annotations[1] (id 2).bbox"
POLYGON = [[1, 2, 9, 2, 9, 8]]


def each(change: Callable[[dict[str, Any], list[float]], object]) -> Build:
    """A COCO dataset with every annotation changed, given its box."""

    def spoil(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            change(annotation, list(annotation["bbox"]))

    return coco(spoil)


def second(**values: Any) -> Build:
    """A COCO dataset with other values in its second annotation; None takes a field away."""

    def spoil(content: dict[str, Any]) -> None:
        annotation = content["annotations"][1]
        for name, value in values.items():
            if value is None:
                annotation.pop(name, None)
            else:
                annotation[name] = value

    return coco(spoil)


def again(**values: Any) -> Build:
    """A COCO dataset with its second annotation a second time, and other values in that."""
    return coco(
        lambda content: content["annotations"].append(
            {**content["annotations"][1], "id": 5, **values}
        )
    )


def ids(change: Callable[[Any], Any]) -> Build:
    """A COCO dataset with other ids of images and annotations."""

    def spoil(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["id"] = change(image["id"])
        for annotation in content["annotations"]:
            annotation["id"], annotation["image_id"] = (
                change(annotation[name]) for name in ("id", "image_id")
            )

    return coco(spoil)


def corners(annotation: dict[str, Any], box: list[float]) -> None:
    x, y, w, h = box
    annotation["bbox"] = [x + 15, y + 12, min(x + 15 + w, 40), min(y + 12 + h, 30)]


def parts(annotation: dict[str, Any], box: list[float]) -> None:
    x, y, w, h = box
    annotation["bbox"] = [x / 40, y / 30, w / 40, h / 30]


class Case(NamedTuple):
    """One input: what a check must say of it (and with which exit code), and what a training must."""

    build: Build
    check: str
    where: str
    exit_code: int = 0
    training: str = ""
    refused_at: str = ""
    file: str = "labels.json"
    data: str = "labels.json"


CASES = [
    # boxes outside the picture: wholly, by half, and by the width of a rounded edge
    Case(second(bbox=[50, 5, 9, 9]), "box-outside", BOX, 1, "box-outside", BOX),
    Case(second(bbox=[-30, -9, 20, 5]), "box-outside", BOX, 1, "box-outside", BOX),
    Case(second(bbox=[30, 5, 20, 9]), "box-leaves-image", BOX),
    # no width, no height, both negative, a width without end
    Case(second(bbox=[5, 5, 0, 9]), "box-degenerate", BOX, 1, "box-degenerate", BOX),
    Case(second(bbox=[5, 5, 9, 0]), "box-degenerate", BOX, 1, "box-degenerate", BOX),
    Case(second(bbox=[5, 5, -3, 9]), "bad-box", BOX, 1, "bad-box", "annotations[1] (id 2).bbox"),
    Case(
        coco_text(lambda t: t.replace("[0, 0, 40, 30]", "[0, NaN, 40, 30]")),
        "json-number",
        "annotations[1] (id 2).bbox[1]",
        1,
        "json-number",
        "line 14",
    ),
    Case(
        coco_text(lambda t: t.replace("[0, 0, 40, 30]", "[0, 0, Infinity, 30]")),
        "json-number",
        "annotations[1] (id 2).bbox[2]",
        1,
        "json-number",
        "line 14",
    ),
    # three numbers, a text, null within
    Case(second(bbox=[5, 5, 9]), "bad-box", BOX, 1, "bad-box", "annotations[1] (id 2).bbox"),
    Case(
        second(bbox=[5, 5, "9", 9]),
        "bad-box",
        BOX + "[2]",
        1,
        "bad-box",
        "annotations[1] (id 2).bbox",
    ),
    Case(
        second(bbox=[5, 5, [], 9]),
        "bad-box",
        BOX + "[2]",
        1,
        "bad-box",
        "annotations[1] (id 2).bbox",
    ),
    Case(second(bbox="5 5 9 9"), "bad-box", BOX, 1, "bad-box", "annotations[1] (id 2).bbox"),
    # the whole file writes boxes in another way
    Case(each(corners), "boxes-corners", "annotations[].bbox", 1, "boxes-corners", "annotations[]"),
    Case(
        each(parts),
        "boxes-normalised",
        "annotations[].bbox",
        1,
        "boxes-normalised",
        "annotations[]",
    ),
    # no box: not even a segmentation, an empty one, a crowd's
    Case(
        without("annotations", 1, "bbox"),
        "annotation-without-box",
        BOX,
        0,
        "annotation-without-box",
        BOX,
    ),
    Case(
        second(bbox=[], segmentation=[]),
        "annotation-without-box",
        BOX,
        0,
        "annotation-without-box",
        BOX,
    ),
    Case(
        second(bbox=None, iscrowd=1),
        "annotation-without-box",
        BOX,
        0,
        "annotation-without-box",
        BOX,
    ),
    # a polygon with an odd number, of two points, with a text; an RLE that breaks off, is of another size
    Case(
        second(bbox=None, segmentation=[[1, 2, 3, 4, 5, 6, 7]]),
        "bad-polygon",
        "annotations[1] (id 2).segmentation[0]",
        1,
        "bad-polygon",
        "annotations[1] (id 2).segmentation[0]",
    ),
    Case(
        second(bbox=None, segmentation=[*POLYGON, [1, 2, 3, 4]]),
        "bad-polygon",
        "annotations[1] (id 2).segmentation[1]",
        1,
        "bad-polygon",
        "annotations[1] (id 2).segmentation[1]",
    ),
    Case(
        second(bbox=None, segmentation={"size": [30, 40], "counts": "PPP"}),
        "bad-rle",
        "annotations[1] (id 2).segmentation.counts",
        1,
        "bad-rle",
        "annotations[1] (id 2).segmentation.counts",
    ),
    Case(
        second(bbox=None, segmentation={"size": [30, 40], "counts": [5, 6]}),
        "bad-rle",
        "annotations[1] (id 2).segmentation.counts",
        1,
        "bad-rle",
        "annotations[1] (id 2).segmentation.counts",
    ),
    Case(
        second(bbox=None, segmentation={"size": "30x40", "counts": [1200]}),
        "bad-rle",
        "annotations[1] (id 2).segmentation.size",
        1,
        "bad-rle",
        "annotations[1] (id 2).segmentation.size",
    ),
    # beside a box a broken segmentation stops nobody
    Case(
        second(segmentation=[[1, 2, 3]]),
        "segmentation-broken",
        "annotations[1] (id 2).segmentation[0]",
    ),
    # a box that is not around its segmentation, an area larger than its box, a negative one
    Case(second(bbox=[20, 20, 9, 9], segmentation=POLYGON), "box-unlike-segmentation", BOX),
    Case(second(area=5000), "area-unlike-box", "annotations[1] (id 2).area"),
    Case(second(area=-5), "bad-area", "annotations[1] (id 2).area", 1),
    Case(
        second(area="big"),
        "json-field",
        "annotations[1] (id 2).area",
        1,
        "json-field",
        "annotations[1] (id 2).area",
    ),
    # smaller than a pixel, as large as the picture, twice
    Case(second(bbox=[5, 5, 0.2, 9]), "box-tiny", BOX),
    Case(coco(), "box-whole-image", BOX),
    Case(again(), "duplicate-box", "annotations[4] (id 5).bbox"),
    # ids: an annotation's twice, 0, none; a category 0 that nobody knows; an image nobody has
    Case(again(id=2, image_id=1), "duplicate-annotation-id", "annotations[4].id", 1),
    Case(second(id=0), "annotation-id-zero", "annotations[1] (id 0)"),
    Case(without("annotations", 1, "id"), "missing-annotation-id", "annotations[1]"),
    Case(
        second(category_id=0),
        "unknown-category-id",
        "annotations[1] (id 2).category_id",
        1,
        "unknown-category-id",
        "annotations[1].category_id",
    ),
    Case(
        second(image_id=99),
        "unknown-image-id",
        "annotations[1] (id 2).image_id",
        1,
        "unknown-image-id",
        "annotations[1].image_id",
    ),
    # texts for ids: throughout they are read, one among numbers is none
    Case(ids(str), "id-text", "id"),
    Case(
        second(image_id="2"),
        "id-type",
        "annotations[1] (id 2).image_id",
        1,
        "id-type",
        "annotations[1] (id 2).image_id",
    ),
    # null for the list, for a record, for what is required
    Case(
        coco(lambda c: c.update(annotations=None)),
        "json-field",
        "annotations",
        1,
        "no-boxes",
        "",
    ),
    Case(
        coco(lambda c: c["annotations"].append(None)),
        "json-field",
        "annotations[4]",
        1,
        "json-field",
        "annotations[4]",
    ),
    Case(
        second(category_id=None),
        "json-field",
        "annotations[1] (id 2)",
        1,
        "json-field",
        "annotations[1] (id 2).category_id",
    ),
    # a crowd that is neither; no annotation at all
    Case(
        second(iscrowd=7),
        "json-field",
        "annotations[1] (id 2).iscrowd",
        1,
        "json-field",
        "annotations[1] (id 2).iscrowd",
    ),
    Case(
        coco(lambda c: c["annotations"].clear()),
        "category-unused",
        "category id 1",
        0,
        "no-boxes",
        "",
    ),
    # a picture that is not there, and one of another size than its boxes are of
    Case(
        both(coco(), lambda f: (f / "images/b.jpg").unlink()),
        "image-missing",
        "image id 2",
        1,
        file="images/b.jpg",
    ),
    Case(
        field("images", 1, width=80, height=60),
        "size-mismatch",
        "image id 2",
        1,
        file="images/b.jpg",
    ),
    # labels without boxes
    Case(
        challenge(d=""),
        "image-without-annotations",
        "",
        0,
        "no-boxes",
        "",
        file="data",
        data="data",
    ),
    # YOLO: a box without width; pixels in place of parts
    Case(
        yolo(b="1 0.5 0.5 0 0.2\n"),
        "box-degenerate",
        "b.jpg, annotation 1 of it",
        1,
        "box-degenerate",
        "b.jpg, annotation 1 of it",
        file="data",
        data="data",
    ),
    Case(
        yolo(b="1 20 15 10 10\n"),
        "yolo-line",
        "line 1",
        1,
        "yolo-line",
        "line 1",
        file="data/labels/b.txt",
        data="data",
    ),
    # labelme: a line, a point
    Case(
        labelme(
            b='{"shapes": [{"label": "elk", "points": [[3, 3], [3, 9]], "shape_type": "line"}],'
            ' "imagePath": "b.jpg"}'
        ),
        "box-degenerate",
        "b.jpg, annotation 1 of it",
        1,
        "box-degenerate",
        "b.jpg, annotation 1 of it",
        file="data",
        data="data",
    ),
    Case(
        labelme(
            b='{"shapes": [{"label": "elk", "points": [[3, 3]], "shape_type": "point"}],'
            ' "imagePath": "b.jpg"}'
        ),
        "annotation-without-box",
        "b.jpg, annotation 1 of it",
        0,
        "annotation-without-box",
        "b.jpg, annotation 1 of it",
        file="data",
        data="data",
    ),
]
NAMED = [
    pytest.param(n, case, id=f"{n:02}-{case.check}{'-refused' * bool(case.training)}")
    for n, case in enumerate(CASES)
]


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens:UserWarning")
@pytest.mark.parametrize(("number", "case"), NAMED)
def test_a_check_says_it(
    number: int,
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    case.build(tmp_path)
    before = content_hash(tmp_path)
    if number % 10 == 0:  # the installed command; the others call what it calls
        done = cli("check", case.data, "--json", cwd=tmp_path)
        exit_code, out, said = done.returncode, done.stdout, done.stderr
    else:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["tagbox", "check", case.data, "--json"])
        with pytest.raises(SystemExit) as stopped:
            main()
        exit_code = int(stopped.value.code or 0)
        out, said = capsys.readouterr()
    assert "Traceback" not in said + out
    findings = json.loads(out)["findings"]
    here = [finding for finding in findings if finding["code"] == case.check]
    assert here, findings
    first = here[0]
    assert first["file"].endswith(case.file), first
    assert case.where in (first["where"] or ""), first
    assert first["found"] and first["hint"]
    assert exit_code == case.exit_code, findings
    assert exit_code or first["severity"] != "error"
    if case.training == case.check:  # What stops a training is an error, or its hint says so.
        assert first["severity"] == "error" or "stops at it" in first["hint"], first
    assert content_hash(tmp_path) == before


@pytest.mark.parametrize(("number", "case"), NAMED)
def test_a_training_refuses_it_before_the_first_step(
    number: int, case: Case, tmp_path: Path
) -> None:
    case.build(tmp_path)
    before = content_hash(tmp_path)
    try:
        training_boxes(load_dataset(tmp_path / case.data))
    except TagboxError as error:
        assert error.code == case.training, str(error)
        assert (error.file or "").endswith(case.file), str(error)
        assert case.refused_at in (error.where or ""), str(error)
        assert error.hint and "\n" not in str(error)
    else:
        assert not case.training
    assert content_hash(tmp_path) == before


SOUND = [
    # ids with gaps, from 0, negative; a category 0; numbers as floats; ids in quotes throughout
    ids(lambda number: number * 1000 + 7),
    ids(lambda number: number - 1),
    ids(lambda number: -number),
    ids(float),
    ids(str),
    coco(
        lambda c: (
            c["categories"][0].update(id=0),
            [a.update(category_id=0) for a in c["annotations"] if a["category_id"] == 1],
        )
    ),
    # null where nothing need stand
    second(area=0, iscrowd=0, segmentation=[]),
    coco(lambda c: c["annotations"][1].update(area=None, iscrowd=None, segmentation=None)),
    # boxes from segmentations throughout
    each(
        lambda a, b: (
            a.pop("bbox"),
            a.update(segmentation=[[b[0], b[1], b[0] + b[2], b[1], b[0] + b[2], b[1] + b[3]]]),
        )
    ),
    # a rounded edge over the picture's
    second(bbox=[-0.5, 0, 40.9, 30.4]),
]


@pytest.mark.parametrize("build", SOUND)
def test_odd_and_sound_data_is_taken(build: Build, tmp_path: Path) -> None:
    build(tmp_path)
    truth = training_boxes(load_dataset(tmp_path / "labels.json"))
    assert truth.rows.tolist() == [0, 1, 2, 3] and truth.dropped == {}
    expected = [[1, 2, 11, 12], [0, 0, 40, 30], [5, 5, 10, 10], [5, 5, 10, 10]]
    assert [truth[row].boxes.tolist() for row in range(4)] == [[box] for box in expected]
    assert [truth[row].labels.tolist() for row in range(4)] == [[0], [1], [0], [1]]


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40
    assert len({case.check for case in CASES} | {case.training for case in CASES}) >= 20
