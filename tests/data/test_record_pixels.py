"""Records of another size than their file: turned, scaled or refused, by one rule for every command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from tagbox.api.report_examples import detector_examples
from tagbox.checks.check import check_dataset
from tagbox.config import DetectorConfig
from tagbox.data.dataset import Dataset
from tagbox.data.export import export
from tagbox.data.load import load_dataset
from tagbox.data.record_pixels import record_pixels
from tagbox.data.training_boxes import training_boxes
from tagbox.errors import TagboxError
from tagbox.progress import Silent
from tagbox.training.box_batches import BoxReader
from tagbox.training.detector import evaluate_detector
from toy_detectors import NAMES, PatchDetector, patch_bundle, patch_spec, scene

STORED = (96, 60)
PATCH = (12, 7, 30, 20)
TALL = (5, 8, 20, 50)
WIDE = (30, 8, 60, 20)
Made = Callable[..., Dataset]


def save(path: Path, orientation: int, *, size: tuple[int, int] = STORED) -> None:
    """A picture with a red patch at `PATCH` as it is stored, which its EXIF turns."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(scene(*size, [("red", PATCH)])).save(path, exif=exif)


def upright_patch(path: Path) -> list[float]:
    """Where Pillow shows the red patch."""
    with Image.open(path) as stored:
        shown = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    rows, columns = np.nonzero((shown == (255, 0, 0)).all(axis=2))
    left, top = int(columns.min()), int(rows.min())
    return [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]


def written(
    folder: Path, records: list[dict[str, Any]], annotations: list[dict[str, Any]] | None = None
) -> Dataset:
    """A COCO file of pictures in `folder`, each with one box ``bbox``, or the annotations given."""
    if annotations is None:
        annotations = [
            {"id": n, "image_id": n, "category_id": 3, "iscrowd": 0, "bbox": r["bbox"]}
            | {"area": r["bbox"][2] * r["bbox"][3]}
            for n, r in enumerate(records, 1)
        ]
    content = {
        "images": [
            {"id": n} | {k: v for k, v in record.items() if k != "bbox"}
            for n, record in enumerate(records, 1)
        ],
        "categories": [
            {"id": number, "name": name} for number, name in zip((3, 1, 90), NAMES, strict=True)
        ],
        "annotations": annotations,
    }
    (folder / "labels.json").write_text(json.dumps(content))
    return load_dataset(folder / "labels.json")


def turned(folder: Path, orientation: int, **more: Any) -> dict[str, Any]:
    """The record of a new picture that is as it is stored."""
    name = f"{len(list(folder.iterdir()))}.png"
    save(folder / name, orientation)
    return {"file_name": name, "width": 96, "height": 60, "bbox": list(PATCH)} | more


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_stored_record_is_turned_as_pillow_turns_the_image(
    tmp_path: Path, orientation: int
) -> None:
    # The second image shows by its size that the labels were made without turning.
    dataset = written(tmp_path, [turned(tmp_path, orientation), turned(tmp_path, 6)])
    pixels = record_pixels(dataset)
    moved = pixels.in_file()
    expected = upright_patch(tmp_path / dataset.images.files[0])
    assert moved.annotations.boxes[0].tolist() == expected
    assert (moved.images.widths[0], moved.images.heights[0]) == (
        (60, 96) if orientation >= 5 else (96, 60)
    )
    back = pixels.to_record(moved.annotations.boxes, moved.annotations.image_rows)
    assert np.abs(back - dataset.annotations.boxes).max() < 1e-12
    read, truth = BoxReader(dataset, training_boxes(dataset), 96).read(0)
    left, top, right, bottom = truth.boxes[0].round().astype(int)
    assert (read[top:bottom, left:right] == (255, 0, 0)).all()
    assert (read == (255, 0, 0)).all(axis=2).sum() == (right - left) * (bottom - top)


def test_mirrored_records_are_left_where_nothing_shows_how_they_were_made(tmp_path: Path) -> None:
    mirrored = turned(tmp_path, 3)
    upright = turned(tmp_path, 6, width=60, height=96)
    for records in ([mirrored], [mirrored, upright], [mirrored, turned(tmp_path, 8), upright]):
        pixels = record_pixels(written(tmp_path, records))
        assert pixels.in_file().annotations.boxes[0].tolist() == list(PATCH)


