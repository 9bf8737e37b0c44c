"""The shape of tagbox's code in figures: modules, lines, imports in circles, modules that are alike.

    python benchmarks/code_shape.py [--repo FOLDER] [--rev REV] [--json]
    python benchmarks/code_shape.py --against REV

Without `--rev` the files are measured as they lie in the repository. `--against REV` measures that revision too and
prints both side by side. What a command executes is counted in a process of its own, on a few generated pictures: the
modules of tagbox in `sys.modules` when it ends. Two modules are alike by the share of their lines that `difflib` finds
in both in the same order, without comments, docstrings and imports, and with words such as classifier and detector
made one. Half a minute a revision.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from timing import say

REPOSITORY = Path(__file__).resolve().parent.parent
LONG, SHORT = 400, 60
ALIKE = 0.35
SAME = re.compile(
    r"(?<!tag)(classifiers?|classification|classify|detectors?|detections?|detect|predictions?|labels?|boxes|box)",
    re.IGNORECASE,
)
"""Words that two modules which do the same for classifiers and for detectors differ in."""

ENDING = """
import atexit, json, os, runpy, sys
def tell():
    names = sorted(n for n in sys.modules if n == "tagbox" or n.startswith("tagbox."))
    with open(os.environ["SHAPE_ANSWER"], "w") as answer:
        json.dump(names, answer)
atexit.register(tell)
runpy.run_module("tagbox", run_name="__main__", alter_sys=True)
"""
"""Runs the command line with the arguments that follow it, and writes down the modules it has executed."""


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    name: str
    """Dotted, without `.__init__`."""
    package: bool
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """Lines of the file."""
        return len(self.text.splitlines())

    @property
    def trivial(self) -> bool:
        """Whether there is nothing in it but a docstring."""
        return all(_is_docstring(statement) for statement in self.tree.body)


@dataclass
class Imports:
    """Modules of the package that one module imports, by where the import is written."""

    top: set[str] = field(default_factory=set)
    inside: set[str] = field(default_factory=set)
    """In functions."""
    typing: set[str] = field(default_factory=set)
    """Under `if TYPE_CHECKING`: never executed."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repo", type=Path, default=REPOSITORY, help="another clone or worktree")
    parser.add_argument("--rev", help="a revision instead of the files as they are")
    parser.add_argument("--against", metavar="REV", help="an earlier revision to put beside it")
    parser.add_argument("--json", action="store_true", help="everything, as one JSON object")
    options = parser.parse_args()
    shapes = {}
    for rev in [options.against, options.rev] if options.against else [options.rev]:
        with checked_out(options.repo, rev) as folder:
            shapes[rev or "now"] = shape(folder / "src")
    if options.json:
        print(json.dumps(shapes if options.against else shapes[options.rev or "now"], indent=2))
    else:
        print(text_of(shapes))


