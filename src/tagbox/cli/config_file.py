"""Settings of `tagbox train` and `tagbox tune` from flags, a YAML file (`--config FILE`) and a recipe, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.config import Dict

from tagbox.cli.console import say
from tagbox.config import ClassifierConfig, Config, DataConfig, DetectorConfig, load_recipe
from tagbox.config.base import read_yaml
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import ArgumentCollection

SECTIONS: Mapping[str, type[Config]] = {
    "data": DataConfig,
    "classifier": ClassifierConfig,
    "detector": DetectorConfig,
}
"""Sections of a settings file, which is what ``config.yaml`` of a run is."""


@dataclass(frozen=True, kw_only=True)
class SettingsOptions:
    """Recipe and settings file (read by `fill_from_file`), and the output format."""

    recipe: str | None = None
    """Recipe that `tagbox recipes` lists, or a YAML file. When not given: for a classifier, frozen on a CPU
    and finetune on a GPU; for a detector, dense."""

    settings: Annotated[Path | None, Parameter(name="--config")] = None
    """YAML file of settings, such as a run's config.yaml; it overrides the recipe, and flags override it."""

    json: bool = False
    """Print the result as JSON."""


def fill_from_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Set every flag that was not typed from the file after ``--config``, or else from the recipe.

    Without ``--recipe``, that is ``dense`` for a detector, and for a classifier ``frozen`` on a CPU and
    ``finetune`` on an accelerator.
    """
    task = task_of(commands)
    given = typed_value(arguments, "--config") or _partial_config(arguments, task)
    if given is not None:
        for section, values in read_settings(Path(given)).items():
            if section in ("classifier", "detector") and section != task:
                raise TagboxError(
                    "config-field",
                    f"these are settings of a {section}",
                    file=given,
                    where=section,
                    hint=f"give them to tagbox train {section}",
                )
            fill(values, given, app, commands, arguments)
    if any("--recipe" in argument.names for argument in arguments):
        recipe = load_recipe(recipe_name(commands, arguments), task)
        if recipe.cost and given is None and typed_value(arguments, "--recipe") is not None:
            say(f"recipe {recipe.name}: {recipe.cost}")
        # A search has ranges for what is trained on every device.
        if recipe.on_cpu and "train" in commands and _device(arguments) == "cpu":
            fill(recipe.on_cpu, f"recipe {recipe.name}", app, commands, arguments)
        fill(recipe.settings, f"recipe {recipe.name}", app, commands, arguments)


def _partial_config(arguments: ArgumentCollection, task: str) -> str | None:
    """Path of the unfinished run's ``config.yaml`` with ``--resume``; None where there is none."""
    if typed_value(arguments, "--resume") is None:
        return None
    runs = Path(typed_value(arguments, "--runs") or "runs")
    name = typed_value(arguments, "--name")
    if name is None:
        from tagbox.training.run_dir import unfinished_runs

        unfinished = unfinished_runs(runs, task)
        if len(unfinished) != 1:
            return None  # Training says what there is.
        (name,) = unfinished
    path = runs / f".{name}.partial" / "config.yaml"
    return str(path) if path.is_file() else None


def task_of(commands: tuple[str, ...]) -> Literal["classifier", "detector"]:
    """The kind of model that the command trains."""
    return "detector" if "detector" in commands else "classifier"


def recipe_name(commands: tuple[str, ...], arguments: ArgumentCollection) -> str:
    """The value of ``--recipe``, or the default: fine-tuning a classifier's full network takes hours on a CPU."""
    given = typed_value(arguments, "--recipe")
    if given is not None:
        return given
    if task_of(commands) == "detector":
        return "dense"
    return "frozen" if _device(arguments) == "cpu" else "finetune"


def _device(arguments: ArgumentCollection) -> str:
    """The device that the training will use."""
    from tagbox.device import choose_device

    device = typed_value(arguments, "--device") or "auto"
    known: Any = device if device in ("cpu", "cuda", "mps") else "auto"
    return choose_device(known)


def typed_value(arguments: ArgumentCollection, flag: str) -> str | None:
    """The value of `flag` on the command line; None where it is absent."""
    found = next((a for a in arguments if flag in a.names and a.tokens), None)
    return None if found is None else found.tokens[-1].value


def fill(
    values: Mapping[str, Any],
    source: str,
    app: App,
    commands: tuple[str, ...],
    arguments: ArgumentCollection,
) -> None:
    """Set every flag without a value to the one in `values`; errors name `source`."""
    Dict(_flags(values), use_commands_as_keys=False, source=source)(app, commands, arguments)


def _flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by the names of their flags, without those that are unset."""
    return {
        name.replace("_", "-"): _flags(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value not in (None, [])
    }


def read_settings(path: Path) -> dict[str, Mapping[str, Any]]:
    """Sections of a settings file with their raw values, which are validated.

    Raises
    ------
    TagboxError
        ``config-missing``; ``config-syntax`` with line and column; ``config-field``, ``config-value``.
    """
    settings: dict[str, Mapping[str, Any]] = {}
    for name, values in read_yaml(path).items():
        if name == "command":  # The command line of the run, for a reader of the file.
            continue
        if name not in SECTIONS or not isinstance(values, Mapping):
            raise TagboxError(
                "config-field",
                "is no section of settings",
                file=path,
                where=str(name),
                hint=f"the sections are {' and '.join(SECTIONS)}, each with settings below it",
            )
        try:
            SECTIONS[name].from_dict(values, file=path)
        except TagboxError as error:
            raise error.replace(file=path, where=f"{name}.{error.where}") from error
        settings[name] = values
    return settings
