"""`Finding`: one thing that is wrong or worth knowing, where it is, and the way out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tagbox.errors import TagboxError

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes
    ----------
    code
        Stable kebab-case name of the kind of fault; `tagbox.checks.codes.CODES` lists them.
    severity
        ``error`` (a loader refuses it or a result would be wrong), ``warning`` (it works, but is
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

    @classmethod
    def from_error(cls, error: TagboxError, *, severity: Severity = "error") -> Finding:
        """The finding that says what `error` says."""
        return cls(
            error.code, severity, error.file or "", error.where, error.found, error.hint or ""
        )


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then infos; within them by code, and as found within a code."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.code))


def count_by_severity(findings: Iterable[Finding]) -> dict[str, int]:
    """How many errors, warnings and infos."""
    counts = Counter(f.severity for f in findings)
    return {severity: counts[severity] for severity in SEVERITIES}
