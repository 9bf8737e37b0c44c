"""Pictures that are missing, broken, of another size, or there twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from checks_data import Coco, noise
from PIL import Image

from tagbox.checks.check import check_dataset, check_datasets

Write = Callable[..., Path]


def codes(path: Path) -> list[tuple[str, str, str | None]]:
    return [(f.code, Path(f.file).name, f.where) for f in check_dataset(path)]


def _truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (Path.unlink, "image-missing"),
        (lambda path: path.write_bytes(b""), "image-empty"),
        # a download that broke off; viewers show its upper half
        (_truncate, "image-truncated"),
        # an error page saved under the picture's name
        (lambda path: path.write_text("<html>404</html>"), "image-corrupt"),
        (lambda path: (path.unlink(), path.mkdir()), "image-unreadable"),
    ],
)
def test_broken_pictures(
    spoil: Callable[[Path], object], code: str, sound: Coco, write_coco: Write
) -> None:
    path = write_coco(sound)
    spoil(path.with_name("b.jpg"))
    assert codes(path) == [(code, "b.jpg", "image id 2")]


def test_no_picture_at_all_is_one_finding(sound: Coco, write_coco: Write) -> None:
    path = write_coco(sound)
    for picture in path.parent.glob("*.jpg"):
        picture.unlink()
    assert [f.code for f in check_dataset(path)] == ["images-not-found"]


def test_a_size_unlike_the_file(sound: Coco, write_coco: Write) -> None:
    sound["images"][1].update(width=80, height=60)
    assert codes(write_coco(sound)) == [("size-mismatch", "b.jpg", "image id 2")]


def test_a_size_that_ignores_the_exif_rotation(sound: Coco, write_coco: Write) -> None:
    path = write_coco(sound)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(1)).save(path.with_name("b.jpg"), exif=exif)
    (finding,) = check_dataset(path)
    assert (finding.code, finding.severity) == ("size-exif-rotated", "warning")
    assert "EXIF" in finding.found and "40×30" in finding.found and "30×40" in finding.found
    # The size of the picture as it is shown is right.
    sound["images"][1].update(width=30, height=40)
    sound["annotations"][1]["bbox"] = [0, 0, 30, 40]
    path.unlink()
    rotated = path.with_name("b.jpg").read_bytes()
    path = write_coco(sound)
    path.with_name("b.jpg").write_bytes(rotated)
    assert check_dataset(path) == []


def test_swapped_sizes_without_exif_name_the_likely_cause(sound: Coco, write_coco: Write) -> None:
    sound["images"][0].update(width=30, height=40)
    (finding,) = check_dataset(write_coco(sound))
    assert finding.code == "size-mismatch" and "EXIF" in finding.found


def test_the_same_bytes_and_the_same_look(sound: Coco, write_coco: Write) -> None:
    path = write_coco(sound)
    shutil.copy(path.with_name("a.jpg"), path.with_name("b.jpg"))
    Image.fromarray(noise(0)).resize((80, 60)).save(path.with_name("c.jpg"), quality=40)
    sound["images"][2].update(width=80, height=60)
    path = _rewrite(path, sound)
    assert codes(path) == [
        ("duplicate-picture", "b.jpg", "image id 2"),
        ("near-duplicate-picture", "c.jpg", "image id 3"),
    ]


def _rewrite(path: Path, coco: Coco) -> Path:
    import json

    path.write_text(json.dumps(coco))
    return path


def test_pictures_that_no_record_names(sound: Coco, write_coco: Write) -> None:
    path = write_coco(sound)
    Image.fromarray(noise(9)).save(path.with_name("extra.png"))
    (path.parent / "notes.txt").write_text("not a picture")
    assert codes(path) == [("picture-not-named", "extra.png", None)]


def test_without_pictures_none_is_opened(sound: Coco, write_coco: Write) -> None:
    path = write_coco(sound)
    path.with_name("b.jpg").write_bytes(b"")
    report = check_datasets([path], pictures=False)
    assert report.findings.kept == [] and report.datasets[0].pictures_read == 0


def test_the_real_sample_is_sound(shared_data: Path) -> None:
    sides = [
        shared_data / "coco-sample" / "annotations" / f"instances_{side}2017.json"
        for side in ("train", "val")
    ]
    report = check_datasets(sides)
    # 3 and 2 images without annotations are legal, and 3 objects fill theirs (a keyboard, a person, a
    # table); 110,215 pairs of pictures, none of them alike.
    assert report.findings.counts == {"image-without-annotations": 5, "box-whole-image": 3}
    assert [checked.pictures_read for checked in report.datasets] == [337, 133]
