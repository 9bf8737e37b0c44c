"""Files of predictions: the challenge JSON, a CSV of probabilities, and tagbox's own JSON.

==================  ==============================================================================
challenge JSON      ``{"000000000139": [56, 60], …}``; label sets, as indices of categories
CSV                 ``image,person,bicycle,…``; a probability for each category, a row an image; second
                    may be ``labels``, the predicted ones as ``person|bicycle``, which is not read
tagbox's JSON       what `tagbox predict` writes; probabilities, label sets and the thresholds
==================  ==============================================================================
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_write
from tagbox.errors import TagboxError
from tagbox.files import cannot_read, open_file
from tagbox.predictions.predictions import Predictions
from tagbox.predictions.thresholds import Thresholds
from tagbox.text_files import read_json_as, read_text
from tagbox.text_output import encode_json as _json
from tagbox.text_output import encode_text

FORMAT = "tagbox-predictions"


class ImageEntry(msgspec.Struct, forbid_unknown_fields=False):
    """An image in tagbox's JSON: probabilities in the order of the file's categories."""

    image: str
    probabilities: list[float]
    labels: list[str] | None = None


class PredictionsFile(msgspec.Struct, forbid_unknown_fields=False):
    """tagbox's own JSON."""

    format: str
    version: int
    categories: list[str]
    images: list[ImageEntry]
    thresholds: dict[str, Any] | None = None


def read_predictions(path: Path, categories: Sequence[str]) -> Predictions:
    """Read predictions of labels; the format is recognised from the content.

    Parameters
    ----------
    path
        The file.
    categories
        The names that the challenge JSON's indices stand for; the other formats hold names.

    Raises
    ------
    TagboxError
        ``predictions-format``, ``predictions-csv``, ``probability-range``,
        ``duplicate-image``, ``duplicate-category-name``, and what `tagbox.data.submission.read_submission` raises.
    """
    return read_predictions_and_thresholds(path, categories)[0]


def read_predictions_and_thresholds(
    path: Path, categories: Sequence[str]
) -> tuple[Predictions, Thresholds | None]:
    """Predictions, and the thresholds when the file holds them; see `read_predictions`."""
    try:
        with open_file(path) as opened:
            start = opened.read(4096)
    except OSError as error:
        raise cannot_read(path, error) from error
    first = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"[":
        raise TagboxError(
            "predictions-format",
            "a JSON list, as detectors write it, and no labels of images",
            file=path,
            hint='give an object {"image": [category indices], …}, or a CSV image,<category names>',
        )
    if first != b"{":
        if path.suffix.lower() == ".json":
            from tagbox.data.submission import read_submission

            read_submission(path)  # Says what is wrong with it as JSON.
        return read_csv(path), None
    if re.match(
        rb'\s*\{\s*"(info|licenses|images|annotations|categories)"\s*:\s*(\{|\[\s*\{)', start
    ):
        raise TagboxError(
            "predictions-format",
            "this is a COCO dataset, where predictions are wanted",
            file=path,
            hint="give the predictions first and the dataset second",
        )
    if b'"format"' in start and FORMAT.encode() in start:
        return read_json(path)
    return read_label_sets(path, categories), None


def read_label_sets(path: Path, categories: Sequence[str]) -> Predictions:
    """The challenge JSON; indices of `categories` become rows of `decisions`."""
    from tagbox.data.submission import read_submission

    submission = read_submission(path, len(categories))
    lengths = np.fromiter(map(len, submission.values()), np.intp, len(submission))
    columns = np.fromiter(
        (index for indices in submission.values() for index in indices), np.intp, lengths.sum()
    )
    rows = np.repeat(np.arange(len(submission)), lengths)
    decisions = np.zeros((len(submission), len(categories)), bool)
    decisions[rows, columns] = True
    return Predictions(
        images=tuple(submission),
        categories=tuple(categories),
        decisions=decisions,
        source=str(path),
    )


