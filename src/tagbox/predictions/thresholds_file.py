"""A file of thresholds or of score cuts, for `tagbox evaluate --thresholds`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tagbox.data.json_files import syntax_error
from tagbox.data.text import near, read_text
from tagbox.errors import TagboxError
from tagbox.predictions.thresholds import ScoreThresholds, Thresholds


def read_thresholds(path: Path, categories: Sequence[str]) -> Thresholds:
    """Thresholds from a JSON file: an object of `Thresholds` fields, or ``{"thresholds": …}`` around one.

    ``per_category`` may be a list in the order of `categories` or an object of names.

    Raises
    ------
    TagboxError
        ``thresholds-invalid``, ``unknown-category``, ``missing-category``, and what reading raises.
    """

    def without(name: str, _: object) -> float:
        raise TagboxError(
            "missing-category",
            f"no threshold for {name!r}",
            file=path,
            where="per_category",
            hint="give one for every category",
        )

    values = _read(path, "thresholds", categories, without)
    thresholds = Thresholds.from_dict(values, file=path)
    _require_one_each(thresholds.per_category, categories, path, "thresholds", "thresholds-invalid")
    return thresholds


def read_score_thresholds(path: Path, categories: Sequence[str]) -> ScoreThresholds:
    """Score cuts from a JSON file: an object of `ScoreThresholds` fields, or ``{"cuts": …}`` around one.

    ``per_category`` may be a list in the order of `categories` or an object of names; a category that it does not
    name is cut at ``value``.

    Raises
    ------
    TagboxError
        ``score-cuts-invalid``, ``unknown-category``, and what reading raises.
    """

    def without(_: str, given: dict[str, Any]) -> Any:
        return given.get("value", ScoreThresholds().value)

    values = _read(path, "cuts", categories, without)
    cuts = ScoreThresholds.from_dict(values, file=path)
    _require_one_each(cuts.per_category, categories, path, "cuts", "score-cuts-invalid")
    return cuts


def _read(
    path: Path,
    inside: str,
    categories: Sequence[str],
    without: Callable[[str, dict[str, Any]], object],
) -> Any:
    """The file's values, also from under the key `inside`, with ``per_category`` as a list.

    `without` says the level of a category that an object of names leaves out, given the other values.
    """
    content = read_text(path).encode()
    try:
        values = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise syntax_error(error, memoryview(content), path) from error
    if isinstance(values, dict) and isinstance(values.get(inside), dict):
        values = values[inside]
    if not isinstance(values, dict):
        return values
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
        values["per_category"] = [
            named[name] if name in named else without(name, values) for name in categories
        ]
    return values


def _require_one_each(
    levels: Sequence[float] | None, categories: Sequence[str], path: Path, noun: str, code: str
) -> None:
    if levels is not None and len(levels) != len(categories):
        raise TagboxError(
            code,
            f"{len(levels)} {noun} for {len(categories)} categories",
            file=path,
            where="per_category",
            hint="give one for every category",
        )
