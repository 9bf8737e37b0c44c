"""`tagbox cache`: the features that runs share, how much room they take, and how to be rid of them."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from tagbox.cli.console import print_json, say

cache = App(
    help_format="markdown",
    name="cache",
    help="The cache of features that runs share: see it, clear it.",
)


@cache.command
def info(*, folder: Path | None = None, json: bool = False) -> None:
    """Say where the cache is, how many features it holds and how much room they take.

    Parameters
    ----------
    folder
        Another cache than $TAGBOX_CACHE/features or ~/.cache/tagbox/features.
    json
        Write one JSON object to stdout: folder, features, bytes.
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
    """Remove every feature and give the disk back; runs that are going on encode again what they need.

    Parameters
    ----------
    folder
        Another cache than $TAGBOX_CACHE/features or ~/.cache/tagbox/features.
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
