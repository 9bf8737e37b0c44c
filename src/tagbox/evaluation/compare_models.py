"""Any number of models, or of recipes, against each other on the same images, as one JSON object.

Two questions are kept apart. *Is this trained model better on new images?* The models are fixed and the images vary; a
jackknife over images says how far. *Is this recipe better?* Another training would give another model, so that the spread
between the runs of a recipe is added, with the degrees of freedom of Welch and Satterthwaite, which are few for few runs.

`docs/comparing.md` documents the keys; `benchmarks/false_verdicts.py` counts how often models that do not differ are told
apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.evaluation.comparison import (
    LEVEL,
)
from tagbox.evaluation.model_outcomes import ModelOutcomes, ScoredImages
from tagbox.evaluation.pair_estimates import CANNOT_TELL, LOWER_IS_BETTER, estimate_pair
from tagbox.metrics.multiple_comparisons import (
    LargestT,
    holm,
    letter_groups,
    sign_test,
)

MAIN = ("ap", "accuracy", "map", "challenge_f1")
"""The first of these that can be compared is the metric that models are ranked by."""
PICTURES = 20
"""Images of most disagreement that are listed."""
QUESTIONS = {
    "models": "Which of these trained models is better on new images of this kind? The images vary, the models are fixed.",
    "recipes": "Which recipe gives the better models? Images and trainings vary: the spread between the runs of a recipe counts.",
}


def compare_models(
    models: Sequence[ModelOutcomes],
    images: ScoredImages,
    *,
    metric: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare at least two models, or recipes, pair by pair.

    Parameters
    ----------
    models
        Their outcomes on the same images; recipes all, or none.
    images
        Those images.
    metric
        What the models are ranked by, and the images to settle it are counted for; the first of `MAIN` where None.
    seed
        Of the draws for the correction.

    Returns
    -------
    dict
        Plain JSON values without NaN.

    Raises
    ------
    TagboxError
        ``metric-missing`` for a `metric` that cannot be compared.
    """
    shared = [name for name in models[0].without if all(name in m.without for m in models)]
    shared = [name for name in models[0].values if name in shared]
    absent = {key: why for model in models for key, why in _missing(model, shared).items()}
    main = metric or next((name for name in MAIN if name in shared), None)
    if main is None or main not in shared:
        why = f": {absent[main]}" if main in absent else ""
        raise TagboxError(
            "metric-missing",
            f"{main or 'no metric'} cannot be compared{why}",
            where="--metric",
            hint=f"take one of {', '.join(_suggested(shared))}" if shared else "give more images",
        )
    recipes = any(model.runs > 1 for model in models)
    pairs = list(combinations(range(len(models)), 2))
    compared = {name: _metric_pairs(name, models, pairs, images, seed) for name in shared}
    sorted_rows = {name: _order(name, models) for name in shared}
    tables = _category_tables(models, pairs, images)
    groups = {name: _groups(compared[name], pairs, sorted_rows[name]) for name in shared}
    return {
        "question": "recipes" if recipes else "models",
        "answers": QUESTIONS["recipes" if recipes else "models"],
        "images": len(images.names),
        "categories": len(images.categories),
        "metric": main,
        "correction": _correction(len(pairs), recipes),
        "models": [
            {
                "name": models[row].name,
                "runs": models[row].runs,
                "rank": {name: _rank(compared[name], pairs, row) for name in shared},
                "groups": {name: groups[name][row] for name in shared},
                "metrics": dict(models[row].values),
            }
            for row in sorted_rows[main]
        ],
        "pairs": [
            {
                "first": models[i].name,
                "second": models[j].name,
                "metrics": {name: compared[name][number] for name in shared},
                "categories": tables[number],
            }
            for number, (i, j) in enumerate(pairs)
        ],
        "disagreements": _disagreements(models, images),
        "absent": absent,
    }


def _suggested(shared: Sequence[str]) -> list[str]:
    """Metrics to name where another cannot be compared."""
    known = (*MAIN, "ap50", "micro_f1", "macro_f1", "samples_f1", "hamming_loss")
    return [name for name in known if name in shared]


def _missing(model: ModelOutcomes, shared: Sequence[str]) -> dict[str, str]:
    return {key: f"{model.name}: {why}" for key, why in model.absent.items() if key not in shared}


def _correction(pairs: int, recipes: bool) -> str:
    if pairs == 1:
        return "none: there is one pair"
    return f"{'Holm' if recipes else 'max-T'} over {pairs} pairs, for each metric"


