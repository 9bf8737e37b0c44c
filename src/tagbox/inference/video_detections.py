"""A detector over a video: what is said of each frame, as rows, as an annotated video, and in sum."""

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
from tagbox.images.draw import DrawnBox, image_with_boxes
from tagbox.inference.detector import DetectorModel
from tagbox.inference.detector_outputs import (
    BOX_COLUMNS,
    csv_cells,
    csv_parts,
    json_header,
    json_parts,
)
from tagbox.inference.video import Frame, VideoReader, VideoWriter, write_video
from tagbox.inference.views import PictureBoxes, Tiles
from tagbox.predictions.thresholds import ScoreThresholds

Row = dict[str, Any]
"""What is said of one frame, as plain values: ``frame``, ``time``, ``objects``."""


@dataclass
class Seen:
    """Where a category was said: in how many frames, how often in one, the first and last second."""

    frames: int
    most: int
    first: float
    last: float


@dataclass
class VideoSummary:
    """What became of a video.

    Attributes
    ----------
    frames
        How many were looked at.
    seen
        By category, those that were said.
    encoder
        What the annotated video was encoded with; empty without one.
    error
        Why it ended before its end; what was written holds the frames before.
    """

    frames: int = 0
    seen: dict[str, Seen] = field(default_factory=dict)
    encoder: str = ""
    error: TagboxError | None = None

    def add(self, row: Row) -> None:
        """Count one frame."""
        self.frames += 1
        for name, count in Counter(entry["name"] for entry in row["objects"]).items():
            seen = self.seen.setdefault(name, Seen(0, 0, row["time"], row["time"]))
            seen.frames += 1
            seen.most = max(seen.most, count)
            seen.last = row["time"]


def detect_video(
    model: DetectorModel,
    reader: VideoReader,
    cuts: ScoreThresholds,
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
    cuts
        From which score on a box is said.
    rows
        Where the frames' boxes are written, and how.
    annotated
        Where the video with its boxes is written, without sound, at the same average rate; whole or not
        at all. Of a damaged video it is what could be read.
    decimals
        Of the rows' boxes and scores; None gives every digit.

    Raises
    ------
    TagboxError
        ``video-damaged`` where not even the first frame can be read; ``cannot-write``, ``video-encoder``.
    """
    summary = VideoSummary()
    with ExitStack() as stack:
        writer = None
        if annotated is not None:
            writer = stack.enter_context(write_video(annotated, reader.rate))
        found = _rows(model, reader, cuts, tiles, writer, decimals)
        first = next(found, None)
        if first is None:
            assert reader.error is not None
            raise reader.error
        counted = _counted(chain([first], found), summary, progress)
        if rows is None:
            deque(counted, maxlen=0)
        else:
            out, format = rows
            for part in _encoded(counted, format, model, cuts, reader, first):
                out.write(part)
        summary.error = reader.error
        summary.encoder = writer.encoder if writer is not None else ""
    return summary


def _rows(
    model: DetectorModel,
    reader: VideoReader,
    cuts: ScoreThresholds,
    tiles: Tiles | None,
    writer: VideoWriter | None,
    decimals: int | None,
) -> Iterator[Row]:
    """Each frame's row; its picture goes to `writer` on the way."""
    names = model.categories
    levels = cuts.levels(len(names))
    held: deque[Frame] = deque()
    for found in model.stream(_held(reader, held), tiles=tiles, min_score=float(levels.min())):
        frame = held.popleft()
        said = found.take(found.scores >= levels[found.labels])
        if writer is not None:
            marks = [
                DrawnBox(name=names[k], box=tuple(box), score=score)
                for k, box, score in zip(said.labels, said.boxes.tolist(), said.scores, strict=True)
            ]
            writer.add(image_with_boxes(frame.image, marks))
        yield {
            "frame": frame.number,
            "time": round(frame.time, 6),
            "width": said.width,
            "height": said.height,
            "objects": _objects(said, names, decimals),
        }


def _held(frames: Iterable[Frame], held: deque[Frame]) -> Iterator[NDArray[np.uint8]]:
    for frame in frames:
        held.append(frame)
        yield frame.image


def _objects(
    said: PictureBoxes, names: tuple[str, ...], decimals: int | None
) -> list[dict[str, Any]]:
    boxes, scores = said.boxes, said.scores
    if decimals is not None:
        boxes, scores = np.round(boxes, decimals), np.round(scores, decimals)
    return [
        {"name": names[k], "score": score, "box": box}
        for k, score, box in zip(said.labels, scores.tolist(), boxes.tolist(), strict=True)
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
    cuts: ScoreThresholds,
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
    head = json_header(model.categories, cuts) | {
        "video": str(reader.path),
        "width": first["width"],
        "height": first["height"],
        "rate": float(reader.rate),
    }
    kept = ({key: row[key] for key in ("frame", "time", "objects")} for row in rows)
    return json_parts(head, "frames", kept)
