"""`tagbox evaluate`: how good a run, or anybody's predictions, are on a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from tagbox.cli.console import print_json, progress_bar, say
from tagbox.cli.result_tables import show_result
from tagbox.config import DataConfig, LabelKind, Objective
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset
    from tagbox.evaluation.alignment import Aligned
    from tagbox.evaluation.predictions import Predictions
    from tagbox.evaluation.thresholds import Thresholds


def evaluate(
    predictions: Path,
    data: Path,
    /,
    *,
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),  # noqa: B008
    thresholds: str | None = None,
    objective: Objective = "challenge_f1",
    at_least_one: bool = False,
    top_k: int | None = None,
    labels: Literal["auto", "multi", "exclusive"] = "auto",
    missing: Literal["error", "empty"] = "error",
    extra: Literal["error", "ignore"] = "error",
    per_category: bool = True,
    intervals: bool = True,
    resamples: int = 1000,
    seed: int = 0,
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Score a run, or any file of predictions, against a dataset's labels.

    Categories are matched by name and images by path, file name or id, never by position. The
    headline figures are at the run's saved thresholds, or at 0.5 for probabilities that come without.

    Parameters
    ----------
    predictions
        Folder of a run; or a file: the challenge's JSON ({"000000000139": [56, 60]}), a CSV of
        probabilities (image,person,bicycle,...), or what `tagbox predict --json` wrote.
    data
        Any dataset, or a labels file in the challenge's JSON form.
    thresholds
        A number for all categories, or a JSON file of thresholds, in place of the saved ones.
    objective
        What thresholds are tuned for where the predictions bring none.
    at_least_one
        Give every image at least the category nearest to its threshold.
    top_k
        Say at most this many categories of an image.
    labels
        Whether an image has any number of categories or exactly one; auto: what the run says, or else what the
        data and the predictions look like.
    missing
        Images without a prediction: refuse, or count them as images of which nothing is said.
    extra
        Predicted images and categories that the dataset does not have: refuse, or leave them out.
    per_category
        Show the table of categories.
    intervals
        Say intervals of the figures.
    resamples
        Bootstrap resamples for them; fewer are drawn for large datasets.
    seed
        Seed of resamples and of cross-fitting.
    device
        Where a run computes.
    out
        Write the JSON to this file.
    json
        Print the result as one JSON object.
    """
    from tagbox.data.load import describe, load_dataset
    from tagbox.evaluation.alignment import align, restrict
    from tagbox.evaluation.evaluate import evaluate_labels

    if resamples < 1:
        raise TagboxError(
            "config-value",
            f"{resamples} is not above 0",
            where="resamples",
            hint="change the value or pass --no-intervals",
        )
    dataset = load_dataset(data, source)
    say(describe(dataset))
    claims, saved = _claims(predictions, dataset, device)
    if source.categories:
        claims = restrict(claims, dataset.categories.names)
    aligned = align(claims, dataset, missing=missing, extra=extra)
    kind = _kind(labels, claims, aligned, dataset)
    used = None
    if kind == "exclusive":
        if thresholds is not None or at_least_one or top_k is not None:
            raise TagboxError(
                "needs-multi-labels",
                "labels are exclusive: the most probable category is said, and no threshold applies",
                file=predictions,
                hint="leave --thresholds, --at-least-one and --top-k out, or pass --labels multi",
            )
    elif aligned.probabilities is not None:
        used = _thresholds(thresholds, saved, claims, aligned, objective, at_least_one, top_k)
    elif thresholds is not None or at_least_one or top_k is not None:
        raise TagboxError(
            "needs-probabilities",
            "it holds label sets, to which no threshold applies",
            file=predictions,
            hint="leave --thresholds, --at-least-one and --top-k out, or give probabilities",
        )
    result = {
        "predictions": str(predictions),
        "data": str(data),
        "fingerprint": dataset.fingerprint,
        **evaluate_labels(
            aligned.truth,
            categories=aligned.categories,
            probabilities=aligned.probabilities,
            decisions=aligned.decisions,
            thresholds=used,
            objective=objective,
            intervals=intervals,
            resamples=resamples,
            seed=seed,
            labels=kind,
        ),
        "missing": len(aligned.missing),
        "extra": len(aligned.extra),
    }
    if out is not None:
        import msgspec

        from tagbox.files import atomic_write

        atomic_write(out, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    if json:
        print_json(result)
    else:
        show_result(result, per_category=per_category)


def _claims(
    path: Path, dataset: Dataset, device: Literal["auto", "cuda", "mps", "cpu"]
) -> tuple[Predictions, Thresholds | None]:
    """Predictions and thresholds of a run folder or a file; only a run needs torch."""
    from tagbox.evaluation.alignment import index_names
    from tagbox.evaluation.files import read_claims

    if not path.is_dir():
        return read_claims(path, index_names(dataset))
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
    asked: Literal["auto", "multi", "exclusive"],
    claims: Predictions,
    aligned: Aligned,
    dataset: Dataset,
) -> LabelKind:
    """How the images are judged; exclusive labels are checked."""
    from tagbox.data.exclusive import exclusive, require_exclusive
    from tagbox.evaluation.exclusive import says_one_each

    fits = says_one_each(aligned.probabilities, aligned.decisions)
    scored = dataset.take(aligned.rows)
    kind = asked if asked != "auto" else claims.labels
    if kind is None:
        kind = "exclusive" if fits and exclusive(scored) else "multi"
    if kind == "exclusive":
        require_exclusive(scored)
        if aligned.decisions is not None and not fits:
            row = int(aligned.decisions.sum(axis=1).argmax())
            raise TagboxError(
                "labels-not-exclusive",
                f"{int(aligned.decisions[row].sum())} categories are said of "
                f"{dataset.images.files[aligned.rows[row]]}",
                file=claims.source,
                hint="say one category of each image, or pass --labels multi",
            )
    return kind


def _thresholds(
    given: str | None,
    saved: Thresholds | None,
    claims: Predictions,
    aligned: Aligned,
    objective: Objective,
    at_least_one: bool,
    top_k: int | None,
) -> Thresholds | None:
    """What the headline figures are at, in the dataset's order of categories; None where nobody said."""
    from tagbox.evaluation.thresholds import Thresholds
    from tagbox.evaluation.thresholds_file import read_thresholds

    used = saved
    if given is not None:
        try:
            used = Thresholds(value=float(given), objective=objective)
        except ValueError:
            used = read_thresholds(Path(given), claims.categories)
    if used is not None and used.per_category is not None:
        own = dict(zip(claims.categories, used.per_category, strict=True))
        used = replace(used, per_category=tuple(own[name] for name in aligned.categories))
    if at_least_one or top_k is not None:
        used = used or Thresholds(objective=objective)
        used = replace(used, at_least_one=at_least_one or used.at_least_one)
        used = replace(used, top_k=used.top_k if top_k is None else top_k)
    return used
