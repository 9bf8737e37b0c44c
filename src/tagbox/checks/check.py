"""`check_datasets`: every finding of one dataset, or of the sides of a split, in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tagbox.checks.box_checks import check_boxes, columns_of
from tagbox.checks.coco_checks import (
    best_effort,
    check_records,
    read_records,
    with_file_sizes,
)
from tagbox.checks.findings import FindingList, Findings
from tagbox.checks.image_checks import check_duplicates, check_pictures
from tagbox.checks.label_checks import (
    check_in_no_split,
    check_labels,
    check_lines,
    check_unnamed,
)
from tagbox.checks.split_checks import Side, check_sides
from tagbox.checks.statistics import statistics
from tagbox.config import DataConfig
from tagbox.config.arguments import checked_arguments
from tagbox.data.dataset import Dataset
from tagbox.data.formats.coco_columns import told_apart
from tagbox.data.image_files import locate_images, require_images
from tagbox.data.load import adapt, describe, mapped_names, read, source_of, stated_names
from tagbox.data.split import Split
from tagbox.data.split_names import role
from tagbox.errors import TagboxError

Bar = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""``bar(description, total)`` is a context manager that yields ``advance(count)``."""


@dataclass(frozen=True)
class Checked:
    """One dataset after its check.

    Attributes
    ----------
    path
        As the user gave it, with the name of the split where it states several.
    format
        The recognised format, or None.
    description
        One line, or None when nothing could be read.
    statistics
        See `tagbox.checks.statistics.statistics`; without the faulty records.
    pictures_read
        Number of images decoded.
    """

    path: Path
    format: str | None
    description: str | None
    statistics: dict[str, Any] | None
    pictures_read: int


