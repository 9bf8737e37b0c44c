"""`tagbox train`: from a dataset to a run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tagbox.cli.config_file import fill_from_file
from tagbox.cli.console import TerminalProgress, print_json, say
from tagbox.config import ClassifierConfig, DataConfig, DetectorConfig

if TYPE_CHECKING:
    from tagbox.api import Run

train = App(
    help_format="markdown", name="train", help="Train a model on a dataset.", config=fill_from_file
)


@train.command
def classifier(
    data: Path,
    /,
    *,
    name: str,
    config: Annotated[ClassifierConfig, Parameter(name="*")] = ClassifierConfig(),
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    recipe: str | None = None,
    settings: Annotated[Path | None, Parameter(name="--config")] = None,
    runs: Path = Path("runs"),
    overwrite: bool = False,
    resume: bool = False,
    cache: bool = True,
    json: bool = False,
) -> None:
    """Train a multi-label classifier: which categories appear in a picture.

    Every picture is encoded once by a frozen backbone and a head is trained on the features; a recipe that
    fine-tunes then trains the backbone with it. Thresholds are tuned on the validation pictures. Writes the
    folder RUNS/NAME with the model, its metrics and report.html. See `tagbox recipes`.

    Parameters
    ----------
    data
        COCO JSON, challenge folder, CSV, YOLO or labelme folder, or a folder a class.
    name
        Name of the run.
    recipe
        frozen (default on a CPU), finetune (default on a GPU), asl-mldecoder, challenge, or a YAML file.
    settings
        YAML file of settings, such as a run's config.yaml; flags come before it, and it before the recipe.
    runs
        Folder of the runs.
    overwrite
        Replace a finished run of that name once the new one is whole.
    resume
        Go on with an unfinished run of that name, from its newest checkpoint and with its settings.
    cache
        Keep encoded pictures for later runs.
    json
        Print the run's metrics as JSON.
    """
    from tagbox.api import train_classifier
    from tagbox.evaluation.evaluate_labels import headline

    run = train_classifier(
        data,
        config,
        name=name,
        runs=runs,
        source=source,
        overwrite=overwrite,
        resume=resume,
        cache=cache,
        command=shlex.join(["tagbox", *sys.argv[1:]]),
        progress=TerminalProgress(),
    )
    _tell(run, headline(run.metrics["validation"]), json)


@train.command
def detector(
    data: Path,
    /,
    *,
    name: str,
    config: Annotated[DetectorConfig, Parameter(name="*")] = DetectorConfig(),
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    recipe: str | None = None,
    settings: Annotated[Path | None, Parameter(name="--config")] = None,
    runs: Path = Path("runs"),
    overwrite: bool = False,
    resume: bool = False,
    json: bool = False,
) -> None:
    """Train a detector: where the objects of each category are.

    Pictures without objects are kept as negatives, crowd regions are ignored, categories keep their ids. The
    score cuts are chosen on the validation pictures. Writes the folder RUNS/NAME with the model, its metrics
    and report.html. See `tagbox recipes`.

    Parameters
    ----------
    data
        A dataset with boxes: COCO JSON, YOLO or labelme folder.
    name
        Name of the run.
    recipe
        dense (the default), fasterrcnn, or a YAML file.
    settings
        YAML file of settings, such as a run's config.yaml; flags come before it, and it before the recipe.
    runs
        Folder of the runs.
    overwrite
        Replace a finished run of that name once the new one is whole.
    resume
        Go on with an unfinished run of that name, from its newest checkpoint and with its settings.
    json
        Print the run's metrics as JSON.
    """
    from tagbox.api import train_detector
    from tagbox.evaluation.evaluate_detections import box_headline

    run = train_detector(
        data,
        config,
        name=name,
        runs=runs,
        source=source,
        overwrite=overwrite,
        resume=resume,
        command=shlex.join(["tagbox", *sys.argv[1:]]),
        progress=TerminalProgress(),
    )
    _tell(run, box_headline(run.metrics["validation"]), json)


def _tell(run: Run, figures: Mapping[str, float], json: bool) -> None:
    """What a training came to, and where it lies."""
    if json:
        print_json(run.metrics)
    say("validation: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    say(f"run: {run.folder}\nreport: {run.report}")
