"""From a template and its values to one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tagbox.images.verdicts import percent


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """One HTML document; every value that is not `Markup` is escaped, and one that is missing is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment.get_template(template).render(values)


def page_bytes(page: str) -> bytes:
    """UTF-8; a lone surrogate can come in with a file name that is not."""
    return page.encode("utf-8", "replace")
