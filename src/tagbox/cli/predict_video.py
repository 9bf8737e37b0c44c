"""`tagbox predict` with a detector's run and a video."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tagbox.atomic_io import atomic_path
from tagbox.cli.console import progress_bar, say, say_error
from tagbox.cli.named_runs import category_rows
from tagbox.cli.tables import print_table
from tagbox.device import Device, Engine
from tagbox.inference.load import load_detector
from tagbox.inference.video import check_video_name, open_video
from tagbox.inference.video_detections import VideoSummary, detect_video

if TYPE_CHECKING:
    from tagbox.inference.views import Tiles
    from tagbox.predictions.thresholds import ScoreThresholds


def predict_frames(
    run: Path,
    path: Path,
    thresholds: ScoreThresholds | None,
    *,
    tiles: Tiles | None,
    format: Literal["table", "json", "csv"],
    decimals: int | None,
    categories: Sequence[str],
    out: Path | None,
    save_video: Path | None,
    engine: Engine,
    device: Device,
) -> int:
    """Detect in every frame; the exit code is 1 where the video cannot be read to its end."""
    if save_video is not None:
        check_video_name(save_video)
    model = load_detector(run, engine=engine, device=device)
    thresholds = thresholds or model.cuts
    shown = category_rows(categories, model.categories, run)
    if shown is not None:
        levels = thresholds.levels(len(model.categories))
        levels[[row for row in range(len(levels)) if row not in shown]] = sys.float_info.max
        thresholds = replace(thresholds, per_category=tuple(levels.tolist()))
    with ExitStack() as stack:
        reader = stack.enter_context(open_video(path))
        rows = None
        if format != "table":
            target = sys.stdout.buffer
            if out is not None:
                temporary = stack.enter_context(atomic_path(out))
                target = stack.enter_context(open(temporary, "wb"))
            rows = target, format
        advance = stack.enter_context(progress_bar("predicting", reader.length, "frames"))
        summary = detect_video(
            model,
            reader,
            thresholds,
            tiles=tiles,
            rows=rows,
            annotated=save_video,
            decimals=decimals,
            progress=advance,
        )
        silent = ", without its sound" if reader.has_sound else ""
    if format == "table":
        _print(path, summary)
    elif out is not None:
        say(f"predictions: {out}")
    if save_video is not None:
        say(f"video: {save_video} ({summary.encoder}{silent})")
    if summary.error is not None:
        say_error(summary.error)
        say(f"what was written ends after {summary.frames} frames")
    return 1 if summary.error is not None else 0


def _print(path: Path, summary: VideoSummary) -> None:
    rows = [
        [name, seen.frames, seen.most, f"{seen.first:.2f} s", f"{seen.last:.2f} s"]
        for name, seen in sorted(summary.categories.items(), key=lambda item: -item[1].frames)
    ]
    if not rows:
        rows = [["nothing", 0, 0, "", ""]]
    headers = ["category", "frames", "most at once", "first seen", "last seen"]
    print_table(f"{path}: {summary.frames} frames", headers, rows)
