"""`tagbox predict` with a detector's run, as a user would type it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import tagbox
from tagbox.config import SynthConfig
from tagbox.config.detector import DetectorConfig
from tagbox.data.dataset import Categories
from tagbox.data.load import load_dataset
from tagbox.data.synthetic.generate import generate
from tagbox.inference.detector import DetectorModel
from tagbox.models.bundle import DetectorBundle
from tagbox.models.detectors.create import create_detector
from tagbox.predictions.thresholds import ScoreThresholds
from user_files import hashes

Cli = Callable[..., subprocess.CompletedProcess[str]]
LABELS = "scenes/annotations/instances_train.json"


def save_untrained(folder: Path, categories: Categories) -> None:
    """A detector that was never trained: it finds much everywhere, with scores near each other."""
    config = DetectorConfig(detector="fcos", weights="none", size=96)
    detector = create_detector(config, categories.names)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in detector.parameters():
            if parameter.ndim > 1:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    spec = replace(detector.spec, options={**detector.spec.options, "score_threshold": 0.0})
    weights = {name: value.numpy() for name, value in detector.state_dict().items()}
    bundle = DetectorBundle(
        spec=spec, weights=weights, categories=categories, cuts=ScoreThresholds(value=1.0)
    )
    bundle.save(folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with generated scenes and a run ``runs/first`` that says nothing by its own cuts."""
    folder = tmp_path_factory.mktemp("user")
    generate(folder / "scenes", SynthConfig(images=6, width=160, height=120, seed=3))
    categories = load_dataset(folder / LABELS).categories
    (folder / "runs/first").mkdir(parents=True)
    save_untrained(folder / "runs/first", categories)
    return folder


