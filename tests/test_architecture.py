"""The package's shape: no imports in circles, no module too long, no two modules alike.

`benchmarks/code_shape.py` measures it; imports inside functions and under ``TYPE_CHECKING`` count as well.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCE = REPOSITORY / "src"
sys.path.append(str(REPOSITORY / "benchmarks"))

import code_shape  # noqa: E402

LONGEST = 420


def circles(source: Path) -> list[list[str]]:
    modules = list(code_shape.modules_of(source))
    names = {module.name for module in modules}
    imports = {module.name: code_shape.imports_of(module, names) for module in modules}
    return code_shape.circles_of(
        {name: each.top | each.inside | each.typing for name, each in imports.items()}
    )


def test_no_imports_in_circles() -> None:
    assert not circles(SOURCE)


@pytest.mark.parametrize(
    "written",
    [
        "import tagbox.first",
        "def function():\n    from tagbox import first",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tagbox.first import name",
    ],
)
def test_a_circle_is_found(tmp_path: Path, written: str) -> None:
    package = tmp_path / "tagbox"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "first.py").write_text("from tagbox import second\n")
    (package / "second.py").write_text(written + "\n")
    assert circles(tmp_path) == [["tagbox.first", "tagbox.second"]]


def test_no_module_is_too_long() -> None:
    lines = {module.name: module.lines for module in code_shape.modules_of(SOURCE)}
    assert not {name: count for name, count in lines.items() if count > LONGEST}


def test_no_two_modules_are_alike() -> None:
    modules = [m for m in code_shape.modules_of(SOURCE) if m.lines >= code_shape.SHORT]
    assert not code_shape.alike_pairs(modules)
