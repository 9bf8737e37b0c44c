"""Findings of ``tagbox check``: their codes with severity and remedy, and the collection that counts them.

Errors that a reader raises (`TagboxError`) become findings under their own code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import ONLY_CROWDS_HINT
from tagbox.data.record_pixels import SIZE_HINT
from tagbox.errors import TagboxError
from tagbox.tables import Table

if TYPE_CHECKING:
    from pandas import DataFrame

Severity = Literal["error", "warning", "info"]
_COLUMNS = ("severity", "code", "where", "found", "hint", "file")
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
TRAINING = "`tagbox train detector` stops at it, with --boxes drop it leaves it out"
"""What `data.training_boxes.training_boxes` does with such a box."""


class Rule(NamedTuple):
    """Severity of a kind of finding, and what to do about it."""

    severity: Severity
    hint: str


CODES: dict[str, Rule] = {
    # The JSON file and its records.
    "json-field": Rule("error", "correct the record, or export the file again"),
    "json-number": Rule("error", "write the real number there, or drop the annotation"),
    "id-type": Rule("error", "write all ids of one kind as whole numbers"),
    "id-text": Rule("info", "none needed here; other COCO tools want whole numbers"),
    "supercategory-ignored": Rule("warning", "write it as a text, or leave it out"),
    "bad-box": Rule("error", "draw the box again, or drop the annotation"),
    "duplicate-image-id": Rule("error", "give every image its own id"),
    "duplicate-annotation-id": Rule("error", "renumber the annotations from 1"),
    "duplicate-category-id": Rule("error", "give every category its own id"),
    "duplicate-category-name": Rule(
        "error",
        "merge them by a line 'name: name' of a --mapping file, or rename one by 'name (id N): new name'",
    ),
    "unknown-image-id": Rule("error", "add the image's record, or drop the annotation"),
    "unknown-category-id": Rule("error", "add the category's record, or drop the annotation"),
    "annotation-id-zero": Rule(
        "warning", "renumber the annotations from 1: pycocotools loses the match of id 0"
    ),
    "duplicate-file-name": Rule("warning", "keep one record for each picture"),
    "missing-annotation-id": Rule("warning", "number the annotations from 1"),
    "missing-area": Rule("info", "none needed here; other COCO tools stop without `area`"),
    "missing-iscrowd": Rule("info", "none needed here; other COCO tools stop without `iscrowd`"),
    "box-leaves-image": Rule(
        "warning", "none needed, if the image's size is right: training clips the box to the image"
    ),
    # Boxes, as a detector needs them: the errors stop a training, or would be objects that nothing can match.
    "box-degenerate": Rule("error", f"draw the box again, or drop the annotation; {TRAINING}"),
    "box-outside": Rule("error", f"correct the box, or the image's size; {TRAINING}"),
    "boxes-corners": Rule("error", "write them as x, y, width, height"),
    "boxes-normalised": Rule("error", "write them in pixels: times the image's width and height"),
    "bad-area": Rule("error", "write the object's area in pixels², or leave it out"),
    "bad-polygon": Rule("error", "correct it, or give the annotation a bbox"),
    "bad-rle": Rule("error", "correct it, or give the annotation a bbox"),
    "segmentation-broken": Rule("info", "none needed here, the bbox counts; masks need it"),
    "box-unlike-segmentation": Rule("warning", "look which of the two is right"),
    "area-unlike-box": Rule(
        "warning", "correct it: evaluation tells small, medium and large objects by it"
    ),
    "duplicate-box": Rule("warning", "keep one of them: a detector can find it only once"),
    "only-crowds": Rule("warning", ONLY_CROWDS_HINT),
    "box-from-segmentation": Rule("info", "none needed here; other COCO tools want a bbox"),
    "annotation-without-box": Rule(
        "info",
        "draw its box, if a detector is to learn from it; `tagbox train detector` stops at it, "
        "with --boxes drop it leaves the image out",
    ),
    "box-tiny": Rule("info", "none needed, if an object that small is meant"),
    "box-whole-image": Rule("info", "none needed, if the object fills the image"),
    # File names.
    "file-name-outside": Rule(
        "error", "name the folder of the pictures with --images, or write names relative to it"
    ),
    "file-name-ambiguous": Rule(
        "warning", "rename one: submissions and predictions name a picture by its stem alone"
    ),
    "picture-in-no-split": Rule("info", "put it into a split, if that was not meant"),
    "picture-not-named": Rule("info", "label it, or move it away, if that was not meant"),
    # Label files of other formats.
    "label-line-blank": Rule("warning", "delete the blank line"),
    "label-twice": Rule("warning", "keep the label once"),
    "picture-without-labels": Rule(
        "warning", "add its label file; an empty one says that nothing is in the picture"
    ),
    "difficult-as-crowd": Rule(
        "info",
        "none needed: they are neither trained on nor scored; set difficult to 0 where they count",
    ),
    "no-labels": Rule(
        "warning", "none needed for images to predict; else look where their labels are"
    ),
    "split-doubtful": Rule("warning", "point at the folder of one split, if that is meant"),
    "lists-unread": Rule(
        "warning",
        "none needed, if the folders say it all; else sort the pictures into train, val and test",
    ),
    "columns-unread": Rule("warning", "none needed, if the labels of the images are enough"),
    "labels-separator": Rule(
        "warning",
        "put | between names, or call the column label where a cell is one name, labels where it lists them",
    ),
    "labels-missing": Rule(
        "warning", "leave such cells empty; where it is a category, list the names in classes.txt"
    ),
    # Labels as a whole.
    "image-without-annotations": Rule("info", "none needed: it is an image with no category"),
    "category-names-alike": Rule("warning", "merge them with --mapping, if they are one category"),
    "category-unused": Rule("warning", "add pictures of it, or leave it out with --categories"),
    # Pictures.
    "size-mismatch": Rule("error", SIZE_HINT),
    "size-exif-rotated": Rule(
        "warning",
        "store the picture upright, or let `tagbox split` write records of turned pictures",
    ),
    "images-passed-over": Rule("warning", "convert them to JPEG or PNG, or move them away"),
    "folder-unreadable": Rule("error", "give yourself the right to read them, or move them away"),
    "image-range-guessed": Rule(
        "warning",
        "look at it with `tagbox show`; save it with 8 bits a channel, or state its range",
    ),
    "duplicate-picture": Rule("warning", "keep one of them"),
    "near-duplicate-picture": Rule("info", "look at both; keep one if they are the same"),
    # Two sides of a split.
    "split-same-picture": Rule("error", "remove it from one side: it makes the score too good"),
    "split-near-picture": Rule("warning", "look at both; remove one if they are the same scene"),
    "split-same-name": Rule("warning", "check that they are different pictures"),
    "split-category-missing": Rule("warning", "split again with `tagbox split`, or add pictures"),
    "split-category-unknown": Rule("warning", "use the same categories on both sides"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a dataset, or a fact worth knowing.

    Attributes
    ----------
    code
        Stable kebab-case name of the kind of fault; `tagbox.checks.findings.CODES` lists them.
    severity
        ``error`` (a reader refuses it, or a result would be wrong), ``warning`` (it works, but is
        probably not meant), ``info`` (legal, worth knowing).
    file
        The file or folder at fault.
    where
        The record in it, with its id: ``"annotations[3] (id 17).bbox"``, ``"line 7"``; or None.
    found
        What was found, in words.
    hint
        What to do about it.
    """

    code: str
    severity: Severity
    file: str
    where: str | None
    found: str
    hint: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class FindingList(list[Finding]):
    """Findings that print as a table, show as one in a notebook and become a DataFrame."""

    @property
    def table(self) -> Table:
        """A row a finding."""
        return Table([each.to_dict() for each in self], _COLUMNS, f"{len(self):,} findings")

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def to_pandas(self) -> DataFrame:
        """A row a finding.

        Raises
        ------
        TagboxError
            ``extra-missing`` without pandas.
        """
        return self.table.to_pandas()


