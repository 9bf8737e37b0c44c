"""Writing generated scenes to disk as a COCO dataset or a challenge folder."""

from __future__ import annotations

import math
import multiprocessing
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tagbox.atomic_io import cannot_write
from tagbox.config import SynthConfig, require
from tagbox.data.synthetic.scene import (
    COVERED_BELOW,
    SMALL_AREA,
    SPEC_VERSION,
    SceneObject,
    make_scene,
)
from tagbox.data.synthetic.shapes import Shape, shapes
from tagbox.data.text import near
from tagbox.errors import TagboxError
from tagbox.files import open_file
from tagbox.interrupts import end_with_parent, starting_processes
from tagbox.output_folder import atomic_folder

PARTS = ("train", "val", "test")
_FIRST_ID = {"train": 1, "val": 100_000_001, "test": 200_000_001}
_CHUNK = 16  # Images a job: a worker writes the images and returns their objects.
_JPEG = {"quality": 90, "subsampling": 2}


@dataclass(frozen=True)
class Generated:
    """What was written.

    Attributes
    ----------
    folder
        The folder that was made.
    parts
        The path of each part as a dataset: a COCO JSON; or a challenge folder, and for its unlabelled
        test images the JSON file of their labels.
    images, objects
        How many there are, over all parts.
    small, covered
        Share of the objects that are small (`SMALL_AREA`) and partly covered (`COVERED_BELOW`).
    """

    folder: Path
    parts: dict[str, Path]
    images: int
    objects: int
    small: float
    covered: float


