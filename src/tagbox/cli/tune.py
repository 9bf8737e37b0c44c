"""`tagbox tune`: the settings of a recipe with the best validation figure."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tagbox.cli.console import TerminalProgress, print_json, say
from tagbox.cli.settings import SECTIONS, fill, fill_from_file, recipe_name, task_of
from tagbox.cli.study_tables import show_study
from tagbox.config import (
    ClassifierConfig,
    DataConfig,
    DetectionMetric,
    DetectorConfig,
    Metric,
    load_recipe,
)
from tagbox.studies.dotted import flat_settings

if TYPE_CHECKING:
    from cyclopts.argument import ArgumentCollection

    from tagbox.api import Study


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
