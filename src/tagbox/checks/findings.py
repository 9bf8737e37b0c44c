"""`Finding`: one thing that is wrong or worth knowing, where it is, and the way out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.checks.codes import CODES, SEVERITIES, Severity
from tagbox.errors import TagboxError


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes
    ----------
    code
        Stable kebab-case name of the kind of fault; `tagbox.checks.codes.CODES` lists them.
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


class Findings:
    """Collects findings; counts every one and keeps the first `limit` of each code.

    Parameters
    ----------
    limit
        Findings kept for each code, or None for all. A train2017-size file with one fault in every
        annotation makes 860,001 findings; nobody reads them, and their number is still right.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.counts: Counter[str] = Counter()
        self._kept: list[Finding] = []
        self._severities: dict[str, Severity] = {}

    def add(
        self, code: str, file: str | PathLike[str], found: str, where: str | None = None
    ) -> None:
        """Note a finding whose severity and hint are those of its code in `CODES`."""
        self._add(Finding(code, CODES[code].severity, str(file), where, found, CODES[code].hint))

    def add_error(self, error: TagboxError) -> None:
        """Note what a reader raised."""
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
        """Note `code` for each of `rows` (row numbers, or a mask); `describe(row)` says (where, found).

        Rows past the limit are counted without being described.
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
        """How many errors, warnings and infos, kept or not."""
        totals: dict[Severity, int] = dict.fromkeys(SEVERITIES, 0)
        for code, count in self.counts.items():
            totals[self._severities[code]] += count
        return totals

    @property
    def has_errors(self) -> bool:
        """Whether any finding is an error."""
        return self.totals["error"] > 0


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then infos; within them by code, and as found within a code."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.code))
