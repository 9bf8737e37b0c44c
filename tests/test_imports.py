"""What is loaded when: the light core without torch, `--help` without anything heavy."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tagbox
from tagbox import config
from tagbox.cli.app import COMMANDS, command_line
from tagbox.config import SynthConfig
from tagbox.data.dataset import PRESENT
from tagbox.data.export import Format, export
from tagbox.data.load import load_dataset
from tagbox.data.synthetic.generate import generate

REPOSITORY = Path(__file__).resolve().parent.parent

TRAIN_ONLY = {
    "torch",
    "torchvision",
    "timm",
    "openvino",
    "accelerate",
    "safetensors",
    "tensorboard",
}
SLOW_TO_IMPORT = TRAIN_ONLY | {"matplotlib", "PIL", "scipy", "sklearn", "jinja2", "numpy"}

LIGHT_CORE = (
    *("config", "errors", "progress", "atomic_io", "images", "data", "checks"),
    *("predictions", "metrics", "evaluation", "reports"),
)

OF_CLASSIFIERS = re.compile(
    "classif|ensemble|evidence|evaluate_labels|tuning|threshold_search|frozen|finetune|teacher|mixup"
)
OF_DETECTORS = re.compile(
    "detect|box|pyramid|dense|views|video|coco_metrics|coco_ground_truth|diagnose_ap"
)
SHARED = re.compile(r"config\b|data\.box_faults$|images\.box_drawing$")
"""Settings of both kinds lie side by side; the statistics of a dataset count its invalid boxes; a grid of images has boxes."""
READERS = {"coco", "challenge", "class_folders", "csv", "labelme", "yolo"}

# Evaluating takes a labels file and a predictions file, both in the challenge's form.
TRUTH = {"000000000139": [0, 2], "000000000285": [1], "000000000632": [0, 1, 2]}
SUBMISSION = {"000000000139": [0], "000000000285": [1, 2], "000000000632": [0, 2]}


def loaded_after(statements: str, cwd: Path | None = None, exit_code: int = 0) -> set[str]:
    """The names in `sys.modules` once a new interpreter has run `statements`, which may exit with `exit_code`."""
    script = (
        "import json, os, sys\n"
        "answer = os.dup(1)\n"
        "os.dup2(2, 1)\n"
        "try:\n"
        + "".join(f"    {line}\n" for line in statements.splitlines())
        + "except SystemExit as stop:\n"
        f"    assert stop.code == {exit_code}, stop.code\n"
        "os.write(answer, json.dumps(sorted(sys.modules)).encode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def loaded_by(*words: str, cwd: Path | None = None, exit_code: int = 0) -> set[str]:
    """The names in `sys.modules` once the command line with these words has ended."""
    statements = f"sys.argv = {['tagbox', *words]!r}\nfrom tagbox.cli.app import main\nmain()"
    return loaded_after(statements, cwd, exit_code)


def of_kind(kind: re.Pattern[str], loaded: set[str]) -> list[str]:
    """The modules that only one kind of model needs."""
    names = (name.removeprefix("tagbox.") for name in loaded if name.startswith("tagbox."))
    return sorted(name for name in names if kind.search(name) and not SHARED.match(name))


def readers(loaded: set[str]) -> set[str]:
    """The readers of dataset formats."""
    return {name for name in READERS if f"tagbox.data.formats.{name}" in loaded}


def commands() -> list[tuple[str, ...]]:
    """Every command and subcommand of the command line: `("check",)`, `("train", "classifier")`, ..."""
    found: list[tuple[str, ...]] = []

    def walk(group: object, above: tuple[str, ...]) -> None:
        for name in group:  # type: ignore[attr-defined]
            if not name.startswith("-"):
                found.append((*above, name))
                walk(group[name], (*above, name))  # type: ignore[index]

    walk(command_line(), ())
    return found


def test_import_tagbox_loads_nothing_heavy() -> None:
    assert not loaded_after("import tagbox") & SLOW_TO_IMPORT


@pytest.mark.parametrize("name", tagbox.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(tagbox, name) is not None
    assert name in dir(tagbox)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = tagbox.no_such_name


def test_light_core_imports_no_torch() -> None:
    root = Path(tagbox.__file__).parent
    modules = [
        ".".join(("tagbox", *file.relative_to(root).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        for part in LIGHT_CORE
        for file in [root / f"{part}.py", *(root / part).rglob("*.py")]
        if file.is_file()
    ]
    assert {"tagbox.data.dataset", "tagbox.predictions.predictions"} < set(modules)
    imports = "\n".join(f"import {module}" for module in sorted(modules))
    assert not loaded_after(imports) & TRAIN_ONLY


def test_scoring_leaves_torch_out(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    (tmp_path / "submission.json").write_text(json.dumps(SUBMISSION))
    loaded = loaded_by("evaluate", "submission.json", "truth.json", "--json", cwd=tmp_path)
    assert "numpy" in loaded
    assert not loaded & TRAIN_ONLY
    assert readers(loaded) == {"challenge"}
    assert not of_kind(OF_DETECTORS, loaded)


def test_scoring_detections_loads_nothing_of_labels(tmp_path: Path) -> None:
    box = {"image_id": 1, "category_id": 3, "bbox": [2, 2, 9, 9]}
    truth = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 20, "height": 20}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"id": 1, **box}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "found.json").write_text(json.dumps([{**box, "score": 0.9}]))
    loaded = loaded_by("evaluate", "found.json", "truth.json", "--json", cwd=tmp_path)
    assert "tagbox.evaluation.evaluate_detections" in loaded
    assert not loaded & TRAIN_ONLY
    assert readers(loaded) == {"coco"}
    assert not of_kind(OF_CLASSIFIERS, loaded)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with generated scenes in ``scenes/``."""
    folder = tmp_path_factory.mktemp("imports")
    size = SynthConfig(images=8, val=4, width=64, height=48, seed=3)
    generate(folder / "scenes", size, workers=1, overwrite=False)
    return folder


