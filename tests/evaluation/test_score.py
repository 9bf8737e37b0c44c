"""`score` from Python: what `tagbox evaluate --json` prints, without the command line, torch or a console."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tagbox
from box_data import boxed, detected, pycocotools_eval, random_set
from label_data import dataset
from tagbox.config import ScoreSettings
from tagbox.errors import TagboxError
from tagbox.evaluation.coco_ground_truth import ground_truth
from tagbox.evaluation.coco_metrics import BOX_METRICS
from tagbox.evaluation.score import notes, score
from tagbox.predictions.alignment import index_names
from tagbox.predictions.coco_results import encode_results, read_results
from tagbox.predictions.files import encode_json, read_predictions_and_thresholds
from tagbox.predictions.predictions import Predictions
from tagbox.predictions.thresholds import ScoreThresholds, Thresholds

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

NAMES = ("cat", "dog", "hat")
FILES = [f"{row:012d}.jpg" for row in range(1, 41)]


def labels_and_probabilities() -> tuple[Any, Predictions]:
    """Forty images of three categories, and probabilities that know something of them."""
    rng = np.random.default_rng(3)
    present = rng.random((len(FILES), len(NAMES))) < (0.5, 0.3, 0.2)
    truth = dataset(FILES, [np.flatnonzero(row).tolist() for row in present])
    noise = rng.normal(0, 1, present.shape)
    table = 1 / (1 + np.exp(-(2.0 * present - 1 + noise)))
    predictions = Predictions(
        images=tuple(FILES), categories=NAMES, probabilities=table.astype(np.float32)
    )
    return truth, predictions


def coco(folder: Path, data: Any) -> Path:
    """The dataset as a COCO file."""
    images, annotations = data.images, data.annotations
    content = {
        "images": [
            {"id": number, "file_name": name, "width": 200, "height": 200}
            for number, name in zip(images.ids.tolist(), images.files.tolist(), strict=True)
        ],
        "categories": [
            {"id": number, "name": name}
            for number, name in zip(
                data.categories.ids.tolist(), data.categories.names, strict=True
            )
        ],
        "annotations": [
            {
                "id": row + 1,
                "image_id": int(images.ids[image]),
                "category_id": int(data.categories.ids[category]),
                "bbox": np.nan_to_num(box, nan=1.0).tolist(),
                "iscrowd": int(crowd),
            }
            for row, (image, category, box, crowd) in enumerate(
                zip(
                    annotations.image_rows,
                    annotations.category_rows,
                    annotations.boxes,
                    annotations.crowd,
                    strict=True,
                )
            )
        ],
    }
    path = folder / "truth.json"
    path.write_text(json.dumps(content))
    return path


def printed(cli: Cli, *arguments: object) -> dict[str, Any]:
    """What the command prints, without the two arguments."""
    done = cli("evaluate", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    del result["predictions"], result["data"]
    return result


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        ((), ScoreSettings()),
        (("--thresholds", "0.4", "--top-k", "1"), ScoreSettings(thresholds=0.4, top_k=1)),
        (
            ("--at-least-one", "--resamples", "50", "--seed", "7"),
            ScoreSettings(at_least_one=True, resamples=50, seed=7),
        ),
    ],
)
def test_labels_score_as_the_command_prints(
    cli: Cli, tmp_path: Path, flags: tuple[str, ...], settings: ScoreSettings
) -> None:
    truth, predictions = labels_and_probabilities()
    data = coco(tmp_path, truth)
    path = tmp_path / "predictions.json"
    path.write_bytes(encode_json(predictions, Thresholds(value=0.6) if settings.seed else None))
    truth = tagbox.load_dataset(data)
    found, saved = read_predictions_and_thresholds(path, index_names(truth))
    result = score(found, truth, settings, thresholds=saved)
    # As JSON: the command's numbers have passed through it.
    assert json.loads(json.dumps(result)) == printed(cli, path, data, *flags)


def test_the_challenge_scores_without_the_command(shared_data: Path) -> None:
    folder = shared_data / "challenge"
    truth = tagbox.load_dataset(folder / "test_labels.json")
    for name, published in json.loads((folder / "published_scores.json").read_text()).items():
        path = folder / "submissions" / f"{name}.json"
        submission, _ = read_predictions_and_thresholds(path, index_names(truth))
        result = score(submission, truth, ScoreSettings(intervals=False))
        assert {key: round(result[f"challenge_{key}"], 4) for key in published} == published


def test_boxes_score_as_the_command_prints_and_as_pycocotools(cli: Cli, tmp_path: Path) -> None:
    truth, detections = random_set(10)
    results = tmp_path / "results.json"
    results.write_bytes(encode_results(detections, truth))
    data = coco(tmp_path, truth)
    truth = tagbox.load_dataset(data)
    result = score(read_results(results, truth), truth)
    assert json.loads(json.dumps(result)) == printed(cli, results, data)
    theirs = pycocotools_eval(ground_truth(truth), detections).stats
    ours = [-1 if result[name] is None else result[name] for name in BOX_METRICS]
    np.testing.assert_array_equal(ours, theirs)
    assert {"intervals", "per_category", "errors", "reasons", "absent"} <= set(result)
    as_tagger = score(read_results(results, truth), truth, ScoreSettings(as_labels=True))
    assert json.loads(json.dumps(as_tagger)) == printed(cli, results, data, "--as-labels")


def test_scoring_from_python_needs_no_torch_and_prints_nothing(tmp_path: Path) -> None:
    truth, predictions = labels_and_probabilities()
    data = coco(tmp_path, truth)
    path = tmp_path / "predictions.json"
    path.write_bytes(encode_json(predictions))
    results = tmp_path / "results.json"
    results.write_text('[{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 0.9}]')
    code = f"""