class Findings:
    """A collection of findings that counts all and keeps the first `limit` of each code.

    Parameters
    ----------
    limit
        Number of findings kept of each code, None for all: a fault in every annotation of train2017
        makes 860,001 findings.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.counts: Counter[str] = Counter()
        self._kept: list[Finding] = []
        self._severities: dict[str, Severity] = {}

    def add(
        self, code: str, file: str | PathLike[str], found: str, where: str | None = None
    ) -> None:
        """Add a finding with the severity and hint of its code in `CODES`."""
        self._add(Finding(code, CODES[code].severity, str(file), where, found, CODES[code].hint))

    def add_error(self, error: TagboxError) -> None:
        """Add an error of a reader."""
        self._add(
            Finding(
                error.code, "error", error.file or "", error.where, error.found, error.hint or ""
            )
        )

    def add_rows(
        self,
        code: str,
        file: str | PathLike[str],
        rows: NDArray[np.bool_] | NDArray[np.intp],
        describe: Callable[[int], tuple[str, str]],
    ) -> None:
        """Add a finding for each of `rows` (row numbers, or a mask); `describe(row)` is (where, found).

        Findings over the limit are counted, but not described.
        """
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        room = len(rows) if self.limit is None else max(0, self.limit - self.counts[code])
        for row in rows[:room].tolist():
            where, found = describe(row)
            self.add(code, file, found, where)
        if len(rows) > room:
            self._severities.setdefault(code, CODES[code].severity)
            self.counts[code] += len(rows) - room

    def _add(self, finding: Finding) -> None:
        self._severities.setdefault(finding.code, finding.severity)
        if self.limit is None or self.counts[finding.code] < self.limit:
            self._kept.append(finding)
        self.counts[finding.code] += 1

    @property
    def kept(self) -> list[Finding]:
        """Errors first, then warnings, then infos; within them by code, and as found within a code."""
        return in_order(self._kept)

    @property
    def totals(self) -> dict[Severity, int]:
        """Number of errors, warnings and infos, including those over the limit."""
        totals: dict[Severity, int] = dict.fromkeys(SEVERITIES, 0)
        for code, count in self.counts.items():
            totals[self._severities[code]] += count
        return totals


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then infos; within them by code, and as found within a code."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.code))
