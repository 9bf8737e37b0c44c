"""A folder a class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tagbox import DataConfig, TagboxError
from tagbox.data.export import Format, Pictures, export
from tagbox.data.formats.class_folders import class_of_each
from tagbox.data.image_files import require_images
from tagbox.data.load import load_dataset


@pytest.fixture
def classes(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    for name in ("dog/1.jpg", "cat/2.PNG", "cat/more/3.jpg", "4.jpg", ".hidden/5.jpg"):
        picture(tmp_path / "data" / name)
    (tmp_path / "data/cat/notes.txt").write_text("x")
    return tmp_path / "data"


def test_first_folder_is_the_category(classes: Path) -> None:
    dataset = load_dataset(classes)
    assert dataset.source.format == "folders"
    assert dataset.categories.names == ("cat", "dog")
    assert dataset.images.files.tolist() == ["4.jpg", "cat/2.PNG", "cat/more/3.jpg", "dog/1.jpg"]
    assert dataset.labels.tolist() == [[-1, -1], [1, 0], [1, 0], [0, 1]]
    assert dataset.images.ids.tolist() == [4, 2, 3, 1]
    assert class_of_each(dataset) == ["", "cat", "cat", "dog"]


def test_names_fix_the_order(classes: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("dog\nbird\ncat\n")
    dataset = load_dataset(classes, DataConfig(names=names))
    assert dataset.categories.names == ("dog", "bird", "cat")
    assert dataset.labels[3].tolist() == [1, 0, 0]
    names.write_text("dog\n")
    with pytest.raises(TagboxError) as caught:
        load_dataset(classes, DataConfig(names=names))
    assert (caught.value.code, caught.value.where) == ("unknown-category", "cat")


@pytest.mark.parametrize("format", ["labels", "csv", "coco", "cls"])
@pytest.mark.parametrize("pictures", ["reference", "copy"])
def test_written_in_another_format_and_read_again(
    classes: Path, tmp_path: Path, format: Format, pictures: Pictures
) -> None:
    """Its pictures stay in the folders of the classes, of which the keys of a labels JSON say nothing."""
    dataset = load_dataset(classes).take([1, 2, 3])
    if format == "cls":
        pictures = "copy"
    written = export(dataset, tmp_path / "out", "train", format, pictures)
    images = classes if pictures == "reference" else None
    again = load_dataset(written, DataConfig(images=images))
    require_images(again)
    assert [path.is_file() for path in map(again.images.path, range(3))] == [True] * 3
    assert sorted(map(tuple, again.labels.tolist())) == sorted(map(tuple, dataset.labels.tolist()))
    assert again.categories.names == ("cat", "dog")


def test_a_stem_in_two_folders_below_is_ambiguous(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    for name in ("images/a/1.jpg", "images/b/1.jpg", "images/b/2.jpg"):
        picture(tmp_path / name)
    (tmp_path / "classes.txt").write_text("cat\n")
    path = tmp_path / "train.json"
    path.write_text('{"1": [0], "2": [0]}')
    dataset = load_dataset(path)
    assert [dataset.images.path(row).is_file() for row in range(2)] == [False, True]
    path.write_text('{"1": [0]}')
    with pytest.raises(TagboxError) as caught:
        require_images(load_dataset(path))
    assert caught.value.code == "image-ambiguous"


def test_several_labels_do_not_fit(coco: Callable[..., Path]) -> None:
    with pytest.raises(TagboxError, match=r"'a.jpg' has 2 categories") as caught:
        class_of_each(load_dataset(coco()))
    assert caught.value.code == "not-exclusive"


def test_flags_that_mean_nothing_here_are_refused(classes: Path) -> None:
    with pytest.raises(TagboxError) as caught:
        load_dataset(classes, DataConfig(images=classes))
    assert (caught.value.code, caught.value.where) == ("config-value", "images")


def test_wrapped_folders_and_what_archives_add(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    for name in ("a/b/cat/1.jpg", "a/b/dog/2.jpg", "__MACOSX/a/b/cat/3.jpg", "a/.x/4.jpg"):
        picture(tmp_path / name)
    (tmp_path / "a/b/cat/._1.jpg").write_bytes(b"\0")
    dataset = load_dataset(tmp_path)
    assert dataset.categories.names == ("cat", "dog")
    assert dataset.images.files.tolist() == ["cat/1.jpg", "dog/2.jpg"]
    assert dataset.images.root == tmp_path / "a/b"


def test_one_folder_of_pictures_is_no_category(
    tmp_path: Path, picture: Callable[..., Path]
) -> None:
    picture(tmp_path / "photos/1.jpg")
    with pytest.raises(TagboxError, match="all pictures are in the folder 'photos'") as caught:
        load_dataset(tmp_path)
    assert caught.value.code == "format-unknown"
    named = load_dataset(tmp_path, DataConfig(format="folders"))
    assert named.categories.names == ("photos",)


def test_a_class_of_unreadable_files_is_named(classes: Path) -> None:
    for name in ("bird/1.psd", "bird/2.psd"):
        (classes / name).parent.mkdir(exist_ok=True)
        (classes / name).write_bytes(b"8BPS")
    with pytest.raises(TagboxError, match="none of its 2 files is a picture") as caught:
        load_dataset(classes)
    assert (caught.value.code, caught.value.file) == (
        "class-without-pictures",
        str(classes / "bird"),
    )
