"""`tagbox split`: write a dataset as stratified parts or folds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from cyclopts import Parameter

from tagbox.cli.console import print_json, say
from tagbox.cli.tables import print_table
from tagbox.config import DataConfig, require
from tagbox.errors import TagboxError, no_labels

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset
    from tagbox.data.split import Split


def split(
    data: Path,
    /,
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    *,
    out: Path,
    fractions: Annotated[
        tuple[float, ...] | None, Parameter(consume_multiple=True, negative=())
    ] = None,
    val_fraction: float | None = None,
    folds: int | None = None,
    seed: int = 0,
    to: Literal["coco", "cls", "labels", "csv", "yolo", "labelme", "voc", "folders"] | None = None,
    pictures: Literal["reference", "link", "copy"] | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Split a dataset into parts or folds, stratified by category.

    Writes OUT/split.json and one dataset per part, which loads without flags. Records of a COCO file are
    copied byte for byte. Images without labels are left out. By default a tenth of the images becomes val.

    Parameters
    ----------
    data
        Dataset to split.
    out
        Folder to create.
    fractions
        Shares of two parts (train, val) or three (train, val, test).
    val_fraction
        Share of val; the rest is train.
    folds
        Number of folds for cross-validation, instead of parts.
    seed
        Random seed of the split.
    to
        Format of the parts; that of the dataset when not given.
    pictures
        Refer to the images where they are (`reference`, the default of coco, labels and csv), make
        symbolic links to them (`link`, the default of the formats that hold their images), or
        copy them.
    overwrite
        Replace OUT once the new parts are complete.
    json
        Print what was written as one JSON object.
    """
    from dataclasses import replace

    import numpy as np

    from tagbox.data.export import FILE_FORMATS, Format, Pictures, export
    from tagbox.data.load import describe, load_dataset
    from tagbox.data.not_held import BOX_FORMATS, not_held
    from tagbox.data.record_pixels import record_pixels
    from tagbox.data.split import Split, made_by_split, saved_split
    from tagbox.output_folder import atomic_folder
    from tagbox.paths import paths_in, refuse_inputs_below

    split, source = saved_split(source)
    _check_choices(fractions, val_fraction, folds, split)
    dataset = load_dataset(data, source)
    say(describe(dataset))
    labelled = dataset.take(np.flatnonzero(dataset.images.labelled))
    if not len(labelled):
        raise no_labels(len(dataset), data, "split a labelled dataset")
    unlabelled = len(dataset) - len(labelled)
    if unlabelled:
        say(f"{unlabelled:,} images without labels are left out")
    drawn = Split.load(split) if split else _draw(labelled, fractions, val_fraction, folds, seed)
    rows = drawn.rows(labelled)
    format = to or cast("Format", dataset.source.format)
    mode: Pictures = pictures or ("reference" if format in FILE_FORMATS else "link")
    if mode == "reference" and format not in FILE_FORMATS:
        raise TagboxError(
            "config-value",
            f"the format {format} holds its images itself",
            where="pictures",
            hint="choose link or copy",
        )
    pixels = None
    if format in BOX_FORMATS and labelled.annotations.has_box.any():
        pixels = record_pixels(labelled)
        pixels.require()
        for note in pixels.notes:
            say(note)
    if overwrite:
        inputs = [data, *labelled.input_files(), *paths_in(source), *([split] if split else [])]
        refuse_inputs_below(out, inputs, flag="--out")
    written: dict[str, dict[str, Any]] = {}
    with atomic_folder(out, overwrite=overwrite, command="split", made=made_by_split) as folder:
        for part, chosen in drawn.written_rows(labelled).items():
            subset = labelled.take(chosen)
            own = None if pixels is None else pixels.take(chosen)
            path = export(subset, folder, part, format, mode, own)
            written[part] = {
                "path": str(out / path.relative_to(folder)),
                "images": len(subset),
                "not_held": not_held(subset, format),
            }
        # The folder is moved to `out` when it is complete: paths are relative to that.
        images = "images" if format in FILE_FORMATS else None
        if mode == "reference":
            root = os.path.relpath(dataset.images.root.resolve(), out.resolve())
            images = Path(root).as_posix()
        replace(drawn, images=images).save(folder / "split.json")
    counts = {part: (labelled.labels[r] == 1).sum(0) for part, r in rows.items()}
    lost = _say_not_held(written, format)
    _report(labelled, rows, counts, written, drawn, out, unlabelled, lost, json)


