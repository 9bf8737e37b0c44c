"""Detect objects in every frame of a video: rows of boxes, an annotated video, a summary by category."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import TagboxError
from tagbox.images.box_drawing import DrawnBox, category_colours, image_with_boxes
from tagbox.inference.detector import DetectorModel
from tagbox.inference.detector_outputs import (
    BOX_COLUMNS,
    csv_cells,
    csv_parts,
    json_header,
    json_parts,
)
from tagbox.inference.video import Frame, VideoReader, VideoWriter, write_video
from tagbox.inference.views import ImageBoxes, Tiles
from tagbox.predictions.files import require_csv_names
from tagbox.predictions.thresholds import ScoreThresholds

Row = dict[str, Any]
"""The predicted boxes of one frame, as plain values: ``frame``, ``time``, ``objects``."""


@dataclass
class CategoryFrames:
    """Frames in which a category was predicted: how many, most objects in one, first and last second."""

    frames: int
    most: int
    first: float
    last: float


@dataclass
class VideoSummary:
    """The predictions of a video in sum.

    Attributes
    ----------
    frames
        How many were predicted.
    categories
        The predicted categories and their frames.
    encoder
        Codec of the annotated video; empty without one.
    error
        Why the video could not be read to its end; the frames before it were predicted.
    """

    frames: int = 0
    categories: dict[str, CategoryFrames] = field(default_factory=dict)
    encoder: str = ""
    error: TagboxError | None = None

    def add(self, row: Row) -> None:
        """Count one frame."""
        self.frames += 1
        for name, count in Counter(entry["name"] for entry in row["objects"]).items():
            found = self.categories.setdefault(name, CategoryFrames(0, 0, row["time"], row["time"]))
            found.frames += 1
            found.most = max(found.most, count)
            found.last = row["time"]


def detect_video(
    model: DetectorModel,
    reader: VideoReader,
    thresholds: ScoreThresholds,
    *,
    tiles: Tiles | None = None,
    rows: tuple[BinaryIO, Literal["json", "csv"]] | None = None,
    annotated: Path | None = None,
    decimals: int | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> VideoSummary:
    """Detect in every frame of a video, holding a few of them at a time.

    Parameters
    ----------
    reader
        The open video; see `inference.video.open_video`.
    thresholds
        Score thresholds of the predicted boxes.
    rows
        File and format in which the frames' boxes are written.
    annotated
        File of the video with its boxes, without sound, at the same average rate; complete or not written
        at all. Of a damaged video it holds the frames that could be read.
    decimals
        Of the rows' boxes and scores; None gives every digit.

    Raises
    ------
    TagboxError
        ``video-damaged`` where not even the first frame can be read; ``cannot-write``, ``video-encoder``;
        ``name-unwritable`` for a category that a CSV file would change.
    """
    if rows is not None and rows[1] == "csv":
        require_csv_names(model.categories)
    summary = VideoSummary()
    with ExitStack() as stack:
        writer = None
        if annotated is not None:
            writer = stack.enter_context(write_video(annotated, reader.rate))
        found = _rows(model, reader, thresholds, tiles, writer, decimals)
        first = next(found, None)
        if first is None:
            assert reader.error is not None
            raise reader.error
        counted = _counted(chain([first], found), summary, progress)
        if rows is None:
            deque(counted, maxlen=0)
        else:
            out, format = rows
            for part in _encoded(counted, format, model, thresholds, reader, first):
                out.write(part)
        summary.error = reader.error
        summary.encoder = writer.encoder if writer is not None else ""
    return summary


def _rows(
    model: DetectorModel,
    reader: VideoReader,
    thresholds: ScoreThresholds,
    tiles: Tiles | None,
    writer: VideoWriter | None,
    decimals: int | None,
) -> Iterator[Row]:
    """Each frame's row; its image is drawn and written to `writer`."""
    names = model.categories
    colours = category_colours(names)
    levels = thresholds.levels(len(names))
    frames: deque[Frame] = deque()
    for found in model.stream(_kept(reader, frames), tiles=tiles, min_score=float(levels.min())):
        frame = frames.popleft()
        predicted = found.take(found.scores >= levels[found.labels])
        if writer is not None:
            marks = [
                DrawnBox(name=names[k], box=tuple(box), score=score)
                for k, box, score in zip(
                    predicted.labels, predicted.boxes.tolist(), predicted.scores, strict=True
                )
            ]
            writer.add(image_with_boxes(frame.image, marks, colours))
        yield {
            "frame": frame.number,
            "time": round(frame.time, 6),
            "width": predicted.width,
            "height": predicted.height,
            "objects": _objects(predicted, names, decimals),
        }


def _kept(reader: Iterable[Frame], frames: deque[Frame]) -> Iterator[NDArray[np.uint8]]:
    for frame in reader:
        frames.append(frame)
        yield frame.image


def _objects(
    predicted: ImageBoxes, names: tuple[str, ...], decimals: int | None
) -> list[dict[str, Any]]:
    boxes, scores = predicted.boxes, predicted.scores
    if decimals is not None:
        boxes, scores = np.round(boxes, decimals), np.round(scores, decimals)
    return [
        {"name": names[k], "score": score, "box": box}
        for k, score, box in zip(predicted.labels, scores.tolist(), boxes.tolist(), strict=True)
    ]


def _counted(
    rows: Iterable[Row], summary: VideoSummary, progress: Callable[[int], object]
) -> Iterator[Row]:
    for row in rows:
        summary.add(row)
        progress(1)
        yield row


def _encoded(
    rows: Iterable[Row],
    format: Literal["json", "csv"],
    model: DetectorModel,
    thresholds: ScoreThresholds,
    reader: VideoReader,
    first: Row,
) -> Iterable[bytes]:
    """The bytes of the rows, as they come."""
    if format == "csv":
        cells = (
            (row["frame"], row["time"], *csv_cells(entry))
            for row in rows
            for entry in row["objects"]
        )
        return csv_parts(("frame", "time", *BOX_COLUMNS), cells)
    head = json_header(model.categories, thresholds) | {
        "video": str(reader.path),
        "width": first["width"],
        "height": first["height"],
        "rate": float(reader.rate),
    }
    kept = ({key: row[key] for key in ("frame", "time", "objects")} for row in rows)
    return json_parts(head, "frames", kept)
