"""Help pages: options in groups, the common ones first, everything in one group, within 80 columns."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tagbox.cli.app import COMMANDS, INSTALL, command_line
from tagbox.cli.option_groups import COMMON, GROUPS, OTHER, GroupedApp
from tagbox.errors import EXTRAS

Typed = Callable[..., tuple[int, str, str]]


def command(name: str) -> GroupedApp:
    app = command_line(name.split()[:1])
    for word in name.split():
        app = app[word]
    assert isinstance(app, GroupedApp)
    return app


@pytest.mark.parametrize("name", GROUPS)
def test_every_name_of_a_group_is_an_option_and_in_no_other(name: str) -> None:
    named = [option for options in GROUPS[name].values() for option in options]
    assert len(named) == len(set(named))
    arguments = command(name).assemble_argument_collection()
    there = [a.names[0].removeprefix("--") for a in arguments if a.show and a.index is None]
    prefixes = tuple(option for option in named if option.endswith("."))
    if not name.startswith("tune"):  # It shares the groups of train, and has no --resume.
        assert {o for o in named if o not in prefixes} <= set(there)
    assert all(any(o.startswith(p) for o in there) for p in prefixes)


@pytest.mark.parametrize("name", ["train classifier", "train detector"])
def test_training_shows_fifteen_options_first(typed: Typed, name: str) -> None:
    code, page, _ = typed(*name.split(), "--help")
    assert code == 0
    titles = re.findall(r"^╭─ (.+?) ─", page, flags=re.MULTILINE)
    assert titles in (["Arguments", *GROUPS[name]], ["Arguments", *GROUPS[name], OTHER])
    first = page.split("╭─")[2]
    shown = re.findall(r"^│ (?:[* ]  )?--([\w-]+)", first, flags=re.MULTILINE)
    assert shown == list(GROUPS[name][COMMON])
    assert len(shown) == 15


def test_defaults_are_shown_but_not_that_a_flag_is_off(typed: Typed) -> None:
    page = re.sub(r"[│\s]+", " ", typed("train", "classifier", "--help")[1])
    assert "order of images. [default: 0]" in page
    assert "[default: False]" not in page and "[default: ()]" not in page
    assert "Encode the mirror image of each training image as well. [default: True]" in page


@pytest.mark.parametrize(
    "name", ["train classifier", "train detector", "predict", "evaluate", *COMMANDS]
)
def test_help_fits_eighty_columns(typed: Typed, name: str) -> None:
    code, page, _ = typed(*name.split(), "--help")
    assert code == 0
    assert max(map(len, page.splitlines())) <= 80
    assert "What to install" not in page


def test_the_first_page_says_what_to_install_for_what(typed: Typed) -> None:
    page = typed("--help")[1].partition("What to install for what")[2]
    for name, purpose in INSTALL.items():
        assert re.search(rf"^  {re.escape(name)} +{re.escape(purpose)}$", page, flags=re.MULTILINE)
    assert {extra for extra in EXTRAS.values() if extra in " ".join(INSTALL)} == set(
        EXTRAS.values()
    )
