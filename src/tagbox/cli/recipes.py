"""`tagbox recipes`: settings that go together, what to expect of them and on what evidence."""

from __future__ import annotations

from tagbox.cli.console import print_json
from tagbox.cli.tables import print_table


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
        print(yaml.safe_dump(plain[0], sort_keys=False, width=110).rstrip())
    else:
        rows = [
            (recipe.name, recipe.task, recipe.about, recipe.expect, recipe.downloads)
            for recipe in chosen
        ]
        heads = ("name", "trains a", "what it is", "what to expect", "downloads")
        print_table("Recipes", heads, rows)
