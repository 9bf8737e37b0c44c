"""`tagbox evaluate` in a process of its own: files of predictions, no torch, the official scores."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

NAMES = ["cat", "dog", "hat"]


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """A COCO file without pictures: four images, three categories, one image without objects."""
    labels = {1: [0], 2: [0, 1], 3: [2], 4: []}
    content = {
        "images": [
            {"id": image, "file_name": f"{image:012d}.jpg", "width": 10, "height": 10}
            for image in labels
        ],
        "categories": [{"id": 10 + k, "name": name} for k, name in enumerate(NAMES)],
        "annotations": [
            {
                "id": n,
                "image_id": image,
                "category_id": 10 + k,
                "bbox": [1, 1, 4, 4],
                "area": 16,
                "iscrowd": 0,
            }
            for n, (image, k) in enumerate(
                [(image, k) for image, there in labels.items() for k in there], start=1
            )
        ],
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(content))
    return path


def probabilities(folder: Path, rows: dict[str, list[float]], names: list[str] = NAMES) -> Path:
    path = folder / "predictions.csv"
    lines = [",".join(["image", *names])]
    lines += [",".join([image, *map(str, values)]) for image, values in rows.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


ROWS = {
    "4": [0.2, 0.1, 0.6],
    "3": [0.1, 0.2, 0.9],
    "000000000002": [0.9, 0.4, 0.3],
    "1": [0.8, 0.1, 0.2],
}


def test_probabilities(cli: Cli, tmp_path: Path, truth: Path) -> None:
    outputs = probabilities(tmp_path, ROWS)
    done = cli("evaluate", outputs, truth, "--json", "--out", tmp_path / "result.json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result == json.loads((tmp_path / "result.json").read_text())
    assert result["map"] == 1.0
    # At 0.5: cat on 1 and 2, hat on 3 and, falsely, on 4; the dog of 2 is missed.
    assert result["micro_precision"] == 3 / 4
    assert result["micro_recall"] == result["challenge_accuracy"] == 3 / 4
    assert result["hamming_loss"] == 2 / 12
    lower = cli("evaluate", outputs, truth, "--json", "--thresholds", "0.4", "--no-intervals")
    assert json.loads(lower.stdout)["micro_recall"] == 1.0


def test_tables_for_a_person(cli: Cli, tmp_path: Path, truth: Path) -> None:
    done = cli("evaluate", probabilities(tmp_path, ROWS), truth, env={"COLUMNS": "120"})
    assert done.returncode == 0, done.stderr
    for words in ("mAP", "1.0000", "support", "not reliable", "cat", "per category (cross-fitted)"):
        assert words in done.stdout
    for metric in ("micro F1 (OF1)", "weighted F1", "samples F1", "Hamming loss"):
        assert metric in done.stdout
    assert "come without thresholds" in done.stderr


def test_the_same_labels_for_all_are_told(cli: Cli, tmp_path: Path, truth: Path) -> None:
    outputs = probabilities(tmp_path, {key: [0.9, 0.8, 0.1] for key in ROWS})
    done = cli("evaluate", outputs, truth)
    assert done.returncode == 0, done.stderr
    assert "All 4 images get the same labels: cat, dog." in done.stderr
    done = cli("evaluate", probabilities(tmp_path, ROWS), truth)
    assert "same labels" not in done.stderr


def test_thresholds_file_and_fallbacks(cli: Cli, tmp_path: Path, truth: Path) -> None:
    thresholds = tmp_path / "thresholds.json"
    thresholds.write_text(
        json.dumps({"per_category": {"hat": 0.7, "cat": 0.5, "dog": 0.3}, "use_per_category": True})
    )
    outputs = probabilities(tmp_path, {k: v[::-1] for k, v in ROWS.items()}, names=NAMES[::-1])
    done = cli("evaluate", outputs, truth, "--json", "--thresholds", thresholds, "--no-intervals")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["subset_accuracy"] == 1.0
    assert [row["threshold"] for row in result["per_category"]] == pytest.approx([0.5, 0.3, 0.7])
    least = cli(
        *("evaluate", outputs, truth, "--json", "--thresholds", thresholds, "--no-intervals"),
        "--at-least-one",
    )
    assert json.loads(least.stdout)["subset_accuracy"] == 3 / 4


def test_challenge_json_against_coco(cli: Cli, tmp_path: Path, truth: Path) -> None:
    outputs = tmp_path / "sets.json"
    outputs.write_text('{"000000000001": [0], "000000000002": [0], "000000000003": [2]}')
    refused = cli("evaluate", outputs, truth, "--json")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "[missing-prediction]" in refused.stderr and "000000000004" in refused.stderr
    done = cli("evaluate", outputs, truth, "--json", "--missing", "empty", "--no-intervals")
    result = json.loads(done.stdout)
    assert (result["missing"], result["micro_precision"], result["micro_recall"]) == (1, 1.0, 3 / 4)
    assert "map" not in result and "needs probabilities" in result["absent"]["map"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--thresholds", "0.4"], "needs-probabilities"),
        (["--top-k", "2"], "needs-probabilities"),
        (["--resamples", "0"], "config-value"),
    ],
)
def test_what_label_sets_cannot_do(
    cli: Cli, tmp_path: Path, truth: Path, arguments: list[str], code: str
) -> None:
    outputs = tmp_path / "sets.json"
    outputs.write_text('{"1": [0], "2": [0], "3": [2], "4": []}')
    done = cli("evaluate", outputs, truth, *arguments)
    assert done.returncode == 1
    assert f"[{code}]" in done.stderr and "Traceback" not in done.stderr


def test_bad_thresholds_and_runs(cli: Cli, tmp_path: Path, truth: Path) -> None:
    outputs = probabilities(tmp_path, ROWS)
    for value, code in (("1.5", "thresholds-invalid"), ("none.json", "file-missing")):
        done = cli("evaluate", outputs, truth, "--thresholds", value)
        assert done.returncode == 1 and f"[{code}]" in done.stderr
    (tmp_path / "run").mkdir()
    done = cli("evaluate", tmp_path / "run", truth)
    assert done.returncode == 1 and "[run-incomplete]" in done.stderr


def test_selected_categories(cli: Cli, tmp_path: Path, truth: Path) -> None:
    outputs = probabilities(tmp_path, ROWS)
    done = cli("evaluate", outputs, truth, "--categories", "hat", "--categories", "cat", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["categories"] == 2


def test_scoring_needs_no_torch(tmp_path: Path, truth: Path) -> None:
    outputs = probabilities(tmp_path, ROWS)
    code = (
        "import sys\n"
        "from tagbox.cli.app import command_line\n"
        f"command_line()(['evaluate', {str(outputs)!r}, {str(truth)!r}], result_action='return_value')\n"
        "heavy = {'torch', 'torchvision', 'timm', 'openvino', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_official_challenge_scores(cli: Cli, shared_data: Path) -> None:
    folder = shared_data / "challenge"
    published = json.loads((folder / "published_scores.json").read_text())
    for name, scores in published.items():
        done = cli(
            *("evaluate", folder / "submissions" / f"{name}.json", folder / "test_labels.json"),
            *("--json", "--no-intervals"),
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert {key: round(result[f"challenge_{key}"], 4) for key in scores} == scores


def test_a_folder_of_large_figures_has_no_nan(cli: Cli, tmp_path: Path, truth: Path) -> None:
    nothing = probabilities(tmp_path, {str(i): [0.0, 0.0, 0.0] for i in range(1, 5)})
    done = cli("evaluate", nothing, truth, "--json")
    result = json.loads(done.stdout, parse_constant=lambda word: pytest.fail(word))
    assert result["challenge_f1"] == 0.0
    assert np.isfinite(result["map"])
