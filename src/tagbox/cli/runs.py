"""`tagbox runs`: the finished and unfinished runs of a folder with their headline metric."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tagbox.cli.console import print_json, say
from tagbox.cli.named_runs import run_names
from tagbox.cli.tables import print_table
from tagbox.errors import TagboxError


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
    if not folder.is_dir():
        raise TagboxError(
            "file-missing",
            "no such folder",
            file=folder,
            hint="tagbox train writes runs to the folder runs, or to --runs FOLDER",
        )
    found = [_described(folder / name) for name in run_names(folder)]
    found.sort(key=lambda run: run["date"])
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
    return f"{names.get(run['metric'], run['metric'])} {run['value']:.3f}"


def _described(folder: Path) -> dict[str, Any]:
    """What is known of a run; of a damaged one only its name and date."""
    from tagbox.models.bundle import is_detector, is_ensemble
    from tagbox.training.saved_run import read_metrics

    kind = "ensemble" if is_ensemble(folder) else "classifier"
    kind = "detector" if is_detector(folder) else kind
    try:
        metrics = read_metrics(folder)
    except TagboxError:
        metrics = {}
    validation = metrics.get("validation") or {}
    if kind == "detector":
        from tagbox.evaluation.evaluate_detections import box_headline as headline
    else:
        from tagbox.evaluation.evaluate_labels import headline
    shown = headline(validation)
    first = next(iter(shown.items()), (None, None))
    written = os.stat(folder / ("ensemble.json" if kind == "ensemble" else "model.json")).st_mtime
    return {
        "name": folder.name,
        "folder": str(folder),
        "kind": kind,
        "metric": first[0],
        "value": first[1],
        "metrics": shown,
        "images": metrics.get("images", {}),
        "epochs": metrics.get("epochs"),
        "best_epoch": metrics.get("best_epoch"),
        "date": datetime.fromtimestamp(written, UTC).astimezone().isoformat(timespec="seconds"),
        "data": metrics.get("data") or _typed_data(folder),
    }


def _typed_data(folder: Path) -> str | None:
    """The dataset in the command line of a run whose metrics do not name it."""
    from tagbox.config.base import read_yaml

    try:
        words = shlex.split(str(read_yaml(folder / "config.yaml").get("command", "")))
    except (TagboxError, ValueError):
        return None
    after = words[3:4] if words[1:2] == ["train"] else []
    return after[0] if after and not after[0].startswith("-") else None
