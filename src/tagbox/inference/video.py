"""Video files a frame at a time: upright RGB in, H.264 out (PyAV)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_path
from tagbox.errors import TagboxError, extra_missing
from tagbox.files import open_file

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".wmv")
)
"""What names of video files end in."""
_CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}
_ENCODERS = (("h264", {"crf": "20"}), ("mpeg4", {"qscale": "3"}))
# Playlists, of any suffix, have other files and addresses opened.
_ONLY_THE_FILE = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,matroska,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,m4v,h264,hevc,ivf,nut,dv",
}
_REPLACE = "copy the file again, or repair it"
_ENDS_EARLY = 0.98
"""Share of the frames or the seconds that a file states which it must hold."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes
    ----------
    number
        Counted from 0.
    time
        Seconds from the video's start.
    image
        (H, W, 3) uint8 RGB, upright.
    """

    number: int
    time: float
    image: NDArray[np.uint8]


class VideoReader:
    """The first video stream of an open file; made by `open_video`.

    Attributes
    ----------
    path
        Of the file.
    rate
        Frames a second, on average.
    length
        About how many frames there are, as the file states it; 0 where it does not.
    has_sound
        Whether there is a sound track.
    error
        Once iterated: why it ended before its end; None where it did not.
    """

    def __init__(self, container: Any, path: Path) -> None:
        self._container, self.path = container, path
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
        self._stated = int(self._stream.frames)
        self._seconds = (container.duration or 0) / 1_000_000
        self.length = self._stated or round(self._seconds * self.rate)
        self.has_sound = bool(container.streams.audio)
        self.error: TagboxError | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order of time, until the end or the first that cannot be decoded."""
        import av

        number, time = 0, 0.0
        try:
            for frame in self._container.decode(self._stream):
                turned = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                time = float(frame.time if frame.time is not None else number / self.rate)
                yield Frame(number, time, np.ascontiguousarray(turned))
                number += 1
        except av.error.FFmpegError as error:
            self.error = self._damaged(number, error.strerror or str(error))
            return
        if not number:
            self.error = self._damaged(0, "it holds no frame")
        elif self._ended_early(number, time):
            self.error = self._damaged(number, "the file ends before the video does")

    def _ended_early(self, frames: int, time: float) -> bool:
        if self._stated:
            return frames < _ENDS_EARLY * self._stated
        return time + 1 + 1 / float(self.rate) < _ENDS_EARLY * self._seconds

    def _damaged(self, number: int, why: str) -> TagboxError:
        where = f"at frame {number} ({number / float(self.rate):.2f} s)"
        return TagboxError(
            "video-damaged",
            f"the video cannot be read any further ({why[0].lower() + why[1:]})",
            file=self.path,
            where=where,
            hint=_REPLACE,
        )


@contextmanager
def open_video(path: Path) -> Iterator[VideoReader]:
    """A video file to read.

    Raises
    ------
    TagboxError
        ``extra-missing``; ``video-missing``; ``video-unreadable`` for a file that is no video.
    """
    av = import_av()
    try:
        open_file(path).close()
        container = av.open(f"file:{path}", options=_ONLY_THE_FILE)
    except FileNotFoundError as error:
        raise TagboxError(
            "video-missing", "no such file", file=path, hint="check the path"
        ) from error
    except (av.error.FFmpegError, OSError) as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    with container:
        if not container.streams.video:
            raise _unreadable(path, "it holds no video stream")
        yield VideoReader(container, path)


class VideoWriter:
    """Images of one size to a video; made by `write_video`."""

    def __init__(self, container: Any, rate: Fraction) -> None:
        self._container, self._rate = container, rate
        self._stream: Any = None
        self._count = 0

    @property
    def encoder(self) -> str:
        """The codec, once there is a frame."""
        return str(self._stream.codec_context.name) if self._stream is not None else ""

    def add(self, image: Image) -> None:
        """The next frame, of the first one's size; an odd last row or column is repeated."""
        import av

        pixels = np.asarray(image)
        height, width = pixels.shape[:2]
        # Colour is kept for every other pixel only, so H.264 wants even sides.
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._stream = _stream(self._container, self._rate, pixels.shape[1], pixels.shape[0])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = self._count, 1 / self._rate
        self._count += 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


@contextmanager
def write_video(path: Path, rate: Fraction) -> Iterator[VideoWriter]:
    """A video file to write, complete or not at all, at `rate` frames a second, without sound.

    H.264 where the installed FFmpeg has an encoder for it, else MPEG-4.

    Raises
    ------
    TagboxError
        ``extra-missing``; ``cannot-write``.
    """
    av = import_av()
    with atomic_path(path) as temporary:
        container = av.open(str(temporary), "w", format=_CONTAINERS[path.suffix.lower()])
        try:
            writer = VideoWriter(container, rate)
            yield writer
            writer.close()
        except av.error.FFmpegError as error:
            raise TagboxError(
                "cannot-write",
                f"the video cannot be encoded ({error.strerror or error})",
                file=path,
                hint="check that the disk has room, or choose another --save-video name",
            ) from error
        finally:
            container.close()


def check_video_name(path: Path) -> None:
    """Refuse a name that no video can be written to, before anything is computed.

    Raises
    ------
    TagboxError
        ``option-value``.
    """
    if path.suffix.lower() not in _CONTAINERS:
        raise TagboxError(
            "option-value",
            "its name does not say which kind of video to write",
            file=path,
            where="--save-video",
            hint=f"end it in {', '.join(_CONTAINERS)}",
        )


def import_av() -> Any:
    """PyAV, silent; ``extra-missing`` where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise extra_missing("a video", "PyAV", "video") from error
    # FFmpeg would print its own notes beside our one sentence.
    av.logging.set_level(av.logging.PANIC)
    return av


def _stream(container: Any, rate: Fraction, width: int, height: int) -> Any:
    import av

    for name, options in _ENCODERS:
        try:
            stream = container.add_stream(name, rate=rate, options=options)
        except av.codec.codec.UnknownCodecError:
            continue
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        return stream
    raise TagboxError(
        "video-encoder",
        "the installed FFmpeg can encode neither H.264 nor MPEG-4",
        hint='run: pip install --force-reinstall "tagbox[video]"',
    )


def _unreadable(path: Path, why: str) -> TagboxError:
    return TagboxError(
        "video-unreadable", f"not a video that can be read ({why})", file=path, hint=_REPLACE
    )
