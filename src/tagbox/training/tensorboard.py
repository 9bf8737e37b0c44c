"""TensorBoard events: two writers, ``train/`` and ``val/``, with equal tags, so both curves share a chart.

The events are TensorBoard's own protocol buffers; only the framing of records is written here, because
the import of its writers (``torch.utils.tensorboard``, ``tensorboard.summary.writer``) is a noticeable
part of a run of seconds and several times that of the buffers alone.
"""

from __future__ import annotations

import math
import os
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

from tagbox.atomic_io import cannot_write
from tagbox.metrics.multilabel import average_precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tagbox.config import ClassifierConfig
    from tagbox.training.classification_task import ClassificationMetrics
    from tagbox.training.history import Row

Side = Literal["train", "val"]


class TensorBoardLog:
    """Scalars and pictures of one run; ``tensorboard --logdir FOLDER`` shows them.

    Parameters
    ----------
    folder
        Made when missing; holds ``train/`` and ``val/`` with one event file each. A resumed run adds
        a file beside the old one.

    Raises
    ------
    TagboxError
        ``cannot-write`` when the operating system refuses the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._writers = {side: _EventFile(folder / side) for side in ("train", "val")}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def batch(self, step: int, loss: float) -> None:
        """The loss of one mini-batch; `step` counts batches from the start of the run."""
        self._writers["train"].scalars(step, {"loss/batch": loss})

    def epoch(self, epoch: int, metrics: Mapping[str, float | int | None]) -> None:
        """The metrics of one epoch, named as in ``history.csv``; a running TensorBoard sees them at once.

        ``train_NAME`` and ``val_NAME`` become the tag ``metrics/NAME`` of the two writers,
        ``loss/epoch`` for the loss and ``loss/PART`` for ``loss_PART``; other names
        (``learning_rate``) are tags of ``train/`` under ``run/``. None and NaN are left out.
        """
        by_side: dict[str, dict[str, float | int | None]] = {"train": {}, "val": {}}
        for name, value in metrics.items():
            side, _, metric = name.partition("_")
            if side in by_side and metric:
                by_side[side][_tag(metric)] = value
            elif name != "epoch":
                by_side["train"][f"run/{name}"] = value
        for side, values in by_side.items():
            self._writers[side].scalars(epoch, values)
            self._writers[side].flush()

    def per_category(
        self,
        epoch: int,
        metric: str,
        names: Sequence[str],
        values: Sequence[float] | NDArray[np.floating[Any]],
        side: Side = "val",
    ) -> None:
        """One metric of K categories, tagged ``METRIC/NAME``; NaN (no positives) is left out."""
        tags = {f"{metric}/{n}": float(v) for n, v in zip(names, values, strict=True)}
        self._writers[side].scalars(epoch, tags)

    def picture(self, step: int, tag: str, image: NDArray[np.uint8], side: Side = "val") -> None:
        """A picture, (H, W, 3) uint8 RGB, for the Images page."""
        import numpy as np
        import simplejpeg

        height, width = image.shape[:2]
        pixels = np.ascontiguousarray(image)
        self._writers[side].picture(
            step, tag, height, width, simplejpeg.encode_jpeg(pixels, quality=80)
        )

    def close(self) -> None:
        """Close both files."""
        for writer in self._writers.values():
            writer.close()


def _tag(metric: str) -> str:
    """Losses share a group of charts, each on its own scale; everything else is in another."""
    if metric == "loss":
        return "loss/epoch"
    part = metric.removeprefix("loss_")
    return f"metrics/{metric}" if part == metric else f"loss/{part}"


class _EventFile:
    """One file of TensorBoard events in TFRecord framing."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        now = time.time()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = len(list(folder.glob("events.out.tfevents.*")))
            # Readers take the files of a folder in the order of their names.
            name = f"events.out.tfevents.{int(now):010d}.{number:04d}.{os.getpid()}"
            self._file = open(folder / name, "xb")  # noqa: SIM115 (open for the whole run)
        except OSError as error:
            raise cannot_write(folder, error) from error
        self._write(self._event(wall_time=now, file_version="brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float | int | None]) -> None:
        finite = {tag: v for tag, v in values.items() if v is not None and not math.isnan(v)}
        if finite:
            summary = self._summary()
            for tag, value in finite.items():
                summary.value.add(tag=tag, simple_value=value)
            self._write(self._event(wall_time=time.time(), step=step, summary=summary))

    def picture(self, step: int, tag: str, height: int, width: int, jpeg: bytes) -> None:
        image = self._summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=jpeg
        )
        summary = self._summary()
        summary.value.add(tag=tag, image=image)
        self._write(self._event(wall_time=time.time(), step=step, summary=summary))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _write(self, event: Any) -> None:
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        checks = (struct.pack("<I", _masked_crc(part)) for part in (length, data))
        self._file.write(b"".join((length, next(checks), data, next(checks))))


def _crc_table() -> tuple[int, ...]:
    """Remainders of all bytes for CRC-32C, the Castagnoli polynomial, reflected."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _crc_table()


def _masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and offset as TFRecord files ask."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


Validated = TypeVar("Validated")
"""The metrics object of a validation pass."""


class Watch(Generic[Validated]):
    """Writes the batches and epochs of a training to `log`, where there is one.

    Parameters
    ----------
    categories
        K names.
    per_category
        The metrics of a validation pass -> (K,) values of each metric with a tag for each category.
    """

    def __init__(
        self,
        log: TensorBoardLog | None,
        *,
        categories: Sequence[str] = (),
        per_category: Callable[[Validated], Mapping[str, NDArray[np.floating[Any]]]] | None = None,
    ) -> None:
        self._log, self._categories, self._per_category = log, categories, per_category

    def batch(self, step: int, loss: float) -> None:
        """Write the loss of a batch."""
        if self._log is not None:
            self._log.batch(step, loss)

    def epoch(self, row: Row, validated: Validated) -> None:
        """Write the metrics of an epoch, and those of each category."""
        if self._log is None:
            return
        number = int(row["epoch"] or 0)
        self._log.epoch(number, row)
        if self._per_category is not None:
            for metric, values in self._per_category(validated).items():
                self._log.per_category(number, metric, self._categories, values)


def watch_labels(
    config: ClassifierConfig, categories: Sequence[str], log: TensorBoardLog | None
) -> Watch[ClassificationMetrics]:
    """The watch of a classifier, with each category's average precision where `config` asks for it."""

    def precision(metrics: ClassificationMetrics) -> dict[str, NDArray[np.float64]]:
        return {"average_precision": average_precision(metrics.truth, metrics.probabilities)}

    wanted = precision if config.tensorboard_categories else None
    return Watch(log, categories=categories, per_category=wanted)
