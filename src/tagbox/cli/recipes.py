"""`tagbox recipes`: settings that go together, what to expect of them and on what evidence."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from tagbox.cli.console import console, print_json

if TYPE_CHECKING:
    from tagbox.config.recipes import Recipe

_WIDEST = 110
"""Characters of a line, where the terminal is wider."""


def recipes(name: str | None = None, /, *, json: bool = False) -> None:
    """List the training recipes, or show one in full.

    Parameters
    ----------
    name
        Name or file of a recipe; its settings and search ranges are printed as YAML.
    json
        Print JSON.
    """
    import yaml

    from tagbox.config import RECIPES, load_recipe

    chosen = [load_recipe(each) for each in ([name] if name else RECIPES)]
    plain = [
        {
            "name": recipe.name,
            "about": recipe.about,
            "command": recipe.command,
            "expect": recipe.expect,
            "evidence": recipe.evidence,
            "downloads": recipe.downloads,
            "cost": recipe.cost,
            recipe.task: recipe.settings,
            **({"on_cpu": recipe.on_cpu} if recipe.on_cpu else {}),
            "search": recipe.search,
        }
        for recipe in chosen
    ]
    if json:
        print_json(plain[0] if name else plain)
    elif name:
        print(yaml.safe_dump(plain[0], sort_keys=False, width=_width()).rstrip())
    else:
        _print_list(chosen)


def _print_list(recipes: Sequence[Recipe]) -> None:
    """A recipe after the other: sentences in narrow columns of a table are hard to read."""
    indent = "    "
    for recipe in recipes:
        head = f"{recipe.name} ({recipe.task}; downloads {recipe.downloads})"
        print(fill(head, _width(), subsequent_indent=indent))
        for sentences in (recipe.about, f"To expect: {recipe.expect}"):
            print(fill(sentences, _width(), initial_indent=indent, subsequent_indent=indent))
    print("\ntagbox recipes NAME shows the settings of one, --recipe NAME trains with them")


def _width() -> int:
    return min(console(stderr=False).width, _WIDEST)
