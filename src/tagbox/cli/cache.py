"""`tagbox cache`: size of the feature cache that runs share, and clearing it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from cyclopts import App

from tagbox.cli.console import print_json, print_line, say

cache = App(
    help_format="markdown",
    name="cache",
    help="Show or clear the cache of features that runs share.",
)


@cache.command
def info(*, folder: Path | None = None, json: bool = False) -> None:
    """Print the cache's folder, the number of features in it, and their size.

    Parameters
    ----------
    folder
        Folder of the cache, instead of $TAGBOX_CACHE/features or ~/.cache/tagbox/features.
    json
        Print one JSON object: folder, features, bytes.
    """
    from tagbox.atomic_io import cache_folder
    from tagbox.backends.feature_cache import FILE_NAME, FeatureCache

    folder = folder or cache_folder("features")
    count = size = 0
    if (folder / FILE_NAME).exists():
        with closing(FeatureCache(folder)) as features:
            count, size = features.count(), features.size()
    if json:
        print_json({"folder": str(folder), "features": count, "bytes": size})
    else:
        print_line(f"{folder}: {count} features, {size / 1e6:.1f} MB")


@cache.command
def clear(*, folder: Path | None = None) -> None:
    """Remove all features and free their disk space; runs in progress encode again what they need.

    Parameters
    ----------
    folder
        Folder of the cache, instead of $TAGBOX_CACHE/features or ~/.cache/tagbox/features.
    """
    from tagbox.atomic_io import cache_folder
    from tagbox.backends.feature_cache import FILE_NAME, FeatureCache

    folder = folder or cache_folder("features")
    if not (folder / FILE_NAME).exists():
        say(f"{folder}: there is no cache")
        return
    with closing(FeatureCache(folder)) as features:
        count, size = features.count(), features.size()
        features.clear()
    say(f"{folder}: removed {count} features, {size / 1e6:.1f} MB")
