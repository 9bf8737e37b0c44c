"""Write docs/api.md from the docstrings of the public names: ``python docs/make_api.py``."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("api.md")
GROUPS: dict[str, tuple[str, ...]] = {
    "Data": (
        "load_dataset",
        "Dataset",
        "tagbox.data.records.Record",
        "tagbox.training.torch_dataset.TorchDataset",
        "check_dataset",
        "synth",
    ),
    "Training": (
        "train_classifier",
        "train_detector",
        "ensemble",
        "tune_classifier",
        "tune_detector",
        "Run",
        "open_run",
        "list_runs",
    ),
    "Models and their predictions": (
        "load_model",
        "Classifier",
        "DetectorModel",
        "tagbox.inference.label_results.LabelResults",
        "tagbox.inference.label_results.LabelResult",
        "tagbox.inference.box_results.BoxResults",
        "tagbox.inference.box_results.BoxResult",
        "Predictions",
        "Detections",
    ),
    "Evaluation": (
        "evaluate",
        "Evaluation",
        "compare",
        "Comparison",
        "evaluate_labels",
        "evaluate_boxes",
    ),
    "Tables, charts and errors": (
        "tagbox.tables.Table",
        "tagbox.api.charts.Charts",
        "TagboxError",
    ),
    "Settings": ("DataConfig", "ClassifierConfig", "DetectorConfig", "EnsembleConfig"),
}
INTRODUCTION = """# Python API

Generated from the docstrings by `python docs/make_api.py`. [notebook.ipynb](notebook.ipynb) shows the API in use.

Names without a module are those of `tagbox`: `import tagbox`, then `tagbox.load_dataset(...)`. Importing `tagbox` loads neither torch nor pandas; what needs a
package that is not installed says so in one sentence (`TagboxError` with the code `extra-missing`). Every bad input is a `TagboxError`.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    links = [
        f"- {title}: " + ", ".join(f"[{_short(n)}](#{_short(n).lower()})" for n in names)
        for title, names in GROUPS.items()
    ]
    parts.append("\n".join(links) + "\n")
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [_entry(name) for name in names]
    return "\n".join(parts).rstrip() + "\n"


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _entry(name: str) -> str:
    import tagbox

    module, _, short = name.rpartition(".")
    value = getattr(importlib.import_module(module) if module else tagbox, short)
    lines = [f"### {short}\n"]
    if module:
        lines.append(f"`{name}`\n")
    config = dataclasses.is_dataclass(value) and hasattr(value, "from_dict")
    if not config and not _is_made_by_tagbox(value):
        lines.append(f"```python\n{_signature(value, short)}\n```\n")
    lines.append(markdown(inspect.getdoc(value) or ""))
    if config:
        lines.append(_fields(value))
    elif inspect.isclass(value):
        lines += _members(value)
    return "\n".join(lines) + "\n"


def _is_made_by_tagbox(value: Any) -> bool:
    """Whether users get such an object and do not make it: its arguments are no interest of theirs."""
    made = ("Run", "Record", "Dataset", "Charts", "TorchDataset", "Classifier", "DetectorModel")
    name = getattr(value, "__name__", "")
    return name in made or name.endswith(("Result", "Results"))


def _signature(function: Any, name: str) -> str:
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    written = [_parameter(p) for p in parameters]
    keyword = next((i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), None)
    if keyword is not None and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        written.insert(keyword, "*")
    result = signature.return_annotation
    after = "" if result is signature.empty or inspect.isclass(function) else f" -> {result}"
    line = f"{name}({', '.join(written)}){after}"
    if len(line) <= 100:
        return line
    inside = "".join(f"    {each},\n" for each in written)
    return f"{name}(\n{inside}){after}"


def _parameter(parameter: inspect.Parameter) -> str:
    star = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}.get(parameter.kind, "")
    text = f"{star}{parameter.name}"
    if parameter.annotation is not parameter.empty:
        text += f": {parameter.annotation}"
    if parameter.default is parameter.empty:
        return text
    default = parameter.default
    shown = f"{type(default).__name__}()" if dataclasses.is_dataclass(default) else repr(default)
    return f"{text} = {shown}".replace("PosixPath", "Path").replace("WindowsPath", "Path")