@contextmanager
def checked_out(repository: Path, rev: str | None) -> Iterator[Path]:
    """A folder with the files of `rev`, in a worktree that is removed afterwards; without it the repository's own."""
    if rev is None:
        yield repository.resolve()
        return
    git = ["git", "-C", str(repository), "worktree"]
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), rev], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def shape(source: Path) -> dict[str, Any]:
    """Every figure of the package in `source`: those of one number under ``figures``, and the lists."""
    modules = list(modules_of(source))
    say(f"{len(modules)} files in {source}")
    imports = {
        module.name: imports_of(module, {each.name for each in modules}) for module in modules
    }
    executed = executed_by(source)
    at_run_time = {name: each.top | each.inside for name, each in imports.items()}
    circles = {
        "when imported": circles_of({name: each.top for name, each in imports.items()}),
        "imports in functions too": circles_of(at_run_time),
        "those for types too": circles_of(
            {name: at_run_time[name] | each.typing for name, each in imports.items()}
        ),
    }
    real = [module for module in modules if not module.trivial]
    alike = alike_pairs([module for module in modules if module.lines >= SHORT])
    names = Counter(module.name.rpartition(".")[2] for module in modules if not module.package)
    doubled = {
        name: sorted(m.name for m in modules if m.name.rpartition(".")[2] == name and not m.package)
        for name, count in sorted(names.items())
        if count > 1
    }
    lengths = sorted(((module.lines, module.name) for module in real), reverse=True)
    long = [(name, lines) for lines, name in lengths if lines > LONG]
    short = [(name, lines) for lines, name in lengths if lines < SHORT]
    figures: dict[str, float] = {
        "modules": len(real),
        "files, those with only a docstring too": len(modules),
        "folders": len({module.name for module in modules if module.package}),
        "lines": sum(module.lines for module in modules),
        "lines that are only a comment": sum(comment_lines(module.text) for module in modules),
        "lines of docstrings": sum(docstring_lines(module.tree) for module in modules),
        "median lines of a module": statistics.median(lines for lines, _ in lengths),
        f"modules over {LONG} lines": len(long),
        f"modules under {SHORT} lines": len(short),
        "imports between modules when imported": sum(len(each.top) for each in imports.values()),
        "imports between modules in functions": sum(len(each.inside) for each in imports.values()),
        "imports between modules for types": sum(len(each.typing) for each in imports.values()),
        **{f"circles, {kind}": len(found) for kind, found in circles.items()},
        **{f"modules in circles, {kind}": sum(map(len, found)) for kind, found in circles.items()},
        f"pairs of modules alike by over {ALIKE:.0%}": len(alike),
        "file names used more than once": len(doubled),
        **{f"modules executed by {command}": len(names) for command, names in executed.items()},
    }
    return {
        "figures": figures,
        "circles": circles,
        "alike": alike,
        "doubled": doubled,
        "long": long,
        "short": short,
        "executed": executed,
    }


def modules_of(source: Path) -> Iterator[Module]:
    """Every Python file of the package."""
    for path in sorted((source / "tagbox").rglob("*.py")):
        words = path.relative_to(source).with_suffix("").parts
        package = words[-1] == "__init__"
        text = path.read_text(encoding="utf-8")
        yield Module(
            ".".join(words[:-1] if package else words), package, text, ast.parse(text, str(path))
        )


def comment_lines(text: str) -> int:
    """Lines with a comment and no code."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(
        token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip()
        for token in tokens
    )


def docstring_lines(tree: ast.Module) -> int:
    """Lines of docstrings: those of modules, classes, functions and fields."""
    return sum(len(_lines_of(node)) for node in ast.walk(tree) if _is_docstring(node))


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _lines_of(node: ast.AST) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)  # type: ignore[attr-defined]


def imports_of(module: Module, names: set[str]) -> Imports:
    """What a module imports of the package: what is written in `import`, not the packages above it."""
    found = Imports()

    def walk(node: ast.AST, into: set[str]) -> None:
        if isinstance(node, ast.Import):
            into.update(alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom):
            into.update(_from(module, node, names))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                walk(child, found.typing)
            for child in node.orelse:
                walk(child, into)
        else:
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for inner in ast.iter_child_nodes(node):
                walk(inner, found.inside if function else into)

    walk(module.tree, found.top)
    for kind in (found.top, found.inside, found.typing):
        kind.discard(module.name)
    found.inside -= found.top
    found.typing -= found.top | found.inside
    return found


def _from(module: Module, node: ast.ImportFrom, names: set[str]) -> Iterator[str]:
    origin = node.module or ""
    if node.level:
        above = module.name.split(".")[: None if module.package else -1]
        above = above[: len(above) - node.level + 1]
        origin = ".".join([*above, origin] if origin else above)
    for alias in node.names:
        for name in (f"{origin}.{alias.name}", origin):
            if name in names:
                yield name
                break


def circles_of(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that each reach each other: Tarjan's strongly connected components of more than one."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = lowest[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], index[other])
        if lowest[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 10 * len(graph)))
    for name in sorted(graph):
        if name not in index:
            visit(name)
    sys.setrecursionlimit(limit)
    return sorted(found)


def normalised(module: Module) -> list[str]:
    """Lines of code that say something, with the words of `SAME` made one."""
    left_out: set[int] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node):
            left_out.update(_lines_of(node))
    lines = dict(enumerate(module.text.splitlines(), 1))
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0]] = token.line[: token.start[1]]
    return [
        SAME.sub("THING", line.strip()).lower()
        for number, line in lines.items()
        if number not in left_out and any(sign.isalnum() for sign in line)
    ]


def alike_pairs(modules: Sequence[Module]) -> list[tuple[float, str, str]]:
    """Pairs above `ALIKE`, the most alike first: `difflib`'s ratio, the names."""
    lines = {module.name: normalised(module) for module in modules}
    found = []
    matcher = difflib.SequenceMatcher(autojunk=False)
    last = ""
    for second, first in combinations(sorted(lines), 2):
        if second != last:  # what difflib prepares is of its second sequence
            matcher.set_seq2(lines[second])
            last = second
        matcher.set_seq1(lines[first])
        if (
            matcher.real_quick_ratio() > ALIKE
            and matcher.quick_ratio() > ALIKE
            and (share := matcher.ratio()) > ALIKE
        ):
            found.append((round(share, 3), second, first))
    return sorted(found, reverse=True)


