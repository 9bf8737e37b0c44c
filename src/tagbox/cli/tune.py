"""`tagbox tune`: search for the settings of a recipe with the best validation metric."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tagbox.cli.config_file import (
    SECTIONS,
    SettingsOptions,
    fill,
    fill_from_file,
    recipe_name,
    task_of,
)
from tagbox.cli.console import TerminalProgress, print_json, say
from tagbox.cli.named_runs import named_teacher
from tagbox.cli.option_groups import grouped_app
from tagbox.cli.tables import print_table
from tagbox.config import (
    ClassifierConfig,
    ClassifierTuneOptions,
    DataConfig,
    DetectorConfig,
    DetectorTuneOptions,
    TuneOptions,
    load_recipe,
)
from tagbox.config.recipes import CHALLENGE
from tagbox.studies.search_space import flat_settings

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import ArgumentCollection

    from tagbox.api.tune import Study


def show_study(study: Study[Any]) -> None:
    """Print the best five trials, the settings' importance, and the evaluation of the best one."""
    result = study.result
    metric, names = result["metric"], list(result["search"])
    counts = result["trials"]
    print_table(
        f"the best of {counts['total']} trials ({counts['pruned']} pruned, {counts['failed']} failed)",
        ("trial", metric, "epochs", *names),
        [
            (
                row["trial"],
                row["value"],
                row["epochs"],
                *(_cell(row["parameters"][n]) for n in names),
            )
            for row in result["five_best"]
        ],
    )
    if result["importance"]:
        shares = ", ".join(f"{k} {v:.0%}" for k, v in result["importance"].items())
        say(f"importance of the settings: {shares}")
    if "again" in result:
        _show_again(result["again"], result["best"], metric)
    if "test" in result:
        _show_test(result["test"])
    else:
        say("the best was selected on the validation pictures: --test evaluates it on others")


def _show_again(again: Mapping[str, Any], best: Mapping[str, Any], metric: str) -> None:
    """Print the best trial's metric beside the means over other seeds."""
    parts = [f"trial {best['trial']} had {metric} {best['value']:.4f}"]
    seeds = len(again["seeds"])
    if again["best"]["mean"] is not None:
        others = "another seed gives" if seeds == 1 else f"the mean of {seeds} other seeds is"
        parts.append(f"{others} {again['best']['mean']:.4f}")
    if again["start"]["mean"] is not None:
        parts.append(f"and {again['start']['mean']:.4f} with the settings at the start")
    say(", ".join(parts))


def _show_test(test: Mapping[str, Any]) -> None:
    rows: list[tuple[object, ...]] = []
    paired = test["differences"]
    for name, value in test["best"].items():
        rows.append((name, test["start"].get(name, "-"), value, _difference(paired.get(name))))
    print_table(
        f"{test['images']:,} test images",
        ("", "at the start", "best", "difference (95 %)"),
        rows,
    )
    if not any("low" in each for each in paired.values()):
        say("differences of AP have no interval here: their significance is unknown")
    elif not all(each.get("reliable", True) for each in paired.values()):
        say(
            f"{_UNSURE} interval not reliable: too few test images, or too few on which the two differ"
        )


_UNSURE = "*"


def _difference(paired: Mapping[str, Any] | None) -> str:
    """A difference with its interval, marked where that is not reliable; a dash where it is absent."""
    if paired is None:
        return "-"
    ends = f"{paired['low']:+.4f} to {paired['high']:+.4f}" if "low" in paired else "-"
    mark = "" if paired.get("reliable", True) else _UNSURE
    return f"{paired['difference']:+.4f} ({ends}){mark}"


def _cell(value: object) -> object:
    return f"{value:.3g}" if isinstance(value, float) else value


