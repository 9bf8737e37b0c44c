"""A dataset for a training loop of one's own: a plain `torch.utils.data.Dataset` of images and targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.utils.data
from torchvision import tv_tensors

from tagbox.config.base import require
from tagbox.data.dataset import UNKNOWN, Dataset
from tagbox.data.training_boxes import training_boxes
from tagbox.images.decode import read_image


class TorchDataset(torch.utils.data.Dataset[tuple[Any, Any]]):
    """Pairs of image and target, one for each labelled image.

    An image is a `torchvision.tv_tensors.Image`, (3, H, W) uint8 RGB, upright. A target of ``labels`` is a (K,) float32
    tensor: 1 present, 0 absent, NaN not known. One of ``boxes`` is a dict as torchvision's detectors and its
    transforms v2 take it: ``boxes`` (B, 4) float32 `BoundingBoxes` xyxy in pixels of the image, ``labels`` (B,)
    int64 from 1 (0 is the background), ``image_id`` int.

    Parameters
    ----------
    dataset
        Images that are not labelled are left out.
    transform
        Called with the image, or for boxes with image and target, both of which it returns.
    target
        ``labels`` or ``boxes``.
    boxes
        As `DetectorConfig.boxes`: what to do about boxes without area or outside their image. Boxes are clipped to
        the image; crowd regions are left out.

    Attributes
    ----------
    dataset
        The images that it holds, in its order.

    Raises
    ------
    TagboxError
        With ``boxes`` the codes of `data.training_boxes.training_boxes`.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: Callable[..., Any] | None = None,
        *,
        target: Literal["labels", "boxes"] = "labels",
        boxes: Literal["refuse", "drop"] = "refuse",
    ) -> None:
        require(target in ("labels", "boxes"), "target", target, "labels or boxes")
        require(boxes in ("refuse", "drop"), "boxes", boxes, "refuse or drop")
        self._boxes = training_boxes(dataset, boxes) if target == "boxes" else None
        labelled = np.flatnonzero(dataset.images.labelled)
        self._rows = labelled if self._boxes is None else self._boxes.rows
        self.dataset = dataset.take(self._rows)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __repr__(self) -> str:
        targets = "labels" if self._boxes is None else "boxes"
        return f"<TorchDataset of {len(self):,} images with {targets}: {self.dataset!r}>"

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Image and target `index`.

        Raises
        ------
        TagboxError
            The codes of `images.decode.read_image`.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        index %= len(self)
        pixels = read_image(self.dataset.images.path(index))
        image = tv_tensors.Image(torch.from_numpy(pixels.copy()).permute(2, 0, 1).contiguous())
        if self._boxes is None:
            labels = self.dataset.labels[index]
            hot = torch.from_numpy(np.where(labels == UNKNOWN, np.nan, labels)).float()
            return (image if self.transform is None else self.transform(image)), hot
        own = self._boxes[int(self._rows[index])]
        boxes = tv_tensors.BoundingBoxes(
            torch.from_numpy(own.boxes).float(), format="XYXY", canvas_size=pixels.shape[:2]
        )
        target = {
            "boxes": boxes,
            "labels": torch.from_numpy(own.labels + 1),
            "image_id": int(self.dataset.images.ids[index]),
        }
        return (image, target) if self.transform is None else self.transform(image, target)

    @staticmethod
    def collate(batch: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
        """For a `DataLoader` of images of different sizes: a list of images and one of targets."""
        images, targets = zip(*batch, strict=True)
        return list(images), list(targets)