def _metric_pairs(
    name: str,
    models: Sequence[ModelOutcomes],
    pairs: Sequence[tuple[int, int]],
    images: ScoredImages,
    seed: int,
) -> list[dict[str, Any]]:
    """The comparison of each pair in one metric."""
    estimates = [estimate_pair(name, models[i], models[j], images) for i, j in pairs]
    if any(model.spread for model in models):
        corrected = holm([estimate.p_value for estimate in estimates])
        share = 1 - (1 - LEVEL) / len(pairs)
        critical = [estimate.quantile(share) for estimate in estimates]
    else:
        largest = LargestT(np.stack([model.without[name] for model in models], axis=1), seed)
        several = len(pairs) > 1
        corrected = [largest.p_value(e.tail_z if several else e.t) for e in estimates]
        critical = [largest.critical(LEVEL)] * len(pairs)
    return [
        estimate.to_dict(p_corrected, least, len(images.names))
        for estimate, p_corrected, least in zip(estimates, corrected, critical, strict=True)
    ]


def _order(name: str, models: Sequence[ModelOutcomes]) -> list[int]:
    """The rows of the models, the best first."""
    sign = 1 if name in LOWER_IS_BETTER else -1
    return sorted(range(len(models)), key=lambda row: (sign * models[row].values[name], row))


def _groups(
    compared: Sequence[Mapping[str, Any]], pairs: Sequence[tuple[int, int]], order: Sequence[int]
) -> list[str]:
    """The letters of each model, by its row."""
    place = {row: position for position, row in enumerate(order)}
    different = [
        (min(place[i], place[j]), max(place[i], place[j]))
        for (i, j), each in zip(pairs, compared, strict=True)
        if each["verdict"] != CANNOT_TELL
    ]
    letters = letter_groups(len(order), sorted(different))
    return [letters[place[row]] for row in range(len(order))]


def _rank(compared: Sequence[Mapping[str, Any]], pairs: Sequence[tuple[int, int]], row: int) -> int:
    """One more than the number of models that are better beyond doubt."""
    beaten = [
        (j == row and each["verdict"] == "first") or (i == row and each["verdict"] == "second")
        for (i, j), each in zip(pairs, compared, strict=True)
    ]
    return 1 + beaten.count(True)


def _category_tables(
    models: Sequence[ModelOutcomes], pairs: Sequence[tuple[int, int]], images: ScoredImages
) -> list[dict[str, Any]]:
    """Of each pair wins and losses in each category: images in which one has fewer errors than the other.

    Verdicts are those of the sign test over images, with Holm's correction over the categories of all pairs. Those of
    recipes are none: the images do not tell how a category varies between trainings.
    """
    recipes = any(model.runs > 1 for model in models)
    errors = [model.errors for model in models]
    wins = [(errors[i] < errors[j]).sum(axis=0) for i, j in pairs]
    losses = [(errors[i] > errors[j]).sum(axis=0) for i, j in pairs]
    p_values = [
        sign_test(won, lost)
        for each, other in zip(wins, losses, strict=True)
        for won, lost in zip(each.tolist(), other.tolist(), strict=True)
    ]
    corrected = np.reshape(holm(p_values), (len(pairs), len(images.categories)))
    tables = []
    for number, (i, j) in enumerate(pairs):
        won, lost = wins[number], losses[number]
        rows: list[dict[str, Any]] = []
        for k, name in enumerate(images.categories):
            row = {
                "name": name,
                "support": int(images.support[k]),
                "first": _plain(models[i].category_values[k]),
                "second": _plain(models[j].category_values[k]),
                "images_first": int(won[k]),
                "images_second": int(lost[k]),
            }
            if not recipes:
                ahead = "first" if won[k] > lost[k] else "second"
                told_apart = corrected[number, k] <= 1 - LEVEL
                row["p_corrected"] = float(corrected[number, k])
                row["better"] = ahead if told_apart else CANNOT_TELL
            rows.append(row)
        tables.append(
            {
                "first_ahead": int((won > lost).sum()),
                "second_ahead": int((won < lost).sum()),
                "equal": int((won == lost).sum()),
                **{
                    f"{side}_better": sum(row.get("better") == side for row in rows)
                    for side in ("first", "second")
                },
                "rows": rows,
            }
        )
    return tables


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _disagreements(
    models: Sequence[ModelOutcomes], images: ScoredImages, most: int = PICTURES
) -> list[dict[str, Any]]:
    """The images whose errors differ most between the models, summed over the categories."""
    least = np.full(models[0].errors.shape, np.inf)
    greatest = np.zeros_like(least)
    for model in models:
        np.minimum(least, model.errors, out=least)
        np.maximum(greatest, model.errors, out=greatest)
    apart = (greatest - least).sum(axis=1)
    rows = np.argsort(-apart, kind="stable")[:most]
    return [
        {
            "image": str(images.names[row]),
            "disagreement": float(apart[row]),
            "models": [
                {
                    "name": model.name,
                    "errors": float(model.errors[row].sum()),
                    "missed": _named(model.missed[row], images.categories),
                    "false": _named(model.false[row], images.categories),
                }
                for model in models
            ],
        }
        for row in rows.tolist()
        if apart[row] > 0
    ]


def _named(counts: NDArray[Any], categories: Sequence[str]) -> dict[str, float]:
    """Category to count, of those that have any."""
    return {categories[k]: float(counts[k]) for k in np.flatnonzero(counts).tolist()}