def read_csv(path: Path) -> Predictions:
    """A CSV ``image,<category names…>`` with a probability for each category."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows = _rows(reader, path)
    header = next(rows, None)
    if header is None or header[0].strip().lower() != "image" or len(header) < 2:
        found = "the file is empty" if header is None else f"the first line is {_shown(header)}"
        raise _csv_error(path, 1, found, "begin the file with image,<category names…>")
    lines = [(reader.line_num, row) for row in rows]
    if _is_labels(header, [row for _, row in lines]):
        header, lines = _without_labels(header), [(n, _without_labels(row)) for n, row in lines]
    categories = [name.strip() for name in header[1:]]
    for column, name in enumerate(categories):
        if not name or name in categories[:column]:
            raise TagboxError(
                "duplicate-category-name" if name else "predictions-csv",
                f"the category name {name!r} stands twice" if name else "a column without a name",
                file=path,
                where=f"line 1, column {column + 2}",
                hint="give every column its own category",
            )
    images: list[str] = []
    values: list[NDArray[np.float32]] = []
    for line, row in lines:
        if len(row) != len(header):
            raise _csv_error(
                path,
                line,
                f"{len(row)} values where the first line has {len(header)}",
                "give every image a probability for every category",
            )
        if not row[0].strip():
            raise _csv_error(path, line, "no image", "name the image")
        images.append(row[0].strip())
        values.append(_probabilities(row, path, line))
    table = np.array(values, np.float32).reshape(len(images), len(categories))
    check_unique(images, path)
    return Predictions(
        images=tuple(images), categories=tuple(categories), probabilities=table, source=str(path)
    )


LABELS = "labels"
"""The column of predicted labels, the second one."""


def _is_labels(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the second column holds predicted labels: names of the other columns, and no probabilities."""
    if len(header) < 3 or header[1].strip() != LABELS:
        return False
    name = "|".join(re.escape(each.strip()) for each in header[2:])
    cell = re.compile(rf"((?:{name})(?:\|(?:{name}))*)?")
    return all(len(row) < 2 or cell.fullmatch(row[1].strip()) for row in rows)


def _without_labels(row: Sequence[str]) -> list[str]:
    return [*row[:1], *row[2:]]


def _rows(reader: Any, path: Path) -> Iterator[list[str]]:
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield row
    except csv.Error as error:
        raise _csv_error(path, reader.line_num, str(error), "correct the line") from error


def _probabilities(row: list[str], path: Path, line: int) -> NDArray[np.float32]:
    try:
        values = np.array(row[1:], np.float64)
    except ValueError:
        values = np.array([_number(cell) for cell in row[1:]])
    good = (values >= 0) & (values <= 1)
    if not good.all():
        column = int(np.argmin(good))
        raise TagboxError(
            "probability-range",
            f"{row[column + 1]!r} is not a probability",
            file=path,
            where=f"line {line}, column {column + 2}",
            hint="write numbers from 0 to 1, not logits or per cent",
        )
    return values.astype(np.float32)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def read_json(path: Path) -> tuple[Predictions, Thresholds | None]:
    """tagbox's own JSON, as `encode_json` makes it."""
    hint = "write the file again with tagbox predict"
    outputs = read_json_as(path, PredictionsFile, "predictions-format", hint)
    if outputs.format != FORMAT or outputs.version != 1:
        raise TagboxError(
            "predictions-format",
            f"{outputs.format!r} version {outputs.version} is not {FORMAT!r} version 1",
            file=path,
            where="format",
            hint="write the file again with this version's tagbox predict",
        )
    names = outputs.categories
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TagboxError(
            "duplicate-category-name",
            f"the category name {twice!r} stands twice",
            file=path,
            where="categories",
            hint="give every category its own name",
        )
    table = np.empty((len(outputs.images), len(names)), np.float64)
    for row, entry in enumerate(outputs.images):
        if len(entry.probabilities) != len(names):
            raise TagboxError(
                "predictions-format",
                f"{len(entry.probabilities)} probabilities for {len(names)} categories",
                file=path,
                where=f"images[{row}].probabilities",
                hint="write the file again with tagbox predict",
            )
        table[row] = entry.probabilities
    bad = np.argwhere(~((table >= 0) & (table <= 1)))
    if len(bad):
        row, column = bad[0]
        raise TagboxError(
            "probability-range",
            f"{table[row, column]} is not a probability",
            file=path,
            where=f"images[{row}].probabilities[{column}]",
            hint="write numbers from 0 to 1",
        )
    images = [entry.image for entry in outputs.images]
    check_unique(images, path)
    thresholds = None
    if outputs.thresholds is not None:
        thresholds = Thresholds.from_dict(outputs.thresholds, file=path)
        thresholds.levels(len(names))
    predictions = Predictions(
        images=tuple(images),
        categories=tuple(names),
        probabilities=table.astype(np.float32),
        source=str(path),
    )
    return predictions, thresholds


