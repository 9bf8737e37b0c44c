"""`tagbox ensemble` with the installed command, and the ensemble used like any run."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import tagbox
from tagbox.config import EnsembleConfig, SynthConfig
from tagbox.data.synthetic.generate import generate
from user_files import hashes

Cli = Callable[..., subprocess.CompletedProcess[str]]
FILES = {
    ".tagbox",
    "config.yaml",
    "ensemble.json",
    "members",
    "metrics.json",
    "predictions.csv",
    "report.html",
    "seen_images.json",
}
VAL = "scenes/annotations/instances_val.json"
TRAIN = "scenes/annotations/instances_train.json"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """Generated scenes; the runs ``a`` and ``b``, which differ in head and size; their ensemble ``both``."""
    folder = tmp_path_factory.mktemp("user")
    generate(
        folder / "scenes", SynthConfig(images=40, val=30, test=6, width=128, height=96, seed=3)
    )
    # The second run knows the categories in another order.
    turned = json.loads((folder / TRAIN).read_text())
    turned["categories"].reverse()
    (folder / "turned.json").write_text(json.dumps(turned))
    for name, data, flags in (
        ("a", TRAIN, ["--backbone", "efficientnet_lite0@64"]),
        ("b", "turned.json", ["--backbone", "efficientnet_lite0@96", "--head", "mlp"]),
    ):
        command = [
            "train",
            "classifier",
            data,
            "--val",
            VAL,
            "--name",
            name,
            "--epochs",
            "3",
            "--loss",
            "bce",
        ]
        images = ["--images", "scenes/train"] if name == "b" else []
        beside = ["--val-images", "scenes/val"]
        done = run(cli, folder, *command, *flags, *images, *beside)
        assert done.returncode == 0, done.stderr
    done = run(
        cli, folder, "ensemble", "runs/a", "runs/b", "--val", VAL, "--name", "both", "--flip"
    )
    assert done.returncode == 0, done.stderr
    assert "run: runs/both" in done.stderr and "report: runs/both/report.html" in done.stderr
    assert "weights: " in done.stderr and "own size mirrored" in done.stderr
    assert "runs/a" in done.stdout and "challenge F1" in done.stdout
    return folder


def run(cli: Cli, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = cli(*arguments, cwd=folder, env={"TAGBOX_CACHE": str(folder / "cache")})
    assert "Traceback" not in done.stderr, done.stderr
    return done


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_folder_holds_everything(place: Path) -> None:
    folder = place / "runs/both"
    assert {path.name for path in folder.iterdir()} == FILES
    for index in ("0", "1"):
        inside = {path.name for path in (folder / "members" / index).iterdir()}
        assert inside == {"model.json", "model.safetensors"}
    metrics, saved = read(folder / "metrics.json"), read(folder / "ensemble.json")
    assert [row["run"] for row in metrics["members"]] == ["runs/a", "runs/b"]
    assert [row["weight"] for row in metrics["members"]] == [m["weight"] for m in saved["members"]]
    assert sum(m["weight"] for m in saved["members"]) == pytest.approx(1)
    assert saved["members"][0]["views"] == [
        {"size": None, "mirror": False},
        {"size": None, "mirror": True},
    ]
    weights = metrics["weights"]
    assert weights["kept"] in ("equal", "fitted")
    assert weights["fitted"]["overstated"] == pytest.approx(
        weights["fitted"]["tuned"] - weights["fitted"]["cross_fitted"]
    )
    assert metrics["tuning"]["objective"] == "micro_f1"
    assert metrics["images"] == {"validation": 30}
    thresholds = dict(metrics["validation"]["thresholds"])
    assert thresholds.pop("source") == "given"
    assert thresholds == saved["thresholds"]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["command"].startswith("tagbox ensemble runs/a runs/b")
    assert config["ensemble"]["members"] == ["runs/a", "runs/b"]
    report = (folder / "report.html").read_text()
    assert "runs/b" in report and "Weights of the runs" in report


def test_each_runs_figures_are_those_of_its_own_training(place: Path) -> None:
    """The members' rows are of the runs as they are, without views; so is the plain view's mAP."""
    rows = read(place / "runs/both/metrics.json")["members"]
    for row in rows:
        own = read(place / row["run"] / "metrics.json")["validation"]
        assert row["map"] == pytest.approx(own["map"], abs=1e-9)
        assert row["challenge_f1"] == pytest.approx(own["challenge_f1"], abs=1e-9)
        assert row["views"][0]["map"] == row["map"]
        assert row["views"][1]["map"] != row["map"]


@pytest.mark.parametrize("cached", [True, False])
def test_evaluating_it_gives_exactly_the_figures_of_its_making(
    place: Path, cli: Cli, cached: bool, tmp_path: Path
) -> None:
    cache = place / "cache" if cached else tmp_path
    done = cli(
        *("evaluate", "runs/both", VAL, "--json"), cwd=place, env={"TAGBOX_CACHE": str(cache)}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    made = read(place / "runs/both/metrics.json")["validation"]
    assert {key: found[key] for key in made} == made


def test_it_moves_and_lives_without_the_runs_it_was_made_of(
    place: Path, cli: Cli, tmp_path: Path
) -> None:
    shutil.copytree(place / "runs/both", tmp_path / "elsewhere")
    shutil.copytree(place / "scenes", tmp_path / "scenes")
    done = cli("evaluate", "elsewhere", VAL, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = read(place / "runs/both/metrics.json")["validation"]
    assert json.loads(done.stdout)["map"] == made["map"]


def test_predictions_in_every_form(place: Path, cli: Cli) -> None:
    made = read(place / "runs/both/metrics.json")["validation"]
    for name in ("claims.csv", "claims.json"):
        done = run(cli, place, "predict", "runs/both", "scenes/val", "--out", name)
        assert done.returncode == 0, done.stderr
        scored = json.loads(run(cli, place, "evaluate", name, VAL, "--json").stdout)
        assert scored["map"] == pytest.approx(made["map"], abs=1e-9)
    said = read(place / "claims.json")
    assert said["thresholds"] == read(place / "runs/both/ensemble.json")["thresholds"]
    table = run(cli, place, "predict", "runs/both", "scenes/test")
    assert "6 images" in table.stdout
    done = run(cli, place, "predict", "runs/both", "scenes/test", "--save-images", "saved")
    assert done.returncode == 0, done.stderr
    assert len(list((place / "saved").iterdir())) == 6
    with Image.open(next((place / "saved").iterdir())) as picture:
        assert picture.width > 0
    challenge = run(cli, place, "predict", "runs/both", "scenes/test", "--format", "challenge")
    assert len(json.loads(challenge.stdout)) == 6


def test_evidence_is_refused_and_a_member_gives_it(place: Path, cli: Cli) -> None:
    flags = ["--save-images", "evidence", "--evidence"]
    done = run(cli, place, "predict", "runs/both", "scenes/test", *flags)
    assert done.returncode == 1 and "[evidence-ensemble]" in done.stderr
    assert not (place / "evidence").exists()
    done = run(cli, place, "predict", "runs/both/members/0", "scenes/test", *flags)
    assert done.returncode == 0, done.stderr


def test_one_run_with_views_and_an_objective(place: Path, cli: Cli) -> None:
    command = ["ensemble", "runs/a", "--val", VAL, "--name", "views"]
    flags = ["--flip", "--scales", "48", "80", "--objective", "micro_f1", "--weights", "equal"]
    done = run(cli, place, *command, *flags, "--json")
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics == read(place / "runs/views/metrics.json")
    (row,) = metrics["members"]
    assert row["weight"] == 1.0
    assert [(v["size"], v["mirror"]) for v in row["views"]] == [
        (48, False),
        (48, True),
        (80, False),
        (80, True),
    ]
    assert metrics["tuning"]["objective"] == "micro_f1"
    assert metrics["weights"]["reason"] == "equal weights were requested"
    own = read(place / "runs/a/metrics.json")["validation"]
    assert row["map"] == pytest.approx(own["map"], abs=1e-9) != metrics["validation"]["map"]
    found = json.loads(run(cli, place, "evaluate", "runs/views", VAL, "--json").stdout)
    assert {key: found[key] for key in metrics["validation"]} == metrics["validation"]

    # The name is taken; an ensemble is taken apart into its members.
    done = run(cli, place, *command)
    assert done.returncode == 1 and "[run-exists]" in done.stderr
    done = run(cli, place, "ensemble", "runs/both", "runs/a", *command[2:], "--overwrite", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["members"]
    assert [r["run"] for r in rows] == ["runs/both/members/0", "runs/both/members/1", "runs/a"]
    assert rows[0]["weight"] == pytest.approx(rows[2]["weight"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ensemble", "runs/a", "runs/b", "--name", "a"], "output-is-input"),
        (["ensemble", "runs/b", "--runs", ".", "--name", "scenes"], "output-is-input"),
        (["train", "classifier", TRAIN, "--teacher", "runs/a", "--name", "a"], "output-is-input"),
        (["train", "classifier", TRAIN, "--runs", ".", "--name", "scenes"], "not-made-by-tagbox"),
    ],
)
def test_a_result_does_not_replace_what_it_is_made_of(
    place: Path, cli: Cli, words: list[str], code: str
) -> None:
    folders = [place / "runs/a", place / "runs/b", place / "scenes"]
    before = hashes(*folders)
    done = run(cli, place, *words, "--val", VAL, "--overwrite")
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr
    assert hashes(*folders) == before


def test_the_same_from_python(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    config = EnsembleConfig(flip=True)
    made = tagbox.ensemble(["runs/a", Path("runs/b")], VAL, config, name="python", cache=False)
    metrics = read(place / "runs/both/metrics.json")
    assert made.metrics == metrics
    assert read(made.folder / "metrics.json") == metrics
    assert read(made.folder / "ensemble.json") == read(place / "runs/both/ensemble.json")
    data = tagbox.load_dataset(VAL)
    again = tagbox.ensemble(["runs/a", "runs/b"], data, config, name="python", overwrite=True)
    assert again.metrics == metrics
    outputs = again.classifier.predict([data.images.path(row) for row in range(3)])
    assert outputs.probabilities.shape == (3, len(data.categories))
    assert again.classifier.categories == tagbox.load_model("runs/a").categories


def test_a_picture_that_cannot_be_read_is_left_out(place: Path, cli: Cli) -> None:
    shutil.copytree(place / "scenes/val", place / "some")
    broken = sorted((place / "some").glob("*.jpg"))[4]
    broken.write_bytes(broken.read_bytes()[:500])
    done = run(cli, place, "ensemble", "runs/a", "--val", VAL, "--images", "some", "--name", "part")
    assert done.returncode == 0, done.stderr
    metrics = read(place / "runs/part/metrics.json")
    assert metrics["images"] == {"validation": 29}
    assert len(metrics["left_out"]) == 1 and broken.name in metrics["left_out"][0]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["runs/none", "--val", VAL], "bundle-missing"),
        (["runs/a", "--val", "none.json"], "file-missing"),
        (["runs/a", "--val", VAL, "--scales", "9"], "config-value"),
        (["runs/a", "--val", VAL, "--max-images", "0"], "config-value"),
        (
            ["runs/a", "runs/b", "--val", "other.json", "--images", "scenes/val"],
            "categories-differ",
        ),
        (["runs/a", "--val", VAL, "--images", "nowhere"], "images-folder-missing"),
    ],
)
def test_errors_in_one_sentence(place: Path, cli: Cli, arguments: list[str], code: str) -> None:
    other = read(place / VAL)
    other["categories"][0]["name"] = "zeppelin"
    (place / "other.json").write_text(json.dumps(other))
    done = run(cli, place, "ensemble", *arguments, "--name", "x")
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr, done.stderr
    assert not (place / "runs" / "x").exists()