def _say_not_held(written: dict[str, dict[str, Any]], format: str) -> list[str]:
    """Say what was lost in which part, a line a kind; returned are the kinds with their total counts."""
    from tagbox.data.not_held import total

    totals = []
    for what in dict.fromkeys(what for entry in written.values() for what in entry["not_held"]):
        counts = {e["path"]: e["not_held"][what] for e in written.values() if what in e["not_held"]}
        totals.append(f"{total(what, counts.values()):,} {what}")
        places = ", ".join(f"{count:,} in {path}" for path, count in counts.items())
        say(f"{format} cannot hold {totals[-1]}: {places}")
    return totals


def _check_choices(
    fractions: tuple[float, ...] | None,
    val_fraction: float | None,
    folds: int | None,
    split: Path | None,
) -> None:
    flags = {
        "--fractions": fractions,
        "--val-fraction": val_fraction,
        "--folds": folds,
        "--split": split,
    }
    given = [flag for flag, value in flags.items() if value is not None]
    if len(given) > 1:
        raise TagboxError(
            "config-value", f"{' and '.join(given)} are given together", hint="choose one of them"
        )
    if fractions is not None:
        good = len(fractions) in (2, 3) and min(fractions) > 0 and abs(sum(fractions) - 1) < 1e-6
        require(good, "fractions", fractions, "two or three numbers above 0 that sum to 1")
    if val_fraction is not None:
        require(0 < val_fraction < 1, "val_fraction", val_fraction, "between 0 and 1")
    require(folds is None or folds >= 2, "folds", folds, "at least 2")


def _draw(
    dataset: Dataset,
    fractions: tuple[float, ...] | None,
    val_fraction: float | None,
    folds: int | None,
    seed: int,
) -> Split:
    from tagbox.data.split import Split, stratified_folds, stratified_parts, stratified_split

    if folds is not None:
        drawn = stratified_folds(dataset.labels, folds, seed)
        parts = {f"fold{k}": val for k, (_, val) in enumerate(drawn, 1)}
        return Split.of(dataset, parts, seed=seed, folds=True)
    if fractions is None:
        val_share = 0.1 if val_fraction is None else val_fraction
        rows = list(stratified_split(dataset.labels, val_share, seed))
    else:
        rows = stratified_parts(dataset.labels, fractions, seed)
    names = ("train", "val", "test")[: len(rows)]
    return Split.of(dataset, dict(zip(names, rows, strict=True)), seed=seed)


def _report(
    dataset: Dataset,
    rows: dict[str, Any],
    counts: dict[str, Any],
    written: dict[str, dict[str, Any]],
    drawn: Split,
    out: Path,
    unlabelled: int,
    lost: list[str],
    json: bool,
) -> None:
    """Print the images of each category in each part, and which categories a part lacks."""
    names = dataset.categories.names
    total = sum(counts.values())
    absent = {
        part: [name for name, n, of in zip(names, count, total, strict=True) if of and not n]
        for part, count in counts.items()
    }
    if json:
        print_json(
            {
                "split": str(out / "split.json"),
                "seed": drawn.seed,
                "parts": written,
                "unlabelled": unlabelled,
                "categories": {
                    name: {part: int(count[row]) for part, count in counts.items()}
                    for row, name in enumerate(names)
                },
                "absent": absent,
                "not_held": lost,
            }
        )
        return
    body = [
        [name, int(total[row]), *[_share(int(c[row]), int(total[row])) for c in counts.values()]]
        for row, name in enumerate(names)
    ]
    sizes = [_share(len(r), len(dataset)) for r in rows.values()]
    print_table(
        "Images with each category",
        ["category", "images", *counts],
        [["(all images)", len(dataset), *sizes], *body],
    )
    for part, missing in absent.items():
        if missing:
            say(f"{part} has no image of {len(missing)} categories: {', '.join(missing)}")
    for part, entry in written.items():
        say(f"{part}: {entry['images']:,} images, {entry['path']}")
    say(f"saved in {out / 'split.json'}")


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})" if total else "0"
