"""`tagbox show`: a grid of images with their labels and boxes."""

from __future__ import annotations

import difflib
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from tagbox.cli.console import print_json, print_line, progress_bar, say, say_error
from tagbox.config import AugmentConfig, BoxAugmentConfig, Config, DataConfig, Geometry, require
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tagbox.data.dataset import Dataset
    from tagbox.images.captions import LabelOutcome

Task = Literal["classifier", "detector"]
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def show(
    data: Path,
    /,
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    *,
    out: Path = Path("show.png"),
    count: int = 12,
    seed: int = 0,
    category: str | None = None,
    boxes: bool = True,
    network: Annotated[bool, Parameter(negative="--raw")] = False,
    size: int = 384,
    geometry: Geometry = "squash",
    columns: int = 4,
    augmented: bool = False,
    task: Task = "classifier",
    epoch: int = 0,
    augment: AugmentConfig = AugmentConfig(),
    box_augment: BoxAugmentConfig = BoxAugmentConfig(),
    json: bool = False,
) -> int:
    """Draw a grid of images with their labels and boxes, and print the file's path.

    The images are a seeded sample of the labelled ones, or of all where none is labelled. An image that cannot be read keeps its cell in the grid and is reported
    on stderr; the exit code is then 1.

    Parameters
    ----------
    data
        Dataset: COCO JSON, challenge folder, labels JSON, CSV, YOLO, labelme or Pascal VOC folder, or one folder per class.
    out
        PNG, JPEG or WebP file to write.
    count
        Number of images.
    seed
        Random seed of the sample and of the augmentation.
    category
        Sample only images with this category.
    boxes
        Draw the boxes; images augmented for a classifier have labels only.
    network
        Show the square input of a network, or the original image.
    size
        Side of the square input in pixels; for a detector the longest side of an image.
    geometry
        How an image becomes a square: squash, pad, or centre crop.
    columns
        Images per row.
    augmented
        Show the input as augmented in training, with the labels that remain, became unknown (?) or were
        dropped (struck out). Requires the train extra.
    task
        Kind of model to augment for. A detector's augmentation keeps proportions and transforms the boxes;
        regions to ignore are hatched. Its settings are --augment.NAME, as in `tagbox train detector`, or
        --box-augment.NAME.
    epoch
        Epoch of training whose augmentation is shown.
    json
        Print the file, its images and, with --augmented, their labels or boxes as one JSON object.
    """
    import numpy as np

    from tagbox.atomic_io import atomic_path
    from tagbox.cli.cells import raw_cells
    from tagbox.data.image_files import require_images
    from tagbox.data.load import describe, load_dataset
    from tagbox.data.record_pixels import record_pixels
    from tagbox.images.draw import grid
    from tagbox.paths import paths_in, refuse_input

    _check(count, size, columns, seed, epoch, out)
    if not augmented:
        _require_augmented(epoch, task, augment, box_augment)
    _require_task(task, geometry, augment, box_augment)
    dataset = load_dataset(data, source)
    say(describe(dataset))
    require_images(dataset)
    refuse_input(out, [*dataset.input_files(), *paths_in(source)], flag="--out")
    rows = _candidates(dataset, category, data)
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(rows, min(count, len(rows)), replace=False))
    title = f"{data.name}: {len(chosen)} of {len(rows):,} images"
    title += f" with {category}" if category else ""
    if (network or augmented) and task == "classifier":
        title += f", {geometry} to {size}x{size}"
    legend: Sequence[LabelOutcome] = ()
    with progress_bar("drawing", len(chosen)) as advance:
        if augmented and task == "detector":
            from tagbox.cli.augmented import augmented_box_cells

            title += f", at most {size} pixels, augmented for a detector, epoch {epoch}"
            cells, messages = augmented_box_cells(
                dataset,
                chosen.tolist(),
                box_augment,
                size,
                seed=seed,
                epoch=epoch,
                progress=advance,
            )
            for message in messages:
                say(message)
        elif augmented:
            from tagbox.cli.augmented import LEGEND, augmented_cells
            from tagbox.config.augment import resolve_crop
            from tagbox.training.augment import Augment

            crop = resolve_crop(augment.crop, bool(dataset.annotations.has_box.any()))
            title, legend = f"{title}, augmented (crop: {crop}), epoch {epoch}", LEGEND
            transform = Augment(augment, size, geometry, seed=seed, crop=crop)
            pixels = record_pixels(dataset)
            cells = augmented_cells(pixels, chosen.tolist(), transform, epoch, progress=advance)
        else:
            pixels = record_pixels(dataset)
            for note in pixels.take(chosen).notes if boxes else ():
                say(note)
            cells = raw_cells(
                pixels,
                chosen.tolist(),
                boxes=boxes,
                size=size if network else None,
                geometry=geometry,
                progress=advance,
            )
    errors = [cell.error for cell in cells if cell.error is not None]
    for error in errors:
        say_error(error)
    images = [cell.drawn for cell in cells]
    sheet = grid(images, columns, title=f"{title}, seed {seed}", legend=legend)
    with atomic_path(out) as temporary:
        sheet.save(temporary, {".png": "PNG", ".webp": "WEBP"}.get(out.suffix.lower(), "JPEG"))
    if json:
        result = {"file": str(out), "images": dataset.images.files[chosen].tolist()}
        if augmented:
            result["labels"] = [cell.labels for cell in cells]
        print_json(result)
    else:
        print_line(str(out))
    return int(bool(errors))


