"""COCO records moved into pixels of their image file: size, box, area, segmentation, keypoints."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.record_pixels import RecordPixels
from tagbox.data.segmentation import SegmentationError, mask_runs, segmentation_box
from tagbox.images.geometry import turned_upright


def image_in_file(record: dict[str, Any], pixels: RecordPixels, row: int) -> dict[str, Any]:
    """The record of image `row`, with the size of the upright file."""
    width, height = pixels.sizes[row].astype(int).tolist()
    return record | {"width": width, "height": height}


def annotation_in_file(record: dict[str, Any], pixels: RecordPixels, row: int) -> dict[str, Any]:
    """An annotation of image `row`, in pixels of the upright file.

    A mask is turned by whole pixels, and scaled by the nearest pixel; it becomes uncompressed. What cannot be
    read stays as it is.
    """
    moved = dict(record)
    rows = np.array([row])
    box = record.get("bbox")
    if isinstance(box, list) and len(box) == 4:
        moved["bbox"] = pixels.to_file(np.array([box], np.float64), rows)[0].tolist()
    if isinstance(record.get("area"), (int, float)):
        moved["area"] = record["area"] * float(pixels.area_scales[row])
    if "segmentation" in record:
        moved["segmentation"] = _segmentation(record["segmentation"], pixels, row)
    points = record.get("keypoints")
    if isinstance(points, list) and points and len(points) % 3 == 0:
        moved["keypoints"] = _keypoints(points, pixels, row)
    return moved


def _segmentation(segmentation: Any, pixels: RecordPixels, row: int) -> Any:
    try:
        if segmentation_box(segmentation) is None:
            return segmentation
    except SegmentationError:
        return segmentation
    if isinstance(segmentation, dict):
        return _mask(segmentation, pixels, row)
    flat = not isinstance(segmentation[0], list)
    to_file = pixels.points_to_file(row)
    moved = [
        to_file(np.array(polygon, np.float64).reshape(-1, 2)).ravel().tolist()
        for polygon in ([segmentation] if flat else segmentation)
    ]
    return moved[0] if flat else moved


def _mask(rle: dict[str, Any], pixels: RecordPixels, row: int) -> dict[str, Any]:
    height, width = rle["size"]
    runs = mask_runs(rle)
    values = np.arange(len(runs)) % 2 == 1
    mask = np.repeat(values, runs).reshape(width, height).T
    mask = turned_upright(mask, int(pixels.orientations[row]))
    columns, rows = pixels.sizes[row].astype(int).tolist()
    if mask.shape != (rows, columns):
        mask = mask[_nearest(rows, mask.shape[0])][:, _nearest(columns, mask.shape[1])]
    return {"size": [rows, columns], "counts": _runs(mask.T.ravel())}


def _nearest(count: int, of: int) -> NDArray[np.intp]:
    """For each of `count` pixels of a side the nearest of `of`."""
    return ((np.arange(count) + 0.5) * of / count).astype(np.intp)


def _runs(pixels: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs, alternately of False and True, the first of False."""
    ends = np.append(np.flatnonzero(np.diff(pixels)) + 1, len(pixels))
    runs: list[int] = np.diff(ends, prepend=0).tolist()
    return [0, *runs] if pixels[0] else runs


def _keypoints(points: list[Any], pixels: RecordPixels, row: int) -> list[Any]:
    """COCO's x, y, v of each point; one that is not labelled (v = 0) stays at 0, 0."""
    table = np.array(points, np.float64).reshape(-1, 3)
    labelled = table[:, 2] > 0
    table[labelled, :2] = pixels.points_to_file(row)(table[labelled, :2])
    return [value for x, y, v in table.tolist() for value in (x, y, int(v))]
