"""`tagbox evaluate`: how good a run, or anybody's predictions, are on a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from tagbox.cli.console import print_json, print_table, progress_bar, say
from tagbox.config import DataConfig, Objective
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset
    from tagbox.evaluation.alignment import Aligned
    from tagbox.evaluation.predictions import Predictions
    from tagbox.evaluation.thresholds import Thresholds

HEADLINES = (
    ("map", "mAP"),
    ("challenge_f1", "challenge F1"),
    ("challenge_precision", "challenge precision"),
    ("challenge_recall", "challenge recall"),
    ("challenge_accuracy", "challenge accuracy"),
    ("micro_f1", "micro F1 (OF1)"),
    ("macro_f1", "macro F1"),
    ("weighted_f1", "weighted F1"),
    ("samples_f1", "samples F1"),
    ("cf1", "CF1"),
    ("hamming_loss", "Hamming loss"),
    ("subset_accuracy", "subset accuracy"),
)
COMPARED = (
    "challenge_f1",
    "challenge_precision",
    "challenge_recall",
    "micro_f1",
    "macro_f1",
    "cf1",
)


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
    used = None
    if aligned.probabilities is not None:
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
        _show(result, per_category=per_category)


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


def _show(result: Mapping[str, Any], *, per_category: bool) -> None:
    """Tables for a person; the headline comes last, where the eye is."""
    if per_category:
        _show_categories(result["per_category"])
    if "at_0.5" in result:
        _show_thresholds(result)
    if result["confusions"]:
        print_table(
            "Said where another was missed",
            ("missed", "said falsely", "images", "of those missing it"),
            [
                (pair["missed"], pair["said"], pair["images"], f"{pair['share']:.0%}")
                for pair in result["confusions"][:5]
            ],
        )
    found = result.get("intervals", {})
    rows = []
    for key, title in HEADLINES:
        if result.get(key) is not None:
            rows.append((title, f"{result[key]:.4f}", *_interval(found.get(key))))
    print_table(
        f"{result['images']:,} images, {result['categories']} categories, "
        f"{result['positives']:,} labels",
        ("metric", "value", "95 % interval", ""),
        rows,
    )
    for note in notes(result):
        say(note)


def _interval(found: Mapping[str, Any] | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    return (
        f"{found['low']:.4f} - {found['high']:.4f}",
        "" if found["reliable"] else "interval not reliable",
    )


def _show_categories(rows: list[dict[str, Any]]) -> None:
    ranked = "ap" in rows[0] if rows else False
    headers = ["category", "support", "precision", "recall", "F1", "TP", "FP", "FN"]
    if ranked:
        headers[2:2] = ["AP"]
        headers.append("threshold")
    body = []
    for row in sorted(rows, key=lambda row: -row["support"]):
        cells = [row["name"], row["support"]]
        if ranked:
            cells.append("-" if row["ap"] is None else row["ap"])
        cells += [row[key] for key in ("precision", "recall", "f1", "tp", "fp", "fn")]
        if ranked:
            cells.append(row["threshold"])
        body.append(cells)
    print_table("Categories", headers, body)


def _show_thresholds(result: Mapping[str, Any]) -> None:
    columns = [("saved" if result["thresholds"]["source"] != "default" else "0.5", result)]
    for key, title in (
        ("at_0.5", "0.5"),
        ("at_global", "global"),
        ("at_per_category", "per category"),
    ):
        if key in result and title not in (name for name, _ in columns):
            title += " (cross-fitted)" if result[key].get("cross_fitted") else ""
            columns.append((title, result[key]))
    print_table(
        "At thresholds",
        ("metric", *(name for name, _ in columns)),
        [(key, *(values[key] for _, values in columns)) for key in COMPARED],
    )


def notes(result: Mapping[str, Any]) -> list[str]:
    """What a person must know to read the figures."""
    lines = []
    if result["missing"]:
        lines.append(f"{result['missing']:,} images had no prediction and count as nothing said.")
    if result["extra"]:
        lines.append(f"{result['extra']:,} predicted images or categories were left out.")
    unsupported = result["no_support"]
    if unsupported:
        lines.append(
            f"{len(unsupported)} categories have no positive here and are left out of averages over "
            f"categories: {_some(unsupported)}."
        )
    if any(not found["reliable"] for found in result.get("intervals", {}).values()):
        thin = result["thin_categories"]
        reason = (
            f"{len(thin)} categories have too few positives: {_some(thin)}"
            if thin
            else "few images"
        )
        lines.append(f"Interval not reliable: {reason}.")
    if result.get("thresholds", {}).get("source") == "default":
        lines.append(
            "The predictions bring no thresholds, so 0.5 was used; the tuned ones beside it are cross-fitted: "
            "each image is judged at thresholds tuned on other images."
        )
        lines.append(f"Tuning: {result['tuning']['reason']}.")
    for key, reason in result["absent"].items():
        if key in ("map", "at_per_category"):
            lines.append(f"No {key}: {reason}.")
    return lines


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown
