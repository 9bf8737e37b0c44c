"""Score predictions of labels or boxes against a dataset, whoever made them: needs no model and no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tagbox.config import LabelKind, ScoreSettings
from tagbox.data.dataset import Dataset, exclusive, require_single_label
from tagbox.data.text import some
from tagbox.errors import TagboxError
from tagbox.metrics.intervals import AVERAGES, IMAGES, TOO_FEW_ERRORS
from tagbox.metrics.single_label import one_label_each
from tagbox.predictions.alignment import Aligned, align, align_detections
from tagbox.predictions.predictions import Detections, Predictions, as_labels
from tagbox.predictions.thresholds import (
    ScoreThresholds,
    Thresholds,
    read_score_thresholds,
    read_thresholds,
)


def score(
    predictions: Predictions | Detections,
    dataset: Dataset,
    settings: ScoreSettings = ScoreSettings(),
    *,
    thresholds: Thresholds | ScoreThresholds | None = None,
) -> dict[str, Any]:
    """Evaluate predictions against a dataset; the object that `tagbox evaluate --json` prints.

    Categories are aligned by name and images by path, file stem or id, never by position.

    Parameters
    ----------
    predictions
        Probabilities or label sets, or a detector's boxes; `tagbox.predictions` reads files of them.
    dataset
        The truth; images that are not annotated are left out.
    settings
        The options of the command.
    thresholds
        Those that the predictions come with, such as the model's, in the order of ``predictions.categories``: `Thresholds`
        of labels, `ScoreThresholds` of detections. ``settings.thresholds`` takes their place.

    Returns
    -------
    dict
        Plain JSON values without NaN: metrics, their intervals, ``per_category``, and under ``absent`` what is
        missing and why; `docs/evaluate-json.md` documents the keys. `notes` puts in words what a reader must know.

    Raises
    ------
    TagboxError
        The codes of `align`, `align_detections` and `evaluate_boxes`; ``needs-labels``, ``needs-multi-labels``,
        ``needs-probabilities`` for settings that these predictions have no use for; ``labels-not-exclusive``;
        ``score-range`` with ``as_labels``; those of reading a file of thresholds.
    TypeError
        Thresholds of labels for detections, or the reverse.
    """
    if isinstance(predictions, Predictions):
        if isinstance(thresholds, ScoreThresholds):
            raise TypeError(
                "ScoreThresholds belong to detections, and these are predictions of labels"
            )
        return _score_labels(predictions, dataset, settings, thresholds)
    if isinstance(thresholds, Thresholds):
        raise TypeError("Thresholds belong to predictions of labels, and these are detections")
    aligned, used, left_out = aligned_boxes(predictions, dataset, settings, thresholds)
    if settings.as_labels:
        return _score_labels(*detections_as_labels(aligned, used, dataset, settings))
    from tagbox.evaluation.evaluate_detections import evaluate_boxes

    result = evaluate_boxes(
        dataset, aligned, cuts=used, intervals=settings.intervals, seed=settings.seed
    )
    return {"fingerprint": dataset.fingerprint, **result, "extra": left_out}


def aligned_boxes(
    detections: Detections,
    dataset: Dataset,
    settings: ScoreSettings,
    saved: ScoreThresholds | None,
) -> tuple[Detections, ScoreThresholds | None, int]:
    """Detections aligned with the dataset, the score thresholds they are scored at, and how many keys were left out.

    With ``as_labels`` the thresholds are the saved ones: those of the settings are of labels then. Parameters and
    errors are those of `score`.
    """
    names = dataset.categories.names
    if not settings.as_labels:
        refuse_label_settings(settings, detections.source)
    aligned, left_out = align_detections(detections, dataset, settings.extra)
    used = None if saved is None else saved.reordered(detections.categories, names)
    if not settings.as_labels:
        if isinstance(settings.thresholds, Path):
            used = read_score_thresholds(settings.thresholds, names)
        elif settings.thresholds is not None:
            used = ScoreThresholds(value=settings.thresholds)
    return aligned, used, len(left_out)


def detections_as_labels(
    aligned: Detections,
    thresholds: ScoreThresholds | None,
    dataset: Dataset,
    settings: ScoreSettings,
) -> tuple[Predictions, Dataset, ScoreSettings, Thresholds | None]:
    """The arguments of `scored_labels` for aligned detections that are scored as labels; errors as `score`."""
    # Keyed by path: a decimal id may be another image's file name.
    labels = as_labels(replace(aligned, images=tuple(dataset.images.files.tolist())))
    levels = None if thresholds is None else thresholds.of_labels(len(dataset.categories))
    return labels, dataset, settings, levels


def refuse_label_settings(settings: ScoreSettings, source: str) -> None:
    """Refuse settings that detections have no use for; `source` is the file or run that the error names.

    Raises
    ------
    TagboxError
        ``needs-labels``.
    """
    given = {
        "--at-least-one": settings.at_least_one,
        "--top-k": settings.top_k is not None,
        "--labels": settings.labels != "auto",
    }
    named = " and ".join(flag for flag, is_given in given.items() if is_given)
    if named:
        raise TagboxError(
            "needs-labels",
            f"it holds detections, and {named} {'are' if ' and ' in named else 'is'} about labels of images",
            file=source,
            hint=f"leave {named} out, or pass --as-labels",
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredLabels:
    """Predictions of labels as they are scored: aligned, whether labels are exclusive, and thresholds if there are any."""

    aligned: Aligned
    kind: LabelKind
    thresholds: Thresholds | None


def scored_labels(
    predictions: Predictions, dataset: Dataset, settings: ScoreSettings, saved: Thresholds | None
) -> ScoredLabels:
    """Align predictions of labels and settle what `score` scores them as; its parameters and errors."""
    aligned = align(predictions, dataset, missing=settings.missing, extra=settings.extra)
    kind = _label_kind(predictions, aligned, dataset, settings)
    thresholds = None
    if kind == "multi" and aligned.probabilities is not None:
        thresholds = _thresholds(saved, predictions, aligned, settings)
    elif settings.thresholds is not None or settings.at_least_one or settings.top_k is not None:
        code, found, way_out = (
            (
                "needs-multi-labels",
                "labels are exclusive: the most probable category is predicted, and no threshold applies",
                "pass --labels multi",
            )
            if kind == "exclusive"
            else (
                "needs-probabilities",
                "it holds label sets, to which no threshold applies",
                "give probabilities",
            )
        )
        raise TagboxError(
            code,
            found,
            file=predictions.source,
            hint=f"leave --thresholds, --at-least-one and --top-k out, or {way_out}",
        )
    return ScoredLabels(aligned=aligned, kind=kind, thresholds=thresholds)


def _score_labels(
    predictions: Predictions, dataset: Dataset, settings: ScoreSettings, saved: Thresholds | None
) -> dict[str, Any]:
    from tagbox.evaluation.evaluate_labels import evaluate_labels

    scored = scored_labels(predictions, dataset, settings, saved)
    aligned = scored.aligned
    return {
        "fingerprint": dataset.fingerprint,
        **evaluate_labels(
            aligned.truth,
            categories=aligned.categories,
            probabilities=aligned.probabilities,
            decisions=aligned.decisions,
            thresholds=scored.thresholds,
            objective=settings.objective,
            intervals=settings.intervals,
            resamples=settings.resamples,
            seed=settings.seed,
            labels=scored.kind,
        ),
        "missing": len(aligned.missing),
        "extra": len(aligned.extra),
    }


def _label_kind(
    predictions: Predictions, aligned: Aligned, dataset: Dataset, settings: ScoreSettings
) -> LabelKind:
    """Whether images are scored as having one category each; refuses data or label sets that do not."""
    one_each = one_label_each(aligned.probabilities, aligned.decisions)
    scored = dataset.take(aligned.rows)
    kind = predictions.labels if settings.labels == "auto" else settings.labels
    if kind is None:
        kind = "exclusive" if one_each and exclusive(scored) else "multi"
    if kind == "exclusive":
        require_single_label(scored)
        if aligned.decisions is not None and not one_each:
            row = int(aligned.decisions.sum(axis=1).argmax())
            raise TagboxError(
                "labels-not-exclusive",
                f"{int(aligned.decisions[row].sum())} categories are predicted for "
                f"{dataset.images.files[aligned.rows[row]]}",
                file=predictions.source,
                hint="predict one category for each image, or pass --labels multi",
            )
    return kind


def _thresholds(
    saved: Thresholds | None, predictions: Predictions, aligned: Aligned, settings: ScoreSettings
) -> Thresholds | None:
    """The thresholds to score at, in the dataset's order of categories; None where there are none."""
    used = saved
    if isinstance(settings.thresholds, Path):
        used = read_thresholds(settings.thresholds, predictions.categories)
    elif settings.thresholds is not None:
        used = Thresholds(value=settings.thresholds, objective=settings.objective)
    if used is not None:
        used = used.reordered(predictions.categories, aligned.categories)
    if settings.at_least_one or settings.top_k is not None:
        used = used or Thresholds(objective=settings.objective)
        used = replace(
            used,
            at_least_one=settings.at_least_one or used.at_least_one,
            top_k=used.top_k if settings.top_k is None else settings.top_k,
        )
    return used


