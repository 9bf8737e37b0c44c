"""YOLO folders: images in ``images``, a text file of normalised boxes for each in ``labels``.

Category names come from a ``data.yaml``, a ``classes.txt``, or the user.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from tagbox.atomic_io import atomic_write
from tagbox.data.dataset import Annotations, Categories, Dataset
from tagbox.data.formats.common import (
    Report,
    build_dataset,
    label_without_image,
    read_names,
    refuse,
    require_known_labels,
    write_small,
)
from tagbox.data.formats.yolo_lines import PoseTest, Xywh, keypoint_shape, read_yolo_file
from tagbox.data.formats.yolo_splits import Layout
from tagbox.data.image_files import (
    flat_names,
    is_visible,
    list_images,
)
from tagbox.data.name_matching import match_names
from tagbox.data.recognise import (
    NAMES_FILES,
    YAML_NAMES,
    find_names,
    find_yaml,
    label_files,
)
from tagbox.data.record_pixels import image_sizes
from tagbox.errors import TagboxError
from tagbox.files import require_rights
from tagbox.images.header import picture_size
from tagbox.yaml_files import read_yaml


def category_names(folder: Path, described: Path | None, names: Path | None) -> tuple[str, ...]:
    """Read the names from the user's file, else the ``data.yaml``, else a ``classes.txt``.

    Raises
    ------
    TagboxError
        ``names-missing``, ``names-file``, ``yolo-yaml``, ``duplicate-category-name``.
    """
    if names is not None:
        return read_names(names)
    if described is not None:
        return _yaml_names(read_data_yaml(described), described)
    listed = find_names(folder)
    if listed is None:
        raise TagboxError(
            "names-missing",
            "there is no data.yaml and no classes.txt that names the categories",
            file=folder,
            hint="give a file of names, one a line, with --names",
        )
    return read_names(listed)


def read_data_yaml(path: Path) -> dict[Any, Any]:
    """Read the settings in a ``data.yaml``.

    Raises
    ------
    TagboxError
        ``yolo-yaml`` when it is no YAML or holds no settings.
    """
    content = read_yaml(path, "yolo-yaml", "mend the file there")
    if not isinstance(content, dict):
        raise TagboxError(
            "yolo-yaml", "expected settings 'name: value'", file=path, hint="check the file"
        )
    names = content.get("names")
    if isinstance(names, (list, dict)):
        # A category may be called no, 007 or 1.10: names are texts, as they are written.
        written = read_yaml(path, "yolo-yaml", "mend the file there", texts=True)["names"]
        keys = names.keys() if isinstance(names, dict) else ()
        content["names"] = dict(zip(keys, written.values(), strict=True)) if keys else written
    return content


def _yaml_names(content: dict[Any, Any], path: Path) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict):
        by_index = {
            int(k) if isinstance(k, str) and k.isdecimal() else k: v for k, v in names.items()
        }
        if set(by_index) == set(range(len(names))):
            names = [by_index[index] for index in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names or [None]):
        raise TagboxError(
            "yolo-yaml",
            "expected a list of category names, or the indices from 0 with a name each",
            file=path,
            where="names",
            hint="write 'names: [cat, dog]'",
        )
    if content.get("nc", len(names)) != len(names):
        raise TagboxError(
            "yolo-yaml",
            f"{content['nc']} categories are announced and {len(names)} named",
            file=path,
            where="nc",
            hint="correct nc or names",
        )
    texts = tuple(names)
    if len(set(texts)) < len(texts):
        twice = next(name for name in texts if texts.count(name) > 1)
        raise TagboxError(
            "duplicate-category-name",
            f"the category name {twice!r} stands twice",
            file=path,
            where="names",
            hint="give every category its own name",
        )
    return texts


def yolo_layout(path: Path, images: Path | None = None) -> Layout:
    """Where a YOLO folder, or the folder of its ``data.yaml``, has its images and splits."""
    folder = path if os.path.isdir(path) else path.parent
    described = path if os.path.isfile(path) else find_yaml(folder)
    if described is not None and described.parent != folder:
        described = None  # One above the folder describes more than the folder.
    content = {} if described is None else read_data_yaml(described)
    return Layout(folder, described, content, images)


def read_yolo(
    path: Path,
    images: Path | None = None,
    names: Path | None = None,
    report: Report = refuse,
    split: str | None = None,
) -> Dataset:
    """Read a YOLO folder, or the folder of one of its splits.

    The labels of ``a/images/b/1.jpg`` are in ``a/labels/b/1.txt``, those of an image outside a folder
    ``images`` beside it. As usual with YOLO, an image without a label file has no objects, unless no image
    of its folder has one: then it is unlabelled, as a whole split may be.

    Parameters
    ----------
    path
        The folder, the folder of a split in it (``train``, ``images/train``), or its ``data.yaml``.
    images
        Folder of the images, whose parent has the ``labels``.
    names
        Category names; else from ``data.yaml``, else from ``classes.txt``.
    report
        Called with each fault after which reading can go on; raises it unless given.
    split
        One of those of `yolo_layout`; all images below the folder when not given.

    Returns
    -------
    Dataset
        Boxes in pixels, by the size of each image; of a polygon, the box around it; of a pose (where the
        ``data.yaml`` has a ``kpt_shape``) its box without the keypoints.

    Raises
    ------
    TagboxError
        ``yolo-line`` with file and line, ``yolo-yaml``, ``names-missing``, ``label-without-image``,
        ``image-ambiguous``, ``format-unknown`` when there is no image; ``split-unknown``, ``split-missing``.
    """
    folder = path if os.path.isdir(path) else path.parent
    described = path if os.path.isfile(path) else find_yaml(folder)
    categories = Categories.from_names(category_names(folder, described, names))
    root, files = yolo_layout(path, images).pictures(split)
    if not files:
        where = f"put its pictures there, or correct {split} in {described}"
        raise TagboxError(
            "format-unknown" if split is None else "split-missing",
            "there is no picture in it",
            file=root,
            hint="check --images" if split is None or described is None else where,
        )
    sources = label_files(root, files)
    present = _label_files({source.parent for source in sources})
    with_labels = {source.parent for source in present}
    if not with_labels and split is None:
        raise TagboxError(
            "format-unknown",
            f"there are no label files such as {sources[0]}",
            file=root,
            hint="point at the folder that holds images/ and labels/",
        )
    # The labels of other splits may be in the same folder.
    others: set[Path] = set()
    if split is not None:
        others = set(label_files(root, list_images(root))) - set(sources)
    sources = _in_their_spelling(sources, present - others)
    _check_pairs(files, sources, present - others, root, report)
    image_rows: list[int] = []
    category_rows: list[int] = []
    boxes: list[Xywh] = []
    more: list[bool] = []
    sizes = np.array([picture_size(root / name) for name in files], np.int32).reshape(-1, 2)
    content = {} if described is None else read_data_yaml(described)
    keypoints = None if described is None else keypoint_shape(content, described)
    poses = None if "kpt_shape" in content else PoseTest()
    for row, source in enumerate(sources):
        if source not in present:
            continue
        size = (int(sizes[row, 0]), int(sizes[row, 1]))
        longer: list[bool] = []
        try:
            lines = read_yolo_file(
                source,
                len(categories),
                report,
                size=size,
                keypoints=keypoints,
                poses=poses,
                longer=longer,
            )
        except TagboxError as fault:
            report(fault)
            continue
        more += longer
        for category, box in lines:
            image_rows.append(row)
            category_rows.append(category)
            boxes.append(box)
    if poses is not None:
        poses.check()
    rows = np.array(image_rows, np.int32)
    scale = sizes[rows][:, [0, 1, 0, 1]].astype(np.float64)
    pixels = np.array(boxes, np.float64).reshape(-1, 4) * scale
    pixels[~np.all(scale > 0, axis=1)] = np.nan
    return build_dataset(
        path=path,
        format="yolo",
        root=root,
        files=files,
        categories=categories,
        annotations=Annotations.from_labels(rows, np.array(category_rows, np.int32), pixels),
        labelled=[source.parent in with_labels for source in sources],
        sizes=sizes,
        reduced={"polygons" if keypoints is None else "keypoints": np.array(more, bool)},
    )


def write_yolo(dataset: Dataset, folder: Path, split: str = "train") -> None:
    """Write ``labels/SPLIT/*.txt``, and ``data.yaml`` or its entry for a further split.

    The images belong in ``images/SPLIT``, named by `tagbox.data.image_files.flat_names`. An annotation
    without a box becomes a box around the whole image; see `image_shares` for boxes that leave it.

    Raises
    ------
    TagboxError
        ``image-size`` when the size of an image with boxes is not known, ``labels-unknown`` when some
        labels are neither present nor absent, ``cannot-write``.
    """
    images = dataset.images
    require_known_labels(dataset, "YOLO files")
    names = flat_names(images.files.tolist())
    annotations, starts = dataset.annotations.by_image(len(dataset))
    sizes = image_sizes(dataset, np.flatnonzero(images.labelled))
    shares, _, left_out = image_shares(annotations, sizes)
    for row in np.flatnonzero(images.labelled).tolist():
        rows = range(starts[row], starts[row + 1])
        width, height = sizes[row]
        if annotations.has_box[rows.start : rows.stop].any() and not (width and height):
            raise TagboxError(
                "image-size",
                "its size is not known, so its boxes cannot be normalised",
                file=images.path(row),
                hint="name the folder of the pictures with --images",
            )
        lines = []
        for r in rows:
            x, y, w, h = shares[r].tolist() if annotations.has_box[r] else (0, 0, 1, 1)
            if left_out[r]:
                continue
            numbers = " ".join(f"{v:.10g}" for v in (x + w / 2, y + h / 2, w, h))
            lines.append(f"{annotations.category_rows[r]} {numbers}\n")
        target = folder / "labels" / split / names[row]
        write_small(target.with_name(f"{target.stem}.txt"), "".join(lines))
    described = folder / YAML_NAMES[0]
    known = read_data_yaml(described) if os.path.isfile(described) else {"path": "."}
    known |= {split: f"images/{split}", "names": dict(enumerate(dataset.categories.names))}
    # Written as they are, the line breaks of Unicode would be read as spaces.
    plain = not any(c in name for name in dataset.categories.names for c in "\x85\u2028\u2029")
    atomic_write(described, yaml.safe_dump(known, sort_keys=False, allow_unicode=plain))


def image_shares(
    annotations: Annotations, sizes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Boxes as YOLO files hold them: xywh as shares of the image's width and height.

    Parameters
    ----------
    sizes
        (N, 2) width and height of the images; where they are 0, the shares mean nothing.

    Returns
    -------
    shares
        (M, 4) float64; NaN where there is no box.
    clipped
        (M,) bool: boxes clipped to the image, because their centre is outside or a side is longer than the image's.
    left_out
        (M,) bool: of these, the boxes of which nothing is left.
    """
    with np.errstate(all="ignore"):
        shares = annotations.boxes / sizes[annotations.image_rows][:, [0, 1, 0, 1]]
        corners, sides = shares[:, :2], shares[:, 2:]
        ends = corners + sides
        centres = corners + sides / 2
        fits = (centres >= 0) & (centres <= 1) & (sides <= 1)
        clipped = annotations.has_box & ~fits.all(axis=1)
        cut = np.column_stack([np.clip(corners, 0, 1), np.clip(ends, 0, 1)])
        cut[:, 2:] -= cut[:, :2]
        left_out = clipped & ~(cut[:, 2:] > 0).all(axis=1)
        return np.where(clipped[:, None], cut, shares), clipped & ~left_out, left_out


def _label_files(folders: set[Path]) -> set[Path]:
    found = set()
    for folder in folders:
        require_rights(folder, listed=True)
        if os.path.isdir(folder):
            found |= {
                folder / name
                for name in os.listdir(folder)
                if name.lower().endswith(".txt") and name not in NAMES_FILES and is_visible(name)
            }
    return found


def _in_their_spelling(sources: list[Path], present: set[Path]) -> list[Path]:
    """The label files, those that are not `present` replaced by the only one whose name is spelt otherwise."""
    missing, alone = set(sources) - present, present - set(sources)
    spelt: dict[Path, Path] = {}
    for folder in sorted({path.parent for path in missing} & {path.parent for path in alone}):
        names = sorted(path.name for path in missing if path.parent == folder)
        files = sorted(path.name for path in alone if path.parent == folder)
        found = match_names(names, files)
        spelt |= {folder / name: folder / file for name, file in found.items()}
    return [spelt.get(source, source) for source in sources]


def _check_pairs(
    files: list[str], sources: list[Path], present: set[Path], root: Path, report: Report
) -> None:
    first: dict[Path, str] = {}
    for name, source in zip(files, sources, strict=True):
        if source in first:
            report(
                TagboxError(
                    "image-ambiguous",
                    f"{first[source]!r} and {name!r} differ only in their extension",
                    file=root,
                    hint="rename or remove one of the two",
                )
            )
        first[source] = name
    # Beside images there may be other text files; a folder `labels` holds labels only.
    alone = sorted(path for path in present - set(sources) if "labels" in path.parent.parts)
    if alone:
        folder = Path(*["images" if part == "labels" else part for part in alone[0].parent.parts])
        report(label_without_image(alone[0], [path.name for path in alone], folder))
