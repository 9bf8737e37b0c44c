"""Write the frozen files anew: ``python tests/contracts/freeze.py`` (``freeze.py surface``: the names only).

To be used when a new name, flag, code or key is to be kept from now on, or when the project has decided
to break a contract and says so in CHANGELOG.md; never to make a failing test pass. The saved runs and the
study are what an older version wrote: they are only written anew when a format's version changes.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import contract_runs as runs
import contract_surface as surface


def freeze_surface() -> None:
    write("api.json", surface.api())
    write("commands.json", surface.commands())
    write("error_codes.json", surface.error_codes())
    write("finding_codes.json", surface.finding_codes())


def write(name: str, value: Any) -> None:
    """The file as JSON; left as it is where it has the same content in another order."""
    surface.FROZEN.mkdir(exist_ok=True)
    path = surface.FROZEN / name
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    if not path.exists() or json.loads(path.read_text()) != json.loads(text):
        path.write_text(text)


def freeze_runs(folder: Path) -> None:
    """Train everything once, and keep what its files and the commands' JSON have as keys."""
    first, expected = folder / "runs/first", {}
    keys = {"synth": runs.keys_of_text(runs.generate(folder))}
    for name, words in {"train": runs.CLASSIFIER, "train finetune": runs.FINETUNE}.items():
        keys[name] = runs.keys_of_text(runs.tagbox(folder, *words))
    keys["train detector"] = runs.keys_of_text(runs.tagbox(folder, *runs.DETECTOR))
    keys["ensemble"] = runs.keys_of_text(runs.tagbox(folder, *runs.ENSEMBLE))
    keys["tune"] = runs.keys_of_text(runs.tagbox(folder, *runs.TUNE, "--trials", str(runs.TRIALS)))
    keys |= runs.said(folder, runs.QUICK) | runs.said(folder, runs.BOXED)
    write("json_keys.json", keys)
    write("files.json", runs.all_files(folder))
    write("tags.json", {name: runs.tags(folder / "runs" / name) for name in runs.TRAINED})
    runs.take_apart(
        first / "model.safetensors",
        surface.FROZEN / "head.safetensors",
        surface.FROZEN / "backbone.json",
    )
    for name in ("first", "views"):
        keep(folder / "runs" / name, surface.FROZEN / name)
        said = runs.tagbox(folder, "predict", f"runs/{name}", "scenes/test", "--json")
        expected[name] = {"predict": json.loads(said)["images"]}
        said = runs.tagbox(folder, "evaluate", f"runs/{name}", runs.VAL, *runs.KEPT, "--json")
        expected[name]["evaluate"] = runs.figures(json.loads(said))
    write("expected.json", expected)
    for name in ("fine", "boxes"):
        shutil.copy(folder / "runs" / name / "history.csv", surface.FROZEN / f"{name}.csv")
    study = surface.FROZEN / "study"
    if (
        not study.exists()
    ):  # It holds seconds, which differ each time: remove it to have it written anew.
        keep(folder / "studies/study", study)


def keep(run: Path, target: Path) -> None:
    """The small files of a run or a study."""
    shutil.rmtree(target, ignore_errors=True)
    weights = shutil.ignore_patterns("*.safetensors", "report.html", "tensorboard")
    shutil.copytree(run, target, ignore=weights)


if __name__ == "__main__":
    freeze_surface()
    if sys.argv[1:] != ["surface"]:
        with tempfile.TemporaryDirectory() as temporary:
            os.environ["TAGBOX_CACHE"] = f"{temporary}/cache"
            freeze_runs(Path(temporary))
