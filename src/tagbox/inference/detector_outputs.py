"""A detector's predictions as JSON, CSV and COCO results files, and as images drawn with their boxes."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Annotations, Categories, Dataset, Images, memory_source
from tagbox.data.record_pixels import RecordPixels, resolve
from tagbox.data.text import near, some
from tagbox.errors import TagboxError
from tagbox.images.box_drawing import DrawnBox, category_colours, image_with_boxes
from tagbox.images.decode import read_image
from tagbox.images.drawn_files import save_jpegs
from tagbox.images.header import UNKNOWN, read_header
from tagbox.inference.box_results import DetectorOutput, counted
from tagbox.predictions.coco_results import encode_results, image_keys
from tagbox.predictions.files import require_csv_names
from tagbox.predictions.predictions import Detections
from tagbox.predictions.thresholds import ScoreThresholds
from tagbox.text_output import encode_json, encode_text

FORMAT = "tagbox-detections"
BOX_COLUMNS = ("category", "score", "x", "y", "w", "h")
_INT64 = 2**63
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class CocoTarget:
    """Whose ids COCO results have.

    Attributes
    ----------
    dataset
        Its image and category ids are written.
    image_rows, category_rows
        Its row of each image and of each of the detector's categories; int32.
    """

    dataset: Dataset
    image_rows: NDArray[np.int32]
    category_rows: NDArray[np.int32]


def coco_target(
    paths: Sequence[Path], categories: Categories, truth: Dataset | None = None
) -> CocoTarget:
    """The ids of images and categories.

    Parameters
    ----------
    paths
        Of the images.
    categories
        Of the detector; their original ids are written unless `truth` has ids of its own.
    truth
        Whose ids are written, images found by path or stem, categories by name. Without it the images'
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
            f"{len(unknown)} of {len(paths)} images are not in it, the first is {unknown[0]}",
            truth,
            "give the dataset that holds these images",
        )
    twice = _twice(row_of)
    if twice is not None:
        one, other, *_ = (p for p, row in zip(paths, row_of, strict=True) if row == twice)
        found = f"{one} and {other} are the same image of it"
        raise _wrong_truth("duplicate-image", found, truth, "give each image once")
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


def truth_pixels(paths: Sequence[Path], truth: Dataset) -> RecordPixels:
    """The pixels of a dataset's records in the images `paths`, found as `coco_target` finds them.

    Raises
    ------
    TagboxError
        ``size-mismatch`` where a record contradicts an image.
    """
    headers = [UNKNOWN] * len(truth)
    for path, row in zip(paths, image_rows_of(paths, truth), strict=True):
        if row is not None:
            headers[row] = read_header(path)
    pixels = resolve(truth, headers)
    pixels.require()
    return pixels


@dataclass(frozen=True, eq=False, kw_only=True)
class BoxPredictions:
    """The boxes that a detector predicts in image files.

    Attributes
    ----------
    paths
        Of the images.
    outputs
        The detector's output.
    thresholds
        Score thresholds of the predicted boxes; also written to JSON.
    decimals
        Of boxes and scores in files; None writes every digit.
    target
        Whose ids COCO results have.
    truth
        `truth_pixels`: whose boxes are drawn dashed, and in pixels of whose records COCO results are.
    model
        What the model is and was trained on, where it was not trained by the user; also written to JSON.
    """

    paths: Sequence[Path]
    outputs: DetectorOutput
    thresholds: ScoreThresholds
    decimals: int | None = None
    target: CocoTarget | None = None
    truth: RecordPixels | None = None
    model: str | None = None

    def table(self) -> list[list[str]]:
        """Path and objects (``cat 93%``, ``3 dog 93% to 51%``) of each image that could be read."""
        predicted = self._predicted()
        rows = np.flatnonzero(self.outputs.ok).tolist()
        scores: dict[int, dict[str, list[float]]] = {row: {} for row in rows}
        for row, k, score in zip(
            predicted.image_rows.tolist(),
            predicted.category_rows.tolist(),
            predicted.scores.tolist(),
            strict=True,
        ):
            scores[row].setdefault(predicted.categories[k], []).append(score)
        return [
            [str(self.paths[row]), ", ".join(map(counted, names, names.values())) or "nothing"]
            for row, names in scores.items()
        ]

    def encode(self, format: str) -> bytes:
        """The predicted boxes as ``json``, ``csv`` or ``coco``.

        JSON has a line for each image that could be read, CSV (``image,category,score,x,y,w,h``) and COCO results
        one for each box. COCO results hold the boxes of any score: average precision needs them.

        Raises
        ------
        TagboxError
            ``not-finite``; ``name-unwritable`` for a name that a CSV file would change.
        """
        if format == "coco":
            assert self.target is not None
            return _encode_coco(self.outputs.detections, self.target, self.truth, self.decimals)
        predicted = self._predicted()
        if self.decimals is not None:
            predicted = replace(
                predicted,
                boxes=np.round(predicted.boxes, self.decimals),
                scores=np.round(predicted.scores, self.decimals),
            )
        objects = [
            {"name": predicted.categories[k], "score": score, "box": box}
            for k, score, box in zip(
                predicted.category_rows.tolist(),
                predicted.scores.tolist(),
                predicted.boxes.tolist(),
                strict=True,
            )
        ]
        numbered = zip(predicted.image_rows.tolist(), objects, strict=True)
        if format == "csv":
            require_csv_names((*predicted.categories, *predicted.images))
            rows = ((predicted.images[row], *csv_cells(each)) for row, each in numbered)
            return b"".join(csv_parts(("image", *BOX_COLUMNS), rows))
        images: dict[int, dict[str, Any]] = {
            row: {
                "image": predicted.images[row],
                "width": int(self.outputs.sizes[row, 0]),
                "height": int(self.outputs.sizes[row, 1]),
                "objects": [],
            }
            for row in np.flatnonzero(self.outputs.ok).tolist()
        }
        for row, each in numbered:
            images[row]["objects"].append(each)
        header = json_header(predicted.categories, self.thresholds)
        if self.model is not None:
            header["model"] = self.model
        return b"".join(json_parts(header, "images", images.values()))

    def save_images(self, folder: Path, progress: Callable[[int], object]) -> None:
        """Write each image that could be read with its boxes as a JPEG into `folder`.

        Raises
        ------
        TagboxError
            ``cannot-write``.
        """
        predicted = self._predicted()
        drawn: list[list[DrawnBox]] = [[] for _ in self.paths]
        if self.truth is not None:
            truth = self.truth.in_file()
            for row, known in enumerate(image_rows_of(self.paths, truth)):
                drawn[row] += [] if known is None else _true_boxes(truth, known)
        for row, k, box, score in zip(
            predicted.image_rows,
            predicted.category_rows,
            predicted.boxes.tolist(),
            predicted.scores.tolist(),
            strict=True,
        ):
            name = predicted.categories[k]
            drawn[row].append(DrawnBox(name=name, box=tuple(box), score=score))
        names = Counter(box.name for boxes in drawn for box in boxes)
        images = [[box.name for box in boxes] for boxes in drawn]
        colours = category_colours([name for name, _ in names.most_common()], images)
        save_jpegs(
            folder,
            self.paths,
            self.outputs.ok,
            lambda row: image_with_boxes(read_image(self.paths[row]), drawn[row], colours),
            progress,
        )

    def _predicted(self) -> Detections:
        return self.outputs.detections.take(self.thresholds.decide(self.outputs.detections))


