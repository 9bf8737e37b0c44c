"""Arguments of the public functions, checked against their annotations before anything else happens."""

from __future__ import annotations

import functools
import inspect
import os
import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar

from tagbox.config.base import matches
from tagbox.errors import EXTRAS, bad_value, extra_missing

P = ParamSpec("P")
R = TypeVar("R")

_ABSTRACT: dict[str, tuple[type[Any], str]] = {
    "Mapping": (Mapping, "a mapping"),
    "Sequence": (Sequence, "a list"),
    "Collection": (Collection, "a list"),
    "Iterable": (Iterable, "a list"),
    "Callable": (Callable, "a function"),  # type: ignore[dict-item]
    "Path": (os.PathLike, "a path"),
}
_PLAIN: dict[str, tuple[type[Any], str]] = {
    "str": (str, "a text"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (bool, "true or false"),
}


def checked_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function: an argument of another type than its annotation is ``config-value``.

    Plain types, literals, paths and collections are checked as such; any other class is checked by its
    name, so that no module is imported for it. Protocols, images, and settings that are gathered in ``**settings``, are not
    checked.

    Raises
    ------
    TagboxError
        ``config-value`` with the name of the argument, and ``extra-missing`` where an optional package that the
        function needs is not installed, from every call of the decorated function.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:  # As Python says it, with the name of the function.
            raise TypeError(f"{function.__name__}() {error}") from None
        for name, value in bound.arguments.items():
            parameter = signature.parameters[name]
            annotation = parameter.annotation
            if isinstance(annotation, str) and parameter.kind is not parameter.VAR_KEYWORD:
                _check(name, value, annotation, function.__globals__)
        try:
            return function(*args, **kwargs)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            raise extra_missing(function.__name__, package, EXTRAS[package]) from error

    return checked


def _check(name: str, value: Any, annotation: str, names: Mapping[str, Any]) -> None:
    wanted = []
    plain, brackets = annotation, 1
    while brackets:  # The innermost first.
        plain, brackets = re.subn(r"\[[^\[\]]*\]", "", plain)
    for part in plain.split(" | "):
        if part == "None":
            if value is None:
                return
            continue
        ok, words = _part(value, part, names)
        if ok:
            return
        wanted.append(words)
    raise bad_value(value, " or ".join(dict.fromkeys(wanted)), name)


def _part(value: Any, part: str, names: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether `value` is of one part of a union, and what that is in words."""
    if part in _PLAIN:
        kind, words = _PLAIN[part]
        return matches(value, kind), words
    if part in _ABSTRACT:
        kind, words = _ABSTRACT[part]
        # A text is a sequence of letters, which nobody means.
        return isinstance(value, kind) and not isinstance(value, (str, bytes)), words
    known = names.get(part)
    if typing.get_origin(known) is Literal:
        choices = typing.get_args(known)
        return isinstance(value, str) and value in choices, f"one of {', '.join(choices)}"
    if part in ("Progress", "Images", "Any", "object"):
        return True, ""
    article = "an" if part[0] in "AEIOU" else "a"
    own = "ndarray" if part == "NDArray" else part
    return any(c.__name__ == own for c in type(value).__mro__), f"{article} {own}"
