"""Bad input, each kind once: one sentence with file, place and code; nothing changed on disk.

The cases are in `bad_input_cases`. Most call the command line's `main` in this process, which is what
the installed command does; every tenth runs the installed command itself.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bad_input_cases import CASES, Case
from tagbox.cli.app import main


def content_hash(folder: Path) -> str:
    """SHA-256 over every path and every byte below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def run_here(arguments: list[str], capture: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stderr of the command line in this process."""
    sys.argv[1:] = arguments
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0), capture.readouterr().err


# Cyclopts warns once that a test may have forgotten the words; here they are in sys.argv on purpose.
@pytest.mark.filterwarnings("ignore:Cyclopts application invoked without tokens:UserWarning")
@pytest.mark.parametrize(
    ("number", "case"),
    [
        pytest.param(n, case, id=f"{n:03}-{case.code or 'usage'}-{Path(case.file or 'flags').name}")
        for n, case in enumerate(CASES)
    ],
)
def test_bad_input(
    number: int,
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cli: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    folder, out = tmp_path / "work", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    case.build(folder)
    before = content_hash(folder)
    arguments = [part.replace("{out}", str(out)) for part in case.command.split()]
    if number % 10 == 0:
        done = cli(*arguments, cwd=folder)
        exit_code, said = done.returncode, done.stderr
        assert "Traceback" not in done.stdout
    else:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["tagbox"])
        exit_code, said = run_here(arguments, capsys)
    assert exit_code == case.exit_code, said
    assert "Traceback" not in said
    if case.code:
        errors = [line for line in said.splitlines() if line.startswith("tagbox: error [")]
        assert len(errors) == 1, said
        line = errors[0]
        assert line.startswith(f"tagbox: error [{case.code}]: "), line
        assert case.file in line and case.where in line, line
        # One sentence that says what to do.
        assert re.search(r"; .+\.$", line), line
    else:
        assert case.file in said
    assert content_hash(folder) == before


def test_there_are_enough_cases() -> None:
    """At least 50 inputs under at least 25 codes."""
    assert len(CASES) >= 50
    assert len({case.code for case in CASES if case.code}) >= 25
