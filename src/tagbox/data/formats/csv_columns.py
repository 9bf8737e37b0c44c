"""Columns of a CSV file: which names the images, which are categories, and which only number the lines."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from tagbox.data.formats.common import Report
from tagbox.data.formats.csv_cells import LISTS, SINGLE
from tagbox.data.image_files import is_image
from tagbox.data.split_names import by_role, role
from tagbox.data.text import some
from tagbox.errors import TagboxError

IMAGE_COLUMNS = (
    *("image", "images", "file", "file_name", "filename", "fname", "image_name", "image_path"),
    *("img_name", "img_path", "filepath", "file_path", "path", "image_file", "picture", "photo"),
    *("image_filename", "image_file_name", "image_url", "image_uri", "img_url", "url", "uri"),
    *("filenames", "file_names", "image_names", "image_paths", "filepaths", "file_paths"),
    *("image_id", "imageid", "img_id", "image_index", "img", "name", "id"),
)
"""Titles of the column of images as `title_of` writes them; the first that occurs is taken."""
LABEL_COLUMNS = LISTS + SINGLE
PRESENCE = ("confidence", "present", "presence", "is_present", "exists", "value")
"""Titles of a column that may say of the label in a line whether it is present."""
_INDICES = ("index", "level_0", "id", "#")
"""Titles of a column that may number the lines; pandas writes that without a title."""
YES = {"1", "1.0", "true", "yes"}
NO = {"0", "0.0", "false", "no"}
UNSURE = {"", "?", "-1", "-1.0", "nan", "<na>", "na", "n/a", "#n/a", "none", "null"}
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "phase", "usage", "purpose", "dataset")
_CERTAIN = ("split", "partition")
"""Those that are never a category or a fact about the images."""
SPLIT_FLAGS = {
    **dict.fromkeys(("is_valid", "is_val", "is_validation"), ("val", "train")),
    **dict.fromkeys(("is_test", "is_testing"), ("test", "train")),
    **dict.fromkeys(("is_train", "is_training", "is_training_image"), ("train", "val")),
}
"""The splits of the lines with 1 and with 0 in a column of this title."""
_FOLDS = re.compile(r"(?:k|cv)?_?folds?(?:_?(?:id|no|nr|number|index))?")
_BOXES = re.compile(r"x_?min|x_?max|y_?min|y_?max|[xy][12]|bbox.*|roi\.?[xy][12]")
FLAGS = YES | NO | UNSURE
_VIA = "export the annotations of the VGG Image Annotator as COCO"
_BETWEEN_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\s-]+")


def title_of(cell: str) -> str:
    """A title in lower case with ``_`` between words: of ``Image Index``, ``image-name``, ``fileName``."""
    return _BETWEEN_WORDS.sub("_", cell.strip()).lower()


class Row(NamedTuple):
    """A line of the file that is not blank, with its number."""

    line: int
    cells: list[str]


def image_column_of(lowered: list[str], header: list[str], path: Path) -> int:
    """The column of images; ``csv-header`` without one, or when a title stands twice."""
    column = next((c for name in IMAGE_COLUMNS for c, n in enumerate(lowered) if n == name), None)
    if column is None or len(header) < 2:
        hint = "name them image and labels, or image and one column a category"
        if header[0].startswith(("# SHAPE_ID", "# CSV_HEADER", "# Exported using VIA")):
            hint = _VIA
        elif any(is_image(cell) for cell in header):
            hint = "put a line before the first that names the columns, such as 'image,label'"
        raise TagboxError(
            "csv-header",
            f"found the columns {', '.join(map(repr, header))}",
            file=path,
            where="line 1",
            hint=hint,
        )
    if "region_shape_attributes" in lowered:
        raise TagboxError(
            "csv-header",
            "its regions are those of the VGG Image Annotator",
            file=path,
            where="line 1",
            hint=_VIA,
        )
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise TagboxError(
            "csv-header",
            f"the column {twice!r} stands twice",
            file=path,
            where="line 1",
            hint="give every column its own name",
        )
    return column


def without_indices(rows: list[Row], known: tuple[str, ...] | None) -> list[Row]:
    """The lines without columns that number them (``Unnamed: 0``), or that have neither title nor cells."""
    header = [cell.strip() for cell in rows[0].cells]
    titled = [title_of(title) for title in header]
    images = [c for name in IMAGE_COLUMNS for c, title in enumerate(titled) if title == name]
    dropped = set()
    for column, title in enumerate(titled):
        nameless = not title or title.startswith("unnamed:")
        if column in images[:1] or not (nameless or title in _INDICES):
            continue
        if known is not None and header[column] in known:
            continue
        cells = [r.cells[column].strip() if column < len(r.cells) else "" for r in rows[1:]]
        numbers = all(map(is_index, cells)) and len(set(cells)) == len(cells)
        certain = title.startswith("unnamed:") or column == 0 or len(cells) > 2
        if (numbers and certain) or (nameless and not any(cells)):
            dropped.add(column)
    if not dropped:
        return rows
    return [Row(r.line, [v for c, v in enumerate(r.cells) if c not in dropped]) for r in rows]


def take_split_column(
    rows: list[Row], known: tuple[str, ...] | None, path: Path
) -> tuple[list[Row], dict[int, str]]:
    """The lines without the column of splits, and the split of each line; no splits without such a column.

    A value beside names of splits is the name of one too: ``PublicTest``.

    Raises
    ------
    TagboxError
        ``csv-header`` where a column must be of splits and does not say which, ``csv-line`` for an empty cell in it.
    """
    header = [cell.strip() for cell in rows[0].cells]
    for column, name in enumerate(header):
        title = title_of(name)
        cells = {row.line: row.cells[column].strip() for row in rows[1:] if column < len(row.cells)}
        if name in (known or ()):
            continue
        splits = _splits_of(title.removeprefix("data_"), name, cells, path)
        if splits:
            blank = next((line for line, split in splits.items() if not split), None)
            if blank is not None:
                raise line_fault(
                    path, blank, "its split is missing", f"fill in the column {name!r}"
                )
            return _without(rows, column), splits
    return rows, {}


def take_fold_columns(rows: list[Row], chosen: Collection[str]) -> tuple[list[Row], list[str]]:
    """The lines without the columns that number the folds of a cross-validation, and their titles."""
    header = [cell.strip() for cell in rows[0].cells]
    found = [
        column
        for column, name in enumerate(header)
        if _FOLDS.fullmatch(title_of(name))
        and name not in chosen
        and all(is_index(row.cells[column].strip()) for row in rows[1:] if column < len(row.cells))
    ]
    for column in reversed(found):
        rows = _without(rows, column)
    return rows, [header[column] for column in found]


def _splits_of(title: str, name: str, cells: dict[int, str], path: Path) -> dict[int, str]:
    """Line to its split, as a column of this title states them; empty for another column."""
    found = {cell.lower() for cell in cells.values()}
    if title in SPLIT_FLAGS and found and found <= YES | NO:
        yes, no = SPLIT_FLAGS[title]
        return {line: yes if cell.lower() in YES else no for line, cell in cells.items()}
    if title not in SPLIT_COLUMNS or not found - {""}:
        return {}
    values = list(dict.fromkeys(cells.values()))
    if any(role(value, prefixed=title in _CERTAIN) for value in values):
        named = {value: key for key, value in by_role(values).items()}
        return {line: named[cell] for line, cell in cells.items()}
    if title in _CERTAIN:
        raise TagboxError(
            "csv-header",
            f"the column {name!r} states splits, but {some(sorted(found - {''}), 3)} do not say which",
            file=path,
            where="line 1",
            hint="write train, val and test in it, or leave the column out",
        )
    return {}


def _without(rows: list[Row], column: int) -> list[Row]:
    return [Row(r.line, r.cells[:column] + r.cells[column + 1 :]) for r in rows]


def box_columns(titles: list[str]) -> list[str]:
    """Those of `titles` that are of a box: ``xmin``, ``Roi.X1``, ``bbox``."""
    found = [title for title in titles if _BOXES.fullmatch(title_of(title))]
    return found if len(found) >= 4 or any("bbox" in title.lower() for title in found) else []


def category_columns(
    body: list[Row],
    image_column: int,
    header: list[str],
    known: tuple[str, ...] | None,
    wanted: frozenset[str],
    path: Path,
    report: Report,
) -> list[int]:
    """The columns of the wide form that are categories; one mostly of other values is reported once, or left out."""
    others = [c for c in range(len(header)) if c != image_column]
    odd: dict[int, Row] = {}
    selected = known is not None or bool(wanted)
    for c in others:
        rows = [row for row in body if not _is_flag(row.cells[c])]
        filled = sum(bool(row.cells[c].strip()) for row in body)
        if rows and (selected or 2 * len(rows) > filled):
            odd[c] = rows[0]
    if selected:
        chosen = wanted.union(known or ())
        return [c for c in others if c not in odd or header[c] in chosen]
    flags = [header[c] for c in others if c not in odd]
    for c, row in odd.items():
        hint = "write 1, 0, or ? for unknown; or name the column of labels 'labels'"
        if flags:
            hint = f"where it is no category, select the others with --categories {','.join(flags[:12])}"
        report(_not_a_flag(row, c, header, path, hint))
    return [c for c in others if c not in odd]


def flag_value(row: Row, column: int, header: list[str], path: Path, report: Report) -> bool | None:
    """Whether a cell says that its category is present; None for unknown."""
    word = row.cells[column].strip().lower()
    if word in YES or word in NO:
        return word in YES
    if word not in UNSURE:
        hint = "write 1, 0, or ? for unknown; where it is no category, select the others with --categories"
        report(_not_a_flag(row, column, header, path, hint))
    return None


def _is_flag(cell: str) -> bool:
    return cell.strip().lower() in FLAGS


def _not_a_flag(row: Row, column: int, header: list[str], path: Path, hint: str) -> TagboxError:
    found = row.cells[column].strip()[:60]
    problem = f"{found!r} in column {header[column]!r} is neither 1 nor 0"
    return line_fault(path, row.line, problem, hint)


def is_index(label: str) -> bool:
    """Whether a text is a whole number from 0."""
    return label.isascii() and label.isdigit()


def line_fault(path: Path, line: int, problem: str, hint: str) -> TagboxError:
    """The error for a line of a table."""
    return TagboxError("csv-line", problem, file=path, where=f"line {line}", hint=hint)
