"""Detector outputs: JSON, CSV and COCO results files, and images drawn with predicted and true boxes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_path
from tagbox.data.dataset import Annotations, Categories, Dataset, Images, memory_source
from tagbox.data.text import near, some
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image
from tagbox.images.draw import DrawnBox, image_with_boxes
from tagbox.inference.classifier_outputs import jpeg_names
from tagbox.inference.detector import DetectorOutput
from tagbox.predictions.coco_results import encode_results
from tagbox.predictions.predictions import Detections
from tagbox.predictions.thresholds import ScoreThresholds

FORMAT = "tagbox-detections"
BOX_COLUMNS = ("category", "score", "x", "y", "w", "h")
_INT64 = 2**63
T = TypeVar("T")


def encode_boxes_json(
    outputs: DetectorOutput, cuts: ScoreThresholds, decimals: int | None
) -> bytes:
    """The boxes that are said, a line for each picture that could be read, those without a box among them.

    Parameters
    ----------
    cuts
        From which score on a box is said; they stand in the file too.
    decimals
        Of boxes and scores; None gives every digit.
    """
    said = rounded(outputs.detections.take(cuts.decide(outputs.detections)), decimals)
    found: dict[int, list[dict[str, Any]]] = {
        row: [] for row in np.flatnonzero(outputs.ok).tolist()
    }
    for row, entry in zip(said.image_rows.tolist(), plain_boxes(said), strict=True):
        found[row].append(entry)
    images = [
        {
            "image": said.images[row],
            "width": int(outputs.sizes[row, 0]),
            "height": int(outputs.sizes[row, 1]),
            "objects": entries,
        }
        for row, entries in found.items()
    ]
    return b"".join(json_parts(head_of(said.categories, cuts), "images", images))


def encode_boxes_csv(outputs: DetectorOutput, cuts: ScoreThresholds, decimals: int | None) -> bytes:
    """The boxes that are said, a line each: ``image,category,score,x,y,w,h``."""
    said = rounded(outputs.detections.take(cuts.decide(outputs.detections)), decimals)
    rows = (
        (said.images[row], *csv_cells(entry))
        for row, entry in zip(said.image_rows.tolist(), plain_boxes(said), strict=True)
    )
    return b"".join(csv_parts(("image", *BOX_COLUMNS), rows))


@dataclass(frozen=True, eq=False)
class CocoTarget:
    """Whose ids COCO results have.

    Attributes
    ----------
    dataset
        Its image and category ids are written.
    image_rows, category_rows
        Its row of each picture and of each of the detector's categories; int32.
    """

    dataset: Dataset
    image_rows: NDArray[np.int32]
    category_rows: NDArray[np.int32]


def coco_target(
    paths: Sequence[Path], categories: Categories, truth: Dataset | None = None
) -> CocoTarget:
    """The ids of pictures and categories.

    Parameters
    ----------
    paths
        Of the pictures.
    categories
        Of the detector; their original ids are written unless `truth` has ids of its own.
    truth
        Whose ids are written, pictures found by path or stem, categories by name. Without it the pictures'
        names must be their ids (``000000000139.jpg``).

    Raises
    ------
    TagboxError
        ``image-id-unknown`` for a name that is no id, ``duplicate-stem``; with `truth` ``unknown-image``,
        ``duplicate-image``, ``unknown-category``.
    """
    if truth is None:
        image_rows = np.arange(len(paths), dtype=np.int32)
        own = np.arange(len(categories), dtype=np.int32)
        return CocoTarget(_numbered(paths, categories), image_rows, own)
    row_of = image_rows_of(paths, truth)
    unknown = [path for path, row in zip(paths, row_of, strict=True) if row is None]
    if unknown:
        raise _wrong_truth(
            "unknown-image",
            f"{len(unknown)} of {len(paths)} pictures are not in it, the first is {unknown[0]}",
            truth,
            "give the dataset that holds these pictures",
        )
    twice = _twice(row_of)
    if twice is not None:
        one, other, *_ = (p for p, row in zip(paths, row_of, strict=True) if row == twice)
        found = f"{one} and {other} are the same image of it"
        raise _wrong_truth("duplicate-image", found, truth, "give each picture once")
    names = truth.categories.names
    missing = next((name for name in categories.names if name not in names), None)
    if missing is not None:
        raise _wrong_truth(
            "unknown-category",
            f"the dataset has no category {missing!r}, which the detector knows",
            truth,
            near(missing, names, noun="categories"),
        )
    rows = np.array([names.index(name) for name in categories.names], np.int32)
    return CocoTarget(truth, np.array(row_of, np.int32), rows)


def encode_coco(outputs: DetectorOutput, target: CocoTarget, decimals: int | None) -> bytes:
    """COCO results with all boxes of `outputs`, whatever the score cuts: AP wants them.

    Raises
    ------
    TagboxError
        ``not-finite``.
    """
    found = outputs.detections
    laid = replace(
        found,
        images=tuple(map(str, target.dataset.images.ids.tolist())),
        categories=target.dataset.categories.names,
        image_rows=target.image_rows[found.image_rows],
        category_rows=target.category_rows[found.category_rows],
    )
    return encode_results(laid, target.dataset, decimals=decimals)


def image_rows_of(paths: Sequence[Path], dataset: Dataset) -> list[int | None]:
    """The dataset's row of each picture: by path, else by a stem that no other has; None where there is none."""
    by_path = {dataset.images.path(row).resolve(): row for row in range(len(dataset))}
    by_stem: dict[str, int | None] = {}
    for row, stem in enumerate(dataset.images.stems.tolist()):
        by_stem[stem] = None if stem in by_stem else row
    return [by_path.get(path.resolve(), by_stem.get(path.stem)) for path in paths]


