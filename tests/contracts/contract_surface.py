"""What an outsider can name: the Python names, the commands' flags and the codes of errors.

Nothing here knows a module of tagbox other than `tagbox` itself and `tagbox.cli.app`.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclopts import App

import tagbox
from tagbox.cli.app import command_line

FROZEN = Path(__file__).resolve().parent / "frozen"
SOURCE = Path(tagbox.__file__).resolve().parent
KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def frozen(name: str) -> Any:
    return json.loads((FROZEN / name).read_text())


def losses(before: Any, now: Any, place: str = "") -> list[str]:
    """What `before` has and `now` lacks or has otherwise; what came in addition, a default too, is no loss."""
    if place.endswith(" required"):
        return [f"{place} was not required"] if now and not before else []
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for key, value in before.items():
            inside = f"{place} {key}".strip()
            if key not in now:
                found.append(f"{inside} is gone")
            else:
                found += losses(value, now[key], inside)
        return found
    return [] if before in (now, "required") else [f"{place} was {before!r} and is {now!r}"]


def api() -> dict[str, Any]:
    """Of every public name its kind, with the parameters, fields and methods it has."""
    return {name: _described(getattr(tagbox, name)) for name in tagbox.__all__}


def _described(value: Any) -> dict[str, Any]:
    if not inspect.isclass(value):
        if callable(value):
            return {"kind": "function", "parameters": _parameters(value)}
        return {"kind": type(value).__name__}
    members = {name: member for name, member in _members(value) if not name.startswith("_")}
    return {
        "kind": "class",
        "parameters": _parameters(value),
        "fields": (
            {field.name: _field_default(field) for field in dataclasses.fields(value)}
            if dataclasses.is_dataclass(value)
            else {}
        ),
        "methods": {
            name: _parameters(getattr(value, name))
            for name, member in members.items()
            if inspect.isfunction(member) or isinstance(member, (classmethod, staticmethod))
        },
        "properties": {name: {} for name, member in members.items() if _is_property(member)},
    }


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """What the class and its bases hold, those of Python and of other packages aside."""
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] == "tagbox":
            yield from vars(base).items()


def _is_property(member: Any) -> bool:
    return isinstance(member, (property, functools.cached_property))


def _parameters(function: Any) -> dict[str, Any]:
    return {
        name: {"kind": parameter.kind.description, "default": _said(parameter.default)}
        for name, parameter in inspect.signature(function).parameters.items()
    }


def _field_default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return _said(field.default_factory())
    return _said(field.default)


def _said(default: Any) -> Any:
    """A default as JSON; settings by their fields, so that their class may be called otherwise."""
    if default is inspect.Parameter.empty or default is dataclasses.MISSING:
        return "required"
    if dataclasses.is_dataclass(default):
        return {
            field.name: _said(getattr(default, field.name)) for field in dataclasses.fields(default)
        }
    if isinstance(default, Path):
        return f"Path({default.as_posix()!r})"
    if inspect.isfunction(default):
        return "a function"
    return repr(default)


def commands() -> dict[str, Any]:
    """Of every command (``train classifier``) its arguments and flags."""
    return {" ".join(path): _flags(command) for path, command in _walk(command_line(), ())}


def _walk(group: App, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], App]]:
    for name in group:
        if not name.startswith("-"):
            yield (*path, name), group[name]
            yield from _walk(group[name], (*path, name))


def _flags(command: App) -> dict[str, Any]:
    if command.default_command is None:
        return {}
    return {
        argument.names[0]: {
            # As keys, so that a further alias or choice is an addition.
            "names": dict.fromkeys(argument.names, "is a name"),
            "choices": dict.fromkeys(map(str, argument.get_choices() or ()), "is a choice"),
            "required": argument.required,
            "positional": argument.index,
            "default": _said(argument.field_info.default),
        }
        for argument in command.assemble_argument_collection()
        if argument.show
    }


def literals() -> set[str]:
    """Every text that stands alone in the source, docstrings and parts of f-strings aside."""
    found: set[str] = set()
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def error_codes() -> list[str]:
    """The literal codes that a `TagboxError`, or a function that makes one, is called with.

    Those that `TagboxError.replace` gives as ``code=`` are among them. Of codes that a variable holds those that
    are assigned to ``code`` are seen; the others are those of findings, in `finding_codes`.
    """
    trees = list(_trees())
    # `kind` is the class of the error where that depends on the server's answer.
    makers = {"TagboxError": 0, "kind": 0} | _makers(trees)
    codes: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                codes.update(code for to in node.targets for code in _assigned(to, node.value))
            if isinstance(node, ast.AnnAssign) and node.value:
                codes.update(_assigned(node.target, node.value))
            if not isinstance(node, ast.Call):
                continue
            name = _name(node.func)
            if name not in makers and name != "replace":
                continue
            given = node.args[makers[name] : makers[name] + 1] if name in makers else []
            given += [word.value for word in node.keywords if word.arg == "code"]
            codes.update(code for value in given for code in _codes(value))
    return sorted(codes)


@functools.cache
def finding_codes() -> list[str]:
    """The keys of the table of findings."""
    codes: set[str] = set()
    for tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign) and _name(node.target) == "CODES":
                assert isinstance(node.value, ast.Dict)
                codes.update(code for key in node.value.keys if key for code in _codes(key))
    return sorted(codes)


def _trees() -> Iterator[ast.Module]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield ast.parse(path.read_text(encoding="utf-8"))


def _makers(trees: list[ast.Module]) -> dict[str, int]:
    """Functions that hand a parameter ``code`` of theirs on, with its place among the arguments."""
    found = {}
    for tree in trees:
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            names = [argument.arg for argument in node.args.args if argument.arg != "self"]
            hands_on = any(
                isinstance(inner, ast.Call)
                and _name(inner.func) == "TagboxError"
                and any(_name(value) == "code" for value in inner.args[:1])
                for inner in ast.walk(node)
            )
            if hands_on and "code" in names:
                found[node.name] = names.index("code")
    return found


def _name(node: ast.AST) -> str:
    return getattr(node, "attr", None) or getattr(node, "id", "")


def _assigned(target: ast.AST, value: ast.AST) -> Iterator[str]:
    """The codes that an assignment gives to ``code``, alone or among others: ``code, found = ...``."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.IfExp):
        yield from _assigned(target, value.body)
        yield from _assigned(target, value.orelse)
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, its in zip(target.elts, value.elts, strict=False):
            yield from _assigned(one, its)
    elif _name(target).lstrip("_") == "code":
        yield from _codes(value)


def _codes(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from _codes(node.body)
        yield from _codes(node.orelse)
    elif (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and KEBAB.fullmatch(node.value)
    ):
        yield node.value