def write_csv(path: Path, predictions: Predictions) -> None:
    """Probabilities as ``image,<category names…>``, digits enough to read back the same float32."""
    atomic_write(path, encode_csv(predictions))


def write_in_run(folder: Path, predictions: Predictions) -> None:
    """``predictions.csv`` in the folder of a run, or ``predictions.json`` where a CSV file would change a name.

    It comes at the end of a training, which is not to be lost to a name.
    """
    try:
        write_csv(folder / "predictions.csv", predictions)
    except TagboxError as error:
        if error.code != "name-unwritable":
            raise
        atomic_write(folder / "predictions.json", encode_json(predictions))


def encode_csv(predictions: Predictions, labels: NDArray[np.bool_] | None = None) -> bytes:
    """The bytes of `write_csv`, with the predicted `labels`, (N, K), as a second column where they are given.

    Raises
    ------
    TagboxError
        ``name-unwritable``.
    """
    assert predictions.probabilities is not None
    require_csv_names((*predictions.categories, *predictions.images))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = np.array(predictions.categories, object)
    writer.writerow(["image", *([] if labels is None else [LABELS]), *names])
    for number, (image, row) in enumerate(
        zip(predictions.images, predictions.probabilities, strict=True)
    ):
        said = [] if labels is None else ["|".join(names[labels[number]])]
        writer.writerow([image, *said, *map(str, row)])
    return encode_text(text.getvalue())


def require_csv_names(names: Iterable[str]) -> None:
    """Raise ``name-unwritable`` for a name that programs which read CSV files would change."""
    for name in names:
        if name != name.strip() or "\r" in name:
            raise TagboxError(
                "name-unwritable",
                f"the name {name!r} has a carriage return in it or a space around it, and a CSV file would change it",
                hint="rename it, or choose the format json",
            )


def encode_json(
    predictions: Predictions,
    thresholds: Thresholds | None = None,
    decisions: NDArray[np.bool_] | None = None,
) -> bytes:
    """tagbox's own JSON: probabilities, and label sets at `thresholds` or, where given, `decisions` (N, K)."""
    assert predictions.probabilities is not None
    names = predictions.categories
    if decisions is None and thresholds is not None:
        decisions = thresholds.decide(predictions.probabilities)
    head = {
        "format": FORMAT,
        "version": 1,
        "categories": list(names),
        "thresholds": None if thresholds is None else thresholds.to_dict(),
    }
    lines = []
    for row, image in enumerate(predictions.images):
        entry: dict[str, Any] = {"image": image}
        if decisions is not None:
            entry["labels"] = [names[k] for k in np.flatnonzero(decisions[row])]
        # float32's shortest decimal; the float64 of the same value would print twice the digits.
        entry["probabilities"] = [float(str(value)) for value in predictions.probabilities[row]]
        lines.append(_json(entry))
    opening = _json(head).removesuffix(b"}")
    return opening + b',"images":[\n' + b",\n".join(lines) + b"\n]}\n"


def check_unique(images: Sequence[str], path: Path) -> None:
    """Raise ``duplicate-image`` when a key stands twice."""
    twice, count = next(iter(Counter(images).most_common(1)), ("", 0))
    if count > 1:
        raise TagboxError(
            "duplicate-image",
            f"the image {twice!r} stands twice",
            file=path,
            hint="keep one prediction for each image",
        )


def _shown(row: list[str]) -> str:
    text = ",".join(row)
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _csv_error(path: Path, line: int, found: str, hint: str) -> TagboxError:
    return TagboxError("predictions-csv", found, file=path, where=f"line {line}", hint=hint)