def as_in_training(words: Sequence[str]) -> list[str]:
    """The command line with ``--augment.NAME`` of a detector, as `tagbox train detector` has it, for ``--box-augment.NAME``."""
    detector = "--task=detector" in words or ("--task", "detector") in pairwise(words)
    if not detector:
        return [*words]
    names = [name.replace("_", "-") for name in BoxAugmentConfig().to_dict()]
    own = re.compile(rf"--augment\.(no-)?({'|'.join(names)})(=|$)")
    return [f"--box-augment{w.removeprefix('--augment')}" if own.match(w) else w for w in words]


def _check(count: int, size: int, columns: int, seed: int, epoch: int, out: Path) -> None:
    for name, value in (("count", count), ("size", size), ("columns", columns)):
        require(value >= 1, name, value, "at least 1")
    for name, value in (("seed", seed), ("epoch", epoch)):
        require(value >= 0, name, value, "at least 0")
    require(out.suffix.lower() in _SUFFIXES, "out", str(out), f"a {', '.join(_SUFFIXES)} file")


def _require_augmented(
    epoch: int, task: Task, augment: AugmentConfig, box_augment: BoxAugmentConfig
) -> None:
    """Refuse the flags that only ``--augmented`` reads."""
    given = ["epoch"] if epoch else []
    given += ["task"] if task != "classifier" else []
    given += [*_changed("augment", augment), *_changed("box-augment", box_augment)]
    if given:
        raise TagboxError(
            "option-alone",
            "it concerns augmented images, and --augmented is not given",
            where=f"--{given[0]}",
            hint="add --augmented",
        )


def _require_task(
    task: Task, geometry: Geometry, augment: AugmentConfig, box_augment: BoxAugmentConfig
) -> None:
    """Refuse the flags that only the other task reads."""
    if task == "detector":
        given = [] if geometry == "squash" else ["geometry"]
        given += _changed("augment", augment)
        hint = "leave it out; a detector's augmentation is --box-augment"
    else:
        given, hint = _changed("box-augment", box_augment), "add --task detector"
    if given:
        raise TagboxError(
            "option-alone", f"a {task} does not use it", where=f"--{given[0]}", hint=hint
        )


def _changed(prefix: str, config: Config) -> list[str]:
    """The flags of the settings that differ from their defaults."""
    default = type(config)()
    names = [name for name in config.to_dict() if getattr(config, name) != getattr(default, name)]
    return [f"{prefix}.{name}".replace("_", "-") for name in names]


def _candidates(dataset: Dataset, category: str | None, data: Path) -> NDArray[np.intp]:
    """Rows of the images to sample from."""
    import numpy as np

    if category is None:
        rows = np.flatnonzero(dataset.images.labelled)
        if 0 < len(rows) < len(dataset):
            say(f"without given labels, and left out: {len(dataset) - len(rows):,} images")
        if not len(rows):
            rows = np.arange(len(dataset))
    elif category in dataset.categories.names:
        rows = np.flatnonzero(dataset.labels[:, dataset.categories.names.index(category)] == 1)
    else:
        near = difflib.get_close_matches(category, dataset.categories.names, 3, 0.5)
        known = ", ".join(near or dataset.categories.names[:10])
        raise TagboxError(
            "unknown-category",
            f"there is no category {category!r}",
            file=data,
            hint=f"{'did you mean' if near else 'the categories are'} {known}",
        )
    if not len(rows):
        raise TagboxError(
            "no-images",
            f"no image with {category!r}" if category else "there is no image in it",
            file=data,
            hint="choose another category" if category else "give a dataset with images",
        )
    return rows
