"""train → evaluate → predict with the installed command, as a new user would type it."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tagbox.config import SynthConfig
from tagbox.data.submission import read_submission
from tagbox.data.synthetic.generate import generate

Cli = Callable[..., subprocess.CompletedProcess[str]]
FLAGS = ["--backbone", "efficientnet_lite0@96", "--epochs", "4"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder with generated scenes, a finished run ``runs/first`` and a cache of its own."""
    folder = tmp_path_factory.mktemp("user")
    generate(
        folder / "scenes", SynthConfig(images=60, val=30, test=12, width=192, height=144, seed=3)
    )
    done = run(
        cli, folder, "train", "classifier", train(), "--val", val(), "--name", "first", *FLAGS
    )
    assert done.returncode == 0, done.stderr
    assert "report: runs/first/report.html" in done.stderr
    assert "validation: map 0." in done.stderr
    return folder


def run(cli: Cli, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = cli(*arguments, cwd=folder, env={"TAGBOX_CACHE": str(folder / "cache")})
    assert "Traceback" not in done.stderr
    return done


def train() -> str:
    return "scenes/annotations/instances_train.json"


def val() -> str:
    return "scenes/annotations/instances_val.json"


def test_evaluating_the_run_gives_the_figures_of_its_training(place: Path, cli: Cli) -> None:
    done = run(cli, place, "evaluate", "runs/first", val(), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    trained = json.loads((place / "runs/first/metrics.json").read_text())["validation"]
    for key in ("map", "challenge_f1", "micro_f1", "hamming_loss"):
        assert found[key] == pytest.approx(trained[key], abs=1e-9), key


def test_predictions_as_a_file_score_as_the_run_does(place: Path, cli: Cli) -> None:
    for name in ("claims.csv", "claims.json"):
        assert run(cli, place, "predict", "runs/first", "scenes/val", "--out", name).returncode == 0
    scored = [
        json.loads(run(cli, place, "evaluate", what, val(), "--json").stdout)
        for what in ("runs/first", "claims.json", "claims.csv")
    ]
    assert scored[0]["map"] == scored[1]["map"] == scored[2]["map"]
    assert scored[0]["challenge_f1"] == scored[1]["challenge_f1"]


def test_the_same_labels_for_all_pictures_are_told(place: Path, cli: Cli) -> None:
    done = run(cli, place, "predict", "runs/first", "scenes/test")
    assert "same labels" not in done.stderr
    done = run(cli, place, "predict", "runs/first", "scenes/test", "--threshold", "0")
    assert done.returncode == 0, done.stderr
    assert "warning: all 12 images get the same labels: " in done.stderr


def test_the_challenge_form_is_strictly_valid_sorted_and_complete(place: Path, cli: Cli) -> None:
    out = "submission.json"
    done = run(
        cli, place, "predict", "runs/first", "scenes/test", "--format", "challenge", "--out", out
    )
    assert done.returncode == 0, done.stderr
    said = read_submission(place / out)
    stems = sorted(path.stem for path in (place / "scenes/test").glob("*.jpg"))
    assert list(said) == stems
    assert list(json.loads((place / out).read_text())) == stems


def test_a_corrupt_picture_is_named_the_rest_goes_on(place: Path, cli: Cli) -> None:
    folder = place / "mixed"
    folder.mkdir()
    for path in sorted((place / "scenes/test").glob("*.jpg"))[:3]:
        shutil.copy(path, folder)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    done = run(cli, place, "predict", "runs/first", "mixed", "--json")
    assert done.returncode == 1
    assert "mixed/broken.jpg" in done.stderr
    assert "1 of 4 images could not be read" in done.stderr
    assert len(json.loads(done.stdout)["images"]) == 3
    done = run(cli, place, "predict", "runs/first", "mixed", "--format", "challenge")
    assert json.loads(done.stdout)["broken"] == []


def test_pictures_are_saved_with_truth_and_evidence(place: Path, cli: Cli) -> None:
    plain, full = "saved", "saved-with-evidence"
    picture = "scenes/test/*.jpg"
    assert run(cli, place, "predict", "runs/first", picture, "--save-images", plain).returncode == 0
    done = run(
        cli,
        place,
        *("predict", "runs/first", picture, "--save-images", full, "--evidence"),
        *("--truth", "scenes/annotations/instances_test.json", "--top-k", "2"),
    )
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (place / plain).iterdir())
    assert len(names) == 12
    assert names == sorted(path.name for path in (place / full).iterdir())
    for name in names:
        with Image.open(place / plain / name) as one, Image.open(place / full / name) as wide:
            # The picture and the evidence of two labels stand side by side.
            assert wide.width > 2.5 * one.width


def test_top_k_and_threshold(place: Path, cli: Cli) -> None:
    picture = sorted((place / "scenes/test").glob("*.jpg"))[0]
    base = ["predict", "runs/first", picture, "--json"]
    labels = {
        flags: json.loads(run(cli, place, *base, *flags).stdout)["images"][0]
        for flags in [("--top-k", "3"), ("--threshold", "0"), ("--threshold", "1")]
    }
    top = labels["--top-k", "3"]
    ranked = sorted(top["probabilities"], reverse=True)[:3]
    assert len(top["labels"]) == 3
    assert min(ranked) > 0
    assert len(labels["--threshold", "0"]["labels"]) == len(top["probabilities"])
    assert labels["--threshold", "1"]["labels"] == []


def test_a_finished_run_is_refused_and_overwritten_on_request(place: Path, cli: Cli) -> None:
    again = ["train", "classifier", train(), "--val", val(), "--name", "first", *FLAGS]
    done = run(cli, place, *again)
    assert done.returncode == 1
    assert "run-exists" in done.stderr
    before = (place / "runs/first/metrics.json").read_bytes()
    assert run(cli, place, *again, "--overwrite").returncode == 0
    # And the same command twice gives the same numbers.
    assert (place / "runs/first/metrics.json").read_bytes() == before


def test_settings_of_a_run_train_it_again_and_flags_come_first(place: Path, cli: Cli) -> None:
    config = "runs/first/config.yaml"
    command = ["train", "classifier", train(), "--config", config]
    assert run(cli, place, *command, "--name", "second").returncode == 0
    metrics = [(place / f"runs/{name}/metrics.json").read_bytes() for name in ("first", "second")]
    assert metrics[0] == metrics[1]
    assert run(cli, place, *command, "--name", "third", "--epochs", "1").returncode == 0
    third = json.loads((place / "runs/third/metrics.json").read_text())
    assert third["epochs"] == 1


def test_the_bundle_loads_without_torch_pickle_or_network(place: Path) -> None:
    code = (
        "import sys, socket, pickle\n"
        "sys.modules['torch'] = None\n"
        "import tagbox, glob\n"
        "tagbox.Classifier\n"
        "def refuse(*_, **__): raise SystemExit('opened a socket or a pickle')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "tagbox.models.backbones.create.load_packaged = refuse\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "c = tagbox.Classifier.load('runs/first')\n"
        "claims = c.predict(glob.glob('scenes/test/*.jpg'))\n"
        "assert claims.ok.all() and claims.probabilities.max() > 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["predict", "runs/none", "scenes/test"], "bundle-missing"),
        (["predict", "runs/first", "scenes/none.jpg"], "image-missing"),
        (["predict", "runs/first", "scenes/annotations"], "no-images"),
        (["predict", "runs/first"], "no-images"),
        (["predict", "runs/first", "scenes/test", "--threshold", "2"], "option-value"),
        (["predict", "runs/first", "scenes/test", "--top-k", "0"], "option-value"),
        (["predict", "runs/first", "scenes/test", "--evidence"], "option-alone"),
        (["predict", "runs/first", "scenes/test", "--out", "x.txt"], "option-value"),
        (["train", "classifier", "scenes/none.json", "--name", "x"], "file-missing"),
        (
            ["train", "classifier", train(), "--name", "x", "--backbone", "resnet5"],
            "backbone-unknown",
        ),
        (["train", "classifier", train(), "--name", "../x"], "run-name"),
        (["train", "classifier", train(), "--name", "x", "--epochs", "0"], "config-value"),
        (["train", "classifier", train(), "--name", "x", "--config", "no.yaml"], "config-missing"),
    ],
)
def test_errors_in_one_sentence(place: Path, cli: Cli, arguments: list[str], code: str) -> None:
    done = run(cli, place, *arguments)
    assert done.returncode != 0
    assert f"[{code}]" in done.stderr, done.stderr
    assert not (place / "runs" / "x").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ("--score", "0.5"),
        ("--tiles", "640"),
        ("--tile-overlap", "0.5"),
        ("--round", "2"),
        ("--save-video", "out.mp4"),
        ("--format", "coco"),
    ],
)
def test_what_is_for_detectors_is_refused(place: Path, cli: Cli, flags: tuple[str, str]) -> None:
    done = run(cli, place, "predict", "runs/first", "scenes/test", *flags)
    assert done.returncode == 1 and done.stdout == ""
    assert "[option-kind]" in done.stderr and flags[0] in done.stderr


