"""Fixtures that every part of the test suite shares."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No test asserts a time, hypothesis' own included: machines are noisy. The same commit draws the
# same cases, so that a change is judged by what it changes; HYPOTHESIS_PROFILE=explore draws new ones.
settings.register_profile("repeat", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the tests nor the commands they run touch the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAGBOX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data that is never committed; tests that need it skip without it."""
    folder = Path(os.environ.get("TAGBOX_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not at {folder} (set TAGBOX_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def cli() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the installed command line: `cli("check", path, cwd=..., env=...)`."""
    command = Path(sys.executable).with_name("tagbox")

    def run(
        *arguments: object,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(command), *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            timeout=timeout,
            check=False,
        )

    return run
