"""Lines of label files that a reader passes over in silence and a person may want to know of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tagbox.checks.findings import Findings
from tagbox.data.formats.cls import challenge_root, label_folders
from tagbox.data.formats.yolo import label_file


def check_lines(format: str, path: Path, files: list[str], root: Path, findings: Findings) -> None:
    """Note blank and repeated lines of the ``.cls`` or YOLO files of a dataset.

    Parameters
    ----------
    format, path
        Of the dataset; other formats than ``cls`` and ``yolo`` have no such files.
    files, root
        The dataset's pictures, which name YOLO's label files.
    findings
        Gets ``label-line-blank``, ``label-twice``.
    """
    for label_path in _label_files(format, path, files, root):
        try:
            content = label_path.read_bytes()
        except OSError:
            continue  # the reader says so
        first: dict[bytes, int] = {}
        # A last newline ends the last line; it does not begin a blank one.
        for number, line in enumerate(content.splitlines(), 1):
            text = line.strip()
            if not text:
                findings.add("label-line-blank", label_path, "the line is blank", f"line {number}")
            elif first.setdefault(text, number) != number:
                shown = text.decode(errors="replace")
                findings.add(
                    "label-twice",
                    label_path,
                    f"{shown!r} stands already in line {first[text]}",
                    f"line {number}",
                )


def _label_files(format: str, path: Path, files: list[str], root: Path) -> Iterator[Path]:
    if format == "cls":
        for folder in label_folders(challenge_root(path)).values():
            yield from sorted(folder.glob("*.cls"))
    elif format == "yolo":
        for name in files:
            source = label_file(root, name)
            if source.is_file():
                yield source
