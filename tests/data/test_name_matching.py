"""Pictures whose names are spelt otherwise than their files, in every format that names them."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagbox import DataConfig, TagboxError
from tagbox.checks.check import check_dataset
from tagbox.data.dataset import Dataset
from tagbox.data.image_files import IMAGE_SUFFIXES, require_images
from tagbox.data.load import load_dataset
from tagbox.data.name_matching import match_names, plain

Picture = Callable[..., Path]


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


# The name in the annotations, the file below the folder of pictures.
SPELLINGS = {
    "decomposed on disk": ("bébé 1 über.png", nfd("bébé 1 über.png")),
    "decomposed in the file": (nfd("Ñandú.png"), "Ñandú.png"),
    "suffix in capitals": ("a.jpg", "a.JPG"),
    "name in capitals": ("IMG_1.JPG", "img_1.jpg"),
    "percent-encoded name": ("Capture%20d%27%C3%A9cran.png", "Capture d'écran.png"),
    "percent-encoded file": ("my photo.png", "my%20photo.png"),
    "no suffix": ("train_0", "train_0.jpg"),
    "no suffix, a dot in the name": ("v1.2_0", "v1.2_0.png"),
    "decomposed and no suffix": ("é", nfd("é") + ".webp"),
    "URL": ("https://host.example/data/upload/4/a.png?X-Amz=1", "a.png"),
    "bucket": ("s3://bucket/pics/a.png", "a.png"),
    "Label Studio's local files": ("/data/local-files/?d=pics/a%20b.png", "a b.png"),
    "absolute": ("/home/me/pics/a.png", "a.png"),
    "Windows": ("C:\\Users\\me\\pics\\a.png", "a.png"),
    "Label Studio on Windows": ("..\\..\\label-studio\\media\\upload\\4\\a.png", "a.png"),
    "up and down": ("../../pics/a.png", "a.png"),
    "local URL": ("file:///home/me/my%20pics/a%20b.png", "a b.png"),
    "space in front": ("a.png", " a.png"),
    "space at the end": ("a.png ", "a.png"),
    "a screenshot of macOS": ("Shot at 1.00.00 PM.png", "Shot at 1.00.00\u202fPM.png"),
    "percent-encoded twice": ("a%2520b.png", "a b.png"),
    "letters of another width": ("\uff41.png", "a.png"),
}
KINDS = ["coco", "csv"]


def written(kind: str, folder: Path, names: list[str]) -> Path:
    if kind == "csv":
        path = folder / "labels.csv"
        path.write_text("image,labels\n" + "".join(f'"{name}",cat\n' for name in names))
        return path
    path = folder / "labels.json"
    content = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names, 1)],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 2, 2]}
            for n in range(1, len(names) + 1)
        ],
    }
    path.write_text(json.dumps(content))
    return path


def all_found(dataset: Dataset) -> bool:
    return all(dataset.images.path(row).is_file() for row in range(len(dataset)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "file"), SPELLINGS.values(), ids=SPELLINGS.keys())
@pytest.mark.parametrize("named", [False, True])
def test_spellings(
    tmp_path: Path, picture: Picture, kind: str, name: str, file: str, named: bool
) -> None:
    picture(tmp_path / "images" / file)
    path = written(kind, tmp_path, [name])
    dataset = load_dataset(path, DataConfig(images=tmp_path / "images" if named else None))
    assert dataset.images.files.tolist() == [file]
    assert all_found(dataset)
    assert not [f for f in check_dataset(path) if f.severity == "error"]


def test_one_odd_name_among_many_is_found(tmp_path: Path, picture: Picture) -> None:
    names = [f"{number:03}.png" for number in range(200)] + ["é.png", "z.JPG"]
    files = [*names[:-2], nfd("é.png"), "z.jpg"]
    for file in files:
        (tmp_path / file).touch()
    picture(tmp_path / "000.png")
    assert load_dataset(written("coco", tmp_path, names)).images.files.tolist() == files


def test_labels_json_and_cls(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / nfd("é.jpg"))
    (tmp_path / "classes.txt").write_text("cat\n")
    (tmp_path / "labels.json").write_text('{"é": [0]}')
    assert all_found(load_dataset(tmp_path / "labels.json"))
    picture(tmp_path / "cls/images/train" / nfd("é.jpg"))
    label = tmp_path / "cls/labels/train/é.cls"
    label.parent.mkdir(parents=True)
    label.write_text("0\n")
    dataset = load_dataset(tmp_path / "cls")
    assert all_found(dataset)
    assert dataset.images.labelled.tolist() == [True]


@pytest.mark.parametrize(
    ("label", "file"),
    [
        ("Capture_d%C3%A9cran%200", "Capture_décran 0.png"),
        ("é", nfd("é") + ".png"),
        ("IMG_1", "img_1.JPG"),
    ],
)
@pytest.mark.parametrize("names", ["classes.txt", "data.yaml"])
def test_yolo_label_files(
    tmp_path: Path, picture: Picture, label: str, file: str, names: str
) -> None:
    picture(tmp_path / "images" / file, (10, 10))
    (tmp_path / "labels").mkdir()
    (tmp_path / f"labels/{label}.txt").write_text("0 0.5 0.5 1 1\n")
    (tmp_path / names).write_text("cat\n" if names == "classes.txt" else "names: [cat]\n")
    dataset = load_dataset(tmp_path)
    assert dataset.annotations.boxes.tolist() == [[0, 0, 10, 10]]
    assert not [f for f in check_dataset(tmp_path) if f.severity == "error"]


def test_a_label_file_of_no_picture_is_named(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/b.txt").write_text("0 0.5 0.5 1 1\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.raises(TagboxError) as caught:
        load_dataset(tmp_path)
    assert caught.value.code == "label-without-image"


def labelme(path: Path, image: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"label": "cat", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"}
    path.write_text(json.dumps({"shapes": [shape], "imagePath": image, "imageData": None}))


@pytest.mark.parametrize("folder", ["", "ann"])
@pytest.mark.parametrize("image", ["..\\pics\\p0.png", "../pics/p0.png"])
def test_labelme_in_another_folder(
    tmp_path: Path, picture: Picture, folder: str, image: str
) -> None:
    picture(tmp_path / "pics/p0.png")
    labelme(tmp_path / "ann/p0.json", image)
    dataset = load_dataset(tmp_path / folder)
    assert dataset.images.path(0).samefile(tmp_path / "pics/p0.png")
    assert len(dataset) == 1


def test_labelme_elsewhere_is_found_with_the_flag_that_the_hint_names(
    tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "elsewhere" / nfd("é.png"))
    labelme(tmp_path / "x/ann/p0.json", "../../../../pics/é.png")
    with pytest.raises(TagboxError, match="--images") as caught:
        load_dataset(tmp_path / "x/ann")
    assert caught.value.code == "file-name-outside"
    config = DataConfig(images=tmp_path / "elsewhere")
    assert all_found(load_dataset(tmp_path / "x/ann", config))


def test_folders_of_a_name_tell_equal_base_names_apart(tmp_path: Path, picture: Picture) -> None:
    files = [f"day{day}/{number}.png" for day in (0, 1) for number in (0, 1)]
    for file in files:
        picture(tmp_path / "images" / file)
    for prefix, separator in (("C:\\data\\set\\", "\\"), ("set/", "/"), ("/x/y/", "/")):
        names = [prefix + file.replace("/", separator) for file in files]
        assert load_dataset(written("coco", tmp_path, names)).images.files.tolist() == files


@pytest.mark.parametrize(
    "odd", ["/home/me/pics/b.png", "./none/../b.png", "C:\\pics\\b.png", "../../b.png"]
)
def test_one_name_that_leads_outside_among_others(
    tmp_path: Path, picture: Picture, odd: str
) -> None:
    for file in ("a.png", "b.png"):
        picture(tmp_path / "images" / file)
    dataset = load_dataset(written("coco", tmp_path, ["a.png", odd]))
    assert dataset.images.files.tolist() == ["a.png", "b.png"]
    # No file is taken for two names.
    with pytest.raises(TagboxError, match="leads out of the folder"):
        load_dataset(written("coco", tmp_path, ["b.png", odd]))
    with pytest.raises(TagboxError, match="leads out of the folder"):
        load_dataset(written("coco", tmp_path, ["a.png", odd, "/tmp/b.png"]))


def test_ambiguous_names_are_called_so_and_the_hint_leads_out(
    tmp_path: Path, picture: Picture
) -> None:
    for day in (0, 1):
        picture(tmp_path / f"images/day{day}/0.png")
    dataset = load_dataset(written("coco", tmp_path, ["0.png"]))
    with pytest.raises(TagboxError, match=r"day0/0\.png.*day1/0\.png") as caught:
        require_images(dataset)
    assert caught.value.code == "image-ambiguous"
    assert caught.value.hint is not None
    name = caught.value.hint.split("'")[1]
    require_images(load_dataset(written("coco", tmp_path, [name])))
    config = DataConfig(images=tmp_path / "images/day1")
    require_images(load_dataset(written("coco", tmp_path, ["0.png"]), config))


def test_pictures_in_a_folder_nobody_searches_are_hinted_at(
    tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "train-jpg/train_0.jpg")
    path = written("csv", tmp_path, ["train_0"])
    with pytest.raises(TagboxError, match="--images") as caught:
        require_images(load_dataset(path))
    assert caught.value.hint is not None
    folder = Path(caught.value.hint.rpartition(" ")[2])
    require_images(load_dataset(path, DataConfig(images=folder)))


def test_another_suffix_is_named(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "images/a.png")
    with pytest.raises(TagboxError, match=r"'a\.jpg' may be 'images/a\.png'") as caught:
        require_images(load_dataset(written("coco", tmp_path, ["a.jpg"])))
    assert caught.value.code == "images-not-found"


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "c:\\a.png", "..\\a.png"])
def test_names_that_lead_out_and_are_nowhere(tmp_path: Path, picture: Picture, name: str) -> None:
    (tmp_path / "data").mkdir()
    picture(tmp_path / "a.png")
    path = written("coco", tmp_path / "data", [name])
    with pytest.raises(TagboxError) as caught:
        load_dataset(path)
    assert (caught.value.code, caught.value.where) == ("file-name-outside", "images[0].file_name")
    assert "file-name-outside" in [f.code for f in check_dataset(path)]
    load_dataset(path, DataConfig(images=tmp_path))


MATCHES = [
    (["a.jpg"], ["A.jpg", "a.JPG"], {}),
    (["a.jpg"], ["a.JPG"], {"a.jpg": "a.JPG"}),
    (["a.jpg", "A.JPG"], ["a.Jpg"], {}),
    (["a"], ["a.jpg", "a.png"], {}),
    (["a.jpg"], ["a.png"], {}),
    (["a%20b.jpg"], ["a b.jpg", "A B.jpg"], {"a%20b.jpg": "a b.jpg"}),
    (["x/a.jpg"], ["y/a.jpg"], {}),
    (["X/a.jpg"], ["x/a.jpg"], {"X/a.jpg": "x/a.jpg"}),
]


@pytest.mark.parametrize(("names", "files", "expected"), MATCHES)
def test_only_one_file_and_one_name(
    names: list[str], files: list[str], expected: dict[str, str]
) -> None:
    assert match_names(names, files, IMAGE_SUFFIXES) == expected


@given(st.text(), st.lists(st.text(min_size=1), unique=True, max_size=5), st.booleans())
def test_any_names(name: str, files: list[str], anywhere: bool) -> None:
    found = match_names([name], files, IMAGE_SUFFIXES, anywhere=anywhere)
    assert set(found) <= {name}
    assert set(found.values()) <= set(files)
    parts = plain(name).split("/")
    assert ".." not in parts
    assert not plain(name).startswith("/")


NFC, NFD = "caf\u00e9", "cafe\u0301"


def test_lists_and_folders_of_splits(tmp_path: Path, picture: Picture) -> None:
    """A list, an entry of data.yaml and a list of VOC in the other form of Unicode than the files."""
    for side in ("train", "val"):
        picture(tmp_path / f"yolo/images/{side}{NFD}/{NFD}.png")
        label = tmp_path / f"yolo/labels/{side}{NFC}/{NFC}.txt"
        label.parent.mkdir(parents=True)
        label.write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "yolo/val.txt").write_text(f"images/val{NFC}/{NFC}.png\n")
    (tmp_path / "yolo/data.yaml").write_text(
        f"train: images/train{NFC}\nval: val.txt\nnames: [cat]\n"
    )
    for side in ("train", "val"):
        dataset = load_dataset(tmp_path / "yolo", split=side)
        assert dataset.images.path(0).is_file() and len(dataset.annotations) == 1
    picture(tmp_path / f"voc/JPEGImages/{NFD}.JPG")
    record = tmp_path / f"voc/Annotations/{NFC}.xml"
    record.parent.mkdir()
    record.write_text(
        f"<annotation><filename>{NFC}.jpg</filename><object><name>cat</name></object></annotation>"
    )
    listed = tmp_path / "voc/ImageSets/Main/train.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text(f"{NFD}\n")
    assert load_dataset(tmp_path / "voc", split="train").images.path(0).is_file()
