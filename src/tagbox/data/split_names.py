"""Names of splits as datasets spell them: ``Training``, ``valid``, ``test_set``, ``train2017``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from tagbox.data.text import some
from tagbox.errors import TagboxError

ROLES = ("train", "val", "test", "unlabelled")
_ROLE = (
    r"(?:(?P<train>train|training|trn)|(?P<val>val|valid|validate|validation|dev|minival|eval|evaluation)"
    r"|(?P<test>test|testing|tst|holdout|hold[ _-]out)|(?P<unlabelled>unlabell?ed|unsup|pred|predict|prediction))"
    r"(?:[ _-]?(?:set|data|split|images|imgs|resized|jpe?g|png|v))*[ _-]?\d*"
)
_EXACT = re.compile(_ROLE, re.IGNORECASE)
_PREFIXED = re.compile(rf"(?:[a-z0-9]+[ _-])*?{_ROLE}", re.IGNORECASE)


def role(name: str, *, prefixed: bool = False) -> str | None:
    """``train``, ``val``, ``test`` or ``unlabelled`` for a name of a split in any common spelling, else None.

    With `prefixed`, other words may stand in front: ``seg_train``, ``obj_train_data``.
    """
    match = (_PREFIXED if prefixed else _EXACT).fullmatch(name)
    return None if match is None else match.lastgroup


def role_of_path(name: str) -> str | None:
    """The role of the first folder of a relative path that is named as a split."""
    return _role_of_folders(name.rpartition("/")[0])


@lru_cache(4096)  # Files are many and their folders few.
def _role_of_folders(folders: str) -> str | None:
    roles = (role(part, prefixed=True) for part in PurePosixPath(folders).parts)
    return next((found for found in roles if found is not None), None)


def split_folders(names: Iterable[str]) -> list[str]:
    """Those of `names` that are splits: all when each is one after other words, else the exact ones."""
    listed = list(names)
    roles = {role(name, prefixed=True) for name in listed}
    if None not in roles and len(roles) > 1:
        return listed
    return [name for name in listed if role(name)]


def by_role(names: Sequence[str]) -> dict[str, str]:
    """Role, where it is that of one name only and else the name itself, to each of `names`; train first."""
    roles = [role(name, prefixed=True) or name for name in names]
    found = {
        as_role if roles.count(as_role) == 1 else name: name
        for name, as_role in zip(names, roles, strict=True)
    }
    order = {name: position for position, name in enumerate(ROLES)}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


def choose(wanted: str, names: Iterable[str], path: object) -> str:
    """The name among `names` that `wanted` spells, exactly or by its role.

    Raises
    ------
    TagboxError
        ``split-unknown``.
    """
    known = list(names)
    if wanted in known:
        return wanted
    same = [name for name in known if name.lower() == wanted.lower()]
    same = same or [
        name for name in known if role(wanted) is not None and role(wanted) == role(name)
    ]
    if len(same) == 1:
        return same[0]
    stated = f"its splits are {some(known, 12)}" if known else "it states no splits"
    raise TagboxError(
        "split-unknown",
        f"it has no split {wanted!r}",
        file=str(path),
        where="split",
        hint=f"{stated}; choose one of them" if known else f"{stated}; leave --split out",
    )


def several(path: object, names: Iterable[str]) -> TagboxError:
    """The error for a dataset that states several splits of which none was chosen."""
    listed = list(names)
    return TagboxError(
        "format-ambiguous",
        f"it states the splits {some(listed, 12)}, which are not one dataset",
        file=str(path),
        hint=f"choose one of them, such as --split {listed[0]}, or point at its file or folder",
    )
