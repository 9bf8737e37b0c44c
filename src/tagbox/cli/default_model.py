"""`tagbox predict` without a run: whether images come first, and what is said of words that are neither."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from tagbox.cli.named_runs import find_run
from tagbox.config.detector import NANODET
from tagbox.data.image_files import IMAGE_SUFFIXES, collect_images, is_image, list_images
from tagbox.errors import TagboxError
from tagbox.paths import is_plain_name, is_run

DRAWN = "drawn"
"""Folder of the drawn images, numbered where there is one."""
_OF_RUNS = ("model.safetensors", "metrics.json")
"""Files of a run that a folder of photos has not."""
_USES = f"tagbox predict {NANODET} finds COCO's 80 categories in it"


def names_no_run(first: Path, others: Sequence[str], runs: Path) -> bool:
    """Whether the words of `tagbox predict` are images only, so that the default model predicts.

    Parameters
    ----------
    first
        The word in the place of the run.
    others
        Those after it.
    runs
        Folder in which a run's name is looked for.

    Raises
    ------
    TagboxError
        ``run-or-images`` where `first` is both; ``run-order`` for a run after images; ``no-run`` for what is
        neither a run nor images; ``no-images``; ``image-missing``.
    """
    if not _are_images(first):
        _require_run(first, others, runs)
        return False
    if _is_run_name(str(first), runs):
        raise TagboxError(
            "run-or-images",
            f"these are images, and {runs / first} is a run",
            file=first,
            hint=f"for the run write tagbox predict {runs / first} IMAGES; tagbox predict {NANODET} {first} "
            "finds COCO's 80 categories in the images",
        )
    for word in (str(first), *others):
        _require_images(word, runs)
    return True


def photos(words: Sequence[str]) -> tuple[list[Path], int]:
    """The images that `words` name, and the number of those left out: in folders, what tagbox drew itself.

    Raises
    ------
    TagboxError
        The codes of `data.image_files.collect_images`; ``no-images`` where all were drawn by tagbox.
    """
    from tagbox.images.drawn_files import is_drawn

    named = {Path(word) for word in words}
    every = collect_images(words)
    kept = [p for p in every if p in named or p.suffix != ".jpg" or not is_drawn(p)]
    if not kept:
        raise TagboxError(
            "no-images",
            f"tagbox drew all {len(every)} images in it",
            file=words[0],
            hint="name the images that they show",
        )
    return kept, len(every) - len(kept)


def new_folder() -> Path:
    """``drawn``, or else ``drawn-2`` and so on: the first of these that is not there."""
    number = 1
    while os.path.lexists(path := Path(DRAWN if number == 1 else f"{DRAWN}-{number}")):
        number += 1
    return path


def _are_images(path: Path) -> bool:
    """Whether a word is a picture, a folder with pictures that is no run, or a pattern that names pictures."""
    if os.path.isdir(path):
        files = (path / name for name in _OF_RUNS)
        return not is_run(path) and not any(map(os.path.isfile, files)) and bool(list_images(path))
    if os.path.exists(path):
        return _is_picture(path)
    return glob.has_magic(str(path)) and bool(_matches(path))


def _is_picture(path: Path) -> bool:
    from tagbox.images.header import UNKNOWN, read_header

    return is_image(path.name) or (not _is_video(path) and read_header(path) != UNKNOWN)


def _is_video(path: Path) -> bool:
    # Imported where a video may have been named: a classifier's prediction has none.
    from tagbox.inference.video import SUFFIXES

    return path.suffix.lower() in SUFFIXES


def _matches(pattern: Path) -> list[Path]:
    return [Path(found) for found in glob.glob(str(pattern), recursive=True)]


def _is_run_name(word: str, runs: Path) -> bool:
    """Whether a word is the name of a run in `runs`, other than the path of that very folder."""
    named = runs / word
    if not is_plain_name(word) or not is_run(named):
        return False
    return not (os.path.exists(word) and os.path.samefile(word, named))


def _is_run(word: str, runs: Path) -> bool:
    """Whether a word is the path of a run, the name of one, or that of the installed detector."""
    named = word == NANODET and not os.path.lexists(word)
    return named or is_run(Path(word)) or _is_run_name(word, runs)


def _require_run(first: Path, others: Sequence[str], runs: Path) -> None:
    """Refuse a first word that is no run: a file, a folder without images, a picture that is not there."""
    if _is_run(str(first), runs):
        pass
    elif os.path.isfile(first):
        raise _no_run(first)
    elif os.path.isdir(first):
        if not others:
            found = "there is no image in it, and it is no run, for it has no model.json"
            hint = "give a run and images, or images alone"
            raise TagboxError("no-run", found, file=first, hint=hint)
    elif glob.has_magic(str(first)):
        collect_images([first])
    elif first.suffix.lower() in IMAGE_SUFFIXES:
        raise _missing(first)
    elif not others:
        # Its sentence names the runs that look like it.
        find_run(first, runs)


def _no_run(path: Path) -> TagboxError:
    if _is_video(path):
        found, hint = "a video, and no run is named", f"name a detector's run first; {_USES}"
        return TagboxError("no-run", found, file=path, hint=f"{hint}: {NANODET} {path}")
    hint = "a run is a folder, such as runs/NAME, and images are JPEG, PNG or other pictures"
    return TagboxError("no-run", "neither a run nor an image", file=path, hint=hint)


def _missing(path: Path) -> TagboxError:
    try:
        beside = os.listdir(path.parent)
    except OSError:
        beside = []
    close = get_close_matches(path.name, beside, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(str(path.parent / name) for name in close)}"
    return TagboxError(
        "image-missing",
        "no such file or folder",
        file=path,
        hint=hint
        if close
        else "give images, folders of images, or a pattern such as 'photos/*.jpg'",
    )


def _require_images(word: str, runs: Path) -> None:
    """Refuse a word after images that is a run or no images, and a dataset in either place."""
    path = Path(word)
    if _is_run(word, runs):
        raise TagboxError(
            "run-order",
            "a run, and images come before it",
            file=path,
            hint=f"name the run first: tagbox predict {word} IMAGES",
        )
    if os.path.isfile(path):
        if not _is_picture(path):
            raise _no_run(path)
    elif os.path.isdir(path):
        collect_images([path])
        source = _annotations(path)
        if source is not None:
            where = f", annotated by {source}" if source != path else ""
            raise TagboxError(
                "no-run",
                f"a dataset{where}, and no run is named",
                file=path,
                hint=f"name the folder of its images alone, or a run first; {_USES}: {NANODET} {path}",
            )
    elif glob.has_magic(word):
        collect_images([word])
        _require_pictures(_matches(path), path)
    elif not os.path.lexists(path):
        raise _missing(path)


def _require_pictures(found: Iterable[Path], pattern: Path) -> None:
    for each in found:
        if os.path.isfile(each) and not _is_picture(each):
            raise TagboxError(
                "no-run",
                f"it names {each}, which is no image",
                file=pattern,
                hint="end the pattern as the images do, such as 'photos/*.jpg'",
            )


def _annotations(folder: Path) -> Path | None:
    """The annotations that make a folder of images a dataset; folders in it may be albums as well as categories."""
    from tagbox.data.folder_layouts import names_images
    from tagbox.data.recognise import find_names, find_source, find_yaml

    try:
        format, source = find_source(folder)
    except TagboxError as error:
        return folder if error.code == "format-ambiguous" else None
    if format == "yolo":
        # They may be above a folder of images, which is then one.
        found = find_yaml(folder) or find_names(folder)
        return found if found is not None and folder in found.parents else None
    if format == "csv" and source != folder and not names_images(source, list_images(folder)):
        return None
    return None if format == "folders" else source
