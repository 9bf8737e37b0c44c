"""`tagbox tune`: the settings of a recipe with the best validation figure.

What `tagbox tune` prints of a study.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tagbox.cli.config_file import SECTIONS, fill, fill_from_file, recipe_name, task_of
from tagbox.cli.console import TerminalProgress, print_json, print_table, say
from tagbox.config import (
    ClassifierConfig,
    DataConfig,
    DetectionMetric,
    DetectorConfig,
    Metric,
    load_recipe,
)
from tagbox.studies.search_space import flat_settings

if TYPE_CHECKING:
    from cyclopts.argument import ArgumentCollection

    from tagbox.api import Study


def show_study(done: Study[Any]) -> None:
    """The best five trials, what decided them, and what other seeds and images say of the best."""
    result = done.result
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
        say(f"what set the best tenth apart: {shares}")
    if "again" in result:
        _show_again(result["again"], result["best"], metric)
    if "test" in result:
        _show_test(result["test"])
    else:
        say("the search has seen the validation pictures: --test judges the best on others")


def _show_again(again: Mapping[str, Any], best: Mapping[str, Any], metric: str) -> None:
    """The best trial's figure beside what other seeds make of the same settings."""
    said = [f"trial {best['trial']} had {metric} {best['value']:.4f}"]
    seeds = len(again["seeds"])
    if again["best"]["mean"] is not None:
        others = "another seed gives" if seeds == 1 else f"the mean of {seeds} other seeds is"
        said.append(f"{others} {again['best']['mean']:.4f}")
    if again["start"]["mean"] is not None:
        said.append(f"and {again['start']['mean']:.4f} with the settings at the start")
    say(", ".join(said))


def _show_test(test: Mapping[str, Any]) -> None:
    rows: list[tuple[object, ...]] = []
    paired = test["differences"]
    for name, value in test["best"].items():
        rows.append((name, test["start"].get(name, "-"), value, _difference(paired.get(name))))
    print_table(
        f"{test['images']:,} test pictures",
        ("", "at the start", "best", "difference (95 %)"),
        rows,
    )
    if not any("low" in each for each in paired.values()):
        say("differences of AP have no interval here: whether they are chance is not said")


def _difference(paired: Mapping[str, float] | None) -> str:
    """A difference with its interval; a dash for what there is not."""
    if paired is None:
        return "-"
    ends = f"{paired['low']:+.4f} to {paired['high']:+.4f}" if "low" in paired else "-"
    return f"{paired['difference']:+.4f} ({ends})"


def _cell(value: object) -> object:
    return f"{value:.3g}" if isinstance(value, float) else value


