"""The ranges of a search: the searched settings and their values.

A range comes from a recipe's ``search`` or is typed as ``NAME=LOW..HIGH``, ``NAME=LOW..HIGH:log`` or
``NAME=A,B,C``. Every end and every choice is validated before the first trial. A setting is named by its
path, such as ``finetune.learning_rate``.
"""

from __future__ import annotations

import difflib
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tagbox.config import ClassifierConfig, Config, DetectorConfig
from tagbox.config.finetune import FREE
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from optuna.trial import Trial

    from tagbox.training.resolve_config import Training


Value = str | int | float | bool | None

_NOT_SEARCHED = {
    # The validation data and metric: trials that differ in them are not comparable.
    "val",
    "val_images",
    "val_fraction",
    "folds",
    "best_by",
    # A search must not select a lucky seed.
    "seed",
    # The device does not change a trial's metrics.
    "device",
}

NOT_SEARCHED: Mapping[type[Config], frozenset[str]] = {
    ClassifierConfig: frozenset(
        {
            *_NOT_SEARCHED,
            "labels",
            "objective",
            "at_least_one",
            "top_k",
            "tensorboard_categories",
            "finetune.compile",
            *(f"finetune.{name}" for name in FREE),
            # Each teacher would need its own probabilities of the training images.
            "teacher",
        }
    ),
    # `boxes` changes the ground truth; the engine is only used after the training.
    DetectorConfig: frozenset({*_NOT_SEARCHED, "boxes", "engine", *FREE}),
}
"""Settings that cannot be searched, of each kind of model."""


