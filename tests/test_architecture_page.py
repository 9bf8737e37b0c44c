"""`docs/architecture.md` stays true: what it names exists, and the commands call its functions in its order."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import tagbox
from tagbox.cli.app import main
from tagbox.config import SynthConfig
from tagbox.data.synthetic.generate import generate

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"
SOURCE = Path(tagbox.__file__).parent
NAME = re.compile(r"`([A-Za-z_]\w*(?:\.(?!(?:py|yaml|json|csv)`)\w+)+)`")
"""A dotted name in backticks that is not a file."""

SCENES = "scenes/annotations/instances_{}.json"
TRAIN = (
    *("train", "{kind}", SCENES.format("train"), "--val", SCENES.format("val"), "--name", "{kind}"),
    *("--device", "cpu", "--engine", "torch"),
)
COMMANDS = {
    "train classifier": (
        *(*TRAIN, "--recipe", "finetune", "--backbone", "efficientnet_lite0@32", "--epochs", "1"),
        *("--finetune.epochs", "1", "--finetune.unfreeze", "1", "--finetune.workers", "0"),
    ),
    "train detector": (*TRAIN, "--size", "64", "--epochs", "1", "--workers", "0"),
    "predict classifier": (
        *("predict", "runs/{kind}", "scenes/val", "--device", "cpu", "--engine", "torch"),
        *("--out", "{kind}.csv"),
    ),
    "predict detector": (
        *("predict", "runs/{kind}", "scenes/val", "--device", "cpu", "--engine", "torch"),
        *("--format", "coco", "--truth", SCENES.format("val"), "--out", "{kind}.json"),
    ),
    "evaluate classifier": ("evaluate", "{kind}.csv", SCENES.format("val")),
    "evaluate detector": ("evaluate", "{kind}.json", SCENES.format("val")),
}
"""In the order in which they are run: each needs files of those before it."""


def section(title: str) -> str:
    """The text below a heading, up to the next one of the same or a higher level."""
    page = PAGE.read_text(encoding="utf-8")
    level, _, _ = title.partition(" ")
    start = page.index(f"\n{title}\n") + 1
    end = re.search(rf"^#{{1,{len(level)}}} ", page[start + len(title) :], re.MULTILINE)
    return page[start:] if end is None else page[start : start + len(title) + end.start()]


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows, without its header."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def walk(command: str, kind: str) -> list[str]:
    """The functions of a command's table for one kind of model."""
    names = []
    for classifier, detector, _ in rows(section(f"### `tagbox {command}`")):
        cell = classifier if kind == "classifier" or detector == "same" else detector
        if cell != "–":
            names.append(cell.strip("`"))
    return names


def resolve(name: str) -> Any:
    """What a dotted name below `tagbox` stands for."""
    parts = name.split(".")
    files = (SOURCE.joinpath(*parts[:count]) for count in range(len(parts), 0, -1))
    found = next(p for p in files if p.is_dir() or p.with_suffix(".py").is_file())
    module = importlib.import_module(".".join(("tagbox", *found.relative_to(SOURCE).parts)))
    inside = parts[len(found.relative_to(SOURCE).parts) :]
    return functools.reduce(inspect.getattr_static, inside, module)


def exists(name: str) -> bool:
    try:
        resolve(name)
    except AttributeError:
        return False
    return True


def code_of(name: str) -> CodeType:
    """The code that runs when a function, method or property is called."""
    found = resolve(name)
    found = getattr(found, "__func__", getattr(found, "fget", getattr(found, "func", found)))
    return inspect.unwrap(found).__code__


class Calls:
    """Records in which order functions are called, on any thread, while it is entered."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = {code_of(name): name for name in names}
        self.called: list[str] = []

    def __enter__(self) -> Calls:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code in self.names:
            self.called.append(self.names[frame.f_code])


def first_not_called(walked: Sequence[str], called: Sequence[str]) -> str | None:
    """The first of `walked` that is not called after those before it; None where all are."""
    remaining = iter(called)
    return next((name for name in walked if name not in remaining), None)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By command and kind of model, the listed functions in the order in which they were called."""
    folder, found = tmp_path_factory.mktemp("page"), {}
    config = SynthConfig(images=12, val=6, width=64, height=48, seed=5)
    generate(folder / "scenes", config, workers=1, overwrite=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, words in COMMANDS.items():
            command, kind = name.split()
            patch.setattr(sys, "argv", ["tagbox", *(word.format(kind=kind) for word in words)])
            with Calls(walk(command, kind)) as recorded, pytest.raises(SystemExit) as stopped:
                main()
            assert not stopped.value.code, name
            found[name] = recorded.called
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_calls_the_functions_of_its_table_in_order(
    name: str, calls: dict[str, list[str]]
) -> None:
    command, kind = name.split()
    assert len(walk(command, kind)) >= 8
    assert first_not_called(walk(command, kind), calls[name]) is None, calls[name]


def test_the_order_matters() -> None:
    assert first_not_called(["a", "b"], ["x", "a", "a", "b"]) is None
    assert first_not_called(["a", "b"], ["b", "a"]) == "b"
    assert first_not_called(["a", "b"], ["b"]) == "a"


def test_what_the_page_names_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    roots = {path.stem for path in SOURCE.iterdir()}
    names = {name for name in NAME.findall(text) if name.split(".")[0] in roots}
    assert len(names) > 60
    assert not [name for name in sorted(names) if not exists(name)]


def test_where_to_change_what() -> None:
    """The files are there, and hold the functions beside them."""
    table = rows(section("## Where to change what"))
    assert len(table) > 25
    for change, places, names in table:
        paths = [SOURCE / path for path in re.findall(r"`([\w/]+(?:/|\.py))`", places)]
        assert paths, change
        for path in paths:
            assert path.exists(), f"{change}: {path}"
        modules = [
            resolve(".".join(path.relative_to(SOURCE).with_suffix("").parts))
            for path in paths
            if path.suffix == ".py"
        ]
        for name in re.findall(r"`([A-Za-z_]\w*(?:\.[A-Za-z]\w*)*)`", names):
            parts = name.split(".")
            holders = [module for module in modules if hasattr(module, parts[0])]
            known = any(_has(holder, parts) for holder in holders)
            assert known, f"{change}: {name}"


def _has(module: Any, parts: Sequence[str]) -> bool:
    value = getattr(module, parts[0])
    if len(parts) == 1:
        return True
    fields = getattr(value, "__dataclass_fields__", {})
    return hasattr(value, parts[1]) or parts[1] in fields


def test_the_folders_are_all_there() -> None:
    cells = [cell for cell, _ in rows(section("## Folders"))]
    named = [name.rstrip("/") for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    found = {path.name for path in SOURCE.iterdir() if not path.name.startswith("_")}
    assert set(named) == found - {"py.typed"}
