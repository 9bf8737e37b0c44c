"""`tagbox runs`: the finished and unfinished runs of a folder with their headline metric."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tagbox.api.runs import list_runs
from tagbox.cli.console import print_json, say
from tagbox.cli.tables import print_table


def runs(folder: Path = Path("runs"), /, *, json: bool = False) -> None:
    """List the runs of a folder: kind, headline metric, images, date and data.

    The headline is a metric of the run's own validation images: mAP, accuracy where labels are exclusive, AP of
    a detector. Runs with different validation images cannot be compared by it; `tagbox evaluate` can.

    Parameters
    ----------
    folder
        Folder of the runs.
    json
        Print JSON, with the other metrics too.
    """
    found = list(list_runs(folder))
    unfinished = sorted(
        path.name.removeprefix(".").removesuffix(".partial")
        for path in folder.glob(".*.partial")
        if (path / "checkpoints").is_dir()
    )
    if json:
        print_json({"folder": str(folder), "runs": found, "unfinished": unfinished})
        return
    if found:
        print_table(
            f"{len(found)} run{'s' * (len(found) != 1)} in {folder}, the newest last",
            ("name", "kind", "headline", "images", "date", "data"),
            [
                (
                    run["name"],
                    run["kind"],
                    _headline(run),
                    run["images"].get("train", "-"),
                    f"{datetime.fromisoformat(run['date']):%Y-%m-%d %H:%M}",
                    run["data"] or "-",
                )
                for run in found
            ],
        )
    else:
        say(f"no finished run in {folder}")
    for name in unfinished:
        say(f"unfinished: {name}; the command that began it goes on with --name {name} --resume")


def _headline(run: Mapping[str, Any]) -> str:
    if run["metric"] is None:
        return "-"
    names = {"map": "mAP", "ap": "AP"}
    headline = f"{names.get(run['metric'], run['metric'])} {run['value']:.3f}"
    return f"{headline}, COCO transfer" if run["transfer"] else headline