def with_settings(config: Training, values: Mapping[str, Value]) -> Training:
    """`config` with other values of settings by path.

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
    """The value of a setting by path."""
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part)
    value: Value = found
    return value


def flat_settings(config: Config) -> dict[str, Any]:
    """Every setting by path, as plain values."""
    return _flat(config.to_dict(), "")


def setting_type(name: str, where: str, of: type[Config]) -> Any:
    """The type of a setting that can be searched, without its ``None``.

    Parameters
    ----------
    where
        Origin of the name, for messages; any setting may be ``--fixed``.
    of
        Whose setting it is.

    Raises
    ------
    TagboxError
        ``config-field`` for an unknown setting; ``search-held`` for one that cannot be searched.
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
    if name in NOT_SEARCHED[of] and where != "--fixed":
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
    """Paths of all settings, and their types."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(config).items():
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            hint = next(a for a in typing.get_args(hint) if a is not type(None))
        if isinstance(hint, type) and issubclass(hint, Config):
            found |= _types(hint, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = hint
    return found


NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
INTERVAL = re.compile(rf"({NUMBER})\.\.({NUMBER})(:log)?")
FORM = "write NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B,C"
WORDS: Mapping[str, Value] = {"true": True, "false": False, "none": None}


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values that one setting may have: from `low` to `high`, both included, or one of `choices`.

    Whole numbers are searched where both ends are ``int``; with `log`, uniformly in the logarithm.
    """

    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()

    def suggest(self, trial: Trial, name: str) -> Value:
        """A value for `name`, as the trial's sampler draws it."""
        if self.choices:
            chosen: Value = trial.suggest_categorical(name, self.choices)
            return chosen
        low, high = self.low, self.high
        if isinstance(low, int) and isinstance(high, int):
            return int(trial.suggest_int(name, low, high, log=self.log))
        assert low is not None
        assert high is not None
        return float(trial.suggest_float(name, low, high, log=self.log))

    def contains(self, value: Value) -> bool:
        """Whether a search could draw `value`."""
        if self.choices:
            return any(type(value) is type(choice) and value == choice for choice in self.choices)
        if value is None or isinstance(value, (str, bool)):
            return False
        assert self.low is not None
        assert self.high is not None
        return self.low <= value <= self.high

    def extremes(self) -> tuple[Value, ...]:
        """The choices, or both ends."""
        return self.choices or (self.low, self.high)

    def __str__(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        return f"{self.low}..{self.high}{':log' if self.log else ''}"

    def to_dict(self) -> dict[str, Any]:
        """As in a recipe."""
        if self.choices:
            return {"choices": list(self.choices)}
        found: dict[str, Any] = {"low": self.low, "high": self.high}
        return found | ({"log": True} if self.log else {})


def read_ranges(
    search: Mapping[str, Mapping[str, Any]],
    typed: Iterable[str],
    fixed: Collection[str],
    of: type[Config] = ClassifierConfig,
) -> dict[str, Range]:
    """The ranges of a recipe, replaced and extended by typed ones, without the `fixed` settings.

    Parameters
    ----------
    search
        Setting path -> ``{low, high, log}`` or ``{choices}``.
    typed
        ``NAME=LOW..HIGH`` and the like.
    fixed
        Setting paths that keep their value.
    of
        Whose settings they are.

    Raises
    ------
    TagboxError
        ``config-field`` for an unknown setting; ``search-syntax``, ``search-range``; ``search-fixed``
        for a setting that is both typed and fixed; ``search-empty`` where nothing is left.
    """
    for name in fixed:
        setting_type(name, "--fixed", of)
    ranges = {name: _from_recipe(name, allowed, of) for name, allowed in search.items()}
    for text in typed:
        name, allowed = parse_range(text, of)
        if name in fixed:
            raise TagboxError(
                "search-fixed",
                "is searched and given a value of its own at once",
                where=name,
                hint=f"leave out either --search {name}=... or the value",
            )
        ranges[name] = allowed
    kept = {name: allowed for name, allowed in ranges.items() if name not in fixed}
    if not kept:
        raise TagboxError(
            "search-empty",
            "no setting is left to search" if ranges else "the recipe has no ranges to search",
            where="--search",
            hint=f"give ranges: {FORM}",
        )
    return kept


def parse_range(text: str, of: type[Config] = ClassifierConfig) -> tuple[str, Range]:
    """``NAME=LOW..HIGH[:log]`` or ``NAME=A,B,C`` as a setting of a configuration and its range.

    Raises
    ------
    TagboxError
        ``search-syntax``, ``search-range``, ``config-field``.
    """
    name, equals, allowed = text.partition("=")
    name, allowed = name.strip().lstrip("-").replace("-", "_"), allowed.strip()
    if not equals or not name or not allowed:
        raise TagboxError("search-syntax", f"{text!r} is no range", where="--search", hint=FORM)
    kind = setting_type(name, "--search", of)
    found = INTERVAL.fullmatch(allowed)
    if found and kind is not str:
        low, high = (_number(end, kind, name) for end in found.groups()[:2])
        return name, _interval(name, kind, low, high, found[3] is not None)
    return name, _choices(name, kind, [_word(word.strip(), kind) for word in allowed.split(",")])


def require_allowed(
    config: Training,
    ranges: Mapping[str, Range],
    check: Callable[[Training], object] = lambda _: None,
) -> None:
    """Refuse ranges with values that the configuration or `check` refuses.

    Raises
    ------
    TagboxError
        ``search-range``, with the reason.
    """
    for name, allowed in ranges.items():
        for value in allowed.extremes():
            try:
                check(with_settings(config, {name: value}))
            except TagboxError as error:
                raise TagboxError(
                    "search-range",
                    f"the range reaches {value!r}: {error.found}",
                    where=f"search.{name}",
                    hint="narrow the range",
                ) from error


def _from_recipe(name: str, allowed: Mapping[str, Any], of: type[Config]) -> Range:
    kind = setting_type(name, "search", of)
    keys = set(allowed)
    if "choices" in allowed and keys == {"choices"}:
        return _choices(name, kind, allowed["choices"])
    if not {"low", "high"} <= keys <= {"low", "high", "log"}:
        raise _bad(name, f"{dict(allowed)!r} is no range", "write {low, high, log} or {choices}")
    log = allowed.get("log", False)
    if not isinstance(log, bool):
        raise _bad(name, f"log is {log!r}, not true or false", "change the value")
    return _interval(name, kind, allowed["low"], allowed["high"], log)


def _interval(name: str, kind: Any, low: float | int, high: float | int, log: bool) -> Range:
    if kind not in (int, float):
        raise _bad(name, "is not a number", "give choices: NAME=A,B,C")
    if isinstance(low, bool) or isinstance(high, bool) or not math.isfinite(low + high):
        raise _bad(name, f"{low}..{high} are no finite numbers", "change the ends")
    if kind is int and not (isinstance(low, int) and isinstance(high, int)):
        raise _bad(name, f"{low}..{high} are no whole numbers", "change the ends")
    if kind is float:
        low, high = float(low), float(high)
    if low >= high:
        raise _bad(name, f"{low} is not below {high}", "change the ends")
    if log and low <= 0:
        raise _bad(name, f"{low} has no logarithm", "let the range begin above 0, or leave log out")
    return Range(low=low, high=high, log=log)


def _choices(name: str, kind: Any, choices: Iterable[Any]) -> Range:
    found: list[Value] = []
    for choice in choices:
        if kind is float and type(choice) is int:
            choice = float(choice)
        if not (choice is None or isinstance(choice, (str, int, float))):
            raise _bad(name, f"{choice!r} is no choice", "give texts, numbers, true or false")
        if not any(type(choice) is type(other) and choice == other for other in found):
            found.append(choice)
    return Range(choices=tuple(found))


def _bad(name: str, found: str, hint: str) -> TagboxError:
    return TagboxError("search-range", found, where=f"search.{name}", hint=hint)


def _number(text: str, kind: Any, name: str) -> float | int:
    try:
        return int(text) if kind is int else float(text)
    except ValueError as error:
        raise _bad(name, f"{text} is not a whole number", "change the ends") from error


def _word(text: str, kind: Any) -> Value:
    """A typed choice as a number where the setting is one, else as one of `WORDS`, else as text."""
    if kind in (int, float):
        try:
            return int(text) if kind is int else float(text)
        except ValueError:
            pass
    if kind is not str and text.lower() in WORDS:
        return WORDS[text.lower()]
    return text
