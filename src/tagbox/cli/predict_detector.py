"""`tagbox predict` with a detector's run: where the categories are, in pictures or in a video."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tagbox.atomic_io import atomic_path, atomic_write
from tagbox.cli.console import print_table, progress_bar, say, say_error
from tagbox.errors import TagboxError, bad_value
from tagbox.images.captions import percent
from tagbox.inference.detector_outputs import (
    coco_target,
    encode_boxes_csv,
    encode_boxes_json,
    encode_coco,
)
from tagbox.inference.inputs import collect_images
from tagbox.inference.load import load_detector
from tagbox.inference.video import SUFFIXES, check_video_name, open_video
from tagbox.inference.views import Tiles
from tagbox.predictions.thresholds import ScoreThresholds

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset
    from tagbox.inference.detector import DetectorModel, DetectorOutput
    from tagbox.inference.video_detections import VideoSummary


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for; see `tagbox.cli.predict.predict`."""

    format: Literal["table", "json", "csv", "coco"]
    out: Path | None
    score: float | None
    tiles: int | None
    overlap: float | None
    decimals: int | None
    pictures: Path | None
    video: Path | None
    truth: Path | None
    engine: Literal["auto", "openvino", "torch"]
    device: Literal["auto", "cuda", "mps", "cpu"]

    def __post_init__(self) -> None:
        if self.score is not None and not 0 <= self.score <= 1:
            raise bad_value(self.score, "a number from 0 to 1", "--score", code="option-value")
        if self.decimals is not None and not 0 <= self.decimals <= 15:
            raise bad_value(
                self.decimals, "a number of decimals from 0 to 15", "--round", code="option-value"
            )
        if self.decimals is not None and self.format == "table":
            raise _alone("--round", "a table has no decimals", "add --format json, csv or coco")
        if self.overlap is not None and self.tiles is None:
            raise _alone("--tile-overlap", "there are no tiles to overlap", "add --tiles PIXELS")
        if self.truth is not None and self.pictures is None and self.format != "coco":
            raise _alone(
                "--truth",
                "there is nothing to lay it beside",
                "add --save-images FOLDER or --format coco",
            )

    @property
    def windows(self) -> Tiles | None:
        """How large pictures are cut up; None leaves them whole."""
        if self.tiles is None:
            return None
        return Tiles(side=self.tiles, overlap=0.25 if self.overlap is None else self.overlap)

    def cuts(self, model: DetectorModel) -> ScoreThresholds:
        """From which score on a box is said."""
        return model.cuts if self.score is None else ScoreThresholds(value=self.score)


def say_boxes(run: Path, images: Sequence[str], request: Request) -> int:
    """Detect in pictures, or in one video; the exit code is 1 where something could not be read."""
    videos = [name for name in images if Path(name).suffix.lower() in SUFFIXES]
    if not videos:
        return _pictures(run, images, request)
    if len(images) > 1:
        raise TagboxError(
            "video-alone",
            f"a video is predicted alone, and {len(images)} things were named",
            file=videos[0],
            hint="predict one video at a time",
        )
    return _video(run, Path(videos[0]), request)


def _pictures(run: Path, images: Sequence[str], request: Request) -> int:
    if request.video is not None:
        raise _alone("--save-video", "no video was named", "name one, or pass --save-images FOLDER")
    tiles = request.windows
    paths = collect_images(images)
    model = load_detector(run, engine=request.engine, device=request.device)
    cuts = request.cuts(model)
    truth = None if request.truth is None else _load(request.truth)
    target = None
    if request.format == "coco":
        # Ids that cannot be found are said before anything is computed.
        target = coco_target(paths, model.bundle.categories, truth)
    lowest = float(cuts.levels(len(model.categories)).min())
    with progress_bar("predicting", len(paths)) as advance:
        outputs = model.detect(
            paths,
            skip_errors=True,
            progress=advance,
            tiles=tiles,
            min_score=0.0 if request.format == "coco" and request.score is None else lowest,
        )
    if target is not None:
        _hand_over(encode_coco(outputs, target, request.decimals), request.out)
    elif request.format == "json":
        _hand_over(encode_boxes_json(outputs, cuts, request.decimals), request.out)
    elif request.format == "csv":
        _hand_over(encode_boxes_csv(outputs, cuts, request.decimals), request.out)
    else:
        _show(outputs, cuts)
    if request.pictures is not None:
        _draw(request.pictures, paths, outputs, cuts, truth)
    for error in outputs.errors:
        say_error(error)
    if outputs.errors:
        say(f"{len(outputs.errors)} of {len(paths)} pictures could not be read")
    return 1 if outputs.errors else 0


