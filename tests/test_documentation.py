"""The pages lead somewhere: their links, headings, tests and benchmarks exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = (
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SCRIPT = re.compile(r"[`/ \"](?:(tests|benchmarks)/)?((?:\w+/)*\w+\.py)\b")


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_scripts_that_are_named_exist(page: Path) -> None:
    folders = [REPOSITORY / name for name in ("tests", "benchmarks", "src/tagbox", ".")]
    for root, script in SCRIPT.findall(page.read_text(encoding="utf-8")):
        places = [REPOSITORY / root] if root else folders
        assert any((place / script).exists() for place in places), script