def test_boxes_show_what_the_size_does_not(tmp_path: Path) -> None:
    """Upright boxes with the stored size: only the sides are exchanged, also where a box fits both."""
    small, tall, wide = (turned(tmp_path, 6, bbox=list(box)) for box in ((5, 5, 9, 9), TALL, WIDE))
    tall["bbox"] = [5, 8, 20, 80]  # Leaves 96×60, and fits 60×96.

    def kinds(*records: dict[str, Any]) -> list[str]:
        return [*record_pixels(written(tmp_path, [*records])).kinds.values()]

    assert kinds(small) == ["turned"]
    assert kinds(small, tall) == ["swapped", "swapped"]
    assert kinds(small, wide) == ["turned", "turned"]
    assert kinds(small, tall, wide) == ["mismatch", "swapped", "turned"]
    both = [
        {"id": n, "image_id": 1, "category_id": 3, "bbox": record["bbox"], "iscrowd": 0}
        for n, record in enumerate((tall, wide), 1)
    ]
    assert record_pixels(written(tmp_path, [small], both)).kinds == {0: "mismatch"}
    upright = record_pixels(written(tmp_path, [tall])).in_file()
    assert upright.annotations.boxes[0].tolist() == [5, 8, 20, 80]
    assert (upright.images.widths[0], upright.images.heights[0]) == (60, 96)


@pytest.mark.parametrize(
    ("stated", "orientation", "kind", "factor"),
    [
        ((384, 240), 1, "scaled", 1 / 4),
        ((48, 30), 1, "scaled", 2.0),
        ((289, 180), 1, "scaled", None),  # Of sides that were rounded.
        ((192, 120), 6, "turned", 1 / 2),
        ((120, 192), 6, "scaled", 1 / 2),
        ((60, 96), 1, "mismatch", None),  # Exchanged, and no EXIF says which way it was turned.
        ((100, 60), 1, "mismatch", None),
        ((96, 96), 1, "mismatch", None),
    ],
)
def test_proportional_records_are_scaled_and_others_refused(
    tmp_path: Path, stated: tuple[int, int], orientation: int, kind: str, factor: float | None
) -> None:
    # On other sides than the stored ones a record is of the upright image.
    dataset = written(
        tmp_path,
        [turned(tmp_path, orientation, width=stated[0], height=stated[1], bbox=[8, 12, 20, 16])],
    )
    pixels = record_pixels(dataset)
    assert pixels.kinds == {0: kind}
    codes = {f.code: f for f in check_dataset(tmp_path / "labels.json")}
    if kind == "mismatch":
        with pytest.raises(TagboxError, match=f"{stated[0]}×{stated[1]}") as refused:
            training_boxes(dataset)
        finding = codes["size-mismatch"]
        assert (refused.value.code, refused.value.found) == (finding.code, finding.found)
        assert (refused.value.hint, refused.value.where) == (finding.hint, finding.where)
        # Labels stay, without a place in the file.
        assert not pixels.in_file().annotations.has_box.any()
    else:
        assert ("size-exif-rotated" if kind == "turned" else "size-mismatch") in codes
        box = training_boxes(dataset)[0].boxes[0]
        if factor is not None:
            x, y, right, bottom = 8, 12, 28, 28
            if kind == "turned":  # A quarter clockwise: x' = height - y, y' = x.
                x, y, right, bottom = stated[1] - 28, 8, stated[1] - 12, 28
            assert box.tolist() == pytest.approx([v * factor for v in (x, y, right, bottom)])