def _fill(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """As for `tagbox train`; besides, note which settings were typed, and which recipe it is."""
    flags = [a.names[0].removeprefix("--").replace("-", "_") for a in arguments if a.tokens]
    settings = flat_settings(SECTIONS[task_of(commands)]())
    typed = [name for name in flags if name in settings]
    recipe = recipe_name(commands, arguments)
    fill({"typed": typed, "recipe": recipe}, "", app, commands, arguments)
    fill_from_file(app, commands, arguments)


tune = App(
    name="tune",
    help_format="markdown",
    help="Search for the best settings of a recipe.",
    config=_fill,
)


@tune.command
@tune.default
def classifier(
    data: Path,
    /,
    *,
    name: str,
    config: Annotated[ClassifierConfig, Parameter(name="*")] = ClassifierConfig(),
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    recipe: str | None = None,
    search: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    fixed: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    trials: int = 100,
    minutes: float | None = None,
    metric: Metric | None = None,
    repeats: int = 3,
    test: Path | None = None,
    test_images: Path | None = None,
    settings: Annotated[Path | None, Parameter(name="--config")] = None,
    studies: Path = Path("studies"),
    storage: str | None = None,
    cache: bool = True,
    typed: Annotated[tuple[str, ...], Parameter(show=False, negative=())] = (),
    json: bool = False,
) -> None:
    """Search for the best settings of a classifier's recipe, judged on the validation pictures.

    Pictures are encoded once; a trial trains a head, or the whole network where the recipe does. A trial that
    is behind the others is given up. The same command again goes on until there are TRIALS in all. Writes
    STUDIES/NAME with the trials, and best.yaml for `tagbox train classifier --config`.

    A setting whose flag is typed keeps that value and is not searched. `tagbox tune detector` does the same
    with detectors.

    Parameters
    ----------
    data
        COCO JSON, challenge folder, CSV, YOLO or labelme folder, or a folder a class.
    name
        Name of the study.
    recipe
        Whose ranges: frozen (default on a CPU), finetune (default on a GPU), asl-mldecoder, challenge, or a YAML
        file.
    search
        A range more, or in place of the recipe's: learning_rate=1e-4..1e-2:log, dropout=0..0.5, loss=bce,focal.
    fixed
        A setting of the recipe's ranges that keeps its value; its name, such as dropout.
    trials
        How many there shall be in all.
    minutes
        After which no trial is begun.
    metric
        What trials are compared by; best_by when not given.
    repeats
        Further seeds for the best settings and for those at the start, since the best of many looks too good.
    test
        A third dataset to compare both on.
    test_images
        Folder of its pictures.
    settings
        YAML file of settings to begin with; flags come before it, and it before the recipe.
    studies
        Folder of the studies.
    storage
        Address of a database for the trials, such as postgresql://USER@HOST/NAME, in place of study.db; one
        process at a time.
    cache
        Keep encoded pictures for later runs.
    json
        Print tune.json.
    """
    from tagbox.api import tune_classifier

    done = tune_classifier(
        data,
        config,
        name=name,
        search=load_recipe(recipe or "frozen", "classifier").search,
        typed=search,
        fixed=[*fixed, *typed],
        trials=trials,
        minutes=minutes,
        metric=metric,
        repeats=repeats,
        test=test,
        test_images=test_images,
        studies=studies,
        storage=storage,
        source=source,
        cache=cache,
        command=shlex.join(["tagbox", *sys.argv[1:]]),
        progress=TerminalProgress(),
    )
    _say(done, data, name, json)


@tune.command
def detector(
    data: Path,
    /,
    *,
    name: str,
    config: Annotated[DetectorConfig, Parameter(name="*")] = DetectorConfig(),
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    recipe: str | None = None,
    search: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    fixed: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    trials: int = 20,
    minutes: float | None = None,
    metric: DetectionMetric | None = None,
    repeats: int = 3,
    test: Path | None = None,
    test_images: Path | None = None,
    settings: Annotated[Path | None, Parameter(name="--config")] = None,
    studies: Path = Path("studies"),
    storage: str | None = None,
    typed: Annotated[tuple[str, ...], Parameter(show=False, negative=())] = (),
    json: bool = False,
) -> None:
    """Search for the best settings of a detector's recipe, judged on the validation pictures.

    A trial is a whole training; one that is behind the others is given up. The same command again goes on
    until there are TRIALS in all. Writes STUDIES/NAME with the trials, the run folder of the best one, and
    best.yaml for `tagbox train detector --config`.

    A setting whose flag is typed keeps that value and is not searched.

    Parameters
    ----------
    data
        A dataset with boxes: COCO JSON, YOLO or labelme folder.
    name
        Name of the study.
    recipe
        Whose ranges: dense (the default), fasterrcnn, or a YAML file.
    search
        A range more, or in place of the recipe's: learning_rate=1e-4..1e-2:log, ema=0,0.99, augment.mosaic=0..1.
    fixed
        A setting of the recipe's ranges that keeps its value; its name, such as ema.
    trials
        How many there shall be in all.
    minutes
        After which no trial is begun.
    metric
        What trials are compared by; best_by when not given.
    repeats
        Further seeds for the best settings and for those at the start, since the best of many looks too good.
    test
        A third dataset to compare both on.
    test_images
        Folder of its pictures.
    settings
        YAML file of settings to begin with; flags come before it, and it before the recipe.
    studies
        Folder of the studies.
    storage
        Address of a database for the trials, such as postgresql://USER@HOST/NAME, in place of study.db; one
        process at a time.
    json
        Print tune.json.
    """
    from tagbox.api import tune_detector

    done = tune_detector(
        data,
        config,
        name=name,
        search=load_recipe(recipe or "dense", "detector").search,
        typed=search,
        fixed=[*fixed, *typed],
        trials=trials,
        minutes=minutes,
        metric=metric,
        repeats=repeats,
        test=test,
        test_images=test_images,
        studies=studies,
        storage=storage,
        source=source,
        command=shlex.join(["tagbox", *sys.argv[1:]]),
        progress=TerminalProgress(),
    )
    _say(done, data, name, json)


def _say(done: Study[Any], data: Path, name: str, json: bool) -> None:
    """What was found, and the command that trains with it."""
    if json:
        print_json(done.result)
    else:
        show_study(done)
    train = ["tagbox", "train", done.kind, str(data), "--config", str(done.best_config)]
    say(f"study: {done.folder}\nto train with the best: {shlex.join([*train, '--name', name])}")