def _fill(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """As for `tagbox train`; besides, record which settings were typed, and the recipe's name."""
    flags = [a.names[0].removeprefix("--").replace("-", "_") for a in arguments if a.tokens]
    settings = flat_settings(SECTIONS[task_of(commands)]())
    typed = [name for name in flags if name in settings]
    recipe = recipe_name(commands, arguments)
    fill({"typed": typed, "recipe": recipe}, "", app, commands, arguments)
    fill_from_file(app, commands, arguments)


_RUNS = Path("runs")
"""Where the teacher of a search is looked for by its name."""

Typed = Annotated[tuple[str, ...], Parameter(show=False, negative=())]


def classifier(
    data: Path,
    /,
    *,
    options: Annotated[
        ClassifierTuneOptions, Parameter(name="*", negative=())
    ] = ClassifierTuneOptions(),
    config: Annotated[ClassifierConfig, Parameter(name="*")] = ClassifierConfig(),
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    settings: Annotated[SettingsOptions, Parameter(name="*")] = SettingsOptions(),
    cache: bool = True,
    typed: Typed = (),
) -> None:
    """Search for the best settings of a classifier's recipe, by a validation metric.

    Images are encoded once; a trial trains a head, or the full network where the recipe does. A trial that is
    worse than the median of the others is pruned. The same command continues the study until it has TRIALS
    trials in total. Writes STUDIES/NAME with the trials, and best.yaml for `tagbox train classifier --config`.

    A setting whose flag is given keeps that value and is not searched. `tagbox tune detector` does the same
    with detectors.

    Parameters
    ----------
    data
        Dataset: COCO JSON, challenge folder, CSV, YOLO, labelme or Pascal VOC folder, or one folder per class.
    cache
        Keep the features of the images for later runs.
    """
    from tagbox.training.transfer import refuse_transfer, transfer_note, transfer_of

    config = named_teacher(config, _RUNS)
    if settings.recipe == CHALLENGE:
        refuse_transfer(config)
    _tune(data, config, options, source, settings, typed, cache=cache)
    transfer = transfer_of(config)
    if transfer is not None:
        say(transfer_note(transfer))


def detector(
    data: Path,
    /,
    *,
    options: Annotated[
        DetectorTuneOptions, Parameter(name="*", negative=())
    ] = DetectorTuneOptions(),
    config: Annotated[DetectorConfig, Parameter(name="*")] = DetectorConfig(),
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    settings: Annotated[SettingsOptions, Parameter(name="*")] = SettingsOptions(),
    typed: Typed = (),
) -> None:
    """Search for the best settings of a detector's recipe, by a validation metric.

    A trial is a full training; a trial that is worse than the median of the others is pruned. The same command
    continues the study until it has TRIALS trials in total. Writes STUDIES/NAME with the trials, the run
    directory of the best one, and best.yaml for `tagbox train detector --config`.

    A setting whose flag is given keeps that value and is not searched.

    Parameters
    ----------
    data
        Dataset with boxes: COCO JSON, YOLO, labelme or Pascal VOC folder.
    """
    _tune(data, config, options, source, settings, typed)


def _tune(
    data: Path,
    config: ClassifierConfig | DetectorConfig,
    options: TuneOptions,
    source: DataConfig,
    settings: SettingsOptions,
    typed: Sequence[str],
    *,
    cache: bool = False,
) -> None:
    """Search, and print the result with the command that trains with the best settings."""
    from tagbox.api.tune import run_study
    from tagbox.training.run_dir import unused_name

    assert settings.recipe is not None  # Filled by `_fill`.
    kind = "classifier" if isinstance(config, ClassifierConfig) else "detector"
    if not options.name:
        options = replace(options, name=unused_name(options.studies, "study"))
        say(
            f"no name is given: the study is called {options.name}, and --name {options.name} continues it"
        )
    study: Study[Any] = run_study(
        data,
        config,
        replace(options, fixed=(*options.fixed, *typed)),
        search=load_recipe(settings.recipe, kind).search,
        source=source,
        cache=cache,
        command=shlex.join(["tagbox", *sys.argv[1:]]),
        progress=TerminalProgress(),
    )
    if settings.json:
        print_json(study.result)
    else:
        show_study(study)
    train = ["tagbox", "train", kind, str(data), "--config", str(study.best_config)]
    say(
        f"study: {study.folder}\n"
        f"to train with the best: {shlex.join([*train, '--name', options.name])}"
    )


tune = grouped_app(
    classifier,
    "tune classifier",
    name="tune",
    help="Search for the best settings of a recipe.",
    config=_fill,
)
tune.command(grouped_app(classifier, "tune classifier"))
tune.command(grouped_app(detector, "tune detector"))
