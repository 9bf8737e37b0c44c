"""Runs by name, and their categories: `tagbox predict NAME` means the folder of that name in ``runs/``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from tagbox.api.runs import run_names
from tagbox.cli.console import say
from tagbox.config import ClassifierConfig
from tagbox.config.detector import NANODET
from tagbox.device import Device, Engine, choose_engine
from tagbox.errors import TagboxError, require_extra
from tagbox.paths import is_plain_name, is_run


def find_run(given: Path, runs: Path, *, files: bool = False) -> Path:
    """The folder of the run that `given` names: its path, or else its name in `runs`.

    Where there are both, the path is taken, and that is said. ``nanodet_g`` is the installed detector of COCO's
    categories where there is neither.

    Parameters
    ----------
    files
        Whether a file of predictions may be meant: what looks like one is left to its reader.

    Raises
    ------
    TagboxError
        ``bundle-missing`` where there is neither, with the names that look like it; for ``nanodet_g`` the codes of
        `pretrained_detector`.
    """
    named = runs / given
    plain = is_plain_name(str(given))
    if os.path.lexists(given):
        if (
            plain
            and is_run(named)
            and not (os.path.exists(named) and os.path.samefile(given, named))
        ):
            say(f"{given} is taken for the path; for the run of that name give {named}")
        return given
    if plain and is_run(named):
        return named
    if files and given.suffix:
        return given
    if str(given) == NANODET:
        return pretrained_detector()
    if plain and os.path.isdir(runs / f".{given}.partial"):
        found, hint = "this run is not finished", "go on with its training by --resume"
    else:
        found = f"there is no such folder{' or file' if files else ''}, and no run of that name in {runs}"
        near = get_close_matches(given.name, run_names(runs), n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}" if near else "tagbox runs lists the runs"
    raise TagboxError("bundle-missing", found, file=given, hint=hint)


def named_teacher(config: ClassifierConfig, runs: Path) -> ClassifierConfig:
    """The configuration with the folder of the run that ``--teacher`` names; see `find_run`."""
    if config.teacher is None:
        return config
    return replace(config, teacher=find_run(config.teacher, runs, files=True))


def pretrained_detector() -> Path:
    """The saved detector in the installed package of ``nanodet_g``, after it is said what that is.

    Raises
    ------
    TagboxError
        ``extra-missing`` where the package is not installed; ``weights-corrupt``.
    """
    from tagbox.models.detectors.nanodet_weights import description_of, package_folder

    folder = package_folder()
    say(f"{NANODET} is {description_of(folder)}")
    return folder


def require_named(name: str | None, *, overwrite: bool) -> None:
    """Refuse to replace a run that is not named: a name that is made is of no run yet; ``option-alone``."""
    if overwrite and name is None:
        found = "no run is named that it could replace"
        raise TagboxError("option-alone", found, where="--overwrite", hint="add --name NAME")


def require_packages(what: str, device: Device, engine: Engine = "auto") -> None:
    """Refuse `what` of a run before any work where the packages that compute it are not installed.

    Raises
    ------
    TagboxError
        ``extra-missing``; ``device-missing``, ``engine-device``.
    """
    chosen, _ = choose_engine(engine, device)
    require_extra(what, chosen, "safetensors")


def category_rows(names: Sequence[str], known: Sequence[str], run: Path) -> list[int] | None:
    """The rows of ``--categories`` among those of the run, in its order; None where all are meant."""
    if not names:
        return None
    for name in names:
        if name not in known:
            from tagbox.data.text import near

            raise TagboxError(
                "unknown-category",
                f"the run knows no category {name!r}",
                file=run,
                where="--categories",
                hint="name the images before --categories"
                if os.path.exists(name)
                else near(name, known, noun="categories"),
            )
    return [row for row, name in enumerate(known) if name in names]