@dataclass(frozen=True)
class Report:
    """Findings with complete counts, and the datasets that were checked."""

    findings: Findings
    datasets: list[Checked] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The object that ``tagbox check --json`` prints; its keys are stable.

        ``counts``: number of ``error``, ``warning`` and ``info`` findings; ``codes``: number of each
        code; ``findings``: each with ``code``, ``severity``, ``file``, ``where``, ``found``, ``hint``,
        errors first (at most the limit of each code; the counts are complete); ``datasets``: each
        with ``path``, ``format``, ``description``, ``pictures_read``, ``statistics``.
        """
        return {
            "counts": self.findings.totals,
            "codes": dict(sorted(self.findings.counts.items())),
            "findings": [finding.to_dict() for finding in self.findings.kept],
            "datasets": [
                {
                    "path": str(checked.path),
                    "format": checked.format,
                    "description": checked.description,
                    "pictures_read": checked.pictures_read,
                    "statistics": checked.statistics,
                }
                for checked in self.datasets
            ],
        }


@checked_arguments
def check_dataset(path: Path | str, config: DataConfig | None = None) -> FindingList:
    """Findings of one dataset, its image files included; errors first.

    Bad data is reported as findings, never raised.
    """
    return FindingList(check_datasets([Path(path)], config).findings.kept)


def check_datasets(
    paths: Sequence[Path],
    config: DataConfig | None = None,
    *,
    split: Path | None = None,
    pictures: bool = True,
    limit: int | None = None,
    bar: Bar | None = None,
) -> Report:
    """Check one dataset, or several as the sides of a split.

    Of a dataset that states splits, each is a side.

    Parameters
    ----------
    paths
        The datasets; each pair of them is compared.
    config
        How they are read; `config.images` applies to all.
    split
        A saved split of the only dataset; its parts are compared as sides.
    pictures
        Whether to read every image file.
    limit
        Number of findings kept of each code, None for all; counts are complete either way.
    bar
        Makes a progress bar for reading image files.
    """
    config = config or DataConfig()
    if split is not None and len(paths) != 1:
        raise TagboxError(
            "config-value",
            f"a saved split goes with one dataset, not {len(paths)}",
            where="split",
            hint="give the dataset that was split",
        )
    report = Report(Findings(limit))
    sides = []
    for path in paths:
        stated = _stated(path, config)
        parts = stated if len(stated) > 1 else [config.split]
        found = [_check_one(path, replace(config, split=p), report, pictures, bar) for p in parts]
        sides += [side for side in found if side is not None]
        if stated and None not in found:
            check_in_no_split(path, [s.dataset for s in found if s is not None], report.findings)
    if config.split is None:
        check_unnamed([side.dataset for side in sides], report.findings)
    if split is not None:
        sides = _parts(split, sides, report.findings)
    if len(sides) > 1:
        check_sides(sides, report.findings)
    return report


def _stated(path: Path, config: DataConfig) -> list[str]:
    """The splits that the dataset states, unless one is chosen."""
    # What is wrong with the path is reported when it is read.
    with suppress(TagboxError):
        return list(stated_names(path, config)) if config.split is None else []
    return []


def _parts(path: Path, sides: list[Side], findings: Findings) -> list[Side]:
    """The parts of a saved split as sides; of folds the validation parts, which together are the whole dataset."""
    if len(sides) != 1:
        return sides
    side = sides[0]
    try:
        parts = Split.load(path).rows(side.dataset)
    except TagboxError as error:
        findings.add_error(error)
        return []
    return [
        Side(
            f"{part} of {path.name}",
            side.dataset.take(rows),
            None if side.pictures is None else side.pictures.take(rows),
        )
        for part, rows in parts.items()
    ]


def _check_one(
    path: Path, config: DataConfig, report: Report, with_pictures: bool, bar: Bar | None
) -> Side | None:
    findings = report.findings
    try:
        format, source, _ = source_of(path, config)
    except TagboxError as error:
        findings.add_error(error)
        report.datasets.append(Checked(path, None, None, None, 0))
        return None
    named = path if config.split is None else Path(f"{path} ({config.split})")
    if format == "coco":
        dataset = _read_coco(source, config, findings, with_pictures)
    else:
        dataset = _read(path, config, findings, with_pictures)
    if dataset is None:
        report.datasets.append(Checked(named, format, None, None, 0))
        return None
    check_lines(format, source, dataset.images.files.tolist(), dataset.images.root, findings)
    check_labels(dataset, findings)
    to_train = config.split is not None and role(config.split) in ("train", "val")
    if len(dataset) and to_train and not dataset.images.labelled.any():
        findings.add(
            "no-labels", dataset.source.path, f"none of its {len(dataset):,} images has labels"
        )
    read_pictures = None
    if with_pictures and _has_pictures(dataset, findings):
        with bar(f"Pictures of {named.name}", len(dataset)) if bar else nullcontext() as advance:
            read_pictures = check_pictures(dataset, findings, advance)
        check_duplicates(dataset, read_pictures, findings)
    count = 0 if read_pictures is None else int(read_pictures.decoded.sum())
    report.datasets.append(Checked(named, format, describe(dataset), statistics(dataset), count))
    return Side(str(named), dataset, read_pictures)


def _read_coco(
    source: Path, config: DataConfig, findings: Findings, with_pictures: bool
) -> Dataset | None:
    """The readable part of a COCO file, with the changes that the config asks for; None when nothing is readable.

    With pictures, the places of boxes are checked in images of no stated size too.
    """
    try:
        records = read_records(source, findings)
        if records is None:
            return None
        records = told_apart(records, mapped_names(config))
        root, located = locate_images(source, records.files, config.images)
        if with_pictures:
            records = with_file_sizes(records, root, located)
        check_records(records, source, findings, located)
        return adapt(best_effort(records, source, root, located), config)
    except TagboxError as error:
        findings.add_error(error)
        return None


def _read(
    path: Path, config: DataConfig, findings: Findings, with_pictures: bool
) -> Dataset | None:
    """The same of a dataset of another format."""
    try:
        dataset = read(path, config, findings.add_error)
        # For repeated lines of YOLO files there is `label-twice` already.
        columns = columns_of(dataset, read_sizes=with_pictures)
        repeats = dataset.source.format != "yolo"
        check_boxes(columns, dataset.source.path, findings, repeats=repeats)
        return adapt(dataset, config)
    except TagboxError as error:
        findings.add_error(error)
        return None


def _has_pictures(dataset: Dataset, findings: Findings) -> bool:
    """Whether any image file is found; adds one finding when none is."""
    try:
        require_images(dataset)
    except TagboxError as error:
        findings.add_error(error)
        return False
    return len(dataset) > 0