def test_agreeing_records_are_untouched(tmp_path: Path) -> None:
    dataset = written(
        tmp_path,
        [
            turned(tmp_path, 1, bbox=[0.1, 0.2, 0.30000000000000004, 7.7]),
            turned(tmp_path, 6, width=60, height=96),
            {"file_name": "missing.png", "width": 5, "height": 4, "bbox": [1, 1, 2, 2]},
        ],
    )
    pixels = record_pixels(dataset)
    assert not pixels.kinds and not pixels.changed.any() and not pixels.notes
    assert pixels.in_file() is dataset
    assert pixels.to_record(dataset.annotations.boxes, np.arange(3)) is dataset.annotations.boxes


def scenes(folder: Path, *, scale: int, stored: bool) -> Dataset:
    """Pictures with a patch of each colour; records `scale` times as large, or as they are stored."""
    random = np.random.default_rng(3)
    records, annotations = [], []
    for number in range(1, 7):
        places = [
            (name, (int(random.integers(2, 12)), 4 + 26 * k, 14 + 3 * k, 18))
            for k, name in enumerate(NAMES)
        ]
        shown = Image.fromarray(scene(60, 96, places))
        exif = Image.Exif()
        exif[0x0112] = 6
        # Stored a quarter anticlockwise, as a phone does: x = y', y = width' - x'.
        shown.transpose(Image.Transpose.ROTATE_90).save(folder / f"{number}.png", exif=exif)
        size = (96, 60) if stored else (60 * scale, 96 * scale)
        records.append({"file_name": f"{number}.png", "width": size[0], "height": size[1]})
        for k, (_, (x, y, w, h)) in enumerate(places):
            box = [y, 60 - x - w, h, w] if stored else [v * scale for v in (x, y, w, h)]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": (3, 1, 90)[k]}
                | {"bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            )
    return written(folder, records, annotations)


@pytest.mark.parametrize(("scale", "stored"), [(1, False), (4, False), (1, True)])
def test_detections_are_evaluated_in_pixels_of_the_records(
    tmp_path: Path, scale: int, stored: bool
) -> None:
    """A detector that finds everything to the pixel is perfect, whatever its records' pixels are."""
    dataset = scenes(tmp_path, scale=scale, stored=stored)
    pixels = record_pixels(dataset)
    _, detections, metrics = evaluate_detector(
        patch_bundle(), PatchDetector(patch_spec()), pixels, DetectorConfig(), Silent()
    )
    assert metrics["ap"] == pytest.approx(1.0) and metrics["ap75"] == pytest.approx(1.0)
    order = np.lexsort((detections.category_rows, detections.image_rows))
    assert np.abs(detections.boxes[order] - dataset.annotations.boxes).max() < 1e-3
    example = detector_examples(pixels, detections, patch_bundle().cuts)[0]
    assert example.image.shape[:2] == (96, 60)


def test_training_sees_the_same_boxes_whatever_the_records(tmp_path: Path) -> None:
    seen: list[NDArray[np.float64]] = []
    for number, (scale, stored) in enumerate([(1, False), (4, False), (1, True)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        dataset = scenes(folder, scale=scale, stored=stored)
        reader = BoxReader(dataset, training_boxes(dataset), 64)
        seen.append(np.stack([reader[0, row].truth.boxes for row in range(6)]))
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(seen[0], seen[2])


def test_coco_records_are_written_in_pixels_of_the_files(tmp_path: Path) -> None:
    """Box, polygon, mask and keypoints of a stored record lie on the patch that is shown."""
    record = turned(tmp_path, 7)
    x, y, w, h = PATCH
    mask = np.zeros((60, 96), np.uint8)
    mask[y : y + h, x : x + w] = 1
    compressed = coco_mask.encode(np.asfortranarray(mask))
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    base = {"image_id": 1, "category_id": 3, "bbox": list(PATCH), "area": w * h}
    annotations = [
        {**base, "id": 1, "iscrowd": 0, "segmentation": [polygon]},
        {
            **base,
            "id": 2,
            "iscrowd": 1,
            "segmentation": {"size": [60, 96], "counts": compressed["counts"].decode()},
            "keypoints": [x, y, 2, 0, 0, 0],
            "note": "kept",
        },
    ]
    dataset = written(tmp_path, [record], annotations)
    export(dataset, tmp_path, "out", "coco", "reference", record_pixels(dataset))
    content = json.loads((tmp_path / "out.json").read_text())
    expected = upright_patch(tmp_path / record["file_name"])
    assert (content["images"][0]["width"], content["images"][0]["height"]) == (60, 96)
    one, two = content["annotations"]
    assert one["bbox"] == two["bbox"] == expected and one["area"] == w * h
    corners = np.array(one["segmentation"]).reshape(-1, 2)
    low, high = corners.min(axis=0), corners.max(axis=0)
    assert [*low, *(high - low)] == expected
    rle = coco_mask.frPyObjects(two["segmentation"], *two["segmentation"]["size"])
    assert coco_mask.toBbox(rle).tolist() == expected and int(coco_mask.area(rle)) == w * h
    # Orientation 7: x' = height - y, y' = width - x; a point that is not labelled stays at 0, 0.
    assert two["keypoints"] == [60 - y, 96 - x, 2, 0, 0, 0]
    assert two["note"] == "kept"


def test_a_mask_of_a_larger_record_is_scaled(tmp_path: Path) -> None:
    record = turned(tmp_path, 1, width=192, height=120)
    mask = np.zeros((120, 192), np.uint8)
    mask[20:60, 40:100] = 1
    counts = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    annotation = {"id": 1, "image_id": 1, "category_id": 3, "iscrowd": 1}
    annotation["segmentation"] = {"size": [120, 192], "counts": counts}
    dataset = written(tmp_path, [record], [annotation])
    export(dataset, tmp_path, "out", "coco", "reference", record_pixels(dataset))
    moved = json.loads((tmp_path / "out.json").read_text())["annotations"][0]["segmentation"]
    rle = coco_mask.frPyObjects(moved, *moved["size"])
    assert coco_mask.toBbox(rle).tolist() == [20, 10, 30, 20] and int(coco_mask.area(rle)) == 600


@pytest.mark.parametrize("format", ["coco", "yolo", "labelme"])
def test_split_writes_records_that_agree(
    tmp_path: Path, format: str, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    scenes(tmp_path, scale=4, stored=False)
    out = tmp_path / "out"
    said = cli("split", tmp_path / "labels.json", "--out", out, "--to", format, "--val-fraction=.5")
    assert said.returncode == 0, said.stderr
    assert "6 pictures of another size than in their records" in said.stderr
    part = {"coco": "val.json", "yolo": "images/val", "labelme": "val"}[format]
    again = load_dataset(out / part)
    assert not record_pixels(again).kinds
    assert (
        again.annotations.boxes[:, 2:].max() < 27
    )  # Patches are at most 20 pixels wide and 18 high.
    original = load_dataset(tmp_path / "labels.json")
    row = original.images.files.tolist().index(Path(again.images.files[0]).name)
    mine = original.annotations.boxes[original.annotations.image_rows == row] / 4
    theirs = again.annotations.boxes[again.annotations.image_rows == 0]
    assert np.abs(np.sort(mine, axis=0) - np.sort(theirs, axis=0)).max() < 1e-6


def test_commands_refuse_a_contradictory_record_with_the_finding_of_check(
    tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    written(tmp_path, [turned(tmp_path, 1, width=100), turned(tmp_path, 1)])
    labels = tmp_path / "labels.json"
    for arguments in (
        ("split", labels, "--out", tmp_path / "out", "--to", "yolo"),
        ("show", labels, "--out", tmp_path / "sheet.png"),
        ("train", "detector", labels, "--name", "x", "--runs", tmp_path / "runs"),
    ):
        said = cli(*arguments)
        assert said.returncode == 1, arguments
        assert "size-mismatch" in said.stderr and "100×60, the file is 96×60" in said.stderr
    assert not (tmp_path / "out").exists()


def test_check_knows_a_size_that_no_record_states(tmp_path: Path) -> None:
    record = turned(tmp_path, 6, bbox=[100, 100, 20, 20])
    del record["width"], record["height"]
    written(tmp_path, [record])
    found = [f for f in check_dataset(tmp_path / "labels.json") if f.code == "box-outside"]
    assert len(found) == 1 and "the image of 60×96" in found[0].found
