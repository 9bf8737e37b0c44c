"""`tagbox train detector`, from a file as annotation tools export it to figures, boxes and a report."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
TWELVE = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)
LABELS = "annotations/instances_default.json"
WIDTH, HEIGHT = 160, 90


def paint(folder: Path, pictures: int, seed: int) -> None:
    """Heads on noise, with their file: ids from 0, no area, no iscrowd, no supercategory."""
    draw = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for row in range(pictures):
        noise = draw.integers(60, 140, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        image = Image.fromarray(noise)
        # The last picture has no head: a negative.
        if row < pictures - 1:
            w, h = (round(float(side), 2) for side in draw.uniform(30, 70, 2))
            x = round(float(draw.uniform(0, WIDTH - w)), 2)
            y = round(float(draw.uniform(0, HEIGHT - h)), 2)
            ImageDraw.Draw(image).ellipse((x, y, x + w, y + h), fill=(230, 140, 40))
            annotations.append({"id": row, "image_id": row, "bbox": [x, y, w, h], "category_id": 1})
        name = f"{row:06}.png"
        image.save(folder / "images" / name)
        images.append({"id": row, "file_name": name, "height": HEIGHT, "width": WIDTH})
    (folder / "annotations").mkdir()
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "Suzanne"}],
    }
    (folder / LABELS).write_text(json.dumps(content))


def run(cli: Cli, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = cli(*arguments, cwd=folder, env={"TAGBOX_CACHE": str(folder / "cache")})
    assert "Traceback" not in done.stderr
    return done


def ok(cli: Cli, folder: Path, *arguments: object) -> str:
    done = run(cli, folder, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder with a training and a validation export, and a detector trained on them."""
    folder = tmp_path_factory.mktemp("user")
    paint(folder / "train", 24, 0)
    paint(folder / "validation", 12, 1)
    out = ok(cli, folder, *TRAIN, "--name", "suzanne", "--epochs", 10, "--json")
    (folder / "train.json").write_text(out)
    return folder


MAY_BE_NONE = ("val_images", "workers")

TRAIN = (
    *("train", "detector", f"train/{LABELS}", "--val", f"validation/{LABELS}"),
    # fp32 everywhere: what these few steps learn would differ on a processor that trains in bf16.
    *("--size", WIDTH, "--channels-last", "no", "--precision", "fp32"),
)


def figures_of(text: str) -> dict[str, Any]:
    return dict(json.loads(text, parse_constant=lambda word: pytest.fail(word)))