def run(cli: Cli, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = cli(*arguments, cwd=folder, env={"TAGBOX_CACHE": str(folder / "cache")})
    assert "Traceback" not in done.stderr
    return done


def predict(cli: Cli, folder: Path, *arguments: object) -> str:
    # Converting a network for OpenVINO takes seconds, and test_train_detector.py does.
    done = run(cli, folder, "predict", "runs/first", *arguments, "--engine", "torch")
    assert done.returncode == 0, done.stderr
    return done.stdout


def changes(place: Path, folder: str) -> list[float]:
    """How far each saved picture is from the one it shows, which is enlarged twice as small ones are."""
    found = []
    for path in sorted((place / "scenes/train").iterdir()):
        with Image.open(path) as before, Image.open(place / folder / path.name) as after:
            assert after.size == (2 * before.width, 2 * before.height)
            enlarged = before.resize(after.size, Image.Resampling.NEAREST)
            found.append(float(np.abs(np.asarray(after, float) - np.asarray(enlarged)).mean()))
    assert len(found) == len(list((place / folder).iterdir())) == 6
    return found


def test_no_detection_is_a_normal_answer(place: Path, cli: Cli) -> None:
    table = predict(cli, place, "scenes/train", "--save-images", "nothing")
    assert table.count("nothing") == 6
    # Its pictures are saved too, as they are but for JPEG.
    assert max(changes(place, "nothing")) < 5


def test_boxes_and_truth_are_drawn(place: Path, cli: Cli) -> None:
    arguments = ("--save-images", "drawn", "--truth", LABELS, "--score", 0)
    predict(cli, place, "scenes/train", *arguments)
    assert min(changes(place, "drawn")) > 10


def test_files_hold_what_the_api_finds(
    place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    model = tagbox.load_model("runs/first", engine="torch")
    assert isinstance(model, DetectorModel)
    paths = sorted(Path("scenes/train").glob("*.jpg"))
    found = model.detect(paths).detections
    assert len(found) > 6
    cut = float(np.median(found.scores))
    said = found.take(found.scores >= cut)
    arguments = ("scenes/train", "--score", repr(cut))
    written = json.loads(predict(cli, place, *arguments, "--json"))
    assert written["format"] == "tagbox-detections"
    images = written["images"]
    assert {(image["width"], image["height"]) for image in images} == {(160, 120)}
    entries = [entry for image in images for entry in image["objects"]]
    assert [entry["box"] for entry in entries] == said.boxes.tolist()
    assert [entry["score"] for entry in entries] == said.scores.tolist()
    assert [entry["name"] for entry in entries] == [said.categories[k] for k in said.category_rows]
    text = predict(cli, place, *arguments, "--format", "csv", "--round", 1)
    assert text.splitlines()[0] == "image,category,score,x,y,w,h"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["image"] for row in rows] == [said.images[row] for row in said.image_rows]
    for column, key in enumerate("xywh"):
        assert [row[key] for row in rows] == [str(v) for v in np.round(said.boxes[:, column], 1)]


def test_coco_results_have_original_ids_and_every_digit(
    place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pycocotools.coco import COCO

    monkeypatch.chdir(place)
    truth = load_dataset(Path(LABELS))
    model = tagbox.load_model("runs/first", engine="torch")
    assert isinstance(model, DetectorModel)
    found = model.detect([truth.images.path(row) for row in range(len(truth))]).detections
    # By name, since these are the ids; and by the dataset, in any order.
    for extra in ((), ("--truth", LABELS)):
        out = "results.json"
        arguments = ("scenes/train", "--format", "coco", "--out", out, *extra)
        predict(cli, place, *arguments)
        results = json.loads((place / out).read_text())
        assert len(results) == len(found)
        assert [r["bbox"] for r in results] == found.boxes.tolist()
        assert [r["score"] for r in results] == found.scores.tolist()
        assert [r["image_id"] for r in results] == truth.images.ids[found.image_rows].tolist()
        ids = truth.categories.ids[found.category_rows]
        assert [r["category_id"] for r in results] == ids.tolist()
    COCO(str(place / LABELS)).loadRes(str(place / "results.json"))


def test_names_that_are_no_ids_need_the_dataset(place: Path, cli: Cli, tmp_path: Path) -> None:
    Image.new("RGB", (60, 50)).save(tmp_path / "dog.png")
    done = run(cli, place, "predict", "runs/first", tmp_path, "--format", "coco")
    assert done.returncode == 1 and done.stdout == ""
    assert "[image-id-unknown]" in done.stderr and "'dog'" in done.stderr
    assert "--truth" in done.stderr
    done = run(cli, place, "predict", "runs/first", tmp_path, "--format", "coco", "--truth", LABELS)
    assert done.returncode == 1 and "[unknown-image]" in done.stderr


def test_a_corrupt_picture_is_named_and_the_rest_goes_on(
    place: Path, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    Image.new("RGB", (60, 50)).save(tmp_path / "good.png")
    done = run(cli, place, "predict", "runs/first", tmp_path, "--json", "--engine", "torch")
    assert done.returncode == 1
    assert "broken.jpg" in done.stderr and "1 of 2 images could not be read" in done.stderr
    (image,) = json.loads(done.stdout)["images"]
    assert Path(image["image"]).name == "good.png" and image["objects"] == []


def test_windows_of_large_pictures_find_more(place: Path, cli: Cli, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    model = tagbox.load_model(place / "runs/first", engine="torch")
    plain = model.detect([tmp_path / "large.png"]).detections
    windows = ("--tiles", 128, "--tile-overlap", 0.5)
    text = predict(cli, place, tmp_path, "--json", "--score", 0, *windows)
    (image,) = json.loads(text)["images"]
    boxes = np.array([entry["box"] for entry in image["objects"]])
    assert (boxes >= 0).all() and (boxes[:, 0] + boxes[:, 2] <= 400 + 1e-9).all()
    assert len(boxes) > len(plain)


@pytest.mark.slow
def test_a_video(place: Path, cli: Cli) -> None:
    with av.open(str(place / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for path in sorted((place / "scenes/train").iterdir()):
            with Image.open(path) as picture:
                container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode(None))
    assert "nothing" in predict(cli, place, "clip.mp4")
    arguments = ("clip.mp4", "--score", 0, "--save-video", "out.mp4", "--engine", "torch")
    done = run(cli, place, "predict", "runs/first", *arguments, "--out", "rows.json")
    assert done.returncode == 0, done.stderr
    assert "video: out.mp4" in done.stderr
    rows = json.loads((place / "rows.json").read_text())["frames"]
    assert [row["time"] for row in rows] == pytest.approx([k / 10 for k in range(6)])
    assert all(row["objects"] for row in rows)
    with av.open(str(place / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6
    # Half a file: no video, one sentence, and what was there stays.
    half = (place / "clip.mp4").read_bytes()
    (place / "half.mp4").write_bytes(half[: len(half) // 2])
    before = (place / "out.mp4").read_bytes()
    done = run(cli, place, "predict", "runs/first", "half.mp4", "--save-video", "out.mp4")
    assert done.returncode == 1 and "[video-unreadable]" in done.stderr
    assert (place / "out.mp4").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--evidence", "--save-images", "x"], "option-kind", "--evidence"),
        (["--top-k", "3"], "option-kind", "--top-k"),
        (["--threshold", "0.5"], "option-kind", "--score"),
        (["--format", "challenge"], "option-kind", "challenge"),
        (["--precision", "bf16"], "option-kind", "--precision"),
        (["--cache"], "option-kind", "--cache"),
        (["--score", "1.5"], "option-value", "--score"),
        (["--score", "nan"], "option-value", "--score"),
        (["--round", "2"], "option-alone", "--format"),
        (["--round", "-1", "--json"], "option-value", "--round"),
        (["--tile-overlap", "0.2"], "option-alone", "--tiles"),
        (["--tiles", "5"], "option-value", "--tiles"),
        (["--tiles", "64", "--tile-overlap", "1"], "option-value", "--tile-overlap"),
        (["--truth", LABELS], "option-alone", "--save-images"),
        (["--save-video", "x.mp4"], "option-alone", "--save-images"),
        (["clip.mp4"], "video-alone", "clip.mp4"),
    ],
)
def test_what_means_nothing_to_a_detector_is_refused(
    place: Path, cli: Cli, arguments: list[str], code: str, word: str
) -> None:
    done = run(cli, place, "predict", "runs/first", "scenes/train", *arguments)
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr and word in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--format", "coco"], "option-kind", "--format"),
        (["--save-images", "x"], "option-kind", "--save-video"),
        (["--save-video", "x.gif"], "option-value", ".mp4"),
        (["--save-video", "x.mp4"], "video-missing", "none.mp4"),
    ],
)
def test_what_means_nothing_to_a_video_is_refused(
    place: Path, cli: Cli, arguments: list[str], code: str, word: str
) -> None:
    done = run(cli, place, "predict", "runs/first", "none.mp4", *arguments)
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr and word in done.stderr
    assert not (place / "x.mp4").exists()


def test_weights_that_are_not_the_detectors_are_named(place: Path, cli: Cli) -> None:
    bundle = DetectorBundle.load(place / "runs/first")
    name = next(key for key in bundle.weights if key.endswith(".weight"))
    weights = {key: value for key, value in bundle.weights.items() if key != name}
    (place / "runs/other").mkdir()
    replace(bundle, weights=weights).save(place / "runs/other")
    done = run(cli, place, "predict", "runs/other", "scenes/train")
    assert done.returncode == 1 and "[bundle-mismatch]" in done.stderr
    assert name in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_run_knows_what_it_holds(place: Path) -> None:
    found = tagbox.Run(folder=place / "runs/first", metrics={})
    assert found.detector.categories == load_dataset(place / LABELS).categories.names
    with pytest.raises(tagbox.TagboxError) as caught:
        _ = found.classifier
    assert caught.value.code == "run-detector"
    with pytest.raises(tagbox.TagboxError) as caught:
        tagbox.load_model(place / "runs/first", precision="bf16")
    assert caught.value.code == "detector-precision"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["photos", "--save-images", "photos"], "output-is-input"),
        (["photos/0.jpg", "--save-images", "linked"], "output-is-input"),
        (["other", "--save-images", "photos"], "not-made-by-tagbox"),
        (["photos", "--out", "photos/0.jpg", "--format", "json"], "output-is-input"),
        (["photos", "--out", "runs/first/model.json"], "output-is-input"),
        (["photos", "--truth", "truth.json", "--out", "truth.json"], "output-is-input"),
        (["clip.mp4", "--save-video", "./clip.mp4"], "output-is-input"),
        (["clip.mp4", "--save-video", "hard.mp4"], "output-is-input"),
        (["clip.mp4", "--out", "clip.mp4", "--format", "json"], "output-is-input"),
    ],
)
def test_no_output_replaces_what_is_read(
    place: Path, cli: Cli, tmp_path: Path, options: list[str], code: str
) -> None:
    for folder in ("photos", "other"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (32, 32)).save(tmp_path / folder / "0.jpg")
    (tmp_path / "linked").symlink_to("photos")
    shutil.copytree(place / "runs", tmp_path / "runs")
    shutil.copy(place / LABELS, tmp_path / "truth.json")
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    os.link(tmp_path / "clip.mp4", tmp_path / "hard.mp4")
    before = hashes(tmp_path)
    if "--truth" in options:
        options = [*options, "--save-images", "drawn"]
    done = cli("predict", "runs/first", *options, cwd=tmp_path)
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr
    assert "Traceback" not in done.stderr
    assert hashes(tmp_path) == before


def test_drawn_images_are_replaced_by_the_next_call(place: Path, cli: Cli, tmp_path: Path) -> None:
    """In the folder of the images too, where the names differ."""
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    Image.new("RGB", (32, 32)).save(tmp_path / "A.png")
    before = hashes(tmp_path)
    for _ in range(2):
        predict(cli, place, tmp_path / "a.png", tmp_path / "A.png", "--save-images", tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"a.png", "A.png", "a.jpg", "A-2.jpg"}
    assert {name: found for name, found in hashes(tmp_path).items() if name in before} == before


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_a_full_disk_is_said_and_the_old_file_is_kept(place: Path) -> None:
    (place / "kept.json").write_text("old")
    command = Path(sys.executable).with_name("tagbox")
    words = "predict runs/first scenes/train --score 0 --engine torch --out kept.json"
    done = subprocess.run(
        # No file may grow over 1 kB: the system refuses to write as it does where a disk is full.
        ["bash", "-c", f"ulimit -f 1; exec {command} {words}"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    said = "tagbox: error [cannot-write]: kept.json: File too large; check that"
    assert done.stderr.splitlines()[-1].startswith(said)
    assert (place / "kept.json").read_text() == "old"
    assert not list(place.glob(".kept*"))