def generate(
    out: Path,
    config: SynthConfig | None = None,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Generated:
    """Write a generated dataset to the folder `out`, whole or not at all.

    Parameters
    ----------
    out
        Folder to make; refused when it exists and is not empty, unless `overwrite`.
    config
        How many images, their size, the seed and the format.
    workers
        Processes. With more than one a script needs the ``if __name__ == "__main__"`` guard that
        `multiprocessing` asks for; the bytes written do not depend on it.
    progress
        Called with the number of images just written.

    Raises
    ------
    TagboxError
        ``exists``, ``cannot-write``, ``config-value`` for less than one worker, or ``unknown-category``.
    """
    config = config or SynthConfig()
    drawn_rows(config.categories)
    require(workers >= 1, "workers", workers, "at least 1")
    counts = {"train": config.images, "val": config.val, "test": config.test}
    truth: dict[str, list[tuple[SceneObject, ...]]] = {}
    with atomic_folder(out, overwrite=overwrite, command="synth", made=_made_earlier) as folder:
        jobs = [
            _Job(config, folder, part, range(start, min(start + _CHUNK, count)))
            for part, count in counts.items()
            for start in range(0, count, _CHUNK)
        ]
        for part, count in counts.items():
            if count:
                _picture_folder(folder, config, part).mkdir(parents=True)
        workers = max(1, min(workers, math.ceil(sum(counts.values()) / (4 * _CHUNK))))
        for job, objects in zip(jobs, _run(jobs, workers), strict=True):
            truth.setdefault(job.part, []).extend(objects)
            if progress is not None:
                progress(len(objects))
        write = _write_coco if config.format == "coco" else _write_cls
        relative = {part: write(folder, part, objects, config) for part, objects in truth.items()}
    drawn = [o for scenes in truth.values() for scene in scenes for o in scene]
    small = SMALL_AREA * config.width * config.height
    return Generated(
        folder=out,
        parts={part: out / path for part, path in relative.items()},
        images=sum(counts.values()),
        objects=len(drawn),
        small=sum(o.area < small for o in drawn) / max(1, len(drawn)),
        covered=sum(o.visible < COVERED_BELOW for o in drawn) / max(1, len(drawn)),
    )


@dataclass(frozen=True)
class _Job:
    """Some images of one part of the dataset that is written to `folder`."""

    config: SynthConfig
    folder: Path
    part: str
    indices: range


def _run(jobs: list[_Job], workers: int) -> Iterator[list[tuple[SceneObject, ...]]]:
    if workers == 1:
        yield from map(_paint, jobs)
        return
    # Spawned, not forked: the caller may have started threads (torch does).
    context = multiprocessing.get_context("spawn")
    pool = None
    try:
        with starting_processes():
            pool = ProcessPoolExecutor(
                workers, mp_context=context, initializer=end_with_parent, initargs=(os.getpid(),)
            )
            painted = pool.map(_paint, jobs)
        yield from painted
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _paint(job: _Job) -> list[tuple[SceneObject, ...]]:
    """Paint and write the images of a job; returns the objects of each. Runs in a worker process."""
    config, folder = job.config, _picture_folder(job.folder, job.config, job.part)
    result = []
    for index in job.indices:
        part = PARTS.index(job.part)
        rows = drawn_rows(config.categories)
        scene = make_scene(config.seed, part, index, config.width, config.height, rows)
        path = folder / f"{_stem(job.part, index)}.jpg"
        try:
            scene.picture.save(path, "JPEG", **_JPEG)
        except OSError as error:
            raise cannot_write(path, error) from error
        result.append(scene.objects)
    return result


def drawn_rows(names: Sequence[str]) -> list[int]:
    """Rows in `shapes()` of the categories called `names`, the most frequent first; of all without a name.

    Raises
    ------
    TagboxError
        ``unknown-category``, with near names.
    """
    known = [shape.name for shape in shapes()]
    for name in names:
        if name not in known:
            raise TagboxError(
                "unknown-category",
                f"no drawn object is called {name!r}",
                where="--categories",
                hint=near(name, known, noun="objects"),
            )
    return [row for row, name in enumerate(known) if not names or name in names]


def _drawn_shapes(config: SynthConfig) -> dict[int, tuple[int, Shape]]:
    """Row in `shapes()` to index in the dataset and shape, of the categories of the dataset."""
    rows = drawn_rows(config.categories)
    return {row: (index, shapes()[row]) for index, row in enumerate(rows)}


def _made_earlier(folder: Path) -> Callable[[str], bool] | None:
    """Which files of a folder without a mark an earlier version generated; None for other folders."""
    pictures = r"\d{12}\.jpg"
    if any(_is_generated(path) for path in (folder / "annotations").glob("instances_*.json")):
        kinds = rf"annotations/instances_({'|'.join(PARTS)})\.json|({'|'.join(PARTS)})/{pictures}"
    elif _begins(folder / "classes.txt", "".join(f"{shape.name}\n" for shape in shapes())):
        within = (
            rf"classes\.txt|labels/(train|val)/\d{{12}}\.cls|images/({'|'.join(PARTS)})/{pictures}"
        )
        kinds = rf"test_labels\.json|(val/)?({within})"
    else:
        return None
    return lambda name: re.fullmatch(kinds, name) is not None


def _is_generated(path: Path) -> bool:
    return _begins(path, '{"info":{"description":"tagbox generated scenes')


def _begins(path: Path, text: str) -> bool:
    try:
        with open_file(path) as opened:
            return opened.read(len(text)) == text.encode()
    except OSError:
        return False


def _stem(part: str, index: int) -> str:
    return f"{_FIRST_ID[part] + index:012d}"


def _picture_folder(folder: Path, config: SynthConfig, part: str) -> Path:
    if config.format == "coco":
        return folder / part
    return folder / _challenge_folder(part) / "images" / part


def _challenge_folder(part: str) -> Path:
    """Validation is a challenge folder of its own, since a reader takes all labels of one."""
    return Path("val") if part == "val" else Path()


def _write_coco(
    folder: Path, part: str, scenes: list[tuple[SceneObject, ...]], config: SynthConfig
) -> Path:
    """Write a part's instances JSON; returns its path relative to `folder`."""
    objects = [(index, drawn) for index, scene in enumerate(scenes) for drawn in scene]
    categories = _drawn_shapes(config)
    description = f"tagbox generated scenes, spec v{SPEC_VERSION}, seed {config.seed}, {part}"
    document = {
        "info": {"description": description, "version": str(SPEC_VERSION)},
        "licenses": [],
        "images": [
            {
                "id": _FIRST_ID[part] + index,
                "file_name": f"{_stem(part, index)}.jpg",
                "width": config.width,
                "height": config.height,
            }
            for index in range(len(scenes))
        ],
        "categories": [
            {"id": row + 1, "name": shape.name, "supercategory": shape.supercategory}
            for row, shape in categories.values()
        ],
        "annotations": [
            {
                "id": number,
                "image_id": _FIRST_ID[part] + index,
                "category_id": categories[drawn.category][0] + 1,
                "bbox": drawn.box,
                "area": drawn.area,
                "iscrowd": 0,
                "segmentation": [],
                "visible": round(drawn.visible, 4),
            }
            for number, (index, drawn) in enumerate(objects, 1)
        ],
    }
    path = Path("annotations") / f"instances_{part}.json"
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_bytes(msgspec.json.encode(document))
    return path


def _write_cls(
    folder: Path, part: str, scenes: list[tuple[SceneObject, ...]], config: SynthConfig
) -> Path:
    """Write a part's labels: `.cls` files, but one JSON of the truth for the unlabelled test part."""
    relative = _challenge_folder(part)
    categories = _drawn_shapes(config)
    names = "".join(f"{shape.name}\n" for _, shape in categories.values())
    (folder / relative / "classes.txt").write_text(names)
    rows = {
        _stem(part, index): sorted({categories[drawn.category][0] for drawn in scene})
        for index, scene in enumerate(scenes)
    }
    if part == "test":
        path = relative / "test_labels.json"
        (folder / path).write_bytes(msgspec.json.encode(rows))
        return path
    labels = folder / relative / "labels" / part
    labels.mkdir(parents=True)
    for stem, present in rows.items():
        (labels / f"{stem}.cls").write_text("".join(f"{row}\n" for row in present))
    return relative
