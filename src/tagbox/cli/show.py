"""`tagbox show`: a grid of pictures with their labels and boxes."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tagbox.cli.console import print_json, progress_bar, say, say_error
from tagbox.config import DataConfig, Geometry, require
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from tagbox.data.dataset import Dataset
    from tagbox.images.draw import Box

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_CELL = 400


def show(
    data: Path,
    /,
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),  # noqa: B008
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
    json: bool = False,
) -> int:
    """Draw a grid of pictures with their labels and boxes, and print the file's path.

    The pictures are a seeded sample, never the first ones. One that cannot be read keeps its place
    in the grid, is named on stderr, and makes the exit code 1.

    Parameters
    ----------
    data
        A dataset: COCO JSON, challenge folder, labels JSON, CSV, YOLO or labelme folder, a folder a class.
    out
        PNG, JPEG or WebP file to write.
    count
        Pictures to draw.
    seed
        Decides which.
    category
        Only pictures with this category.
    boxes
        Draw the boxes, where there are any.
    network
        Show the square that a network sees, or the raw picture.
    size
        Side of that square in pixels.
    geometry
        How a picture becomes that square.
    columns
        Pictures a row.
    json
        Print the file and the pictures in it as one JSON object.
    """
    import numpy as np

    from tagbox.data.load import describe, load_dataset
    from tagbox.data.locate import require_images
    from tagbox.files import atomic_path
    from tagbox.images.draw import grid

    for name, value in (("count", count), ("size", size), ("columns", columns)):
        require(value >= 1, name, value, "at least 1")
    require(out.suffix.lower() in _SUFFIXES, "out", str(out), f"a {', '.join(_SUFFIXES)} file")
    dataset = load_dataset(data, source)
    say(describe(dataset))
    require_images(dataset)
    rows = _candidates(dataset, category, data)
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(rows, min(count, len(rows)), replace=False))
    pictures, failed = [], 0
    with progress_bar("drawing", len(chosen)) as advance:
        for row in chosen.tolist():
            try:
                pictures.append(_draw(dataset, row, boxes, size if network else None, geometry))
            except TagboxError as error:
                say_error(error)
                failed += 1
                pictures.append(_unreadable(dataset, row))
            advance()
    title = f"{data.name}: {len(chosen)} of {len(rows):,} pictures"
    title += f" with {category}" if category else ""
    title += f", {geometry} to {size}x{size}" if network else ""
    sheet = grid(pictures, columns, title=f"{title}, seed {seed}")
    with atomic_path(out) as temporary:
        sheet.save(temporary, {".png": "PNG", ".webp": "WEBP"}.get(out.suffix.lower(), "JPEG"))
    if json:
        print_json({"file": str(out), "images": dataset.images.files[chosen].tolist()})
    else:
        print(out)
    return int(failed > 0)


def _candidates(dataset: Dataset, category: str | None, data: Path) -> NDArray[np.intp]:
    """Rows of the pictures to sample from."""
    import numpy as np

    if category is None:
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
            f"no picture with {category!r}" if category else "there is no picture in it",
            file=data,
            hint="choose another category" if category else "give a dataset with images",
        )
    return rows


def _draw(
    dataset: Dataset, row: int, with_boxes: bool, size: int | None, geometry: Geometry
) -> Image:
    import numpy as np

    from tagbox.images.decode import read_image
    from tagbox.images.draw import annotate
    from tagbox.images.geometry import placement, to_square

    image = read_image(dataset.images.path(row))
    height, width = image.shape[:2]
    boxes: list[Box] = []
    if with_boxes:
        at = dataset.annotations
        here = np.flatnonzero((at.image_rows == row) & at.has_box)
        names = dataset.categories.names
        boxes = [(names[at.category_rows[i]], tuple(at.boxes[i].tolist())) for i in here]
    if size is not None:
        place = placement(width, height, size, geometry)
        image = to_square(image, size, geometry)
        moved = []
        for name, (x, y, w, h) in boxes:
            (left, top), (right, bottom) = np.clip(
                place.to_square(np.array([[x, y], [x + w, y + h]])), 0, size
            ).tolist()
            if right > left and bottom > top:
                moved.append((name, (left, top, right - left, bottom - top)))
        boxes = moved
    truth = None
    if dataset.images.labelled[row]:
        truth = [dataset.categories.names[k] for k in np.flatnonzero(dataset.labels[row] == 1)]
    title = f"{Path(str(dataset.images.files[row])).name}   {width}x{height}"
    title += "" if truth is not None else "   no labels given"
    return annotate(image, truth=truth, boxes=boxes, title=title, width=_CELL, max_height=_CELL)


def _unreadable(dataset: Dataset, row: int) -> Image:
    import numpy as np

    from tagbox.images.draw import annotate

    name = Path(str(dataset.images.files[row])).name
    blank = np.full((_CELL * 3 // 4, _CELL, 3), 205, np.uint8)
    return annotate(blank, title=f"{name}   cannot be read", width=_CELL)
