"""A dataset as a sequence of records, one an image, that people look at, iterate over and convert."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from tagbox.errors import require_extra
from tagbox.images.gallery import Figure, gallery
from tagbox.tables import data_frame

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image
    from torch.utils.data import Dataset as TorchDataset

    from tagbox.images.box_drawing import DrawnBox

_MOST_NAMES = 6


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """One image of a dataset with its annotations.

    Attributes
    ----------
    id
        The image's original id.
    file, path
        As the dataset names it, and where it is.
    width, height
        Pixels as the source states them; 0 where it does not.
    labelled
        Whether the image has been annotated; one that has not is not the same as one without objects.
    labels, unknown
        Names of the categories that are present in it, and of those of which it is not known.
    boxes
        (B, 4) float64 xywh in pixels of `width` and `height`.
    names
        B category names.
    crowd
        (B,) bool: boxes of crowd regions.
    """

    id: int
    file: str
    path: Path
    width: int
    height: int
    labelled: bool
    labels: tuple[str, ...]
    unknown: tuple[str, ...]
    boxes: NDArray[np.float64]
    names: tuple[str, ...]
    crowd: NDArray[np.bool_]
    _in_file: Callable[[], NDArray[np.float64]] = field(repr=False)

    @property
    def image(self) -> Image:
        """The picture, upright RGB; its file is read whenever this is asked for.

        Raises
        ------
        TagboxError
            The codes of `images.decode.read_image`.
        """
        from PIL import Image

        return Image.fromarray(self._read())

    def __repr__(self) -> str:
        said = f"labels={', '.join(self.labels) or '(none)'}" if self.labelled else "not labelled"
        count = len(self.boxes)
        boxes = f", {count} box{'es' * (count > 1)}" if count else ""
        return f"<Record {self.file!r}: {said}{boxes}>"

    def _repr_html_(self) -> str:
        return gallery([self.figure()])

    def figure(self) -> Figure:
        """The picture with its boxes, for a notebook."""
        caption = [", ".join(self.labels) or "no labels"] if self.labelled else ["not labelled"]
        drawn = self._drawn() if len(self.boxes) else []
        if len(drawn) < len(self.boxes):
            caption.append("its boxes have no place in the file, whose size is another")
        return Figure(title=self.file, read=self._read, boxes=drawn, caption=caption)

    def _read(self) -> NDArray[np.uint8]:
        from tagbox.images.decode import read_image

        return read_image(self.path)

    def _drawn(self) -> list[DrawnBox]:
        from tagbox.images.box_drawing import DrawnBox

        return [
            DrawnBox(name=name, box=tuple(box), truth=False)
            for name, box in zip(self.names, self._in_file().tolist(), strict=True)
            if box[0] == box[0]
        ]


class Records:
    """What `tagbox.data.dataset.Dataset` can do as a sequence of its images' records."""

    images: Any
    categories: Any
    annotations: Any
    source: Any
    labels: Any

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Record | Self:
        """The record of image `index`, or of a slice the dataset of these images."""
        count = len(self)
        if isinstance(index, slice):
            return self.take(np.arange(count)[index])
        row = operator.index(index)
        if not -count <= row < count:
            raise IndexError(f"image {row} of a dataset of {count}")
        return self._record(row % count)

    def __iter__(self) -> Iterator[Record]:
        return map(self._record, range(len(self)))

    def take(self, rows: Any) -> Self:
        """The images at `rows`."""
        raise NotImplementedError

    @cached_property
    def _by_image(self) -> tuple[Any, list[int]]:
        found: tuple[Any, list[int]] = self.annotations.by_image(len(self))
        return found

    def _record(self, row: int) -> Record:
        annotations, starts = self._by_image
        own = np.arange(starts[row], starts[row + 1])
        boxed = annotations.take(own[annotations.has_box[own]])
        names, labels = self.categories.names, self.labels[row]

        def in_file() -> NDArray[np.float64]:
            # A module above this one: it knows datasets.
            pixels = import_module("tagbox.data.record_pixels").record_pixels(self.take([row]))
            alone = pixels.in_file().annotations
            boxes: NDArray[np.float64] = alone.boxes[self.take([row]).annotations.has_box]
            return boxes

        return Record(
            id=int(self.images.ids[row]),
            file=str(self.images.files[row]),
            path=self.images.path(row),
            width=int(self.images.widths[row]),
            height=int(self.images.heights[row]),
            labelled=bool(self.images.labelled[row]),
            labels=tuple(names[k] for k in np.flatnonzero(labels == 1)),
            unknown=tuple(names[k] for k in np.flatnonzero(labels == -1)),
            boxes=boxed.boxes,
            names=tuple(names[k] for k in boxed.category_rows),
            crowd=boxed.crowd,
            _in_file=in_file,
        )

    def __repr__(self) -> str:
        return f"<Dataset {str(self.source.path)!r} ({self.source.format}): {self._summary()}>"

    def _summary(self) -> str:
        names = self.categories.names
        shown = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        unlabelled = int((~self.images.labelled).sum())
        parts = [
            f"{len(self):,} images",
            f"{len(names)} categories ({shown})" if names else "no categories",
            f"{int((self.labels == 1).sum()):,} labels",
            f"{int(self.annotations.has_box.sum()):,} boxes",
        ]
        return ", ".join(parts + ([f"{unlabelled:,} not labelled"] if unlabelled else []))

    def _repr_html_(self) -> str:
        summary = f"{self.source.path}: {self._summary()}"
        return gallery((record.figure() for record in self), len(self), summary)

    def to_pandas(self, rows: Literal["images", "annotations"] = "images") -> DataFrame:
        """The images, or their annotations, as a DataFrame.

        Parameters
        ----------
        rows
            ``images``: id, file, width, height, labelled, a tuple of the labels, and for each category whether it
            is present (1, 0, or -1 where it is not known); ``annotations``: id, image_id, file, category, x, y, w, h
            in pixels (NaN without a box), area, crowd.

        Raises
        ------
        TagboxError
            ``extra-missing`` without pandas.
        """
        images, annotations, names = self.images, self.annotations, self.categories.names
        if rows == "images":
            columns = {
                "id": images.ids,
                "file": images.files.tolist(),
                "width": images.widths,
                "height": images.heights,
                "labelled": images.labelled,
                "labels": [
                    tuple(names[k] for k in np.flatnonzero(row == 1)) for row in self.labels
                ],
            }
            own = {f"label {name}" if name in columns else name: k for k, name in enumerate(names)}
            return data_frame(columns | {name: self.labels[:, k] for name, k in own.items()})
        at = annotations.image_rows
        sides = dict(zip("xywh", annotations.boxes.T, strict=True))
        return data_frame(
            {
                "id": annotations.ids,
                "image_id": images.ids[at],
                "file": images.files[at].tolist(),
                "category": [names[k] for k in annotations.category_rows],
                **sides,
                "area": annotations.areas,
                "crowd": annotations.crowd,
            }
        )

    def torch_dataset(
        self,
        transform: Callable[..., Any] | None = None,
        *,
        target: Literal["labels", "boxes"] = "labels",
        boxes: Literal["refuse", "drop"] = "refuse",
    ) -> TorchDataset[tuple[Any, Any]]:
        """The images with their labels or boxes as a `torch.utils.data.Dataset`, for a training loop of one's own.

        See `training.torch_dataset.TorchDataset`: an item is ``(image, target)``, the image (3, H, W) uint8, the target
        a (K,) float32 multi-hot vector, or a dict of ``boxes`` (xyxy) and ``labels`` (from 1) as torchvision's detectors
        take it. It works with the workers of a `DataLoader` and with torchvision's transforms v2.

        Parameters
        ----------
        transform
            Called with the image; for boxes with image and target, both of which it returns.
        target
            What an item's target is.
        boxes
            What to do about boxes without area or outside their image.

        Raises
        ------
        TagboxError
            ``extra-missing`` without torch; for boxes the codes of `data.training_boxes.training_boxes`.
        """
        require_extra("torch_dataset", "torch", "torchvision")
        made = import_module("tagbox.training.torch_dataset").TorchDataset
        dataset: TorchDataset[tuple[Any, Any]] = made(self, transform, target=target, boxes=boxes)
        return dataset