def rounded(detections: Detections, decimals: int | None) -> Detections:
    """Boxes and scores with so many decimals; None leaves them."""
    if decimals is None:
        return detections
    return replace(
        detections,
        boxes=np.round(detections.boxes, decimals),
        scores=np.round(detections.scores, decimals),
    )


def plain_boxes(said: Detections) -> list[dict[str, Any]]:
    """Name, score and box (xywh) of each detection, as plain values."""
    return [
        {"name": said.categories[k], "score": score, "box": box}
        for k, score, box in zip(
            said.category_rows.tolist(), said.scores.tolist(), said.boxes.tolist(), strict=True
        )
    ]


def head_of(categories: Sequence[str], cuts: ScoreThresholds) -> dict[str, Any]:
    """What every JSON file of boxes begins with."""
    return {
        "format": FORMAT,
        "version": 1,
        "categories": list(categories),
        "cuts": cuts.to_dict(),
    }


def json_parts(
    head: Mapping[str, Any], name: str, items: Iterable[Mapping[str, Any]]
) -> Iterable[bytes]:
    """The bytes of a JSON object: `head`, and the list `name` with an item a line."""
    yield msgspec.json.encode(head).removesuffix(b"}") + b',"' + name.encode() + b'":[\n'
    between = b""
    for item in items:
        yield between + msgspec.json.encode(item)
        between = b",\n"
    yield b"\n]}\n"


def csv_parts(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[bytes]:
    """The bytes of a CSV file."""
    for row in (header, *rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row)
        yield text.getvalue().encode()


def csv_cells(entry: Mapping[str, Any]) -> tuple[object, ...]:
    """The cells under `BOX_COLUMNS`; a float's `repr` reads back as the same float."""
    return (entry["name"], repr(entry["score"]), *map(repr, entry["box"]))


def _numbered(paths: Sequence[Path], categories: Categories) -> Dataset:
    """A dataset without annotations whose image ids are the pictures' names."""
    stems = [path.stem for path in paths]
    bad = [s for s in stems if not (s.isascii() and s.isdigit() and int(s) < _INT64)]
    if bad:
        raise TagboxError(
            "image-id-unknown",
            f"COCO results name pictures by id, and {len(bad)} names are no ids: "
            f"{some([repr(name) for name in bad], 3)}",
            hint="pass --truth with the dataset that gives their ids, or use --format json",
        )
    ids = [int(stem) for stem in stems]
    twice = _twice(ids)
    if twice is not None:
        raise TagboxError(
            "duplicate-stem",
            f"the id {twice} is that of several pictures",
            hint="predict one folder at a time, or pass --truth with the dataset that gives their ids",
        )
    count = len(paths)
    nothing = np.zeros(0, np.int32)
    return Dataset(
        images=Images(
            ids=np.array(ids, np.int64),
            files=np.array([str(path) for path in paths], np.str_),
            widths=np.zeros(count, np.int32),
            heights=np.zeros(count, np.int32),
            labelled=np.zeros(count, np.bool_),
            root=Path(),
        ),
        categories=categories,
        annotations=Annotations.from_labels(nothing, nothing),
        source=memory_source(count, 0),
    )


def _wrong_truth(code: str, found: str, truth: Dataset, hint: str) -> TagboxError:
    return TagboxError(code, found, file=truth.source.path, where="--truth", hint=hint)


def _twice(values: Sequence[T]) -> T | None:
    """A value that stands twice."""
    (value, count), *_ = [*Counter(values).most_common(1), (None, 0)]
    return value if count > 1 else None


def save_box_pictures(
    folder: Path,
    paths: Sequence[Path],
    outputs: DetectorOutput,
    cuts: ScoreThresholds,
    *,
    truth: Dataset | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Write each readable picture with its boxes as a JPEG into `folder`, in its own size.

    Parameters
    ----------
    cuts
        From which score on a box is said.
    truth
        Whose boxes are drawn dashed, on the pictures that it has.

    Raises
    ------
    TagboxError
        ``cannot-write``.
    """
    said = outputs.detections.take(cuts.decide(outputs.detections))
    names = said.categories
    marks: list[list[DrawnBox]] = [[] for _ in paths]
    for row, k, box, score in zip(
        said.image_rows, said.category_rows, said.boxes.tolist(), said.scores.tolist(), strict=True
    ):
        marks[row].append(DrawnBox(name=names[k], box=tuple(box), score=score))
    known = [None] * len(paths) if truth is None else image_rows_of(paths, truth)
    for row, (path, file) in enumerate(zip(paths, jpeg_names(paths), strict=True)):
        progress(1)
        if not outputs.ok[row]:
            continue
        at = known[row]
        true = [] if truth is None or at is None else true_marks(truth, at)
        drawn = image_with_boxes(read_image(path), [*true, *marks[row]])
        with atomic_path(folder / file) as temporary:
            drawn.save(temporary, format="JPEG", quality=90)


def true_marks(dataset: Dataset, row: int) -> list[DrawnBox]:
    """The annotated boxes of an image, to be drawn."""
    annotations, names = dataset.annotations, dataset.categories.names
    here = np.flatnonzero((annotations.image_rows == row) & annotations.has_box)
    return [
        DrawnBox(
            name=names[annotations.category_rows[at]],
            box=tuple(annotations.boxes[at].tolist()),
            truth=True,
        )
        for at in here
    ]
