"""Settings by their dotted names, such as ``finetune.learning_rate``."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tagbox.config import ClassifierConfig, Config, DetectorConfig
from tagbox.config.finetune import FREE
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from tagbox.training.plan import Training

Value = str | int | float | bool | None

_HELD = {
    # What is judged, and how: trials with other answers could not be compared.
    "val",
    "val_images",
    "val_fraction",
    "best_by",
    # The seed is the luck that a search must not look for.
    "seed",
    # Where it is computed decides no figure of a trial.
    "device",
}

HELD: Mapping[type[Config], frozenset[str]] = {
    ClassifierConfig: frozenset(
        {
            *_HELD,
            "labels",
            "objective",
            "at_least_one",
            "top_k",
            "tensorboard_categories",
            "finetune.compile",
            *(f"finetune.{name}" for name in FREE),
            # Asking another teacher for every trial is another study.
            "teacher",
        }
    ),
    # What is done about faulty boxes says which of them there are; the engine detects after the training.
    DetectorConfig: frozenset({*_HELD, "boxes", "engine", *FREE}),
}
"""Settings that cannot be searched, of each kind of model."""


def with_settings(config: Training, values: Mapping[str, Value]) -> Training:
    """`config` with other values of dotted settings.

    Raises
    ------
    TagboxError
        ``config-field``, ``config-value``.
    """
    plain = config.to_dict()
    for name, value in values.items():
        *groups, last = name.split(".")
        inside = plain
        for group in groups:
            inside = inside[group]
        inside[last] = value
    return type(config).from_dict(plain)


def get_setting(config: Config, name: str) -> Value:
    """The value of a dotted setting."""
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part)
    value: Value = found
    return value


def flat_settings(config: Config) -> dict[str, Any]:
    """Every setting under its dotted name, as plain values."""
    return _flat(config.to_dict(), "")


def setting_type(name: str, where: str, of: type[Config]) -> Any:
    """The type of a dotted setting that can be searched, without its ``None``.

    Parameters
    ----------
    where
        What names the setting, for messages; what is ``--fixed`` may be held.
    of
        Whose setting it is.

    Raises
    ------
    TagboxError
        ``config-field`` for a setting there is not; ``search-held`` for one that cannot be searched.
    """
    known = _types(of)
    if name not in known:
        kind = "classifier" if of is ClassifierConfig else "detector"
        near = difflib.get_close_matches(name, known, n=1)
        raise TagboxError(
            "config-field",
            "no such setting",
            where=f"{where} {name}",
            hint=f"perhaps {near[0]} is meant" if near else f"see tagbox train {kind} --help",
        )
    if name in HELD[of] and where != "--fixed":
        raise TagboxError(
            "search-held",
            "cannot be searched: it does not make one trial better than another",
            where=f"{where} {name}",
            hint="leave it out, or give the value by its flag",
        )
    return known[name]


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _types(config: type[Config], prefix: str = "") -> dict[str, Any]:
    """Dotted names of all settings, and their types."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(config).items():
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            hint = next(a for a in typing.get_args(hint) if a is not type(None))
        if isinstance(hint, type) and issubclass(hint, Config):
            found |= _types(hint, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = hint
    return found
