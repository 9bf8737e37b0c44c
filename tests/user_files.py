"""The files of a user, hashed: what a command must leave as it was."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def hashes(*folders: Path) -> dict[str, str]:
    """Every file and link below the folders to the SHA-256 of its bytes, or to what the link names."""
    found = {}
    for folder in folders:
        for current, names, files in os.walk(folder):
            for name in (*names, *files):
                path = Path(current, name)
                if path.is_symlink():
                    found[str(path)] = f"link to {os.readlink(path)}"
                elif path.is_file():
                    found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