def test_the_run_agrees_with_pycocotools_on_the_repaired_file(place: Path, tmp_path: Path) -> None:
    validation = figures_of((place / "train.json").read_text())["validation"]
    content = json.loads((place / "validation" / LABELS).read_text())
    for note in content["annotations"]:
        note |= {"id": note["id"] + 1, "iscrowd": 0, "area": note["bbox"][2] * note["bbox"][3]}
    (tmp_path / "repaired.json").write_text(json.dumps(content))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "repaired.json"))
        judge = COCOeval(truth, truth.loadRes(str(place / "runs/suzanne/predictions.json")), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    expected = dict(zip(TWELVE, judge.stats.tolist(), strict=True))
    assert {name: validation[name] for name in TWELVE} == {
        name: None if value == -1 else value for name, value in expected.items()
    }
    assert validation["ap50"] > 0.8


def test_a_run_and_its_exported_file_agree_to_the_last_digit(place: Path, cli: Cli) -> None:
    data = f"validation/{LABELS}"
    found = [
        figures_of(ok(cli, place, "evaluate", what, data, "--json"))
        for what in ("runs/suzanne", "runs/suzanne/predictions.json")
    ]
    exported = ("--format", "coco", "--truth", data, "--score", 0, "--out", "again.json")
    ok(cli, place, "predict", "runs/suzanne", "validation/images", *exported)
    found.append(figures_of(ok(cli, place, "evaluate", "again.json", data, "--json")))
    first = found[0]
    for other in found[1:]:
        for name in (*TWELVE, "per_category"):
            assert other[name] == first[name], name
    assert first["ap"] == figures_of((place / "train.json").read_text())["validation"]["ap"]


def test_its_boxes_are_where_the_heads_are(place: Path, cli: Cli) -> None:
    found = figures_of(ok(cli, place, "predict", "runs/suzanne", "validation/images", "--json"))
    notes = json.loads((place / "validation" / LABELS).read_text())["annotations"]
    near = 0
    for note, image in zip(notes, found["images"], strict=False):
        x, y, w, h = note["bbox"]
        for entry in image["objects"]:
            assert entry["name"] == "Suzanne"
            left, top, width, height = entry["box"]
            across = min(x + w, left + width) - max(x, left)
            down = min(y + h, top + height) - max(y, top)
            both = max(across, 0) * max(down, 0)
            near += both / (w * h + width * height - both) > 0.5
    assert near >= 9
    assert found["images"][-1]["objects"] == []


def test_the_folder_of_the_run(place: Path) -> None:
    folder = place / "runs/suzanne"
    report = (folder / "report.html").read_text()
    assert "Suzanne" in report and "http://" not in report.replace("http://www.w3.org", "")
    rows = (folder / "history.csv").read_text().splitlines()
    assert len(rows) == 11
    history = [dict(zip(rows[0].split(","), row.split(","), strict=True)) for row in rows[1:]]
    assert float(history[-1]["train_loss"]) < float(history[0]["train_loss"])
    metrics = json.loads((folder / "metrics.json").read_text())
    best = history[metrics["best_epoch"] - 1]
    # Judged once more by the road that prediction takes, on another engine.
    assert float(best["val_ap"]) == pytest.approx(metrics["validation"]["ap"], abs=1e-3)
    assert float(best["val_ap"]) == max(float(row["val_ap"]) for row in history)
    model = json.loads((folder / "model.json").read_text())
    assert model["categories"] == {"names": ["Suzanne"], "ids": [1], "supercategories": [""]}


def test_a_finished_run_is_kept(place: Path, cli: Cli) -> None:
    before = (place / "runs/suzanne/model.safetensors").read_bytes()
    named = (*TRAIN, "--name", "suzanne")
    done = run(cli, place, *named, "--epochs", 1)
    assert done.returncode == 1 and "[run-exists]" in done.stderr
    assert "is finished already" in run(cli, place, *named, "--epochs", 10, "--resume").stderr
    assert (place / "runs/suzanne/model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("extra", "code", "word"),
    [
        (("--recipe", "finetune"), "recipe-task", "tagbox train classifier"),
        (("--config", "classifier.yaml"), "config-field", "settings of a classifier"),
        (("--detector", "yolo"), "detector-unknown", "yolo"),
        (("--trainable-layers", "some"), "config-value", "none, all or a number of stages"),
        (("--best-by", "ap90"), None, "ap90"),
        (("--accumulate", 9), "config-value", "at most batch_size"),
    ],
)
def test_settings_that_cannot_be(
    place: Path, cli: Cli, extra: tuple[object, ...], code: str | None, word: str
) -> None:
    (place / "classifier.yaml").write_text("classifier: {epochs: 3}\n")
    done = run(cli, place, *TRAIN, *extra, "--name", "other")
    assert done.returncode != 0 and word in done.stderr
    assert code is None or f"[{code}]" in done.stderr
    assert not (place / "runs/other").exists()


def test_faster_r_cnn_brings_its_own_settings(place: Path, cli: Cli) -> None:
    flags = ("--detector", "fasterrcnn", "--batch-size", 12, "--epochs", 1, "--weight-decay", 0.02)
    done = run(cli, place, *TRAIN, *flags, "--name", "two-stage", "--keep-checkpoints")
    assert done.returncode == 0, done.stderr
    assert "learning rate 0.015 (0.02 for 16 images), optimizer sgd" in " ".join(
        done.stderr.split()
    )
    folder = place / "runs/two-stage"
    used = yaml.safe_load((folder / "config.yaml").read_text())["detector"]
    assert (used["optimizer"], used["learning_rate"], used["schedule"]) == (
        *("sgd", pytest.approx(0.015), "multistep"),
    )
    assert (used["weight_decay"], used["size"], used["keep_checkpoints"]) == (0.02, WIDTH, True)
    assert None not in {name: used[name] for name in used if name not in MAY_BE_NONE}.values()
    assert list((folder / "checkpoints").glob("0*"))
    assert not (place / "runs/suzanne/checkpoints").exists()
    # One epoch of two steps, of which the weights changed little: no loss explodes.
    history = (folder / "history.csv").read_text().splitlines()
    row = dict(zip(history[0].split(","), history[1].split(","), strict=True))
    assert float(row["train_loss"]) < 10 and float(row["val_loss"]) < 10


def test_a_loss_that_explodes_is_said_with_what_to_do(place: Path, cli: Cli) -> None:
    flags = ("--epochs", 2, "--learning-rate", 3, "--optimizer", "sgd", "--clip", 0, "--ema", 0)
    done = run(cli, place, *TRAIN, *flags, "--name", "wild", "--batch-size", 4)
    said = " ".join(done.stderr.split())
    assert "the training diverges" in said or "[loss-not-finite]" in said
    assert "--learning-rate, which" in said and " 3" in said


def test_a_run_s_settings_train_another(place: Path, cli: Cli) -> None:
    """`--config` with a run's own file, flags before it; the faster of the stages only."""
    flags = ("--epochs", 1, "--trainable-layers", 1, "--name", "again", "--json")
    text = ok(cli, place, *TRAIN[:3], "--config", "runs/suzanne/config.yaml", *flags)
    metrics = figures_of(text)
    assert metrics["epochs"] == 1
    assert metrics["images"] == {"train": 24, "validation": 12}
    assert 0 < metrics["parameters"]["trainable"] < metrics["parameters"]["total"]