def notes(result: Mapping[str, Any]) -> list[str]:
    """What a person must know to read the metrics of `score`, in sentences; the likeliest cause of a bad AP is last."""
    detection = result.get("task") == "detection"
    lines = left_out_notes(result)
    if detection:
        lines += [f"{repair['sentence']}." for repair in result["repairs"]]
        if result["empty_images"]:
            lines.append(f"Images without a detection: {result['empty_images']:,}.")
    unsupported = result["no_support"]
    if unsupported:
        count, one = len(unsupported), len(unsupported) == 1
        lines.append(
            f"{count} {'category has' if one else 'categories have'} no {'box' if detection else 'positive'} here "
            f"and {'is' if one else 'are'} left out of averages over categories: {some(unsupported, 8)}."
        )
    unreliable = {
        name: found for name, found in result.get("intervals", {}).items() if not found["reliable"]
    }
    if unreliable:
        reason = (
            next(iter(unreliable.values()))["reason"]
            if detection
            else _why_unreliable(result, unreliable)
        )
        lines.append(f"Interval not reliable: {reason}.")
    absent = result["absent"]
    if detection:
        if result["cuts"]["source"] == "found here":
            lines.append(
                "The detections come without score thresholds; precision, recall and F1 are at those of best F1 "
                "on these very images, which overstates them."
            )
    else:
        if result.get("thresholds", {}).get("source") == "default":
            lines.append(
                "The predictions come without thresholds, so 0.5 was used; the tuned ones beside it are "
                "cross-fitted: each image is scored at thresholds tuned on other images."
            )
            lines.append(f"Tuning: {result['tuning']['reason']}.")
        # What exclusive labels do not have by their nature needs no note.
        noted = (
            ("map", "log_loss") if result["labels"] == "exclusive" else ("map", "at_per_category")
        )
        absent = {key: reason for key, reason in absent.items() if key in noted}
    for reason in dict.fromkeys(absent.values()):
        keys = ", ".join(key for key, value in absent.items() if value == reason)
        lines.append(f"No {keys}: {reason}.")
    return lines + transfer_notes(result) + list(result.get("reasons", ()))


