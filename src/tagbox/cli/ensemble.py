"""`tagbox ensemble`: test-time views of a run, and runs that decide together."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tagbox.cli.console import TerminalProgress, print_json, say
from tagbox.cli.named_runs import find_run, require_named
from tagbox.cli.tables import print_table
from tagbox.config import DataConfig, EnsembleConfig

if TYPE_CHECKING:
    from tagbox.api.run import Run


def ensemble(
    run: Path,
    /,
    *more: Path,
    val: Path,
    name: str | None = None,
    config: Annotated[
        EnsembleConfig, Parameter(name="*", consume_multiple=True)
    ] = EnsembleConfig(),
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    runs: Path = Path("runs"),
    overwrite: bool = False,
    cache: bool = True,
    json: bool = False,
) -> None:
    """Combine runs, or average the predictions of test-time views of the images.

    A run's probabilities are the mean over its views, the ensemble's the weighted mean over its runs. Weights
    and thresholds are tuned on the validation images. Writes the folder RUNS/NAME, which holds copies of
    all models and is used like any run: `tagbox predict`, `tagbox evaluate`.

    Parameters
    ----------
    run
        Name or folder of a finished run.
    more
        Further runs with the same categories.
    val
        Validation dataset, preferably that of the runs.
    name
        Name of the ensemble's run; ensemble, numbered from the second on, when not given.
    runs
        Folder of the runs.
    overwrite
        Replace a finished run of that name once the new one is complete.
    cache
        Keep the features of the images for later runs.
    json
        Print the ensemble's metrics as JSON.
    """
    from tagbox.api.ensembles import ensemble as make
    from tagbox.evaluation.evaluate_labels import headline
    from tagbox.training.run_dir import unused_name

    members = [find_run(member, runs) for member in (run, *more)]
    require_named(name, overwrite=overwrite)
    if name is None:
        name = unused_name(runs, "ensemble")
        say(f"no name is given: the run is called {name}")
    made = make(
        members,
        val,
        config,
        name=name,
        runs=runs,
        source=source,
        overwrite=overwrite,
        cache=cache,
        command=shlex.join(["tagbox", *sys.argv[1:]]),
        progress=TerminalProgress(),
    )
    if json:
        print_json(made.metrics)
    else:
        _show(made)
    scores = headline(made.metrics["validation"])
    shown = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
    transfer = made.metrics.get("transfer")
    say(f"validation: {shown}" + (f"; {transfer}" if transfer else ""))
    say(f"run: {made.folder}\nreport: {made.report}")


def _show(made: Run) -> None:
    """Print the metrics of each run and of the ensemble."""
    metrics = made.metrics
    rows: list[tuple[object, ...]] = [
        (row["run"], row["weight"], _cell(row["map"]), row["challenge_f1"])
        for row in metrics["members"]
    ]
    total = metrics["validation"]
    rows.append((str(made.folder), 1.0, _cell(total["map"]), total["challenge_f1"]))
    print_table(
        f"{metrics['images']['validation']:,} validation images",
        ("run", "weight", "mAP", "challenge F1"),
        rows,
    )
    for row in metrics["members"]:
        if len(row["views"]) > 1 or row["views"][0]["size"] is not None:
            values = ", ".join(f"{_view(view)} {_number(view['map'])}" for view in row["views"])
            say(f"mAP of {row['run']} in each view: {values}")
    say(f"weights: {metrics['weights']['kept']} ({metrics['weights']['reason']})")


def _view(view: dict[str, object]) -> str:
    size = "own size" if view["size"] is None else str(view["size"])
    return f"{size} mirrored" if view["mirror"] else size


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _cell(value: float | None) -> object:
    return "-" if value is None else value
