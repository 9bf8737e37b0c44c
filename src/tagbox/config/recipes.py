"""Recipes: settings that go together, with the result to expect and its evidence.

Each is a small YAML file in ``recipes/``; a user's own file has the same form.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tagbox.config.base import read_yaml, require
from tagbox.config.classifier import ClassifierConfig
from tagbox.config.detector import DetectorConfig
from tagbox.errors import TagboxError, bad_value

CHALLENGE = "challenge"
"""The recipe of the MS COCO classification challenge, which forbids other data of COCO."""
RECIPES = ("frozen", "finetune", "asl-mldecoder", CHALLENGE, "dense", "fasterrcnn")
TASKS: Mapping[str, type[ClassifierConfig] | type[DetectorConfig]] = {
    "classifier": ClassifierConfig,
    "detector": DetectorConfig,
}
TEXTS = ("about", "command", "expect", "evidence", "downloads", "cost")
PARTS = (*TEXTS, *TASKS, "on_cpu", "search")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings with a name and a description.

    Attributes
    ----------
    name
        A name in `RECIPES`, or the path of a file.
    about, command, expect, evidence
        Its purpose, the command, the result to expect, and the evidence for that.
    downloads, cost
        Weights that it downloads, with their size; what is said of the time that it takes before it begins.
    task
        ``classifier`` or ``detector``.
    settings
        Settings of that configuration as plain values; others keep their defaults.
    on_cpu
        Those that are others where it is trained on a CPU.
    search
        Ranges for `tagbox tune`: dotted setting -> ``{low, high, log}`` or ``{choices}``.
    """

    name: str
    about: str = ""
    command: str = ""
    expect: str = ""
    evidence: str = ""
    downloads: str = ""
    cost: str = ""
    task: str = "classifier"
    settings: Mapping[str, Any] = field(default_factory=dict)
    on_cpu: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def config(self) -> ClassifierConfig | DetectorConfig:
        """The recipe as a configuration."""
        return TASKS[self.task].from_dict(self.settings)


def load_recipe(name: str | Path, task: str | None = None) -> Recipe:
    """Load the recipe of a name in `RECIPES`, or in a file.

    Parameters
    ----------
    task
        What the recipe must train; either when not given.

    Raises
    ------
    TagboxError
        ``recipe-unknown``; ``recipe-task`` when it trains something else; ``config-syntax``,
        ``config-field`` and ``config-value`` for faults of the file.
    """
    path: Any = Path(name)
    if str(name) in RECIPES:
        from importlib.resources import files

        path = files("tagbox.config") / "recipes" / f"{name}.yaml"
    elif not os.path.isfile(path):
        near = get_close_matches(str(name).lower(), RECIPES, n=2, cutoff=0.6)
        meant = f"did you mean {' or '.join(near)}; " if near else ""
        raise TagboxError(
            "recipe-unknown",
            f"no recipe is called {str(name)!r}",
            where="--recipe",
            hint=f"{meant}the recipes are {', '.join(RECIPES)}; or give the path of a YAML file",
        )
    content = read_yaml(Path(str(path)))
    for part in content:
        if part not in PARTS:
            raise TagboxError(
                "config-field",
                "is no part of a recipe",
                file=str(path),
                where=str(part),
                hint=f"the parts are {', '.join(PARTS)}",
            )
    found = next((each for each in TASKS if each in content), task or "classifier")
    if task is not None and found != task:
        raise TagboxError(
            "recipe-task",
            f"{str(name)!r} trains a {found}, not a {task}",
            where="--recipe",
            hint=f"run: tagbox train {found}; or see tagbox recipes",
        )
    groups: dict[str, Mapping[str, Any]] = {}
    for part in (found, "on_cpu"):
        settings = content.get(part) or {}
        if not isinstance(settings, Mapping):
            raise bad_value(settings, "a group of settings", part, file=str(path))
        TASKS[found].from_dict(settings, file=Path(str(path)))
        groups[part] = settings
    search = content.get("search") or {}
    if not isinstance(search, Mapping):
        raise bad_value(search, "a mapping of settings to ranges", "search", file=str(path))
    for setting, allowed in search.items():
        _check_range(str(setting), allowed)
    texts = {part: str(content.get(part, "")).strip() for part in TEXTS}
    return Recipe(
        name=str(name),
        task=found,
        settings=groups[found],
        on_cpu=groups["on_cpu"],
        search=search,
        **texts,
    )


def _check_range(setting: str, allowed: Any) -> None:
    numbers = (int, float)
    ok = isinstance(allowed, Mapping) and (
        (isinstance(allowed.get("choices"), list) and len(allowed["choices"]) > 0)
        or (
            isinstance(allowed.get("low"), numbers)
            and isinstance(allowed.get("high"), numbers)
            and allowed["low"] < allowed["high"]
        )
    )
    require(ok, f"search.{setting}", allowed, "{low: A, high: B, log: true} or {choices: [...]}")
