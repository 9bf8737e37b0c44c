"""COCO results JSON, ``[{"image_id", "category_id", "bbox", "score"}, …]``: the strict reader, and the writer.

The file is decoded into small structs in one pass. Only when that meets something unexpected are
the records read one by one, to accept other spellings of the same value (139.0 for 139) and to report the first
record that cannot be used. No detection is dropped, none is rounded.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_write
from tagbox.data.dataset import Dataset, rows_of, spells_number
from tagbox.data.formats.coco_columns import Box, column_of
from tagbox.data.text import some
from tagbox.errors import TagboxError
from tagbox.predictions.predictions import Detections
from tagbox.text_files import decode_json, may_repeat_keys, read_json_content, repeated_key, shown

FORM = '[{"image_id": 139, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}, …]'
_INT64 = 2**63


class Result(msgspec.Struct, gc=False):
    """One record; other fields (``id``, ``area``, ``segmentation``) are passed over."""

    image_id: int
    category_id: int
    bbox: Box
    score: float


class Columns(msgspec.Struct):
    """The file's values: (D,) ids and scores, (D, 4) boxes."""

    image_ids: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    unknown: dict[str, dict[int, str]] = {}
    """Ids that cannot be the dataset's, by the numbers that stand for them."""


class _Ids:
    """Numbers for the ids of images or categories in a file; those of the dataset may be texts.

    A text is the dataset's id of that spelling; where the dataset's are numbers, it is that of its digits.
    """

    def __init__(self, known: Mapping[int, str]) -> None:
        self._number_of = {text: number for number, text in known.items()}
        self._has_texts = bool(known)
        self.only_texts = any(not spells_number(text, n) for n, text in known.items())
        self.unknown: dict[int, str] = {}

    def number(self, value: int | str) -> int:
        """The number of an id; a new negative one for an id that cannot be the dataset's."""
        if isinstance(value, int) and not self.only_texts:
            return value
        text = str(value)
        number = self._number_of.get(text) if isinstance(value, str) else None
        if number is None and not self._has_texts and text.isascii() and text.isdigit():
            number = int(text) if len(text) < 19 else None
        if number is None:
            stand_ins = {unknown: n for n, unknown in self.unknown.items()}
            number = stand_ins.get(text, -(2**62) - len(self.unknown))
            self.unknown[number] = text
        return number


def read_results(path: Path, dataset: Dataset) -> Detections:
    """Read a detector's results file, with the dataset that its ids are of.

    Parameters
    ----------
    path
        The file, of any tool. An empty list is a detector that found nothing.
    dataset
        Whose original image and category ids the file uses, spelt as the dataset has them.

    Returns
    -------
    Detections
        In the order of the file; images are the dataset's, by `image_keys`, categories its names.

    Raises
    ------
    TagboxError
        ``file-missing``, ``json-syntax``, ``json-number``, ``not-utf8``, ``results-format``,
        ``json-field``, ``id-type``, ``bad-box``, ``bad-score``, ``unknown-image-id``, ``unknown-category-id``.
    """
    columns = _read(path, dataset)
    image_rows, category_rows = _rows(columns, dataset)
    _check_known(image_rows, columns, dataset, path, "image")
    _check_known(category_rows, columns, dataset, path, "category")
    return _detections(columns, image_rows, category_rows, dataset, path)


def read_known_results(path: Path, dataset: Dataset) -> tuple[Detections, int]:
    """The detections whose image and category the dataset has, and how many others the file holds.

    Raises
    ------
    TagboxError
        As `read_results`, unknown ids apart.
    """
    columns = _read(path, dataset)
    image_rows, category_rows = _rows(columns, dataset)
    known = (image_rows >= 0) & (category_rows >= 0)
    kept = Columns(
        columns.image_ids[known],
        columns.category_ids[known],
        columns.boxes[known],
        columns.scores[known],
    )
    found = _detections(kept, image_rows[known], category_rows[known], dataset, path)
    return found, int(np.count_nonzero(~known))


