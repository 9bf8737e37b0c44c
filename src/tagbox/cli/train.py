"""`tagbox train`: from a dataset to a run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tagbox.cli.config_file import SettingsOptions, fill_from_file
from tagbox.cli.console import TerminalProgress, print_json, say
from tagbox.cli.named_runs import named_teacher, require_named
from tagbox.cli.option_groups import grouped_app
from tagbox.config import ClassifierConfig, DataConfig, DetectorConfig
from tagbox.config.recipes import CHALLENGE

if TYPE_CHECKING:
    from tagbox.api.run import Run

train = App(
    help_format="markdown",
    name="train",
    help="Train a classifier or a detector on a dataset.",
    config=fill_from_file,
)


@dataclass(frozen=True, kw_only=True)
class RunOptions(SettingsOptions):
    """Run directory, and whether to resume."""

    name: str | None = None
    """Name of the run; classifier or detector, numbered from the second on, when not given."""

    runs: Path = Path("runs")
    """Folder of the runs."""

    overwrite: bool = False
    """Replace a finished run of that name once the new one is complete."""

    resume: bool = False
    """Resume the unfinished run of that name, or the only one, from its newest checkpoint and with its settings."""


def classifier(
    data: Path,
    /,
    *,
    run: Annotated[RunOptions, Parameter(name="*")] = RunOptions(),
    config: Annotated[ClassifierConfig, Parameter(name="*")] = ClassifierConfig(),
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    cache: bool = True,
    keep_checkpoints: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Train a multi-label classifier: which categories are present in an image.

    A frozen backbone encodes each image once and a head is trained on the features; a recipe that fine-tunes
    then trains the backbone together with the head. Thresholds are tuned on the validation images. Writes the
    folder RUNS/NAME with the model, its metrics and report.html. See `tagbox recipes`.

    Parameters
    ----------
    data
        Dataset: COCO JSON, challenge folder, CSV, YOLO, labelme or Pascal VOC folder, or one folder per class.
    cache
        Keep the features of the images for later runs.
    keep_checkpoints
        Keep the newest checkpoints of the finished run, where the backbone is trained; the same as
        `--finetune.keep-checkpoints`.
    """
    from tagbox.api.train import train_classifier
    from tagbox.evaluation.evaluate_labels import headline

    config = named_teacher(config, run.runs)
    if run.recipe == CHALLENGE:
        from tagbox.training.transfer import refuse_transfer

        refuse_transfer(config)
    if keep_checkpoints and not config.finetune.keep_checkpoints:
        config = replace(config, finetune=replace(config.finetune, keep_checkpoints=True))
    trained = train_classifier(
        data, config, **_arguments(run), source=source, cache=cache, progress=TerminalProgress()
    )
    _show(trained, headline(trained.metrics["validation"]), run.json)


def detector(
    data: Path,
    /,
    *,
    run: Annotated[RunOptions, Parameter(name="*")] = RunOptions(),
    config: Annotated[DetectorConfig, Parameter(name="*")] = DetectorConfig(),
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
) -> None:
    """Train a detector: where the objects of each category are.

    Images without objects are kept as negatives, crowd regions are ignored, categories keep their ids.
    Score thresholds are tuned on the validation images. Writes the folder RUNS/NAME with the model, its
    metrics and report.html. See `tagbox recipes`.

    Parameters
    ----------
    data
        Dataset with boxes: COCO JSON, YOLO, labelme or Pascal VOC folder.
    """
    from tagbox.api.train import train_detector
    from tagbox.evaluation.evaluate_detections import box_headline

    trained = train_detector(
        data, config, **_arguments(run), source=source, progress=TerminalProgress()
    )
    _show(trained, box_headline(trained.metrics["validation"]), run.json)


def _arguments(run: RunOptions) -> dict[str, Any]:
    """Arguments that `train_classifier` and `train_detector` have in common."""
    require_named(run.name, overwrite=run.overwrite)
    return {
        "name": run.name,
        "runs": run.runs,
        "overwrite": run.overwrite,
        "resume": run.resume,
        "command": shlex.join(["tagbox", *sys.argv[1:]]),
    }


def _show(run: Run, metrics: Mapping[str, float], json: bool) -> None:
    """Print the validation metrics and the paths of the run."""
    if json:
        print_json(run.metrics)
    transfer = run.metrics.get("transfer")
    shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    say(f"validation: {shown}" + (f"; {transfer}" if transfer else ""))
    say(f"run: {run.folder}\nreport: {run.report}")


train.command(grouped_app(classifier, "train classifier"))
train.command(grouped_app(detector, "train detector"))