def transfer_notes(result: Mapping[str, Any]) -> list[str]:
    """What figures owe to training on COCO, where the model used it."""
    if not result.get("transfer"):
        return []
    return [
        f"{result['transfer']}: on pictures of COCO's train2017 the figures are too good, because the detector was "
        "trained on them."
    ]


def left_out_notes(result: Mapping[str, Any]) -> list[str]:
    """How many images had no prediction, and how many predictions had no image or category."""
    lines = []
    if result.get("missing"):
        lines.append(
            f"{result['missing']:,} images had no prediction and count as images without a predicted category."
        )
    if result["extra"]:
        what = (
            "detections of other images or categories"
            if result.get("task") == "detection"
            else "predicted images or categories"
        )
        lines.append(f"{result['extra']:,} {what} were left out.")
    return lines


def _why_unreliable(result: Mapping[str, Any], metrics: Collection[str]) -> str:
    """Of label metrics; see `metrics.intervals.unreliable`."""
    if result["images"] < IMAGES:
        return f"there are {result['images']:,} images, fewer than {IMAGES}"
    thin, reasons = result["thin_categories"], []
    if thin:
        reasons.append(f"{len(thin)} categories have too few positives: {some(thin, 8)}")
    if not thin or not set(metrics) <= set(AVERAGES):
        reasons.append(TOO_FEW_ERRORS)
    return "; ".join(reasons)
