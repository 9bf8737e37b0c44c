"""Write the frozen files anew: ``python tests/contracts/freeze.py`` (or with ``surface`` for the names only).

To be used when a new name, flag, code or key is to be kept from now on, or when the project has decided
to break a contract and says so in CHANGELOG.md; never to make a failing test pass. The saved runs and the
study are what an older version wrote: they are only written anew when a format's version changes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import contract_surface as surface


def freeze_surface() -> None:
    write("api.json", surface.api())
    write("commands.json", surface.commands())
    write("error_codes.json", surface.error_codes())
    write("finding_codes.json", surface.finding_codes())


def write(name: str, value: Any) -> None:
    surface.FROZEN.mkdir(exist_ok=True)
    (surface.FROZEN / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    freeze_surface()
    if sys.argv[1:] != ["surface"]:
        raise SystemExit("only the surface so far")
