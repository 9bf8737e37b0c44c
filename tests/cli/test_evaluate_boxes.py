"""`tagbox evaluate` on COCO results: the JSON, the tables, detectors as taggers, bad files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

# As annotation tools write it: ids from 0, no area, no iscrowd.
SAMPLE: dict[str, Any] = {
    "images": [
        {"id": image, "file_name": f"{image}.jpg", "width": 640, "height": 480}
        for image in range(3)
    ],
    "categories": [{"id": 1, "name": "fish"}, {"id": 2, "name": "jellyfish"}],
    "annotations": [
        {"id": 0, "image_id": 0, "category_id": 1, "bbox": [293.03, 137.7, 92.31, 91.92]},
        {"id": 1, "image_id": 0, "category_id": 2, "bbox": [10.5, 20.25, 60, 45]},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [100, 100, 50, 80]},
    ],
}
FOUND = [
    {key: note[key] for key in ("image_id", "category_id", "bbox")}
    | {"score": 0.5 + note["id"] / 10}
    for note in SAMPLE["annotations"]
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(SAMPLE))
    return path


def write(folder: Path, content: Any, name: str = "results.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_perfect_boxes_of_a_file_with_id_0(cli: Cli, tmp_path: Path, data: Path) -> None:
    results, out = write(tmp_path, FOUND), tmp_path / "out.json"
    done = cli("evaluate", results, data, "--json", "--out", out)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout, parse_constant=lambda word: pytest.fail(word))
    assert result == json.loads(out.read_text())
    assert result["task"] == "detection"
    assert result["ap"] == pytest.approx(1.0) and result["ar100"] == 1.0
    assert result["ap_small"] is None and "small" in result["absent"]["ap_small"]
    assert [row["ap"] for row in result["per_category"]] == pytest.approx([1.0, 1.0])
    assert result["confusion"]["matrix"] == [[2, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert {row["code"] for row in result["repairs"]} == {"annotation-ids", "area"}
    assert result["at_cuts"]["f1"] == 1.0 and result["cuts"]["source"] == "found here"
    # What the file as it stands is worth to COCO's own code: the annotation 0 is never matched.
    theirs = pycocotools_ap(SAMPLE, FOUND)
    assert 0.5 < theirs < 0.8


def pycocotools_ap(truth: dict[str, Any], found: list[dict[str, Any]]) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    full = {
        **truth,
        "annotations": [{"area": 5000, "iscrowd": 0, **a} for a in truth["annotations"]],
    }
    coco = COCO()
    coco.dataset = full
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


def test_tables_for_a_person(cli: Cli, tmp_path: Path, data: Path) -> None:
    done = cli("evaluate", write(tmp_path, FOUND), data, env={"COLUMNS": "130"})
    assert done.returncode == 0, done.stderr
    for words in (
        "AP50",
        "jellyfish",
        "interval not reliable",
        "Errors at an IoU of 0.5",
        "F1 at the score thresholds",
    ):
        assert words in done.stdout
    for words in ("come without score thresholds", "had no area", "numbered from 1", "No ap_small"):
        assert words in done.stderr


def test_no_detection_is_a_normal_answer(cli: Cli, tmp_path: Path, data: Path) -> None:
    done = cli("evaluate", write(tmp_path, []), data, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ap"] == 0.0 and result["detections"] == 0
    assert "no detections at all" in result["reasons"][0]
    shown = cli("evaluate", tmp_path / "results.json", data)
    assert shown.returncode == 0 and "no detections at all" in shown.stderr


def test_score_cuts_are_taken(cli: Cli, tmp_path: Path, data: Path) -> None:
    results = write(tmp_path, FOUND)
    done = cli("evaluate", results, data, "--json", "--thresholds", "0.55", "--no-intervals")
    result = json.loads(done.stdout)
    assert result["at_cuts"]["tp"] == 2 and result["at_cuts"]["fn"] == 1
    assert result["cuts"]["source"] == "given" and "intervals" not in result
    thresholds = write(tmp_path, {"per_category": {"fish": 0.65}}, "cuts.json")
    done = cli("evaluate", results, data, "--json", "--thresholds", thresholds)
    assert [row["cut"] for row in json.loads(done.stdout)["per_category"]] == [0.65, 0.5]


def test_selected_and_merged_categories(cli: Cli, tmp_path: Path, data: Path) -> None:
    results = write(tmp_path, FOUND)
    done = cli("evaluate", results, data, "--categories", "jellyfish", "--json")
    result = json.loads(done.stdout)
    assert (result["categories"], result["boxes"], result["detections"]) == (1, 1, 1)
    mapping = write(tmp_path, "jellyfish: fish\n", "mapping.yaml")
    # One of them found under the other's name is right once both are one.
    swapped = [row | {"category_id": 3 - row["category_id"]} for row in FOUND]
    results = write(tmp_path, swapped)
    assert json.loads(cli("evaluate", results, data, "--json").stdout)["ap"] == 0.0
    done = cli("evaluate", results, data, "--mapping", mapping, "--json")
    assert json.loads(done.stdout)["ap"] == pytest.approx(1.0)


def test_others_are_left_out_on_request(cli: Cli, tmp_path: Path, data: Path) -> None:
    results = write(tmp_path, [*FOUND, FOUND[0] | {"image_id": 99}])
    refused = cli("evaluate", results, data)
    assert refused.returncode == 1 and "[unknown-image-id]" in refused.stderr
    done = cli("evaluate", results, data, "--extra", "ignore", "--json")
    result = json.loads(done.stdout)
    assert result["extra"] == 1 and result["ap"] == pytest.approx(1.0)


def test_detector_as_tagger(cli: Cli, tmp_path: Path, data: Path) -> None:
    results = write(tmp_path, FOUND)
    done = cli("evaluate", "--as-labels", results, data, "--json", "--no-intervals")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    # Scores 0.5, 0.6 and 0.7, each of what is there: no false positive at 0.5.
    assert result["map"] == 1.0 and result["micro_f1"] == 1.0 and result["images"] == 3
    outputs = write(
        tmp_path, "image,fish,jellyfish\n0,0.9,0.2\n1,0.8,0.1\n2,0.7,0.1\n", "predictions.csv"
    )
    both = cli("evaluate", "--as-labels", results, outputs, data, "--json", "--no-intervals")
    compared = json.loads(both.stdout)["compared"]
    assert [Path(row["predictions"]).name for row in compared] == [
        "results.json",
        "predictions.csv",
    ]
    assert compared[0] == result
    assert compared[1]["micro_recall"] == pytest.approx(2 / 3)
    shown = cli("evaluate", "--as-labels", results, outputs, data, env={"COLUMNS": "140"})
    assert shown.returncode == 0, shown.stderr
    for words in ("results.json", "predictions.csv", "cross-fitted", "challenge F1"):
        assert words in shown.stdout


def test_scoring_boxes_needs_no_torch(tmp_path: Path, data: Path) -> None:
    results = write(tmp_path, FOUND)
    code = (
        "import sys\n"
        "from tagbox.cli.app import command_line\n"
        f"command_line()(['evaluate', {str(results)!r}, {str(data)!r}], result_action='return_value')\n"
        "heavy = {'torch', 'torchvision', 'timm', 'openvino', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


BAD = [
    ("evaluate results.json truth.json", [{"image_id": 0}], "json-field", "[0].category_id"),
    ("evaluate results.json truth.json", [FOUND[0] | {"score": "1"}], "bad-score", "[0].score"),
    ("evaluate results.json truth.json", [FOUND[0] | {"bbox": [1, 2, 3]}], "bad-box", "[0].bbox"),
    (
        "evaluate results.json truth.json",
        [FOUND[0] | {"category_id": 0}],
        "unknown-category-id",
        "[0].category_id",
    ),
    (
        "evaluate results.json truth.json",
        [FOUND[0] | {"image_id": "x"}],
        "unknown-image-id",
        "[0].image_id",
    ),
    ("evaluate results.json truth.json", [[1, 2]], "results-format", "[0]"),
    ("evaluate results.json truth.json", "[NaN]", "json-number", "line 1"),
    ("evaluate results.json truth.json", "[", "json-syntax", "line 1"),
    ("evaluate results.json truth.json --top-k 1", FOUND, "needs-labels", "--top-k"),
    ("evaluate results.json truth.json --labels multi", FOUND, "needs-labels", "--labels"),
    ("evaluate results.json truth.json --thresholds high", FOUND, "file-missing", "high"),
    ("evaluate results.json truth.json --thresholds nan", FOUND, "config-value", "value"),
    ("evaluate results.json results.json truth.json", FOUND, "several-predictions", "--as-labels"),
    (
        "evaluate --as-labels results.json truth.json",
        [FOUND[0] | {"score": 7}],
        "score-range",
        "[0].score",
    ),
    ("evaluate results.json tags.csv", FOUND, "no-boxes", "tags.csv"),
]


@pytest.mark.parametrize(("command", "content", "code", "words"), BAD)
def test_bad_input(
    cli: Cli, tmp_path: Path, data: Path, command: str, content: Any, code: str, words: str
) -> None:
    write(tmp_path, content)
    write(tmp_path, "image,labels\n0.jpg,fish\n", "tags.csv")
    done = cli(*command.split(), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"tagbox: error [{code}]: "), line
    assert words in line and ("results.json" in line or words in line), line