def executed_by(source: Path) -> dict[str, list[str]]:
    """Modules of the package that each command has in `sys.modules` when it ends."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "PYTHONPATH": str(source),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SHAPE_ANSWER": str(folder / "modules.json"),
            "TAGBOX_CACHE": str(folder / "cache"),
        }

        def run(*words: str) -> list[str]:
            say(f"tagbox {' '.join(words)}")
            done = subprocess.run(
                [sys.executable, "-c", ENDING, *words],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
            )
            if done.returncode != 0:
                sys.exit(f"tagbox {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
            names: list[str] = json.loads((folder / "modules.json").read_text())
            return names

        side = ("--width", "96", "--height", "96")
        run("synth", "scenes", "--images", "16", "--val", "8", *side)
        train, val = (f"scenes/annotations/instances_{part}.json" for part in ("train", "val"))
        picture = str(next((folder / "scenes").rglob("*.jpg")))
        data = (train, "--val", val, "--epochs", "1")
        small = ("--backbone", "efficientnet_lite0@64")
        return {
            "tagbox --help": run("--help"),
            "tagbox train classifier": run("train", "classifier", *data, "--name", "c", *small),
            "tagbox train detector": run(
                *("train", "detector", *data, "--name", "d", "--size", "64"),
                *("--precision", "fp32", "--channels-last", "no"),
            ),
            "tagbox predict, classifier": run("predict", "runs/c", picture),
            "tagbox predict, detector": run("predict", "runs/d", picture),
            "tagbox evaluate, classifier": run("evaluate", "runs/c", val),
            "tagbox evaluate, detector": run("evaluate", "runs/d", val),
        }


def text_of(shapes: Mapping[str, dict[str, Any]]) -> str:
    """A Markdown table with a column a revision, and below it the lists of each."""
    rows = list(dict.fromkeys(name for each in shapes.values() for name in each["figures"]))
    out = ["| | " + " | ".join(shapes) + " |", "|---|" + "---:|" * len(shapes)]
    for row in rows:
        values = [each["figures"].get(row, "") for each in shapes.values()]
        out.append(
            f"| {row} | "
            + " | ".join(f"{value:,}" if value != "" else "" for value in values)
            + " |"
        )
    for rev, each in shapes.items():
        of = f" of {rev}" if len(shapes) > 1 else ""
        for kind, circles in each["circles"].items():
            out += ["", f"Circles{of}, {kind}: {len(circles)}"]
            out += [f"- {', '.join(names)}" for names in circles]
        out += ["", f"Pairs of modules alike{of}: {len(each['alike'])}"]
        out += [f"- {share:.0%} {first}, {second}" for share, first, second in each["alike"]]
        out += ["", f"File names used more than once{of}: {len(each['doubled'])}"]
        out += [f"- {name}: {', '.join(where)}" for name, where in each["doubled"].items()]
        out += ["", f"Modules over {LONG} lines{of}: {len(each['long'])}"]
        out += [f"- {lines} {name}" for name, lines in each["long"]]
        out += ["", f"Modules under {SHORT} lines{of}: {len(each['short'])}"]
        out += [f"- {lines} {name}" for name, lines in each["short"]]
    return "\n".join(out)


if __name__ == "__main__":
    main()