def write_results(
    path: Path, detections: Detections, dataset: Dataset, *, decimals: int | None = None
) -> None:
    """Write a COCO results file, atomically; see `encode_results`."""
    atomic_write(path, encode_results(detections, dataset, decimals=decimals))


def encode_results(
    detections: Detections, dataset: Dataset, *, decimals: int | None = None
) -> bytes:
    """The bytes of a COCO results file, a line a detection, with the dataset's original ids.

    Parameters
    ----------
    detections
        Aligned with `dataset`: their rows are the dataset's.
    decimals
        Round boxes and scores to so many; without, every float64 is written so that reading gives it back.

    Raises
    ------
    TagboxError
        ``not-finite`` for a NaN or an infinity, which JSON cannot hold.
    """
    boxes, scores = detections.boxes, detections.scores
    broken = ~(np.isfinite(boxes).all(axis=1) & np.isfinite(scores))
    if broken.any():
        raise TagboxError(
            "not-finite",
            f"{int(broken.sum()):,} of {len(detections):,} detections hold a NaN or an infinity",
            file=detections.source,
            where=f"detection {int(np.argmax(broken))}",
            hint="the detector has diverged; train it with a lower learning rate",
        )
    if decimals is not None:
        boxes, scores = np.round(boxes, decimals), np.round(scores, decimals)
    encode = msgspec.json.Encoder().encode
    images, categories = dataset.source.image_texts, dataset.source.category_texts
    records = zip(
        [images.get(n, n) for n in dataset.images.ids[detections.image_rows].tolist()],
        [categories.get(n, n) for n in dataset.categories.ids[detections.category_rows].tolist()],
        boxes.tolist(),
        scores.tolist(),
        strict=True,
    )
    lines = [
        encode({"image_id": image, "category_id": category, "bbox": box, "score": score})
        for image, category, box, score in records
    ]
    return b"[\n" + b",\n".join(lines) + b"\n]\n" if lines else b"[]\n"


def _read(path: Path, dataset: Dataset) -> Columns:
    images, categories = _Ids(dataset.source.image_texts), _Ids(dataset.source.category_texts)
    content = read_json_content(path)
    if images.only_texts or categories.only_texts or may_repeat_keys(content):
        return _read_leniently(content, path, images, categories)
    try:
        results = decode_json(content, path, list[Result])
        columns = Columns(
            column_of(results, "image_id", np.int64),
            column_of(results, "category_id", np.int64),
            _boxes([result.bbox for result in results]),
            column_of(results, "score", np.float64),
        )
    except (msgspec.ValidationError, OverflowError):
        return _read_leniently(content, path, images, categories)
    if (columns.boxes[:, 2:] < 0).any():
        return _read_leniently(content, path, images, categories)
    return columns


def _boxes(boxes: list[Box]) -> NDArray[np.float64]:
    return np.column_stack([column_of(boxes, side, np.float64) for side in "xywh"])


def _read_leniently(content: memoryview, path: Path, images: _Ids, categories: _Ids) -> Columns:
    """Decode record by record; an error names the first wrong field."""
    try:
        records = decode_json(content, path, list[msgspec.Raw])
    except msgspec.ValidationError as error:
        raise TagboxError(
            "results-format",
            "a detector's results are a list, and this is something else",
            file=path,
            hint=f"write {FORM}",
        ) from error
    rows = [_record(raw, position, path) for position, raw in enumerate(records)]
    return Columns(
        np.array([images.number(row[0]) for row in rows], np.int64),
        np.array([categories.number(row[1]) for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], np.float64),
        {"image": images.unknown, "category": categories.unknown},
    )