@pytest.mark.parametrize(
    ("format", "reader"),
    [
        ("coco", "coco"),
        ("cls", "challenge"),
        ("labels", "challenge"),
        ("csv", "csv"),
        ("yolo", "yolo"),
        ("labelme", "labelme"),
        ("folders", "class_folders"),
    ],
)
def test_a_dataset_loads_the_reader_of_its_format_only(
    format: Format, reader: str, scenes: Path, tmp_path: Path
) -> None:
    dataset = load_dataset(scenes / "scenes" / "annotations" / "instances_val.json")
    if format == "folders":
        one_label = np.flatnonzero((dataset.labels == PRESENT).sum(axis=1) == 1)
        dataset = dataset.take(one_label)
    assert len(dataset)
    written = export(dataset, tmp_path, "val", format, "copy")
    statements = (
        f"from tagbox.data.load import load_dataset\nassert len(load_dataset({str(written)!r}))"
    )
    assert readers(loaded_after(statements)) == {reader}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "flags", "other"),
    [
        ("classifier", ("--backbone", "efficientnet_lite0@64"), OF_DETECTORS),
        ("detector", ("--size", "64"), OF_CLASSIFIERS),
    ],
    ids=["classifier", "detector"],
)
def test_a_command_loads_nothing_of_the_other_kind_of_model(
    kind: str, flags: tuple[str, ...], other: re.Pattern[str], scenes: Path
) -> None:
    train, val = (f"scenes/annotations/instances_{part}.json" for part in ("train", "val"))
    picture = str(next((scenes / "scenes").rglob("*.jpg")))
    for words, read in (
        (("train", kind, train, "--val", val, "--epochs", "1", "--name", kind, *flags), {"coco"}),
        (("predict", f"runs/{kind}", picture), set()),
        (("evaluate", f"runs/{kind}", val), {"coco"}),
    ):
        loaded = loaded_by(*words, cwd=scenes)
        assert any(kind in name for name in loaded), words
        assert not of_kind(other, loaded), words
        assert readers(loaded) == read, words


@pytest.mark.parametrize(
    "settings",
    [value for value in vars(config).values() if dataclasses.is_dataclass(value)],
    ids=lambda settings: settings.__name__,
)
def test_the_types_of_settings_are_known_in_their_module(settings: type) -> None:
    # The command line resolves the names there, those of inherited fields too.
    hints = typing.get_type_hints(settings.__init__)  # type: ignore[misc]
    assert {field.name for field in dataclasses.fields(settings)} <= set(hints)