def _encode_coco(
    detections: Detections,
    target: CocoTarget,
    truth: RecordPixels | None,
    decimals: int | None,
) -> bytes:
    rows = target.image_rows[detections.image_rows]
    renumbered = replace(
        detections,
        boxes=detections.boxes if truth is None else truth.to_record(detections.boxes, rows),
        images=image_keys(target.dataset),
        categories=target.dataset.categories.names,
        image_rows=rows,
        category_rows=target.category_rows[detections.category_rows],
    )
    return encode_results(renumbered, target.dataset, decimals=decimals)


def image_rows_of(paths: Sequence[Path], dataset: Dataset) -> list[int | None]:
    """The dataset's row of each image: by path, else by a stem that no other has; None where there is none."""
    by_path = {dataset.images.path(row).resolve(): row for row in range(len(dataset))}
    by_stem: dict[str, int | None] = {}
    for row, stem in enumerate(dataset.images.stems.tolist()):
        by_stem[stem] = None if stem in by_stem else row
    return [by_path.get(path.resolve(), by_stem.get(path.stem)) for path in paths]


def json_header(categories: Sequence[str], thresholds: ScoreThresholds) -> dict[str, Any]:
    """The first keys of every JSON file of boxes."""
    return {
        "format": FORMAT,
        "version": 1,
        "categories": list(categories),
        "cuts": thresholds.to_dict(),
    }


def json_parts(
    head: Mapping[str, Any], name: str, items: Iterable[Mapping[str, Any]]
) -> Iterable[bytes]:
    """The bytes of a JSON object: the keys of `head`, and the list `name` with one item a line."""
    yield encode_json(head).removesuffix(b"}") + b',"' + name.encode() + b'":[\n'
    between = b""
    for item in items:
        yield between + encode_json(item)
        between = b",\n"
    yield b"\n]}\n"


def csv_parts(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterable[bytes]:
    """The bytes of a CSV file."""
    for row in (header, *rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row)
        yield encode_text(text.getvalue())


def csv_cells(entry: Mapping[str, Any]) -> tuple[object, ...]:
    """The cells under `BOX_COLUMNS`; a float's `repr` reads back as the same float."""
    return (entry["name"], repr(entry["score"]), *map(repr, entry["box"]))


def _numbered(paths: Sequence[Path], categories: Categories) -> Dataset:
    """A dataset without annotations whose image ids are the images' names."""
    stems = [path.stem for path in paths]
    bad = [s for s in stems if not (s.isascii() and s.isdigit() and int(s) < _INT64)]
    if bad:
        raise TagboxError(
            "image-id-unknown",
            f"COCO results name images by id, and {len(bad)} names are no ids: "
            f"{some([repr(name) for name in bad], 3)}",
            hint="pass --truth with the dataset that gives their ids, or use --format json",
        )
    ids = [int(stem) for stem in stems]
    twice = _twice(ids)
    if twice is not None:
        raise TagboxError(
            "duplicate-stem",
            f"the id {twice} is that of several images",
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
    """A value that occurs more than once; None where there is none."""
    (value, count), *_ = [*Counter(values).most_common(1), (None, 0)]
    return value if count > 1 else None


def _true_boxes(dataset: Dataset, row: int) -> list[DrawnBox]:
    """The annotated boxes of an image, to be drawn."""
    annotations, names = dataset.annotations, dataset.categories.names
    rows = np.flatnonzero((annotations.image_rows == row) & annotations.has_box)
    return [
        DrawnBox(
            name=names[annotations.category_rows[k]],
            box=tuple(annotations.boxes[k].tolist()),
            truth=True,
        )
        for k in rows
    ]