def _members(kind: type) -> list[str]:
    """Methods and properties, those of bases in tagbox too, in the order of the source."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] == "tagbox":
            found |= {n: member for n, member in vars(base).items() if not n.startswith("_")}
    lines = []
    for name, member in found.items():
        value = getattr(kind, name)
        documented = inspect.getdoc(member) or ""
        if isinstance(member, (property, functools.cached_property)) or hasattr(member, "_make"):
            lines.append(f"#### {kind.__name__}.{name}\n\n{markdown(documented)}")
        elif inspect.isfunction(member) or isinstance(member, (classmethod, staticmethod)):
            # The first sentence of an inherited method is where it is defined.
            if documented.startswith("See `"):
                documented = inspect.getdoc(_origin(kind, name)) or documented
            signature = _signature(value, name)
            lines.append(
                f"#### {kind.__name__}.{name}\n\n```python\n{signature}\n```\n\n{markdown(documented)}"
            )
    return lines


def _origin(kind: type, name: str) -> Any:
    """The member of the first base that describes it in full."""
    for base in kind.__mro__[1:]:
        member = vars(base).get(name)
        if member is not None and not (inspect.getdoc(member) or "See `").startswith("See `"):
            return member
    return None


def _fields(config: type) -> str:
    """A table of a configuration's settings."""
    described = {}
    for base in reversed(config.__mro__):
        if dataclasses.is_dataclass(base):
            described |= dict(_field_texts(base))
    lines = ["| setting | default | |", "|---|---|---|"]
    for field in dataclasses.fields(config):
        if field.default_factory is not dataclasses.MISSING:
            default = f"{type(field.default_factory()).__name__}()"
        else:
            default = repr(field.default)
        text = described.get(field.name, "").replace("|", "\\|")
        lines.append(f"| `{field.name}` | `{default}` | {text} |")
    return "\n".join(lines) + "\n"


def _field_texts(kind: type) -> Iterator[tuple[str, str]]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = tree.body[0].body  # type: ignore[attr-defined]
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            yield field.target.id, " ".join(ast.literal_eval(text.value).split())  # type: ignore[union-attr]


def markdown(docstring: str) -> str:
    """A docstring in NumPy's style as Markdown: its sections become lists."""
    lines = docstring.split("\n")
    starts = [i for i, line in enumerate(lines[1:], 1) if re.fullmatch(r"-{4,}", line.strip())]
    first = (starts[0] - 1) if starts else len(lines)
    parts = [_code("\n".join(lines[:first]).strip())]
    ends = [start - 1 for start in starts[1:]] + [len(lines)] if starts else []
    for start, end in zip(starts, ends, strict=True):
        title, body = lines[start - 1].strip(), lines[start + 1 : end]
        if title == "Examples":
            code = "\n".join(line for line in body if line.strip())
            code = re.sub(r"^>>> |\s+# doctest:.*$", "", code, flags=re.M)
            parts.append(f"**{title}**\n\n```python\n{code}\n```")
        elif title in ("Notes",):
            parts.append(f"**{title}**\n\n{_code(chr(10).join(body).strip())}")
        else:
            parts.append(f"**{title}**\n\n{_items(body)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _items(body: list[str]) -> str:
    """``name`` with an indented text below it, as a list; text that is not indented stays a paragraph."""
    items: list[list[str]] = []
    for before, line in zip(["", *body], body, strict=False):
        if not line.strip():
            continue
        if line.startswith(" ") and items:
            items[-1].append(line.strip())
        elif before.strip() and items and len(items[-1]) == 1:
            items[-1][0] += f" {line.strip()}"  # A paragraph goes on.
        else:
            items.append([line.strip()])
    return "\n".join(
        f"- `{head}`: {_code(' '.join(text))}" if text else f"\n{_code(head)}\n"
        for head, *text in items
    ).strip()


def _code(text: str) -> str:
    """Double backquotes as single ones."""
    return text.replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
