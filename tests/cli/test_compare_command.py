"""`tagbox compare`: files without torch, tables in 80 columns, recipes, the page, and the challenge's real submissions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tagbox
from label_data import dataset
from tagbox.data.formats.coco_write import write_coco
from tagbox.errors import TagboxError
from tagbox.predictions.files import write_csv
from tagbox.predictions.predictions import Predictions

Typed = Callable[..., tuple[int, str, str]]
IMAGES = 150
GROUPS = ("--group", "a=a-*.csv", "--group", "b=b-*.csv")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A COCO file of 150 images, and probabilities of two models and of two seeds of each of two recipes."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    present = random.random((IMAGES, 3)) < [0.5, 0.4, 0.2]
    files = [f"{row:03}.jpg" for row in range(IMAGES)]
    data = dataset(files, [np.flatnonzero(row).tolist() for row in present])
    write_coco(data, tmp_path / "truth.json")
    for number, (name, skill) in enumerate(
        {"good": 3, "bad": 1.2, "a-1": 3, "a-2": 3.1, "b-1": 1.1, "b-2": 1.2}.items()
    ):
        odds = skill * (present - 0.5) + np.random.default_rng(number).normal(0, 0.8, present.shape)
        predictions = Predictions(
            images=tuple(name.removesuffix(".jpg") for name in files),
            categories=data.categories.names,
            probabilities=(1 / (1 + np.exp(-odds))).astype(np.float32),
        )
        write_csv(tmp_path / f"{name}.csv", predictions)
    return tmp_path


def test_two_files(place: Path, typed: Typed) -> None:
    code, printed, said = typed("compare", "good.csv", "bad.csv", "truth.json", "--out", "r.json")
    assert code == 0, said
    assert "good is better than bad in mAP" in printed
    assert "The images vary, the models are fixed" in printed
    assert "probability of 0.5: good, bad" in said
    assert max(map(len, printed.split("Which of these")[0].splitlines())) <= 80
    result = json.loads((place / "r.json").read_text())
    code, printed, _ = typed("compare", "good.csv", "bad.csv", "truth.json", "--json")
    assert json.loads(printed) == result
    (pair,) = result["pairs"]
    assert pair["metrics"]["map"]["verdict"] == "first"
    # Its figures are those of `tagbox evaluate`, to the last digit.
    for side in ("good", "bad"):
        _, scored, _ = typed("evaluate", f"{side}.csv", "truth.json", "--json")
        own = next(m["metrics"] for m in result["models"] if m["name"] == side)
        assert own == {key: json.loads(scored)[key] for key in own}


def test_files_load_no_torch(place: Path) -> None:
    script = (
        "import sys; sys.argv = ['tagbox', 'compare', 'good.csv', 'bad.csv', 'truth.json', '--report', 'r.html']\n"
        "from tagbox.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'torchvision', 'timm', 'openvino', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_recipes(place: Path, typed: Typed) -> None:
    code, printed, said = typed(*("compare", *GROUPS, "truth.json", "--json"))
    assert code == 0, said
    result = json.loads(printed)
    assert result["question"] == "recipes"
    assert {m["name"]: m["runs"] for m in result["models"]} == {"a": 2, "b": 2}
    assert result["models"][0]["predictions"] == ["a-1.csv", "a-2.csv"]
    code, printed, _ = typed("compare", *GROUPS, "truth.json")
    assert code == 0 and "the spread between the runs of a recipe counts" in printed


def test_the_page(place: Path, typed: Typed) -> None:
    code, _, said = typed("compare", "good.csv", "bad.csv", "truth.json", "--report", "r.html")
    assert code == 0, said
    page = (place / "r.html").read_text()
    for words in (
        "Comparison by mAP",
        "good is better than bad",
        "Wins and losses by category",
        "cat",
        "<svg",
    ):
        assert words in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")


def test_from_python(place: Path) -> None:
    found = tagbox.compare(["good.csv", Path("bad.csv")], "truth.json")
    assert [row["name"] for row in found.models] == ["good", "bad"]
    assert found.pairs[0]["verdict"] == "good" and "challenge F1" in repr(
        found.metrics_of("challenge_f1")
    )
    assert "good" in repr(found) and "<table" in found._repr_html_()
    assert {row["category"] for row in found.per_category} == {"cat", "dog", "hat"}
    assert found.disagreements[0]["disagreement"] >= found.disagreements[-1]["disagreement"]
    data = tagbox.load_dataset("truth.json")
    random = np.random.default_rng(0).random((IMAGES, 3)).astype(np.float32)
    memory = Predictions(
        images=tuple(data.images.files.tolist()),
        categories=data.categories.names,
        probabilities=random,
    )
    named = tagbox.compare({"chance": memory, "good": "good.csv"}, data, metric="micro_f1")
    assert named["pairs"][0]["metrics"]["micro_f1"]["verdict"] == "second"
    named.write_page(place / "page.html")
    assert (place / "page.html").stat().st_size > 10_000
    recipes = tagbox.compare({"a": ["a-1.csv", "a-2.csv"], "b": ["b-1.csv", "b-2.csv"]}, data)
    assert recipes["question"] == "recipes"
    frame = pytest.importorskip("pandas") and found.to_pandas()
    assert set(frame["metric"]) >= {"map", "challenge_f1", "hamming_loss"}
    with pytest.raises(TagboxError) as refused:
        tagbox.compare({"a": ["a-1.csv", "a-2.csv"], "b": "b-1.csv"}, data)
    assert refused.value.code == "too-few-models"
    with pytest.raises(TagboxError) as refused:
        tagbox.compare(["good.csv", 7], data)  # type: ignore[list-item]
    assert refused.value.code == "config-value"


def test_three_submissions_of_the_challenge(shared_data: Path, typed: Typed) -> None:
    """An independent bootstrap with the supports held fixed gave +0.025 and 0.008 to 0.043."""
    folder = shared_data / "challenge"
    files = sorted((folder / "submissions").glob("*.json"))
    code, printed, said = typed("compare", *files, folder / "test_labels.json", "--json")
    assert code == 0, said
    result = json.loads(printed)
    pairs = {(p["first"].split("_")[0], p["second"].split("_")[0]): p for p in result["pairs"]}
    found = pairs["convnext", "swin"]["metrics"]["challenge_f1"]
    assert found["difference"] == pytest.approx(0.0251, abs=5e-5)
    assert [found["low"], found["high"]] == pytest.approx([0.008, 0.043], abs=0.003)
    # Two categories have 8 and 9 positives of 4,952 images.
    assert not found["reliable"] and 0.03 < found["p_corrected"] < 0.1
    code, printed, _ = typed("compare", files[0], files[2], folder / "test_labels.json", "--json")
    alone = json.loads(printed)["pairs"][0]["metrics"]["challenge_f1"]
    assert (alone["verdict"], alone["low"]) == ("first", found["low"])
    assert [m["groups"]["micro_f1"] for m in result["models"]] == ["a", "b", "c"]