def test_a_training_says_what_it_does_and_what_was_kept(place: Path, cli: Cli) -> None:
    """Without a name one is made, the next number each time."""
    words = ("train", "classifier", train(), "--val", val(), *FLAGS, "--runs", "made")
    for name in ("classifier", "classifier-2"):
        done = run(cli, place, *words)
        assert done.returncode == 0, done.stderr
        assert f"the run is called {name}\n" in done.stderr
        assert (place / "made" / name / "model.json").exists()
    said = done.stderr.splitlines()
    plan = next(line for line in said if line.startswith("training efficientnet_lite0@96"))
    for part in ("60 images, 30 for validation", "at most 4 epochs", "CPU", "openvino"):
        assert part in plan
    epochs = [line for line in said if line.startswith("epoch ")]
    assert [line.partition(":")[0] for line in epochs] == [f"epoch {n}" for n in range(1, 5)]
    rows = list(csv.DictReader((place / "made/classifier/history.csv").open()))
    metrics = json.loads((place / "made/classifier/metrics.json").read_text())
    best = rows[metrics["best_epoch"] - 1]
    kept = next(line for line in said if line.startswith("kept: "))
    assert kept.startswith(f"kept: epoch {metrics['best_epoch']} of 4, the best by ")
    assert metrics["data"] == train()
    for side in ("train", "val"):
        # The challenge logs these: its F1 is the harmonic mean of its precision and recall.
        p, r = (float(best[f"{side}_challenge_{name}"]) for name in ("precision", "recall"))
        assert float(best[f"{side}_challenge_f1"]) == pytest.approx(2 * p * r / (p + r))
        assert 0 <= float(best[f"{side}_challenge_accuracy"]) <= 1


