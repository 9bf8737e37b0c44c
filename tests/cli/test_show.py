from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tagbox.config import AugmentConfig
from tagbox.data.load import load_dataset
from tagbox.images.box_drawing import category_colours
from tagbox.images.decode import read_image
from tagbox.training.augment import Augment
from tagbox.training.crop import ObjectsByImage

Cli = Callable[..., subprocess.CompletedProcess[str]]


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty grey pictures of 200 x 100; a cat in the left half of the even ones, the last is broken."""
    folder = tmp_path_factory.mktemp("show")
    (folder / "images").mkdir()
    images, annotations = [], []
    for i in range(20):
        Image.new("RGB", (200, 100), (90, 90, 90)).save(folder / "images" / f"{i:03d}.png")
        images.append({"id": i + 1, "file_name": f"{i:03d}.png", "width": 200, "height": 100})
        if i % 2 == 0:
            annotations.append(
                {"id": i + 1, "image_id": i + 1, "category_id": 1, "bbox": [0, 20, 40, 40]}
            )
    (folder / "images" / "019.png").write_bytes(b"no picture")
    document: dict[str, Any] = {
        "images": images,
        "annotations": [a | {"area": 1600, "iscrowd": 0} for a in annotations],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    (folder / "data.json").write_text(json.dumps(document))
    return folder / "data.json"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_seeded_sample_is_drawn(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    chosen = []
    for seed in (1, 1, 2):
        done = cli(
            "show",
            dataset,
            "--category",
            "cat",
            "--count",
            4,
            "--seed",
            seed,
            "--json",
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["file"] == "show.png"
        chosen.append(answer["images"])
        assert all(int(name[:3]) % 2 == 0 for name in answer["images"])
    assert chosen[0] == chosen[1] != chosen[2]
    assert chosen[0] != ["000.png", "002.png", "004.png", "006.png"]
    sheet = pixels(tmp_path / "show.png")
    assert (sheet == rgb(category_colours(["cat"])["cat"])).all(axis=-1).any()


def test_the_path_is_printed(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "grid.webp"
    done = cli("show", dataset, "--category", "cat", "--count", 1, "--out", out)
    assert (done.returncode, done.stdout) == (0, f"{out}\n")
    assert Image.open(out).format == "WEBP"


def box_columns(path: Path) -> tuple[int, int]:
    """The first and the last column of the box's outline, from the picture's left edge."""
    gap, picture_ends = 16, 440
    edge = (pixels(path)[:picture_ends, gap:] == rgb(category_colours(["cat"])["cat"])).all(axis=-1)
    bottom = int(np.flatnonzero(edge.any(axis=1)).max())
    columns = np.flatnonzero(edge[bottom - 20 : bottom - 5].any(axis=0))
    return int(columns.min()), int(columns.max())


@pytest.mark.parametrize(
    ("geometry", "right"),
    [
        ("squash", 80),  # 40 of 200 pixels, the square drawn 400 wide
        ("pad", 80),
    ],
)
def test_boxes_follow_the_network_s_square(
    cli: Cli, dataset: Path, tmp_path: Path, geometry: str, right: int
) -> None:
    out = tmp_path / "network.png"
    arguments = ("--category", "cat", "--count", 1, "--network", "--geometry", geometry)
    assert cli("show", dataset, *arguments, "--size", 128, "--out", out).returncode == 0
    left, far = box_columns(out)
    assert left == 0
    assert abs(far - right) <= 2


def test_crop_loses_the_box_and_keeps_the_label(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "crop.png"
    arguments = ("--category", "cat", "--count", 1, "--network", "--geometry", "crop")
    assert cli("show", dataset, *arguments, "--out", out).returncode == 0
    # The centre 100 x 100 begins at x = 50; the cat ended at 40. Its label stays below the picture.
    picture = pixels(out)[60:440, 20:410]
    assert not (picture == rgb(category_colours(["cat"])["cat"])).all(axis=-1).any()


def test_no_boxes(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "plain.png"
    assert cli("show", dataset, "--category", "cat", "--no-boxes", "--out", out).returncode == 0
    assert not (pixels(out) == rgb(category_colours(["cat"])["cat"])).all(axis=-1).any()


def test_a_broken_picture_keeps_its_place(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.png"
    done = cli("show", dataset, "--count", 20, "--out", out)
    assert done.returncode == 1
    assert "019.png" in done.stderr
    assert "Traceback" not in done.stderr
    assert Image.open(out).width > 1600


def test_images_without_given_labels_are_left_out(cli: Cli, tmp_path: Path) -> None:
    for i in range(6):
        Image.new("RGB", (20, 10)).save(tmp_path / f"{i}.png")
    # Two labelled images, one of them with no label, and four whose labels are unknown.
    table = tmp_path / "data.csv"
    rows = ["0.png,cat", "1.png,", *(f"{i}.png,?" for i in range(2, 6))]
    table.write_text("\n".join(["image,labels", *rows]))
    done = cli("show", table, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["images"] == ["0.png", "1.png"]
    assert "without given labels, and left out: 4 images" in done.stderr
    table.write_text("\n".join(["image,cat", *(f"{i}.png,?" for i in range(6))]))
    done = cli("show", table, "--json", cwd=tmp_path)
    assert len(json.loads(done.stdout)["images"]) == 6 and "left out" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (("--category", "cta"), "unknown-category", "did you mean cat"),
        (("--category", "dog"), "no-images", "choose another category"),
        (("--count", 0), "config-value", "at least 1"),
        (("--out", "grid.txt"), "config-value", ".png"),
        (("--epoch", 1), "option-alone", "add --augmented"),
        (("--augment.no-flip",), "option-alone", "add --augmented"),
        (("--augmented", "--epoch", -1), "config-value", "at least 0"),
        (("--augmented", "--augment.rotate", 300), "config-value", "180"),
    ],
)
def test_errors_say_the_way_out(
    cli: Cli, dataset: Path, tmp_path: Path, arguments: tuple[object, ...], code: str, hint: str
) -> None:
    done = cli("show", dataset, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr
    assert hint in done.stderr
    assert list(tmp_path.iterdir()) == []


CATS = ("--category", "cat", "--count", 6)


def test_augmented_without_any_change_is_the_network_s_square(
    cli: Cli, dataset: Path, tmp_path: Path
) -> None:
    off = ("--augmented", "--augment.no-flip", "--augment.crop", "none")
    for arguments, name in ((off, "a.png"), (("--network", "--no-boxes"), "b.png")):
        done = cli("show", dataset, *CATS, *arguments, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    augmented, network = pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png")
    # The line of the title differs, and only one has a legend; in between, pixels and captions agree.
    top = 16 + 32
    assert len(augmented) > len(network)
    assert (augmented[top : len(network)] == network[top:]).all()


def test_augmented_pictures_and_labels_are_those_of_training(
    cli: Cli, dataset: Path, tmp_path: Path
) -> None:
    targets = set()
    for epoch in (0, 5):
        out = tmp_path / f"{epoch}.png"
        strong = ("--augment.crop-scale", 0.2, "--augment.crop-visible", 0.5)
        done = cli(
            "show", dataset, *CATS, "--augmented", "--epoch", epoch, *strong, "--json", "--out", out
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        data = load_dataset(dataset)
        config = AugmentConfig(crop_scale=0.2, crop_visible=0.5)
        way, objects = Augment(config, 384, "squash", seed=0, crop="boxes"), ObjectsByImage(data)
        for file, said in zip(answer["images"], answer["labels"], strict=True):
            row = data.images.files.tolist().index(file)
            image = read_image(data.images.path(row))
            _, labels = way(image, objects[row], data.labels[row], epoch=epoch, row=row)
            expected = {
                "present": {"cat": 1.0} if labels[0] == 1 else {},
                "unknown": ["cat"] if labels[0] == -1 else [],
                "dropped": ["cat"] if labels[0] == 0 else [],
            }
            assert said == expected
            targets.add(int(labels[0]))
    assert len(targets) > 1
    assert (pixels(tmp_path / "0.png")[48:] != pixels(tmp_path / "5.png")[48:]).any()


def test_mixed_labels_have_their_shares(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    arguments = ("--count", 20, "--augmented", "--augment.mixup", 1, "--augment.crop", "none")
    done = cli("show", dataset, *arguments, "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    shares = {
        said["present"]["cat"] for said in answer["labels"] if said and "cat" in said["present"]
    }
    # With each other, with a picture without a cat, and the other way round.
    assert len(shares) == 3 and 1.0 in shares
    assert sum(shares - {1.0}) == pytest.approx(1)
    # The broken picture has its place and no labels.
    assert done.returncode == 1
    assert "019.png" in done.stderr and "Traceback" not in done.stderr
    assert answer["labels"][19] is None and None not in answer["labels"][:19]


def test_augmented_needs_the_extra(dataset: Path, tmp_path: Path) -> None:
    # None in sys.modules is how Python itself says that a module is not there.
    script = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        f"sys.argv = ['tagbox', 'show', {str(dataset)!r}, '--augmented']\n"
        "from tagbox.cli.app import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert "[extra-missing]" in done.stderr and 'pip install "tagbox[train]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
