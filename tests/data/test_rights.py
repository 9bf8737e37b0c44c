"""Folders and files that may not be read are named, and never silently missing from a dataset."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tagbox.data.export import Format, export
from tagbox.data.load import load_dataset

# To root no folder is closed, unless it gives these two up.
WITHOUT_PRIVILEGES = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if os.name != "nt" and os.geteuid() == 0
    else []
)
pytestmark = pytest.mark.skipif(
    os.name == "nt" or bool(WITHOUT_PRIVILEGES and shutil.which("setpriv") is None),
    reason="needs POSIX rights, and as root setpriv",
)
SCRIPT = """
import json, sys, warnings
from tagbox.checks.check import check_dataset
from tagbox.data.image_files import collect_images, require_images
from tagbox.data.load import describe, load_dataset
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image

def outcome(function):
    try:
        return function()
    except TagboxError as error:
        return f"{error.code}: {error}"

def loaded(path):
    dataset = load_dataset(path)
    require_images(dataset)
    return describe(dataset)

def read(path):
    return read_image(path).shape and "read"

results = []
for path in sys.argv[1:]:
    images = outcome(lambda: [outcome(lambda: read(each)) for each in collect_images([path])])
    found = outcome(lambda: [f"{f.code}: {f.file}" for f in check_dataset(path)])
    results.append({"loaded": outcome(lambda: loaded(path)), "checked": found, "images": images})
print(json.dumps(results))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder all of which may be read again after the test."""
    yield tmp_path
    for current, folders, _ in os.walk(tmp_path):
        for name in folders:
            Path(current, name).chmod(0o755)


@pytest.fixture
def results(folder: Path) -> Callable[..., dict[str, Any]]:
    """What a user without special rights gets for a path: loaded, checked, and read as images."""

    def run(path: Path) -> dict[str, Any]:
        done = subprocess.run(
            [*WITHOUT_PRIVILEGES, sys.executable, "-c", SCRIPT, str(path)],
            cwd=folder,
            env={**os.environ, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)[0]
        return result

    return run


def coco(folder: Path, *names: str) -> Path:
    """A COCO file beside ``images`` with the pictures `names`."""
    for name in names:
        picture(folder / "images" / name)
    document = {
        "images": [
            {"id": n, "file_name": name, "width": 20, "height": 20} for n, name in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 5, 5], "area": 25}
            for n in range(len(names))
        ],
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(document))
    return path


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (len(path.name), len(path.parent.name), 9)).save(path)


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_the_folder_of_the_images(
    folder: Path, results: Callable[..., dict[str, Any]], mode: int
) -> None:
    path = coco(folder, "a.png", "b.png")
    (folder / "images").chmod(mode)
    found = results(path)
    assert found["loaded"].startswith(f"file-unreadable: {folder / 'images'}: Permission denied;")
    denied = [f"image-unreadable: {folder / 'images' / name}" for name in ("a.png", "b.png")]
    assert found["checked"][:2] == denied or found["checked"][0].startswith("file-unreadable: ")


def test_a_folder_that_may_only_be_entered_is_used(
    folder: Path, results: Callable[..., dict[str, Any]]
) -> None:
    path = coco(folder, "a.png")
    (folder / "images").chmod(0o111)
    found = results(path)
    assert f"1 image in {folder / 'images'}, " in found["loaded"]
    assert f"folder-unreadable: {folder / 'images'}" in found["checked"]


def test_a_folder_below_the_images(folder: Path, results: Callable[..., dict[str, Any]]) -> None:
    path = coco(folder, "a/1.png", "b/2.png")
    (folder / "images/b").chmod(0)
    assert f"image-unreadable: {folder / 'images/b/2.png'}" in results(path)["checked"]
    images = results(folder / "images")["images"]
    assert images[0] == "read" and len(images) == 2
    assert images[1].startswith(f"image-unreadable: {folder / 'images/b'}: Permission denied;")


def test_a_folder_of_a_class(folder: Path, results: Callable[..., dict[str, Any]]) -> None:
    for name in ("cat/1.png", "cat/x/2.png", "dog/3.png", "dog/4.png"):
        picture(folder / "data" / name)
    (folder / "data/cat/x").chmod(0)
    found = results(folder / "data")
    note = f"folders passed over that may not be read: {folder / 'data/cat/x'}"
    assert found["loaded"].startswith("a folder a class, 3 images") and note in found["loaded"]
    assert f"folder-unreadable: {folder / 'data'}" in found["checked"]
    (folder / "data/dog").chmod(0)
    found = results(folder / "data")
    assert str(folder / "data/dog") in found["loaded"]


@pytest.mark.parametrize("format", ["coco", "csv", "labels", "cls", "yolo", "labelme", "voc"])
def test_a_file_and_the_whole_folder(
    folder: Path, results: Callable[..., dict[str, Any]], format: Format
) -> None:
    dataset = load_dataset(coco(folder, "a.png", "b.png", "c.png"))
    out = folder / "out"
    if format == "voc":
        for name in "abc":
            picture(out / f"{name}.png")
            (out / f"{name}.xml").write_text(
                f"<annotation><filename>{name}.png</filename><object><name>cat</name>"
                "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
                "</object></annotation>"
            )
    else:
        export(dataset, out, "train", format, "copy")
    suffix = {"cls": ".cls", "yolo": ".txt", "csv": ".csv", "voc": ".xml"}.get(format, ".json")
    files = sorted(
        f for f in out.rglob(f"*{suffix}") if f.name not in ("classes.txt", "tagbox.json")
    )
    one = files[0] if len(files) == 1 else files[1]
    one.chmod(0)
    found = results(out)
    assert found["loaded"].startswith(f"file-unreadable: {one}: Permission denied;")
    assert found["checked"][0] == f"file-unreadable: {one}"
    one.chmod(0o644)
    inside = one.parent
    for mode in (0o000, 0o444):
        inside.chmod(mode)
        found = results(out)
        assert found["loaded"].startswith("file-unreadable: "), found["loaded"]
        assert str(inside) in found["loaded"] and "Permission denied" in found["loaded"]
        assert found["checked"][0].startswith(f"file-unreadable: {inside}")
        inside.chmod(0o755)
    out.chmod(0)
    assert results(out)["loaded"].startswith(f"file-unreadable: {out}: Permission denied;")
    assert results(one)["loaded"].startswith(f"file-unreadable: {out}: Permission denied;")


def test_the_labels_of_one_split(folder: Path, results: Callable[..., dict[str, Any]]) -> None:
    for split in ("train", "valid"):
        made = coco(folder / "data" / split, "a.png")
        (folder / "data" / split / "images/a.png").rename(folder / "data" / split / "a.png")
        (folder / "data" / split / "images").rmdir()
        made.rename(made.with_name("_annotations.coco.json"))
    (folder / "data/valid").chmod(0)
    found = results(folder / "data")
    wanted = f"file-unreadable: {folder / 'data/valid'}: Permission denied;"
    assert found["loaded"].startswith(wanted)
