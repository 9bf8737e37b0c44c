"""`list_runs`: the finished runs of a folder, which `tagbox runs` prints."""

from __future__ import annotations

import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tagbox.config.arguments import checked_arguments
from tagbox.errors import TagboxError
from tagbox.paths import is_run
from tagbox.tables import Table


@checked_arguments
def list_runs(folder: Path | str = Path("runs")) -> Table:
    """The finished runs of a folder, the newest last: name, kind, headline metric, images, date and data.

    The headline is a metric of the run's own validation images: mAP, accuracy where labels are exclusive, AP of a
    detector. Runs with different validation images cannot be compared by it.

    Raises
    ------
    TagboxError
        ``file-missing`` where there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TagboxError(
            "file-missing",
            "no such folder",
            file=folder,
            hint="tagbox train writes runs to the folder runs, or to --runs FOLDER",
        )
    found = [_described(folder / name) for name in run_names(folder)]
    transfer = ("transfer",) if any(run["transfer"] for run in found) else ()
    shown = ("name", "kind", "metric", "value", *transfer, "epochs", "date", "data")
    return Table(sorted(found, key=lambda run: run["date"]), shown, f"runs in {folder}")


def run_names(runs: Path) -> list[str]:
    """The names of the finished runs in a folder, sorted."""
    try:
        folders = sorted(os.listdir(runs))
    except OSError:
        return []
    return [name for name in folders if not name.startswith(".") and is_run(runs / name)]


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
        "transfer": metrics.get("transfer"),
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