import sys
from pathlib import Path
import tagbox
from tagbox.evaluation.score import notes, score
from tagbox.predictions.coco_results import read_results
from tagbox.predictions.files import read_predictions

truth = tagbox.load_dataset({str(data)!r})
labels = score(read_predictions(Path({str(path)!r}), truth.categories.names), truth)
boxes = score(read_results(Path({str(results)!r}), truth), truth)
assert labels["map"] > 0.5 and boxes["detections"] == 1 and notes(labels) and notes(boxes)
heavy = {{"torch", "torchvision", "timm", "openvino", "matplotlib", "rich", "cyclopts"}}
sys.exit(f"imported {{heavy & set(sys.modules)}}" if heavy & set(sys.modules) else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""


def test_thresholds_follow_their_categories() -> None:
    truth, predictions = labels_and_probabilities()
    backwards = dataset(
        FILES,
        [[2 - row for row in np.flatnonzero(present == 1)] for present in truth.labels],
        categories=NAMES[::-1],
    )
    own = Thresholds(per_category=(0.4, 0.5, 0.6), use_per_category=True)
    result = score(predictions, backwards, ScoreSettings(intervals=False), thresholds=own)
    assert [row["threshold"] for row in result["per_category"]] == pytest.approx([0.6, 0.5, 0.4])
    data = boxed([(0, 0, 10, 10, 20, 20), (0, 1, 50, 50, 20, 20)], categories=2)
    found = detected([(0, 0, 10, 10, 20, 20, 0.5), (0, 1, 50, 50, 20, 20, 0.5)], data)
    thresholds = ScoreThresholds(per_category=(0.4, 0.6))
    at = score(found, data, thresholds=thresholds)["at_cuts"]
    assert (at["tp"], at["fn"]) == (1, 1)
    tagger = score(found, data, ScoreSettings(as_labels=True), thresholds=thresholds)
    assert [row["tp"] for row in tagger["per_category"]] == [1, 0]


def test_chosen_categories_keep_their_thresholds(cli: Cli, tmp_path: Path) -> None:
    truth, predictions = labels_and_probabilities()
    data = coco(tmp_path, truth)
    path = tmp_path / "predictions.json"
    path.write_bytes(
        encode_json(predictions, Thresholds(per_category=(0.4, 0.5, 0.6), use_per_category=True))
    )
    result = printed(cli, path, data, "--categories", "hat", "--categories", "dog")
    levels = {row["name"]: row["threshold"] for row in result["per_category"]}
    assert levels == pytest.approx({"dog": 0.5, "hat": 0.6})


def test_what_does_not_fit_is_refused() -> None:
    truth, predictions = labels_and_probabilities()
    data = boxed([(0, 0, 10, 10, 20, 20)])
    found = detected([(0, 0, 10, 10, 20, 20, 0.5)], data)
    with pytest.raises(TagboxError, match="--top-k") as caught:
        score(found, data, ScoreSettings(top_k=1))
    assert caught.value.code == "needs-labels"
    with pytest.raises(TypeError, match="detections"):
        score(found, data, thresholds=Thresholds())
    with pytest.raises(TypeError, match="labels"):
        score(predictions, truth, thresholds=ScoreThresholds())
    with pytest.raises(TagboxError) as caught:
        ScoreSettings(resamples=0)
    assert caught.value.code == "config-value"


def test_notes_name_what_a_reader_must_know() -> None:
    truth, predictions = labels_and_probabilities()
    words = " ".join(notes(score(predictions, truth)))
    assert "come without thresholds" in words and "not reliable" in words
    data = boxed([(0, 0, 10, 10, 20, 20)], categories=2, images=2)
    words = " ".join(notes(score(detected([], data), data)))
    for part in (
        "Images without a detection: 2",
        "1 category has no box",
        "no detections at all",
    ):
        assert part in words