def _record(
    raw: msgspec.Raw, position: int, path: Path
) -> tuple[int | str, int | str, list[float], float]:
    where = f"[{position}]"
    record = decode_json(raw, path, where=where)
    if not isinstance(record, dict):
        raise TagboxError(
            "results-format",
            f"a result is an object, found {shown(record)}",
            file=path,
            where=where,
            hint=f"write {FORM}",
        )
    twice = repeated_key(raw)
    if twice is not None:
        raise TagboxError(
            "json-syntax",
            f"the key {twice!r} stands twice in one object",
            file=path,
            where=where,
            hint="keep one of the two",
        )
    for field in ("image_id", "category_id", "bbox", "score"):
        if record.get(field) is None:
            raise TagboxError(
                "json-field",
                "the field is missing or null",
                file=path,
                where=f"{where}.{field}",
                hint="every result needs image_id, category_id, bbox and score",
            )
    return (
        _identifier(record["image_id"], f"{where}.image_id", path),
        _identifier(record["category_id"], f"{where}.category_id", path),
        _box(record["bbox"], f"{where}.bbox", path),
        _score(record["score"], f"{where}.score", path),
    )


def _identifier(value: Any, where: str, path: Path) -> int | str:
    if isinstance(value, str) and value:
        return value
    if not _is_number(value) or value != value // 1 or abs(value) >= _INT64:
        raise TagboxError(
            "id-type",
            f"the id {shown(value)} is not a whole number",
            file=path,
            where=where,
            hint="write the id as the dataset spells it",
        )
    return int(value)


def _box(value: Any, where: str, path: Path) -> list[float]:
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        raise TagboxError(
            "bad-box",
            f"a box is 4 numbers (x, y, width, height), found {shown(value)}",
            file=path,
            where=where,
            hint="write the corner top left, the width and the height, in pixels",
        )
    if value[2] < 0 or value[3] < 0:
        raise TagboxError(
            "bad-box",
            f"the box {shown(value)} has a negative width or height",
            file=path,
            where=where,
            hint="write it as x, y, width, height with the corner top left",
        )
    return [float(number) for number in value]


def _score(value: Any, where: str, path: Path) -> float:
    if not _is_number(value):
        raise TagboxError(
            "bad-score",
            f"a score is a number, found {shown(value)}",
            file=path,
            where=where,
            hint="write the confidence of the detection as a number",
        )
    return float(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max


def _rows(columns: Columns, dataset: Dataset) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return (
        rows_of(columns.image_ids, dataset.images.ids),
        rows_of(columns.category_ids, dataset.categories.ids),
    )


def _check_known(
    rows: NDArray[np.int32], columns: Columns, dataset: Dataset, path: Path, what: str
) -> None:
    unknown = np.flatnonzero(rows < 0)
    if not len(unknown):
        return
    first = int(unknown[0])
    others = f" (and {len(unknown) - 1:,} more results like it)" if len(unknown) > 1 else ""
    is_image = what == "image"
    ids = columns.image_ids if is_image else columns.category_ids
    own = (dataset.images if is_image else dataset.categories).ids.tolist()
    texts = dataset.source.image_texts if is_image else dataset.source.category_texts
    spelt = [repr(texts[number]) if number in texts else number for number in sorted(own)]
    known = f"the dataset's are {some(spelt, 8)}" if own else "it has none"
    written = columns.unknown.get(what, {}).get(int(ids[first]))
    hint = f"{known}; give the dataset the results are of, or pass --extra ignore"
    if what == "category" and ids[first] == 0:
        hint = f"write the dataset's original ids, not rows counted from 0: {known}"
    raise TagboxError(
        f"unknown-{what}-id",
        f"the dataset has no {what} with id {ids[first] if written is None else repr(written[:60])}{others}",
        file=path,
        where=f"[{first}].{what}_id",
        hint=hint,
    )


def _detections(
    columns: Columns,
    image_rows: NDArray[np.int32],
    category_rows: NDArray[np.int32],
    dataset: Dataset,
    path: Path,
) -> Detections:
    return Detections(
        images=image_keys(dataset),
        categories=dataset.categories.names,
        image_rows=image_rows,
        category_rows=category_rows,
        boxes=columns.boxes,
        scores=columns.scores,
        source=str(path),
    )


def image_keys(dataset: Dataset) -> tuple[str, ...]:
    """N image ids, the keys of images in a results file: decimal, or the texts that they are in the source."""
    texts = dataset.source.image_texts
    return tuple(texts.get(number, str(number)) for number in dataset.images.ids.tolist())
