"""A detector over a video: every frame at its time, an annotated copy, damage said in one sentence."""

from __future__ import annotations

import csv
import io
import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tagbox.errors import TagboxError
from tagbox.images.box_drawing import category_colours
from tagbox.inference.detector import DetectorModel
from tagbox.inference.video import check_video_name, open_video
from tagbox.inference.video_detections import VideoSummary, detect_video
from tagbox.predictions.thresholds import ScoreThresholds
from toy_detectors import NAMES, PatchDetector, patch_bundle, patch_spec, scene

WIDTH, HEIGHT, FRAMES = 320, 180, 24
RATE = Fraction(24000, 1001)
CUTS = ScoreThresholds(value=0.5)


def make_video(path: Path, *, turned: int = 0, frames: int = FRAMES) -> Path:
    """A red patch moves by four pixels a frame; a blue one stands in the second half."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        for number in range(frames):
            patches = [("red", (16 + 4 * number, 40, 64, 48))]
            if number >= frames // 2:
                patches.append(("blue", (240, 100, 64, 64)))
            frame = av.VideoFrame.from_ndarray(scene(WIDTH, HEIGHT, patches), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def model() -> DetectorModel:
    spec = patch_spec(320)
    return DetectorModel(patch_bundle(spec), engine="torch", detector=PatchDetector(spec))


def detect(clip: Path, **options: Any) -> VideoSummary:
    with open_video(clip) as reader:
        return detect_video(model(), reader, CUTS, **options)


def test_every_frame_has_its_row(tmp_path: Path) -> None:
    out = io.BytesIO()
    ticks: list[int] = []
    clip = make_video(tmp_path / "clip.mp4")
    summary = detect(clip, rows=(out, "json"), progress=ticks.append)
    assert summary.frames == len(ticks) == FRAMES and summary.error is None
    found = json.loads(out.getvalue())
    assert (found["width"], found["height"]) == (WIDTH, HEIGHT)
    assert found["rate"] == pytest.approx(float(RATE))
    assert [row["frame"] for row in found["frames"]] == list(range(FRAMES))
    for number, row in enumerate(found["frames"]):
        assert row["time"] == pytest.approx(number / float(RATE), abs=1e-3)
        boxes = {entry["name"]: entry["box"] for entry in row["objects"]}
        assert set(boxes) == ({"red", "blue"} if number >= FRAMES // 2 else {"red"})
        np.testing.assert_allclose(boxes["red"], [16 + 4 * number, 40, 64, 48], atol=4)
    assert (
        summary.categories["red"].frames == FRAMES
        and summary.categories["blue"].frames == FRAMES // 2
    )
    assert summary.categories["blue"].first == found["frames"][FRAMES // 2]["time"]
    assert summary.categories["blue"].most == 1


def test_rows_as_csv(tmp_path: Path) -> None:
    out = io.BytesIO()
    clip = make_video(tmp_path / "clip.mkv")
    detect(clip, rows=(out, "csv"), decimals=1)
    rows = list(csv.DictReader(io.StringIO(out.getvalue().decode())))
    assert len(rows) == FRAMES + FRAMES // 2
    assert list(rows[0]) == ["frame", "time", "category", "score", "x", "y", "w", "h"]
    assert rows[0]["category"] == "red" and float(rows[0]["x"]) == pytest.approx(16, abs=4)
    assert all(len(row["x"].partition(".")[2]) <= 1 for row in rows)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.avi"])
def test_the_annotated_copy_has_the_same_size_rate_and_length(tmp_path: Path, name: str) -> None:
    clip = make_video(tmp_path / "clip.mp4")
    summary = detect(clip, annotated=tmp_path / name)
    assert summary.encoder in ("libx264", "libopenh264", "mpeg4")
    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        assert not container.streams.audio
        assert float(stream.average_rate) == pytest.approx(float(RATE), rel=1e-3)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == FRAMES
    assert frames[0].shape == (HEIGHT, WIDTH, 3)
    # The first frame has no blue patch, the last one has, and around it a box.
    assert np.abs(frames[0][100:164, 240:304].astype(int) - 90).mean() < 8
    assert frames[-1][130, 270, 2] > 200
    tag = [int(category_colours(NAMES)["blue"][i : i + 2], 16) for i in (1, 3, 5)]
    found = np.median(frames[-1][84:99, 242:270], axis=(0, 1))
    assert np.abs(found - tag).max() < 20
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["clip.mp4", name]


def test_odd_sides_are_made_even(tmp_path: Path) -> None:
    from PIL import Image

    from tagbox.inference.video import write_video

    with write_video(tmp_path / "odd.mp4", Fraction(10)) as writer:
        for _ in range(3):
            writer.add(Image.new("RGB", (333, 175), "#205080"))
    with open_video(tmp_path / "odd.mp4") as reader:
        shapes = [frame.image.shape for frame in reader]
    assert shapes == [(176, 334, 3)] * 3


def test_a_video_that_was_held_upright_comes_upright(tmp_path: Path) -> None:
    with open_video(make_video(tmp_path / "turned.mp4", turned=90)) as reader:
        frame = next(iter(reader))
    assert frame.image.shape == (WIDTH, HEIGHT, 3)
    # Turned counter-clockwise by a quarter: what was on the left is below.
    plain = scene(WIDTH, HEIGHT, [("red", (16, 40, 64, 48))])
    difference = np.abs(frame.image.astype(int) - np.rot90(plain))
    assert np.median(difference) < 8


@pytest.mark.parametrize("name", ["clip.mkv", "clip.ts", "clip.avi"])
def test_of_a_truncated_video_what_can_be_read_is_kept(tmp_path: Path, name: str) -> None:
    clip = make_video(tmp_path / name, frames=96)
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    out = io.BytesIO()
    annotated = tmp_path / "out.mp4"
    summary = detect(clip, rows=(out, "json"), annotated=annotated)
    assert 20 < summary.frames < 80
    assert len(json.loads(out.getvalue())["frames"]) == summary.frames
    with open_video(annotated) as reader:
        assert sum(1 for _ in reader) == summary.frames and reader.error is None
    if name != "clip.ts":  # A transport stream may end anywhere and says nothing of its length.
        assert summary.error is not None and summary.error.code == "video-damaged"
        assert name in str(summary.error) and f"frame {summary.frames}" in str(summary.error)


@pytest.mark.parametrize("content", [b"", b"no video at all", None])
def test_what_is_no_video_is_refused_and_nothing_is_written(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TagboxError, match=r"clip\.mp4") as caught:
        detect(path, annotated=tmp_path / "out.mp4")
    assert caught.value.code == ("video-missing" if content is None else "video-unreadable")
    assert not (tmp_path / "out.mp4").exists()


def test_special_files_and_scripts_are_no_videos(tmp_path: Path) -> None:
    """A pipe and the kernel's messages would wait for ever; a playlist has other files opened."""
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "kernel.mp4").symlink_to("/proc/kmsg")
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    make_video(tmp_path / "clip.ts", frames=3)
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile clip.ts\n")
    for name in ("pipe", "loop", "kernel", "list", "concat"):
        with pytest.raises(TagboxError) as caught, open_video(tmp_path / f"{name}.mp4"):
            pass
        assert caught.value.code == "video-unreadable", name


def test_a_truncated_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", frames=96)
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    with pytest.raises(TagboxError) as caught:
        detect(clip, annotated=tmp_path / "out.mp4")
    assert caught.value.code == "video-unreadable"
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_only_sound_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with (
        pytest.raises(TagboxError, match="no video stream"),
        open_video(tmp_path / "sound.mkv"),
    ):
        pass


def test_names_that_no_video_can_have_are_refused() -> None:
    check_video_name(Path("a.MP4"))
    with pytest.raises(TagboxError, match=r"a\.gif: .*--save-video|--save-video") as caught:
        check_video_name(Path("a.gif"))
    assert caught.value.code == "option-value"
