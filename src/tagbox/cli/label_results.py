"""`tagbox evaluate` on labels of images: one result for each set of predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tagbox.cli.console import progress_bar
from tagbox.cli.detections import Device, holds_detections, label_claims
from tagbox.config import DataConfig, LabelKind, Objective
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset
    from tagbox.predictions.alignment import Aligned
    from tagbox.predictions.predictions import Predictions
    from tagbox.predictions.thresholds import Thresholds


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """How `tagbox evaluate` was asked to judge labels; see its flags."""

    thresholds: str | None
    objective: Objective
    at_least_one: bool
    top_k: int | None
    labels: Literal["auto", "multi", "exclusive"]
    missing: Literal["error", "empty"]
    extra: Literal["error", "ignore"]
    intervals: bool
    resamples: int
    seed: int
    device: Device

    @property
    def about_thresholds(self) -> bool:
        """Whether thresholds were asked for."""
        return self.thresholds is not None or self.at_least_one or self.top_k is not None


def label_result(
    path: Path,
    original: Dataset,
    dataset: Dataset,
    source: DataConfig,
    settings: LabelSettings,
) -> dict[str, Any]:
    """What `tagbox evaluate --json` says of one set of predictions, without the two arguments."""
    from tagbox.evaluation.evaluate_labels import evaluate_labels
    from tagbox.predictions.alignment import align, restrict

    if holds_detections(path):
        outputs, saved = label_claims(
            path, original, dataset, source, extra=settings.extra, device=settings.device
        )
    else:
        outputs, saved = _claims(path, dataset, settings.device)
    if source.categories:
        outputs = restrict(outputs, dataset.categories.names)
    aligned = align(outputs, dataset, missing=settings.missing, extra=settings.extra)
    kind = _kind(outputs, aligned, dataset, settings.labels)
    used = None
    if kind == "exclusive":
        if settings.about_thresholds:
            raise TagboxError(
                "needs-multi-labels",
                "labels are exclusive: the most probable category is said, and no threshold applies",
                file=path,
                hint="leave --thresholds, --at-least-one and --top-k out, or pass --labels multi",
            )
    elif aligned.probabilities is not None:
        used = _thresholds(saved, outputs, aligned, settings)
    elif settings.about_thresholds:
        raise TagboxError(
            "needs-probabilities",
            "it holds label sets, to which no threshold applies",
            file=path,
            hint="leave --thresholds, --at-least-one and --top-k out, or give probabilities",
        )
    return {
        "fingerprint": dataset.fingerprint,
        **evaluate_labels(
            aligned.truth,
            categories=aligned.categories,
            probabilities=aligned.probabilities,
            decisions=aligned.decisions,
            thresholds=used,
            objective=settings.objective,
            intervals=settings.intervals,
            resamples=settings.resamples,
            seed=settings.seed,
            labels=kind,
        ),
        "missing": len(aligned.missing),
        "extra": len(aligned.extra),
    }


def _claims(path: Path, dataset: Dataset, device: Device) -> tuple[Predictions, Thresholds | None]:
    """Predictions and thresholds of a run folder or a file; only a run needs torch."""
    from tagbox.predictions.alignment import index_names
    from tagbox.predictions.files import read_predictions_and_thresholds

    if not path.is_dir():
        return read_predictions_and_thresholds(path, index_names(dataset))
    if not any((path / name).is_file() for name in ("model.json", "ensemble.json")):
        raise TagboxError(
            "run-incomplete",
            "this folder holds no model.json and no ensemble.json, so it is not a finished run",
            file=path,
            hint="give the folder of a run (runs/NAME) or a file of predictions",
        )
    from tagbox.inference.load import predict_dataset

    with progress_bar("predicting", len(dataset)) as advance:
        return predict_dataset(path, dataset, device=device, progress=advance)


def _kind(
    outputs: Predictions,
    aligned: Aligned,
    dataset: Dataset,
    asked: Literal["auto", "multi", "exclusive"],
) -> LabelKind:
    """How the images are judged; exclusive labels are checked."""
    from tagbox.data.single_label import exclusive, require_single_label
    from tagbox.metrics.single_label import says_one_each

    fits = says_one_each(aligned.probabilities, aligned.decisions)
    scored = dataset.take(aligned.rows)
    kind = asked if asked != "auto" else outputs.labels
    if kind is None:
        kind = "exclusive" if fits and exclusive(scored) else "multi"
    if kind == "exclusive":
        require_single_label(scored)
        if aligned.decisions is not None and not fits:
            row = int(aligned.decisions.sum(axis=1).argmax())
            raise TagboxError(
                "labels-not-exclusive",
                f"{int(aligned.decisions[row].sum())} categories are said of "
                f"{dataset.images.files[aligned.rows[row]]}",
                file=outputs.source,
                hint="say one category of each image, or pass --labels multi",
            )
    return kind


def _thresholds(
    saved: Thresholds | None, outputs: Predictions, aligned: Aligned, settings: LabelSettings
) -> Thresholds | None:
    """What the headline figures are at, in the dataset's order of categories; None where nobody said."""
    from tagbox.predictions.thresholds import Thresholds
    from tagbox.predictions.thresholds_file import read_thresholds

    given, objective, top_k = settings.thresholds, settings.objective, settings.top_k
    used = saved
    if given is not None:
        try:
            used = Thresholds(value=float(given), objective=objective)
        except ValueError:
            used = read_thresholds(Path(given), outputs.categories)
    if used is not None and used.per_category is not None:
        own = dict(zip(outputs.categories, used.per_category, strict=True))
        used = replace(used, per_category=tuple(own[name] for name in aligned.categories))
    if settings.at_least_one or top_k is not None:
        used = used or Thresholds(objective=objective)
        used = replace(used, at_least_one=settings.at_least_one or used.at_least_one)
        used = replace(used, top_k=used.top_k if top_k is None else top_k)
    return used