def test_overwriting_without_a_name_is_refused(place: Path, cli: Cli) -> None:
    done = run(cli, place, "train", "classifier", train(), "--overwrite")
    assert done.returncode == 1
    assert "[option-alone]: --overwrite" in done.stderr


def test_resuming_without_a_name_needs_one_unfinished_run(place: Path, cli: Cli) -> None:
    words = ("train", "detector", train(), "--runs", "begun", "--resume")
    done = run(cli, place, *words)
    assert done.returncode == 1
    assert re.search(r"\[run-name\].*begun holds no unfinished runs of a detector", done.stderr)
    for name in ("one", "two"):
        partial = place / "begun" / f".{name}.partial"
        (partial / "checkpoints/000000001").mkdir(parents=True)
        (partial / "config.yaml").write_text("detector: {epochs: 3}\n")
    done = run(cli, place, *words)
    assert "2 unfinished runs of a detector (one, two); name the one to resume" in done.stderr


def test_a_run_is_found_by_its_name(place: Path, cli: Cli) -> None:
    by_name = run(cli, place, "predict", "first", "scenes/test", "--json")
    assert by_name.returncode == 0, by_name.stderr
    assert (
        by_name.stdout == run(cli, place, "predict", "runs/first", "scenes/test", "--json").stdout
    )
    scored = run(cli, place, "evaluate", "first", val(), "--json", "--no-intervals")
    assert json.loads(scored.stdout)["predictions"] == "runs/first"
    elsewhere = run(cli, place, "predict", "copied", "scenes/test", "--runs", "elsewhere")
    assert "[bundle-missing]" in elsewhere.stderr
    shutil.copytree(place / "runs/first", place / "elsewhere/copied")
    assert (
        run(cli, place, "predict", "copied", "scenes/test", "--runs", "elsewhere").returncode == 0
    )