def test_every_command_is_in_the_table() -> None:
    # A module of tagbox.cli that holds something of its own name holds a command.
    names = [file.stem for file in (Path(tagbox.__file__).parent / "cli").glob("[a-z]*.py")]
    written = {n for n in names if hasattr(importlib.import_module(f"tagbox.cli.{n}"), n)}
    # The console that commands write to is not a command.
    assert written - {"console"} == set(COMMANDS)


def test_the_table_has_the_first_line_of_each_help() -> None:
    app = command_line()
    assert {name: app[name].help.partition("\n")[0] for name in COMMANDS} == COMMANDS


@pytest.mark.parametrize("words", [(), *commands()], ids=" ".join)
def test_help_loads_one_command_and_nothing_heavy(words: tuple[str, ...]) -> None:
    loaded = loaded_by(*words, "--help")
    assert not loaded & SLOW_TO_IMPORT
    assert {name for name in COMMANDS if f"tagbox.cli.{name}" in loaded} == set(words[:1])


@pytest.mark.parametrize(
    "words", [("trian",), ("--hlep",), ("train", "clasifier"), ("show",), ("check", "x", "--hlep")]
)
def test_misuse_loads_one_command_and_nothing_heavy(words: tuple[str, ...]) -> None:
    loaded = loaded_by(*words, exit_code=2)
    assert not loaded & SLOW_TO_IMPORT
    named = set(words[:1]) & set(COMMANDS)
    assert {name for name in COMMANDS if f"tagbox.cli.{name}" in loaded} == named


@pytest.mark.parametrize(
    ("words", "near"), [(["trian"], "train"), (["train", "detectr"], "detector")]
)
def test_a_misspelt_command_is_told_the_nearest(
    cli: Callable[..., subprocess.CompletedProcess[str]], words: list[str], near: str
) -> None:
    done = cli(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f'Unknown command "{words[-1]}"; did you mean "{near}"' in done.stderr


@pytest.fixture(scope="module")
def core_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment made with a plain `pip install tagbox`."""
    folder = tmp_path_factory.mktemp("core") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([binaries / "python", "-m", "pip", "install", "-qq", REPOSITORY], check=True)
    return binaries


@pytest.mark.slow
def test_core_installs_and_scores_without_torch(core_only: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [core_only / "tagbox", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )

    missing = subprocess.run([core_only / "python", "-c", "import torch"], capture_output=True)
    assert missing.returncode != 0

    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    (tmp_path / "submission.json").write_text(json.dumps(SUBMISSION))
    scored = run("evaluate", "submission.json", "truth.json", "--json")
    assert scored.returncode == 0, scored.stderr
    # By hand: supports 2, 2, 2 over three categories; hits 2, 1, 1; said 2, 1, 2.
    assert json.loads(scored.stdout)["challenge_precision"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert json.loads(scored.stdout)["challenge_recall"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)

    assert run("synth", "scenes", "--images", 12, "--width", 96, "--height", 96).returncode == 0
    data = next((tmp_path / "scenes").rglob("*.json"))
    checked = run("check", data, "--json")
    assert checked.returncode == 0, checked.stderr
    json.loads(checked.stdout)

    shown = run("show", data)
    assert shown.returncode == 0, shown.stderr
    for arguments in (
        ("train", "classifier", data, "--name", "one"),
        ("show", data, "--augmented"),
    ):
        ended = run(*arguments)
        assert ended.returncode == 1
        assert ended.stdout == ""
        sentence = ended.stderr.strip().splitlines()[-1]
        assert re.search(r"""pip install ["']tagbox\[train\]""", sentence)
        assert "[extra-missing]" in sentence
        assert "Traceback" not in ended.stderr
    assert not (tmp_path / "runs" / "one").exists()


@pytest.mark.slow
def test_help_is_the_same_without_the_train_extra(
    core_only: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    here = cli("--help")
    there = subprocess.run([core_only / "tagbox", "--help"], capture_output=True, text=True)
    assert (there.returncode, there.stdout) == (here.returncode, here.stdout)
