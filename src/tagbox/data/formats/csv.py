"""CSV files: ``image,labels`` with the labels in one cell, or a column per category with 1, 0 or unknown."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np

from tagbox.atomic_io import atomic_write
from tagbox.data.dataset import ABSENT, PRESENT, UNKNOWN, Annotations, Categories, Dataset, Note
from tagbox.data.formats.common import (
    Report,
    build_dataset,
    from_label_lists,
    names_beside,
    not_listed,
    read_names,
    refuse,
    require_one_line,
    write_names,
)
from tagbox.data.formats.csv_cells import UNLABELLED, split_cells
from tagbox.data.formats.csv_columns import (
    LABEL_COLUMNS,
    NO,
    PRESENCE,
    Row,
    box_columns,
    category_columns,
    flag_value,
    image_column_of,
    is_index,
    line_fault,
    take_fold_columns,
    take_split_column,
    title_of,
    without_indices,
)
from tagbox.data.image_files import check_relative, locate_images
from tagbox.data.split_names import by_role, choose
from tagbox.data.text import some
from tagbox.errors import TagboxError
from tagbox.text_files import read_text


def read_csv(
    path: Path,
    images: Path | None = None,
    names: Path | None = None,
    report: Report = refuse,
    split: str | None = None,
    *,
    wanted: frozenset[str] = frozenset(),
) -> Dataset:
    r"""Read a CSV (or, with tabs, a TSV) file with a header.

    Narrow form, ``image,labels``: the labels of an image in one cell, separated by the first of ``|``,
    ``;`` and ``,`` (in quotes, or as further cells of the line) that occurs anywhere in the column, else
    by spaces; or a list as pandas, numpy or JSON writes it. A cell of ``image,label`` is one name, also with
    spaces. An empty cell (pandas' ``nan``) means that no category is present, ``?`` that the image is
    unlabelled. Where all labels are numbers and `names` is given, they are indices.

    Wide form, ``image,cat,dog,…``: 1, 0, or an empty cell, ``?`` or -1 for unknown. An image with only
    unknown labels is unlabelled. A column that numbers the lines is left out.

    Parameters
    ----------
    path
        The file.
    images
        Folder of the images; searched when not given.
    names
        Category names in order; else ``classes.txt`` beside the file; else the columns (wide), or the
        labels in alphabetical order (narrow).
    report
        Called with each fault after which reading can go on; raises it unless given.
    split
        One of `csv_splits`; the lines of all splits when not given.
    wanted
        Categories that the user selects: with them, or with `names`, other columns of the wide form may
        hold anything.

    Raises
    ------
    TagboxError
        ``csv-header``, ``csv-line``, ``csv-duplicate`` with the line, ``unknown-category`` for a
        label that `names` does not list, ``file-name-outside``, ``images-folder-missing``.
    """
    names = names or names_beside(path)
    known = None if names is None else read_names(names)
    rows, splits = take_split_column(without_indices(_rows(path), known), known, path)
    rows, folds = take_fold_columns(rows, wanted.union(known or ()))
    header = [cell.strip() for cell in rows[0].cells]
    lowered = [title_of(cell) for cell in header]
    image_column = image_column_of(lowered, header, path)
    others = [title for c, title in enumerate(header) if c != image_column]
    # A category may be called "class": a table whose columns are all known categories is wide.
    wide = known is not None and all(title in known for title in others)
    label_column = next(
        (c for n in LABEL_COLUMNS for c, title in enumerate(lowered) if title == n and not wide),
        None,
    )
    boxes = box_columns(others)
    advice = (
        "convert a table of boxes to COCO JSON"
        if boxes
        else "put all labels of an image in one line"
    )
    body = _sound_rows(rows[1:], image_column, len(header), label_column, path, report, advice)
    files = [row.cells[image_column].strip() for row in body]
    unknown = np.zeros((0, 2), np.int32)
    notes: list[Note] = []
    if label_column is not None:
        _refuse_absences(body, lowered, header, path)
        categories, annotations, labelled, notes = _narrow(
            body, label_column, lowered, known, path, report
        )
    else:
        columns = category_columns(body, image_column, header, known, wanted, path, report)
        categories, annotations, labelled, unknown = _wide(
            body, columns, header, known, path, report
        )
    notes += [Note("columns-unread", f"{found} are not read") for found in _unread(folds, boxes)]
    root, located = locate_images(path, files, images)
    check_relative(located, path, "image {} (counted from 0)")
    dataset = build_dataset(
        path=path,
        format="csv",
        root=root,
        files=located,
        categories=categories,
        annotations=annotations,
        labelled=labelled,
        unknown=unknown,
        notes=notes,
    )
    if split is None:
        return dataset
    side = choose(split, dict.fromkeys(splits.values()), path)
    return dataset.take([image for image, row in enumerate(body) if splits[row.line] == side])


def csv_splits(path: Path, names: Path | None = None) -> tuple[str, ...]:
    """The splits that a column of a CSV file names: ``split`` with train, val, test, or ``is_valid`` with 0 and 1.

    Raises
    ------
    TagboxError
        ``csv-header`` for a column of splits that does not say which, ``csv-line`` for an empty cell in it.
    """
    names = names or names_beside(path)
    known = None if names is None else read_names(names)
    splits = take_split_column(_rows(path), known, path)[1]
    return tuple(by_role(list(dict.fromkeys(splits.values()))))


def write_csv(dataset: Dataset, path: Path) -> None:
    """Write ``image,labels`` with ``|`` between labels; the wide form where labels are unknown.

    All category names are written to ``classes.txt`` beside it, since some may have no image.
    """
    names = dataset.categories.names
    require_one_line(dataset.images.files.tolist(), "file name", "a CSV file")
    # Quoted, names have no say in which delimiter the file is read with.
    odd = any(character in name for name in names for character in ";\t")
    out = io.StringIO()
    writer = csv.writer(
        out, lineterminator="\n", quoting=csv.QUOTE_ALL if odd else csv.QUOTE_MINIMAL
    )
    ambiguous = any("|" in name or name == "?" for name in names) or "labels" in names
    if len(dataset.unknown) or ambiguous:
        writer.writerow(["image", *names])
        cells = {PRESENT: "1", ABSENT: "0", UNKNOWN: "?"}
        for file, values in zip(dataset.images.files.tolist(), dataset.labels, strict=True):
            writer.writerow([file, *[cells[value] for value in values.tolist()]])
    else:
        writer.writerow(["image", "labels"])
        present = dataset.labels == 1
        for row, file in enumerate(dataset.images.files.tolist()):
            labels = [names[index] for index in present[row].nonzero()[0].tolist()]
            cell = "|".join(labels) if dataset.images.labelled[row] else "?"
            writer.writerow([file, cell])
    write_names(dataset, path.parent)
    atomic_write(path, out.getvalue())


def _rows(path: Path) -> list[Row]:
    text = read_text(path)
    first = re.sub(r'"[^"]*"', "", text.partition("\n")[0])
    delimiter = max(",", ";", "\t", key=first.count) if first else ","
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    rows = []
    if re.fullmatch(r"sep=[,;\t]\s*", first):
        next(reader)  # Excel's line that says the delimiter.
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(Row(reader.line_num, cells))
    except csv.Error as error:
        raise line_fault(
            path, reader.line_num, str(error), "check the quotes in this line"
        ) from error
    if not rows:
        raise TagboxError(
            "csv-header", "the file is empty", file=path, hint="begin it with 'image,labels'"
        )
    return rows


def _sound_rows(
    body: list[Row],
    image_column: int,
    width: int,
    label_column: int | None,
    path: Path,
    report: Report,
    advice: str,
) -> list[Row]:
    """The lines that name an image not named before, with as many cells as the header; `advice` for others."""
    # Labels in the last column may continue in further cells; a wide table has no further cells.
    wide = label_column is None
    first: dict[str, int] = {}
    kept = []
    for row in body:
        count = len(row.cells)
        name = row.cells[image_column].strip() if count > image_column else ""
        if not name:
            report(line_fault(path, row.line, "the image is missing", "name the picture's file"))
        elif name in first:
            report(
                TagboxError(
                    "csv-duplicate",
                    f"the image {name!r} stands already in line {first[name]}",
                    file=path,
                    where=f"line {row.line}",
                    hint=advice,
                )
            )
        elif (wide and count != width) or (count > width and label_column != width - 1):
            report(line_fault(path, row.line, f"found {count} cells under {width} columns", _QUOTE))
        else:
            first[name] = row.line
            kept.append(row)
    return kept


def _refuse_absences(body: list[Row], titles: list[str], header: list[str], path: Path) -> None:
    """Refuse lines that say of their label that it is absent, as in Open Images."""
    for column, title in enumerate(titles):
        if title in PRESENCE:
            row = next(
                (r for r in body if column < len(r.cells) and r.cells[column].strip() in NO), None
            )
            if row is not None:
                problem = f"the column {header[column]!r} says that the label is absent"
                hint = "leave such lines out, or write a column for each category with 1 and 0"
                raise line_fault(path, row.line, problem, hint)


def _unread(folds: list[str], boxes: list[str]) -> list[str]:
    found = [f"the folds in the column {some(folds)}"] if folds else []
    return found + ([f"the boxes in the columns {some(boxes)}"] if boxes else [])


def _narrow(
    body: list[Row],
    column: int,
    titles: list[str],
    known: tuple[str, ...] | None,
    path: Path,
    report: Report,
) -> tuple[Categories, Annotations, list[bool], list[Note]]:
    last = column == len(titles) - 1
    cells: list[list[str]] = []
    for row in body:
        stop = None if last else column + 1
        cells.append([cell.strip() for cell in row.cells[column:stop] if cell.strip()])
    labelled = [row != [UNLABELLED] for row in cells]

    def fault(row: int, problem: str, hint: str) -> None:
        report(line_fault(path, body[row].line, problem, hint))

    labels, notes = split_cells(cells, titles[column], known or (), fault)
    found = {label for row in labels for label in row}
    index: dict[str, int]
    are_indices = known is not None and not found & set(known) and any(map(is_index, found))
    if known is not None and are_indices:
        index = {str(position): position for position in range(len(known))}
        labels = [[str(int(word)) if is_index(word) else word for word in row] for row in labels]
    else:
        known = known or tuple(sorted(found))
        index = {name: position for position, name in enumerate(known)}
    rows: list[list[int]] = []
    for row, words in zip(body, labels, strict=True):
        for word in words:
            if word not in index and are_indices:
                report(
                    TagboxError(
                        "unknown-category",
                        f"{word[:60]!r} is no index of the {len(known)} names",
                        file=path,
                        where=f"line {row.line}",
                        hint=f"write 0 to {len(known) - 1}",
                    )
                )
            elif word not in index:
                report(not_listed(repr(word), word, list(index), path, f"line {row.line}"))
        rows.append(sorted({index[word] for word in words if word in index}))
    return Categories.from_names(known), from_label_lists(rows), labelled, notes


def _wide(
    body: list[Row],
    columns: list[int],
    header: list[str],
    known: tuple[str, ...] | None,
    path: Path,
    report: Report,
) -> tuple[Categories, Annotations, list[bool], np.ndarray[tuple[int, int], np.dtype[np.int32]]]:
    titles = [header[c] for c in columns]
    if not all(titles):
        raise TagboxError(
            "csv-header", "a column has no name", file=path, where="line 1", hint="name it"
        )
    order = list(known) if known is not None else titles
    for title in titles:
        if title not in order:
            raise not_listed(f"the column {title!r}", title, order, path, "line 1")
    category_rows = [order.index(title) for title in titles]
    present: list[list[int]] = []
    unknown: list[tuple[int, int]] = []
    labelled: list[bool] = []
    without_column = [index for index in range(len(order)) if index not in category_rows]
    for image, row in enumerate(body):
        values = [flag_value(row, c, header, path, report) for c in columns]
        labelled.append(any(value is not None for value in values))
        present.append([k for k, value in zip(category_rows, values, strict=True) if value])
        if labelled[-1]:
            gaps = [k for k, value in zip(category_rows, values, strict=True) if value is None]
            unknown += [(image, k) for k in sorted(gaps + without_column)]
    return (
        Categories.from_names(order),
        from_label_lists([sorted(row) for row in present]),
        labelled,
        np.array(unknown, np.int32).reshape(-1, 2),
    )


_QUOTE = "put cells that hold commas in quotes"
