"""`tagbox evaluate` on detections: a results file of any tool, or the run of a detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tagbox.cli.console import progress_bar
from tagbox.config import DataConfig
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset
    from tagbox.predictions.predictions import Detections, Predictions
    from tagbox.predictions.thresholds import ScoreThresholds, Thresholds

Device = Literal["auto", "cuda", "mps", "cpu"]
DETECTOR_FORMAT = "tagbox-detector"


def holds_detections(path: Path) -> bool:
    """Whether `path` is a results file (a JSON list) or the run of a detector."""
    import msgspec

    try:
        if not path.is_dir():
            with open(path, "rb") as opened:
                return opened.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
        model = msgspec.json.decode((path / "model.json").read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False  # Who reads it as something else says what is wrong with it.
    return isinstance(model, dict) and model.get("format") == DETECTOR_FORMAT


def read_detections(
    path: Path,
    original: Dataset,
    dataset: Dataset,
    source: DataConfig,
    *,
    extra: Literal["error", "ignore"],
    device: Device,
) -> tuple[Detections, ScoreThresholds | None, int]:
    """Detections laid beside `dataset`, the model's score cuts, and how many things were left out.

    `dataset` is `original` with the changes that `source` asks for; the ids of a results file are those of
    `original`.
    """
    from tagbox.predictions.alignment import adapt_detections, align_detections
    from tagbox.predictions.coco_results import read_known_results, read_results

    if not path.is_dir():
        left_out = 0
        if extra == "ignore":
            found, left_out = read_known_results(path, original)
        else:
            found = read_results(path, original)
        return adapt_detections(found, original, dataset, source), None, left_out
    from tagbox.inference.detector import detect_dataset

    with progress_bar("detecting", len(dataset)) as advance:
        found, cuts = detect_dataset(path, dataset, device=device, progress=advance)
    # A detector may know more categories than were asked for with --categories.
    aligned, strange = align_detections(found, dataset, "ignore" if source.categories else extra)
    if cuts is not None:
        cuts = cuts.reordered(found.categories, dataset.categories.names)
    return aligned, cuts, len(strange)


def box_result(
    path: Path,
    original: Dataset,
    dataset: Dataset,
    source: DataConfig,
    *,
    thresholds: str | None,
    extra: Literal["error", "ignore"],
    intervals: bool,
    seed: int,
    device: Device,
) -> dict[str, Any]:
    """What `tagbox evaluate --json` says of detections, without the two arguments."""
    from tagbox.evaluation.coco_ground_truth import ground_truth
    from tagbox.evaluation.evaluate_detections import evaluate_boxes

    ground_truth(dataset)  # Refuses data without boxes before a detector runs for minutes.
    detections, cuts, left_out = read_detections(
        path, original, dataset, source, extra=extra, device=device
    )
    if thresholds is not None:
        cuts = _given_cuts(thresholds, dataset)
    result = evaluate_boxes(dataset, detections, cuts=cuts, intervals=intervals, seed=seed)
    return {"fingerprint": dataset.fingerprint, **result, "extra": left_out}


def label_claims(
    path: Path,
    original: Dataset,
    dataset: Dataset,
    source: DataConfig,
    *,
    extra: Literal["error", "ignore"],
    device: Device,
) -> tuple[Predictions, Thresholds | None]:
    """A detector's best score of each category in each image, and its score cuts as thresholds."""
    from tagbox.predictions.detections_as_labels import as_labels, label_thresholds

    detections, cuts, _ = read_detections(
        path, original, dataset, source, extra=extra, device=device
    )
    # By path: an id may be another picture's file name.
    named = replace(detections, images=tuple(dataset.images.files.tolist()))
    thresholds = None if cuts is None else label_thresholds(cuts, len(dataset.categories))
    return as_labels(named), thresholds


def _given_cuts(given: str, dataset: Dataset) -> ScoreThresholds:
    from tagbox.predictions.thresholds import ScoreThresholds
    from tagbox.predictions.thresholds_file import read_score_thresholds

    try:
        return ScoreThresholds(value=float(given))
    except ValueError:
        return read_score_thresholds(Path(given), dataset.categories.names)


def refuse_label_settings(path: Path, **given: bool) -> None:
    """Refuse settings that only labels have.

    Raises
    ------
    TagboxError
        ``needs-labels``.
    """
    named = [f"--{name.replace('_', '-')}" for name, is_given in given.items() if is_given]
    if named:
        raise TagboxError(
            "needs-labels",
            f"it holds detections, and {' and '.join(named)} {'is' if len(named) == 1 else 'are'} about "
            "labels of images",
            file=path,
            hint=f"leave {' and '.join(named)} out, or pass --as-labels",
        )
