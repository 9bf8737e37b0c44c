"""Typed configurations, shared by the Python API, the command line (a flag per field) and saved runs.

The docstring of a field is its help text on the command line. Values are validated when a configuration
is made, so that a flag, a YAML file and a keyword argument raise the same error.
"""

from __future__ import annotations

import math
import numbers
import os
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from tagbox.errors import TagboxError, bad_value


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all configurations: fields validated by type, and conversion to and from plain values.

    Raises
    ------
    TagboxError
        ``config-value`` for a value that is not of its field's type, or not finite, and for a URL with a
        password, since settings are saved. Subclasses check ranges in their own `__post_init__`.
    """

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            value = getattr(self, name)
            typed = _typed(value, hint, name)
            if typed is not value:
                object.__setattr__(self, name, typed)

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
        hints = _hints(cls)
        for name in values:
            if name not in hints:
                raise TagboxError(
                    "config-field",
                    "no such setting",
                    file=file,
                    where=str(name),
                    hint=f"the settings are {', '.join(sorted(hints))}",
                )
        try:
            return cls(**values)
        except TagboxError as error:
            raise error.replace(file=error.file or file) from error


def _hints(cls: type[Config]) -> dict[str, Any]:
    """The types of a configuration's fields by their names."""
    if cls not in _KNOWN_HINTS:
        hints = typing.get_type_hints(cls)
        _KNOWN_HINTS[cls] = {f.name: hints[f.name] for f in fields(cls)}
    return _KNOWN_HINTS[cls]


_KNOWN_HINTS: dict[type[Config], dict[str, Any]] = {}


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _typed(value: Any, hint: Any, name: str) -> Any:
    """`value` as the type `hint`, or an error that names the field; a plain group becomes its configuration."""
    if isinstance(value, (str, Path)):
        require_no_password(str(value), name)
    if isinstance(hint, type) and issubclass(hint, Config) and isinstance(value, Mapping):
        try:
            return hint.from_dict(value)
        except TagboxError as error:
            raise error.replace(where=f"{name}.{error.where}") from error
    try:
        typed = _converted(value, hint)
    except (TypeError, ValueError, OverflowError) as error:
        raise bad_value(value, _wanted(hint), name) from error
    if type(typed) is int:
        # The libraries below count in 64 bits at most, also products of these numbers.
        require(abs(typed) <= MOST_SEED, name, typed, f"a whole number up to {MOST_SEED}")
    return typed


def _converted(value: Any, hint: Any) -> Any:
    """`value` itself if it is of the type `hint`, else what it stands for: 3 for 3.0, a path for a text.

    Raises
    ------
    TypeError, ValueError, OverflowError
        For a value of another type, and for a number that is not finite.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if isinstance(value, str) and value in arguments:
            return value
    elif origin is tuple:
        if isinstance(value, (list, tuple)):
            items = tuple(_converted(item, arguments[0]) for item in value)
            return value if items == value else items
    elif arguments:  # A union.
        for kind in sorted(
            arguments, key=lambda kind: not isinstance(value, kind) if isinstance(kind, type) else 1
        ):
            try:
                return _converted(value, kind)
            except (TypeError, ValueError, OverflowError):
                continue
    elif hint is Path:
        if isinstance(value, (str, os.PathLike)):
            return value if isinstance(value, Path) else Path(value)
    elif hint in (int, float):
        if not isinstance(value, bool) and isinstance(value, numbers.Real):
            number = hint(value)
            if number == value and math.isfinite(number):
                return value if type(value) is hint else number
    elif isinstance(value, hint):
        return value
    raise TypeError


def matches(value: Any, hint: Any) -> bool:
    """Whether `value` is of the type `hint`, or stands for one of it."""
    try:
        _converted(value, hint)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _wanted(hint: Any) -> str:
    """The type of a setting in words; of a union with None the other type."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if typing.get_origin(hint) is tuple:
        return "a list of " + {int: "whole numbers", str: "texts"}.get(arguments[0], "values")
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    words[Path] = "a path"
    if arguments:
        known = [_wanted(kind) for kind in arguments if kind is not type(None)]
        return " or ".join(known)
    return words.get(hint, "a group of settings")


# A path keeps one of the two slashes of a URL. A password may hold a slash that is not escaped.
_PASSWORD = re.compile(
    r"\s*([A-Za-z][\w+.-]+:/{1,2})(?:[^/?#]*|[^/?#:\[]*:(?!\d*(?:/|$)).*)@", re.DOTALL
)


def require_no_password(value: str, field: str) -> None:
    """Raise ``config-value`` for a URL with a user name or a password, which would be saved with the run."""
    found = _PASSWORD.match(value)
    if found:
        raise TagboxError(
            "config-value",
            f"{found[1]}***@{value[found.end() :]} holds a user name or password, which a run must not keep",
            where=field,
            hint="leave it out of the URL and set TAGBOX_WEIGHTS_URL=https://USER:PASSWORD@HOST, "
            "or download the file and give its path",
        )


MOST_SEED = 2**32 - 1


def require_seed(value: int, field: str = "seed") -> None:
    """Raise ``config-value`` unless `value` is a seed that NumPy and torch take."""
    require(0 <= value <= MOST_SEED, field, value, f"from 0 to {MOST_SEED}")


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


def described(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Settings that were one and are another, in words."""
    return "; ".join(f"{name}: {then} -> {now}" for name, (then, now) in changed.items())


def as_flags(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """The former values of such settings as they are typed, in brackets; empty where one has no flag of one value."""
    flags = []
    for name, (then, _) in changed.items():
        group, _, setting = name.replace("_", "-").rpartition(".")
        if isinstance(then, bool):
            setting, value = setting if then else f"no-{setting}", ""
        elif isinstance(then, (int, float, str)) and " " not in str(then):
            value = f" {then}"
        else:
            return ""
        flags.append(f"--{group}{'.' * bool(group)}{setting}{value}")
    return f" ({' '.join(flags)})"
