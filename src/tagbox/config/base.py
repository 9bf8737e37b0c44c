"""Typed configurations: the Python API takes them, the command line's flags are their fields, a run saves them.

A field's docstring is its help text on the command line. Values are validated where they are made,
so a bad value in a YAML file and a bad flag end in the same sentence.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from tagbox.errors import TagboxError


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all configurations: to and from plain values, with every field checked."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON: paths as strings, tuples as lists, groups as dicts."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, file: Path | None = None) -> Self:
        """Build from plain values.

        Raises
        ------
        TagboxError
            ``config-field`` for an unknown field, ``config-value`` for a value of the wrong type.
        """
        hints = typing.get_type_hints(cls)
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise TagboxError(
                    "config-field",
                    "no such setting",
                    file=file,
                    where=str(name),
                    hint=f"the settings are {', '.join(sorted(known))}",
                )
        return cls(**{k: _typed(v, hints[k], k, file) for k, v in values.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _typed(value: Any, hint: Any, name: str, file: Path | None) -> Any:
    """`value` as the type `hint`, or an error that names the field."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Config) and isinstance(value, Mapping):
        return _group(value, hint, name, file)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _typed(value, next(a for a in arguments if a is not type(None)), name, file)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_typed(item, arguments[0], name, file) for item in value)
    if hint is Path and isinstance(value, (str, Path)):
        return Path(value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint in (str, int, bool) and type(value) is hint:
        return value
    wanted = f"one of {', '.join(map(str, arguments))}" if origin is Literal else _type_name(hint)
    raise TagboxError(
        "config-value", f"{value!r} is not {wanted}", file=file, where=name, hint="change the value"
    )


def _group(value: Mapping[str, Any], hint: type[Config], name: str, file: Path | None) -> Config:
    """A group of settings inside another; errors say the whole dotted name."""
    try:
        return hint.from_dict(value, file=file)
    except TagboxError as error:
        where = f"{name}.{error.where}"
        raise TagboxError(
            error.code, error.found, file=error.file, where=where, hint=error.hint
        ) from error


def _type_name(hint: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(
        hint,
        "a path" if hint is Path else "a list" if typing.get_origin(hint) is tuple else "a group",
    )


def require(ok: bool, field: str, value: object, wanted: str) -> None:
    """Raise ``config-value`` for `field` unless `ok`."""
    if not ok:
        raise TagboxError(
            "config-value", f"{value!r} is not {wanted}", where=field, hint="change the value"
        )


def read_yaml(path: Path) -> Mapping[str, Any]:
    """The mapping that a YAML file of settings holds.

    Raises
    ------
    TagboxError
        ``config-missing``; ``config-syntax`` with line and column.
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
            hint="write a section, such as classifier, with settings below it",
        )
    return content
