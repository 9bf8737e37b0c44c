"""`tagbox cache`: size of the feature cache that runs share, and clearing it."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from tagbox.cli.console import print_json, say

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

    place = folder or cache_folder("features")
    found: dict[str, str | int] = {"folder": str(place), "features": 0, "bytes": 0}
    if (place / FILE_NAME).exists():
        opened = FeatureCache(place)
        found |= {"features": opened.count(), "bytes": opened.size()}
        opened.close()
    if json:
        print_json(found)
    else:
        megabytes = int(found["bytes"]) / 1e6
        print(f"{place}: {found['features']} features, {megabytes:.1f} MB")


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

    place = folder or cache_folder("features")
    if not (place / FILE_NAME).exists():
        say(f"{place}: there is no cache")
        return
    opened = FeatureCache(place)
    count, size = opened.count(), opened.size()
    opened.clear()
    opened.close()
    say(f"{place}: removed {count} features, {size / 1e6:.1f} MB")