def _video(run: Path, path: Path, request: Request) -> int:
    from tagbox.inference.video_detections import detect_video

    if request.format == "coco":
        hint = "pass --format json or csv"
        raise TagboxError(
            "option-kind", "a video has no image ids", where="--format coco", hint=hint
        )
    if request.pictures is not None:
        raise TagboxError(
            "option-kind",
            "it is for pictures, and this is a video",
            where="--save-images",
            hint="pass --save-video FILE",
        )
    if request.video is not None:
        check_video_name(request.video)
    tiles = request.windows
    model = load_detector(run, engine=request.engine, device=request.device)
    with ExitStack() as stack:
        reader = stack.enter_context(open_video(path))
        rows = None
        if request.format != "table":
            out = sys.stdout.buffer
            if request.out is not None:
                temporary = stack.enter_context(atomic_path(request.out))
                out = stack.enter_context(open(temporary, "wb"))
            rows = out, request.format
        advance = stack.enter_context(progress_bar("predicting", reader.length, "frames"))
        summary = detect_video(
            model,
            reader,
            request.cuts(model),
            tiles=tiles,
            rows=rows,
            annotated=request.video,
            decimals=request.decimals,
            progress=advance,
        )
        silent = ", without its sound" if reader.has_sound else ""
    if request.format == "table":
        _show_video(path, summary)
    elif request.out is not None:
        say(f"predictions: {request.out}")
    if request.video is not None:
        say(f"video: {request.video} ({summary.encoder}{silent})")
    if summary.error is not None:
        say_error(summary.error)
        say(f"what was written ends after {summary.frames} frames")
    return 1 if summary.error is not None else 0


def _show(outputs: DetectorOutput, cuts: ScoreThresholds) -> None:
    detections = outputs.detections
    said = detections.take(cuts.decide(detections))
    found: dict[int, dict[str, list[float]]] = {row: {} for row in outputs.ok.nonzero()[0].tolist()}
    for row, k, score in zip(
        said.image_rows.tolist(), said.category_rows.tolist(), said.scores.tolist(), strict=True
    ):
        found[row].setdefault(said.categories[k], []).append(score)
    rows = [
        [said.images[row], ", ".join(map(_counted, names, names.values())) or "nothing"]
        for row, names in found.items()
    ]
    print_table(f"{len(rows)} pictures", ["picture", "found"], rows)


def _counted(name: str, scores: Sequence[float]) -> str:
    """``cat 93%``, or ``3 cat 93% to 51%``; scores best first."""
    if len(scores) == 1:
        return f"{name} {percent(scores[0])}"
    return f"{len(scores)} {name} {percent(scores[0])} to {percent(scores[-1])}"


def _show_video(path: Path, summary: VideoSummary) -> None:
    rows = [
        [name, seen.frames, seen.most, f"{seen.first:.2f} s", f"{seen.last:.2f} s"]
        for name, seen in sorted(summary.seen.items(), key=lambda item: -item[1].frames)
    ]
    if not rows:
        rows = [["nothing", 0, 0, "", ""]]
    headers = ["category", "frames", "most at once", "first seen", "last seen"]
    print_table(f"{path}: {summary.frames} frames", headers, rows)


def _draw(
    folder: Path,
    paths: Sequence[Path],
    outputs: DetectorOutput,
    cuts: ScoreThresholds,
    truth: Dataset | None,
) -> None:
    from tagbox.inference.detector_outputs import save_box_pictures

    with progress_bar("drawing", len(paths)) as advance:
        save_box_pictures(folder, paths, outputs, cuts, truth=truth, progress=advance)
    say(f"pictures: {folder}")


def _hand_over(content: bytes, out: Path | None) -> None:
    if out is None:
        sys.stdout.buffer.write(content)
    else:
        atomic_write(out, content)
        say(f"predictions: {out}")


def _load(data: Path) -> Dataset:
    from tagbox.data.load import load_dataset

    return load_dataset(data)


def _alone(flag: str, found: str, hint: str) -> TagboxError:
    return TagboxError("option-alone", found, where=flag, hint=hint)