def test_a_path_comes_before_a_name_and_that_is_said(place: Path, cli: Cli) -> None:
    shutil.copytree(place / "runs/first", place / "runs/twice")
    shutil.copytree(place / "runs/first", place / "twice")
    done = run(cli, place, "evaluate", "twice", val(), "--json", "--no-intervals")
    assert json.loads(done.stdout)["predictions"] == "twice"
    assert "for the run of that name give runs/twice" in done.stderr
    assert "of that name" not in run(cli, place, "predict", "first", "scenes/test").stderr


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_misspelt_run_is_told_the_nearest(place: Path, cli: Cli, command: str) -> None:
    done = run(cli, place, command, "frist", val())
    assert done.returncode == 1
    assert re.search(r"\[bundle-missing\]: frist: .*did you mean first", done.stderr)
    (place / "runs/.going.partial").mkdir(exist_ok=True)
    done = run(cli, place, command, "going", val())
    assert "not finished; go on with its training by --resume" in done.stderr


def test_runs_are_listed_with_their_headline(place: Path, cli: Cli) -> None:
    metrics = json.loads((place / "runs/first/metrics.json").read_text())
    listed = json.loads(run(cli, place, "runs", "--json").stdout)
    (first,) = [each for each in listed["runs"] if each["name"] == "first"]
    assert (first["kind"], first["metric"]) == ("classifier", "map")
    assert first["value"] == metrics["validation"]["map"]
    assert first["images"] == {"train": 60, "validation": 30}
    assert first["data"] == train()
    done = run(cli, place, "runs")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert f"mAP {metrics['validation']['map']:.3f}" in done.stdout
    assert "[file-missing]" in run(cli, place, "runs", "nowhere").stderr


def test_only_some_categories_are_reported(place: Path, cli: Cli) -> None:
    """What else the classifier predicts is left out of every form; what remains is as it was."""
    predict = ("predict", "first", "scenes/test", "--threshold", "0.05")
    everything = json.loads(run(cli, place, *predict, "--json").stdout)
    names = everything["categories"][3], everything["categories"][1]
    some = json.loads(run(cli, place, *predict, "--json", "--categories", *names).stdout)
    assert some["categories"] == [names[1], names[0]]
    for one, all_of_it in zip(some["images"], everything["images"], strict=True):
        assert one["image"] == all_of_it["image"]
        assert one["probabilities"] == [all_of_it["probabilities"][k] for k in (1, 3)]
        assert one["labels"] == [name for name in all_of_it["labels"] if name in names]
    table = run(cli, place, *predict, "--categories", *names).stdout
    others = [name for name in everything["categories"] if name not in names]
    assert not [name for name in others if re.search(rf"\b{re.escape(name)} \d", table)]
    wrong = run(cli, place, *predict, "--categories", names[0], "scenes/test")
    assert "[unknown-category]" in wrong.stderr
    assert "name the images before --categories" in wrong.stderr


def test_the_csv_has_paths_and_a_column_of_labels_and_is_read_again(place: Path, cli: Cli) -> None:
    done = run(cli, place, "predict", "first", "scenes/val", "--out", "labelled.csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((place / "labelled.csv").open()))
    assert list(rows[0])[:2] == ["image", "labels"]
    said = json.loads(run(cli, place, "predict", "first", "scenes/val", "--json").stdout)
    assert [row["image"] for row in rows] == [
        f"scenes/val/{i['image']}.jpg" for i in said["images"]
    ]
    assert [row["labels"] for row in rows] == ["|".join(i["labels"]) for i in said["images"]]
    scored = run(cli, place, "evaluate", "labelled.csv", val(), "--json", "--no-intervals")
    run_itself = run(cli, place, "evaluate", "first", val(), "--json", "--no-intervals")
    assert json.loads(scored.stdout)["map"] == json.loads(run_itself.stdout)["map"]


def test_saved_pictures_keep_their_size(place: Path, cli: Cli) -> None:
    (place / "large").mkdir()
    picture = Image.effect_noise((900, 700), 60).convert("RGB")
    picture.save(place / "large/noise.png")
    done = run(cli, place, "predict", "first", "large", "--save-images", "drawn-large")
    assert done.returncode == 0, done.stderr
    with Image.open(place / "drawn-large/noise.jpg") as drawn:
        assert drawn.width == 900
        assert drawn.height > 700
        pair = np.asarray(drawn.convert("RGB"), float)[:700], np.asarray(picture, float)
        # The noise of single pixels is still there: JPEG changes it a little, scaling would end it.
        assert np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1] > 0.9
