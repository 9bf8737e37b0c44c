from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tagbox.images.draw import colour_of

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
    assert (sheet == rgb(colour_of("cat"))).all(axis=-1).any()


def test_the_path_is_printed(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "grid.webp"
    done = cli("show", dataset, "--category", "cat", "--count", 1, "--out", out)
    assert (done.returncode, done.stdout) == (0, f"{out}\n")
    assert Image.open(out).format == "WEBP"


def box_columns(path: Path) -> tuple[int, int]:
    """The first and the last column of the box's outline, from the picture's left edge."""
    gap, picture_ends = 16, 440
    edge = (pixels(path)[:picture_ends, gap:] == rgb(colour_of("cat"))).all(axis=-1)
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
    assert not (picture == rgb(colour_of("cat"))).all(axis=-1).any()


def test_no_boxes(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "plain.png"
    assert cli("show", dataset, "--category", "cat", "--no-boxes", "--out", out).returncode == 0
    assert not (pixels(out) == rgb(colour_of("cat"))).all(axis=-1).any()


def test_a_broken_picture_keeps_its_place(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.png"
    done = cli("show", dataset, "--count", 20, "--out", out)
    assert done.returncode == 1
    assert "019.png" in done.stderr
    assert "Traceback" not in done.stderr
    assert Image.open(out).width > 1600


@pytest.mark.parametrize(
    ("arguments", "code", "hint"),
    [
        (("--category", "cta"), "unknown-category", "did you mean cat"),
        (("--category", "dog"), "no-images", "choose another category"),
        (("--count", 0), "config-value", "at least 1"),
        (("--out", "grid.txt"), "config-value", ".png"),
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
