"""The options of a command in groups on its help page, those that most people need first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cyclopts import App, Group, Parameter
from cyclopts.argument import ArgumentCollection

Groups = Mapping[str, Sequence[str]]
"""Title of a group to the names of its options, in the order of the help page; ``augment.`` names all that begin so."""

COMMON, OTHER = "Common options", "Other options"
_DATA = (
    *("format", "split", "names", "group-by", "mapping", "max-images", "sample-seed"),
    "crowd-is-present",
)
_VALIDATION = ("val-images", "val-fraction", "allow-overlap")
_OUTPUT = ("runs", "json")

CLASSIFIER: Groups = {
    COMMON: (
        *("name", "recipe", "config", "images", "val", "categories", "backbone", "head"),
        *("epochs", "batch-size", "learning-rate", "seed", "device", "resume", "overwrite"),
    ),
    "Data": (*_DATA, *_VALIDATION, "folds", "labels"),
    "Backbone and head": (
        *("weights", "geometry", "pooling", "mirror", "hidden", "queries", "attention"),
        *("attention-heads", "dropout"),
    ),
    "Training": (
        *("loss", "anneal-epochs", "label-smoothing", "teacher", "teacher-weight", "weight-decay"),
        *("patience", "best-by"),
    ),
    "Predicted labels": ("objective", "at-least-one", "top-k"),
    "Machine and output": (*("engine", "precision", "cache", *_OUTPUT, "tensorboard-categories"),),
    "Fine-tuning of the backbone": ("finetune.",),
    "Augmentation": ("augment.",),
}
DETECTOR: Groups = {
    COMMON: (
        *("name", "recipe", "config", "images", "val", "detector", "backbone", "size"),
        *("epochs", "batch-size", "learning-rate", "seed", "device", "resume", "overwrite"),
    ),
    "Data": ("categories", *_DATA, *_VALIDATION, "boxes"),
    "Detector": ("weights", "trainable-layers", "batch-norm"),
    "Training": (
        *("optimizer", "backbone-rate", "layer-decay", "weight-decay", "schedule", "warmup"),
        *("clip", "ema", "accumulate", "patience", "best-by"),
    ),
    "Machine and output": (
        *("engine", "precision", "channels-last", "workers", "checkpoint-seconds"),
        *("keep-checkpoints", *_OUTPUT),
    ),
    "Augmentation": ("augment.",),
}
_SEARCH: Groups = {
    "Search": (
        *("search", "fixed", "trials", "minutes", "metric", "repeats", "test", "test-images"),
        *("studies", "storage"),
    )
}
GROUPS: Mapping[str, Groups] = {
    "train classifier": CLASSIFIER,
    "train detector": DETECTOR,
    "tune classifier": {**_SEARCH, **CLASSIFIER},
    "tune detector": {**_SEARCH, **DETECTOR},
    "predict": {
        COMMON: (
            *("out", "format", "json", "save-images", "threshold", "score", "top-k"),
            *("categories", "truth", "runs", "device"),
        ),
        "Classifier": ("evidence", "precision", "cache"),
        "Detector": ("tiles", "tile-overlap", "round", "save-video"),
        "Machine": ("engine",),
    },
    "show": {
        COMMON: (
            *("out", "count", "images", "split", "category", "categories", "boxes", "seed"),
            *("columns", "json"),
        ),
        "Data": ("format", *_DATA[2:]),
        "Input of a network": (*("network", "size", "geometry", "augmented", "task", "epoch"),),
        "Augmentation": ("augment.", "box-augment."),
    },
    "evaluate": {
        COMMON: (
            *("images", "split", "categories", "thresholds", "held-out", "as-labels", "missing"),
            *("extra", "per-category", "intervals", "out", "json", "runs", "device"),
        ),
        "Data": ("format", *_DATA[2:]),
        "Predicted labels": ("labels", "objective", "at-least-one", "top-k"),
        "Statistics": ("resamples", "seed"),
    },
    "compare": {
        COMMON: (
            *("group", "metric", "images", "split", "categories", "thresholds", "held-out"),
            *("as-labels", "missing", "extra", "report", "out", "json", "runs", "device"),
        ),
        "Data": ("format", *_DATA[2:]),
        "Predicted labels": ("labels", "at-least-one", "top-k"),
        "Statistics": ("seed",),
    },
}
"""Groups of the commands that have many options; other commands have one list."""


class GroupedApp(App):
    """An `App` that shows the options of its command in `groups`; one list where there are none."""

    groups: Groups | None = None

    def assemble_argument_collection(self, **how: Any) -> ArgumentCollection:
        """The arguments of the command, each in its group; for a help page in the order of the groups."""
        arguments = super().assemble_argument_collection(**how)
        for argument in arguments:
            default = argument.field_info.default
            if default is False or default == ():
                # That an option is off unless it is given goes without saying.
                argument.parameter = Parameter.combine(
                    argument.parameter, Parameter(show_default=False)
                )
        if not self.groups:
            return arguments
        names = (*self.groups, OTHER)
        titles = {title: Group(title, sort_key=place) for place, title in enumerate(names)}
        order = {}
        for argument in arguments:
            title, place = _place(argument.names[0].removeprefix("--"), self.groups)
            order[id(argument)] = (names.index(title), place)
            if argument.index is None:
                argument.parameter = Parameter.combine(
                    argument.parameter, Parameter(group=titles[title])
                )
        if how.get("parse_docstring"):
            arguments.sort(key=lambda argument: order[id(argument)])
        return arguments


def grouped_app(command: Callable[..., Any], groups: str, **settings: Any) -> GroupedApp:
    """The application of one command, with the groups that `GROUPS` has under the name `groups`."""
    app = GroupedApp(**{"name": command.__name__, "help_format": "markdown", **settings})
    app.groups = GROUPS.get(groups)
    app.default(command)
    return app


def _place(name: str, groups: Groups) -> tuple[str, int]:
    """The group of an option and its place there; the last group where none names the option."""
    for title, names in groups.items():
        for place, known in enumerate(names):
            if name == known or (known.endswith(".") and name.startswith(known)):
                return title, place
    return OTHER, 0
