"""A file of score cuts, for `tagbox evaluate --thresholds` on detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tagbox.data.json_errors import syntax_error
from tagbox.data.text import near, read_text
from tagbox.errors import TagboxError
from tagbox.evaluation.score_cuts import ScoreCuts


def read_cuts(path: Path, categories: Sequence[str]) -> ScoreCuts:
    """Score cuts from a JSON file: an object of `ScoreCuts` fields, or ``{"cuts": …}`` around one.

    ``per_category`` may be a list in the order of `categories` or an object of names; a category that it does not
    name is cut at ``value``.

    Raises
    ------
    TagboxError
        ``score-cuts-invalid``, ``unknown-category``, and what reading raises.
    """
    content = read_text(path).encode()
    try:
        values = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise syntax_error(error, memoryview(content), path) from error
    if isinstance(values, dict) and isinstance(values.get("cuts"), dict):
        values = values["cuts"]
    if isinstance(values, dict):
        values = {name: value for name, value in values.items() if name != "source"}
        named = values.get("per_category")
        if isinstance(named, dict):
            for name in named:
                if name not in categories:
                    raise TagboxError(
                        "unknown-category",
                        f"there is no category {name!r}",
                        file=path,
                        where="per_category",
                        hint=near(name, categories, noun="categories"),
                    )
            default = values.get("value", ScoreCuts().value)
            values["per_category"] = [named.get(name, default) for name in categories]
    cuts = ScoreCuts.from_dict(values, file=path)
    if cuts.per_category is not None and len(cuts.per_category) != len(categories):
        raise TagboxError(
            "score-cuts-invalid",
            f"{len(cuts.per_category)} cuts for {len(categories)} categories",
            file=path,
            where="per_category",
            hint="give one for every category",
        )
    return cuts
