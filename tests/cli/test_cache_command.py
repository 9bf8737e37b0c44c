"""`tagbox cache`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tagbox.backends.feature_cache import FeatureCache, feature_key


def test_info_and_clear(cli: Callable[..., Any], tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "features")
    for number in range(7):
        cache.put(feature_key("e", 0, bytes([number]) * 32), np.ones(1000, np.float32))
    cache.close()
    env = {"TAGBOX_CACHE": str(tmp_path)}
    found = json.loads(cli("cache", "info", "--json", env=env).stdout)
    assert found["folder"] == str(tmp_path / "features")
    assert found["features"] == 7
    assert found["bytes"] > 28_000
    assert "7 features" in cli("cache", "info", env=env).stdout
    cleared = cli("cache", "clear", env=env)
    assert cleared.returncode == 0
    assert "removed 7 features" in cleared.stderr
    assert json.loads(cli("cache", "info", "--json", env=env).stdout)["features"] == 0


def test_without_a_cache_nothing_is_made(cli: Callable[..., Any], tmp_path: Path) -> None:
    for arguments in (("info",), ("clear",)):
        done = cli("cache", *arguments, "--folder", tmp_path / "none")
        assert done.returncode == 0
    assert not (tmp_path / "none").exists()


def test_a_path_on_the_screen_has_no_control_characters(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    shown = cli("cache", "info", "--folder", tmp_path / "a\x1b[2Jb").stdout
    assert shown == f"{tmp_path}/a\\x1b[2Jb: 0 features, 0.0 MB\n"
