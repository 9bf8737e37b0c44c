"""`--config FILE`: settings from a YAML file, with the command line's own flags before them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts.config import Dict

from tagbox.config import ClassifierConfig, Config, DataConfig
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import ArgumentCollection

SECTIONS: Mapping[str, type[Config]] = {"data": DataConfig, "classifier": ClassifierConfig}
"""Sections of a settings file, which is what ``config.yaml`` of a run is."""


def fill_from_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give every flag that was not typed the value that the file after ``--config`` has for it."""
    given = next((a for a in arguments if "--config" in a.names and a.tokens), None)
    if given is None:
        return
    settings = read_settings(Path(given.tokens[-1].value))
    values = {
        name.replace("_", "-"): value
        for section in settings.values()
        for name, value in section.to_dict().items()
        if value not in (None, [])
    }
    Dict(values, use_commands_as_keys=False, source=given.tokens[-1].value)(
        app, commands, arguments
    )


def read_settings(path: Path) -> dict[str, Config]:
    """The sections of a settings file, every value checked.

    Raises
    ------
    TagboxError
        ``config-missing``; ``config-syntax`` with line and column; ``config-field``, ``config-value``.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TagboxError(
            "config-missing",
            error.strerror or str(error),
            file=path,
            hint="give the path of a YAML file, such as a run's config.yaml",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        raise TagboxError(
            "config-syntax",
            f"not valid YAML ({getattr(error, 'problem', None) or error})",
            file=path,
            where=f"line {mark.line + 1}, column {mark.column + 1}" if mark else None,
            hint="correct the file",
        ) from error
    if not isinstance(content, Mapping):
        raise TagboxError(
            "config-syntax",
            "the file holds no settings",
            file=path,
            where="line 1",
            hint=f"write the sections {' and '.join(SECTIONS)}",
        )
    settings = {}
    for name, values in content.items():
        if name == "command":  # what made the run; kept for the reader of the file
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
            settings[name] = SECTIONS[name].from_dict(values, file=path)
        except TagboxError as error:
            where = f"{name}.{error.where}"
            raise TagboxError(
                error.code, error.found, file=path, where=where, hint=error.hint
            ) from error
    return settings
