"""Typed configurations, shared by the Python API, the command line (a flag per field) and saved runs.

The docstring of a field is its help text on the command line. Values are validated when a configuration
is made, so that a flag, a YAML file and a keyword argument raise the same error.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from tagbox.errors import TagboxError, bad_value


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all configurations, with conversion to and from plain values."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON: paths as strings, tuples as lists, groups as dicts."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, file: Path | None = None) -> Self:
        """Build from plain values, as YAML and JSON files hold them.

        Raises
        ------
        TagboxError
            ``config-field`` for an unknown field, ``config-value`` for a value of the wrong type.
        """
        hints = typing.get_type_hints(cls)
        for name in values:
            if name not in hints:
                raise TagboxError(
                    "config-field",
                    "no such setting",
                    file=file,
                    where=str(name),
                    hint=f"the settings are {', '.join(sorted(hints))}",
                )
        return cls(**{name: _typed(v, hints[name], name, file) for name, v in values.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _typed(value: Any, hint: Any, name: str, file: Path | None) -> Any:
    """`value` as the type `hint`, or an error that names the field."""
    if isinstance(hint, type) and issubclass(hint, Config) and isinstance(value, Mapping):
        try:
            return hint.from_dict(value, file=file)
        except TagboxError as error:
            raise error.replace(where=f"{name}.{error.where}") from error
    import msgspec

    try:
        return msgspec.convert(value, hint, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise bad_value(value, _wanted(hint), name, file=file) from error


def _path(kind: type, value: Any) -> Path:
    """Decode a path, which is the only type of a setting that msgspec does not know."""
    return Path(value)


def _wanted(hint: Any) -> str:
    """The type of a setting in words; of a union with None the other type."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if typing.get_origin(hint) is tuple:
        return "a list of " + {int: "whole numbers", str: "texts"}[arguments[0]]
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    words[Path] = "a path"
    return _wanted(arguments[0]) if arguments else words.get(hint, "a group of settings")


def require(ok: bool, field: str, value: object, wanted: str) -> None:
    """Raise ``config-value`` for `field` unless `ok`."""
    if not ok:
        raise bad_value(value, wanted, field)


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read the mapping in a YAML file of settings.

    Raises
    ------
    TagboxError
        ``config-missing``; ``config-syntax`` with line and column.
    """
    from tagbox.yaml_files import read_yaml as read

    try:
        content = read(path, "config-syntax", "correct the file")
    except TagboxError as error:
        if error.code == "not-utf8":
            raise error.replace(code="config-syntax") from error
        if error.code.startswith("file-"):
            hint = "give the path of a YAML file, such as a run's config.yaml"
            raise error.replace(code="config-missing", hint=hint) from error
        raise
    if not isinstance(content, Mapping):
        raise TagboxError(
            "config-syntax",
            "the file holds no settings",
            file=path,
            where="line 1",
            hint="write a section, such as classifier, with settings below it",
        )
    return content
