"""Lines of YOLO label files: boxes, polygons, and poses, which are a box and keypoints."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tagbox.data.formats.common import Report, refuse
from tagbox.errors import TagboxError
from tagbox.text_files import read_text

Xywh = tuple[float, float, float, float]

# Share of the image's side by which rounded coordinates may leave it, where its size is not known.
_TOLERANCE = 1e-3
_BOX_FIELDS = ("x_center", "y_center", "width", "height")
_LIKE_POSES = 0.9
"""Share of the lines that must read as poses for `PoseTest` to take them for such."""


_INDEX = re.compile(r"\d{1,9}(?:\.\d{0,20})?(?:e\+0\d)?", re.ASCII)


class KeypointShape(NamedTuple):
    """``kpt_shape`` of a ``data.yaml``: the number of keypoints, and the 2 or 3 numbers of each."""

    keypoints: int
    dimensions: int

    @property
    def numbers(self) -> int:
        """How many numbers follow the category in a line."""
        return 4 + self.keypoints * self.dimensions


def keypoint_shape(content: Mapping[Any, Any], path: Path) -> KeypointShape | None:
    """``kpt_shape`` in the settings of a ``data.yaml``; None when it is not there or null.

    Raises
    ------
    TagboxError
        ``yolo-yaml`` when it is not two whole numbers of which the second is 2 or 3.
    """
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    if (
        not isinstance(shape, list)
        or len(shape) != 2
        or any(type(number) is not int for number in shape)
        or not (1 <= shape[0] <= 10_000 and shape[1] in (2, 3))
    ):
        raise TagboxError(
            "yolo-yaml",
            f"{str(shape)[:60]!r} is not a number of keypoints and the 2 or 3 numbers of each",
            file=path,
            where="kpt_shape",
            hint="write it as 'kpt_shape: [17, 3]', or leave it out where there are no keypoints",
        )
    return KeypointShape(*shape)


class PoseTest:
    """Whether lines that are read as polygons are poses whose ``kpt_shape`` nobody stated.

    Both can have the same number of numbers. Poses all have the same, and read as poses their boxes lie in
    the image and their keypoints in the boxes, which hardly any polygon does by chance. A parallelogram (as
    oriented boxes are) or a closed outline is a polygon.
    """

    def __init__(self) -> None:
        self.width = 0
        self._lines = 0
        self._like = {2: 0, 3: 0}
        self._first: tuple[Path, int] | None = None

    def add(self, values: Sequence[float], path: Path, line: int) -> None:
        """Take the numbers after the category of a line with more than a box."""
        if self._lines and len(values) != self.width:
            self.width = -1
        if self.width < 0:
            return
        self.width = len(values)
        self._first = self._first or (path, line)
        self._lines += 1
        if not _is_outline(values):
            for dimensions in self._like:
                self._like[dimensions] += _is_pose(values, dimensions)

    def check(self) -> None:
        """Raise ``yolo-line`` when the lines so far read as poses."""
        for dimensions in (3, 2):
            if (
                self._first
                and self.width > 0
                and self._like[dimensions] >= _LIKE_POSES * self._lines
            ):
                shape = [(self.width - 4) // dimensions, dimensions]
                raise TagboxError(
                    "yolo-line",
                    f"its {self.width} numbers after the category, and those of all lines like it, read as a "
                    f"box with {shape[0]} keypoints as well as a polygon",
                    file=self._first[0],
                    where=f"line {self._first[1]}",
                    hint=f"write 'kpt_shape: {shape}' in the data.yaml for poses, 'kpt_shape: null' for polygons",
                )


def _is_outline(values: Sequence[float]) -> bool:
    """Whether points are a parallelogram, or end where they begin."""
    if len(values) > 8:
        return math.dist(values[:2], values[-2:]) < _TOLERANCE
    if len(values) < 8:
        return False
    a, b, c, d = (values[start : start + 2] for start in range(0, 8, 2))
    return all(abs(a[side] + c[side] - b[side] - d[side]) < 4 * _TOLERANCE for side in (0, 1))


def _is_pose(values: Sequence[float], dimensions: int) -> bool:
    if (len(values) - 4) % dimensions:
        return False
    x, y, w, h = values[:4]
    if min(x - w / 2, y - h / 2) < -0.01 or max(x + w / 2, y + h / 2) > 1.01:
        return False
    points = [values[start : start + dimensions] for start in range(4, len(values), dimensions)]
    if dimensions == 3 and any(point[2] not in (0, 1, 2) for point in points):
        return False
    # Keypoints that are not in the picture are at the origin; others may lie a little outside their box.
    return all(
        (px == 0 and py == 0) or (abs(px - x) <= 0.6 * w and abs(py - y) <= 0.6 * h)
        for px, py, *_ in points
    )


def read_yolo_file(
    path: Path,
    categories: int,
    report: Report = refuse,
    *,
    size: tuple[int, int] = (0, 0),
    keypoints: KeypointShape | None = None,
    poses: PoseTest | None = None,
    longer: list[bool] | None = None,
) -> list[tuple[int, Xywh]]:
    """Read the category and the normalised box (corner, width, height; shares of the image) of every line.

    Parameters
    ----------
    path, categories
        The file; the number of categories.
    report
        Called with each fault after which reading can go on; raises it unless given.
    size
        Width and height of the image, 0 where they are not known. A box or polygon that leaves the image
        by less than a pixel is clipped to it.
    keypoints
        The shape of poses, of which the box is read; the keypoints are not checked.
    poses
        Gets the lines that are read as polygons.
    longer
        Gets for every box that is returned whether its line holds more: a polygon or keypoints.

    Raises
    ------
    TagboxError
        ``yolo-line`` for a line that is neither ``category x y width height`` nor a polygon, or with
        `keypoints` no pose.
    """
    slack = [max(_TOLERANCE, 1 / side) if side else _TOLERANCE for side in size]
    found = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue

        def fault(problem: str, hint: str, number: int = number) -> None:
            report(TagboxError("yolo-line", problem, file=path, where=f"line {number}", hint=hint))

        # Some exporters write every number as a float, the index too; NumPy's savetxt with an exponent.
        index = float(words[0]) if _INDEX.fullmatch(words[0]) else -1.0
        category = int(index) if index.is_integer() else -1
        if not 0 <= category < categories:
            fault(
                f"{words[0][:60]!r} is not a category index",
                f"the {categories} categories have the indices 0 to {categories - 1}",
            )
            continue
        try:
            values = [float(word) for word in words[1:]]
        except ValueError:
            fault(
                f"{line.strip()[:60]!r} is not all numbers",
                "write 'category x_center y_center width height'",
            )
            continue
        if not all(map(math.isfinite, values)):
            fault("a coordinate is not finite", "correct or remove the line")
            continue
        if len(values) != 4 and (problem := _wrong_count(len(values), keypoints)):
            fault(*problem)
            continue
        is_longer = len(values) != 4
        is_polygon = is_longer and keypoints is None
        if is_polygon and poses is not None:
            # Before the range is checked: a third number of a keypoint may be 2.
            poses.add(values, path, number)
        values = values if is_polygon else values[:4]
        # A side cannot be negative.
        low = slack if is_polygon else [*slack, _TOLERANCE, _TOLERANCE]
        outside = _first_outside(values, low, slack)
        if outside is not None:
            name = "coordinate" if is_polygon else _BOX_FIELDS[outside]
            hint = "YOLO coordinates are parts of the picture's width and height"
            if is_polygon and _is_pose(values, 3):
                hint += (
                    f"; for poses write 'kpt_shape: {[(len(values) - 4) // 3, 3]}' in the data.yaml"
                )
            fault(f"the {name} {values[outside]:.10g} is outside 0 to 1", hint)
            continue
        if is_polygon:
            xs, ys = values[::2], values[1::2]
            box = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
        else:
            x, y, w, h = values
            box = x - w / 2, y - h / 2, w, h
        if longer is not None:
            longer.append(is_longer)
        found.append((category, _clipped(box) if min(values) < 0 or max(values) > 1 else box))
    return found


def _clipped(box: Xywh) -> Xywh:
    x, y, w, h = box
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in (x, y, x + w, y + h))
    return left, top, right - left, bottom - top


def _wrong_count(count: int, keypoints: KeypointShape | None) -> tuple[str, str] | None:
    """The fault of a line in which `count` numbers follow the category, with what to do about it."""
    if keypoints is not None:
        if count == keypoints.numbers:
            return None
        return (
            f"{count} numbers follow the category",
            f"with 'kpt_shape: {[*keypoints]}' these are {keypoints.numbers}: a box and the keypoints",
        )
    if count >= 6 and count % 2 == 0:
        return None
    hint = "4 make a box, an even number from 6 a polygon"
    if count == 5:
        hint = "4 make a box; a fifth, such as the confidence of a prediction, is no part of a label: remove it"
    elif count > 4 and (count - 4) % 3 == 0:
        hint += f"; for poses write 'kpt_shape: [{(count - 4) // 3}, 3]' in the data.yaml"
    return f"{count} {'number follows' if count == 1 else 'numbers follow'} the category", hint


def _first_outside(
    values: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> int | None:
    """The position of the first number below 0 by more than `low`, or above 1 by more than `high`; both repeat."""
    for position, value in enumerate(values):
        below, above = low[position % len(low)], high[position % len(high)]
        if not -below <= value <= 1 + above:
            return position
    return None
