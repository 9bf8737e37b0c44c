"""The names of all backbones, read from the source of the installed libraries: importing them takes seconds."""

from __future__ import annotations

import difflib
import importlib.util
import re
from functools import cache
from pathlib import Path

from tagbox.errors import TagboxError, extra_missing
from tagbox.models.backbones.packaged import PACKAGES

_REGISTERED = re.compile(r"@register_model(?:\([^)]*\))?\s*(?:@[^\n]*\s*)*def (\w+)")
"""How torchvision and timm declare a model: a decorated function of its name."""


@cache
def _source(library: str) -> str:
    """The source of a library's models, in one text; ``extra-missing`` where it is not installed."""
    found = importlib.util.find_spec(library)
    if found is None or found.origin is None:
        raise extra_missing("that backbone", library)
    modules = (Path(found.origin).parent / "models").glob("*.py")
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(modules))


@cache
def library_names(library: str) -> frozenset[str]:
    """The names of the models of ``torchvision`` or ``timm``, without tags of weights.

    Raises
    ------
    TagboxError
        ``extra-missing``.
    """
    return frozenset(_REGISTERED.findall(_source(library)))


@cache
def weight_tags() -> dict[str, list[str]]:
    """The tags of timm's weights by the name of their model, as far as its source lists them."""
    tags: dict[str, list[str]] = {}
    for name, tag in re.findall(r"""['"](\w+)\.([\w.]+)['"]\s*:""", _source("timm")):
        tags.setdefault(name, []).append(tag)
    return tags


def require_backbone(asked: str) -> tuple[str, str]:
    """The library and the name of the backbone `asked` for; ``packaged`` for EfficientNet-Lite.

    A name that both libraries know means torchvision's.

    Raises
    ------
    TagboxError
        ``backbone-unknown``, with the names that look like it; ``extra-missing``.
    """
    if asked.removeprefix("tf_") in PACKAGES:
        return "packaged", asked.removeprefix("tf_")
    source, slash, name = asked.partition("/")
    if not slash:
        source, name = "", asked
    for library, base in (("torchvision", name), ("timm", name.split(".")[0])):
        if source in ("", library) and base in library_names(library):
            if library == "timm":
                _require_tag(*name.partition(".")[::2])
            return library, name
    known = [*PACKAGES, *library_names("torchvision"), *library_names("timm")]
    near = list(dict.fromkeys(difflib.get_close_matches(name.lower(), known, n=4, cutoff=0.6)))
    raise TagboxError(
        "backbone-unknown",
        f"no backbone is called {asked!r}",
        where="backbone",
        hint=f"did you mean {', '.join(near)}" if near else f"try {', '.join(PACKAGES)}",
    )


def _require_tag(name: str, tag: str) -> None:
    tags = weight_tags().get(name, []) if tag else []
    if not tags or tag in tags:
        return
    near = difflib.get_close_matches(tag, tags, n=3, cutoff=0.5) or tags[:3]
    raise TagboxError(
        "backbone-unknown",
        f"timm knows no weights called {f'{name}.{tag}'!r}",
        where="backbone",
        hint=f"there are {', '.join(f'{name}.{each}' for each in near)}; or leave the tag out: {name}",
    )
