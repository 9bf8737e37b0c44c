"""A file of thresholds, for `tagbox evaluate --thresholds`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tagbox.data.json_errors import syntax_error
from tagbox.data.text import near, read_text
from tagbox.errors import TagboxError
from tagbox.evaluation.thresholds import Thresholds


def read_thresholds(path: Path, categories: Sequence[str]) -> Thresholds:
    """Thresholds from a JSON file: an object of `Thresholds` fields, or ``{"thresholds": …}`` around one.

    ``per_category`` may be a list in the order of `categories` or an object of names.

    Raises
    ------
    TagboxError
        ``thresholds-invalid``, ``unknown-category``, ``missing-category``, and what reading raises.
    """
    content = read_text(path).encode()
    try:
        values = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise syntax_error(error, memoryview(content), path) from error
    if isinstance(values, dict) and isinstance(values.get("thresholds"), dict):
        values = values["thresholds"]
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
            without = [name for name in categories if name not in named]
            if without:
                raise TagboxError(
                    "missing-category",
                    f"no threshold for {without[0]!r}",
                    file=path,
                    where="per_category",
                    hint="give one for every category",
                )
            values["per_category"] = [named[name] for name in categories]
    thresholds = Thresholds.from_dict(values, file=path)
    if thresholds.per_category is not None and len(thresholds.per_category) != len(categories):
        raise TagboxError(
            "thresholds-invalid",
            f"{len(thresholds.per_category)} thresholds for {len(categories)} categories",
            file=path,
            where="per_category",
            hint="give one for every category",
        )
    return thresholds
