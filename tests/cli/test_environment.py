"""Outputs that are full or closed, encodings without the characters, and folders that are gone: one sentence each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from user_files import hashes

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
NAMES = ("[/b]", "π→é\U0001f600")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("environment")
    document = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 9, "height": 9} for n in (1, 2)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(NAMES, 1)],
        "annotations": [{"id": k, "image_id": k, "category_id": k} for k in (1, 2)],
    }
    (made / "c.json").write_text(json.dumps(document))
    return made


@pytest.fixture
def shell(folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    command = Path(sys.executable).with_name("tagbox")

    def run(words: str, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-c", words.replace("tagbox", str(command))],
            cwd=folder,
            env={**os.environ, **env},
            capture_output=True,
            check=False,
            timeout=120,
        )
        out, err = done.stdout.decode("latin-1"), done.stderr.decode("utf-8", "replace")
        assert "Traceback" not in err and "Exception ignored" not in err, err
        return subprocess.CompletedProcess(words, done.returncode, out, err)

    return run


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "words", ["tagbox check c.json", "tagbox check c.json --json", "tagbox recipes"]
)
def test_a_full_output_is_said(
    shell: Callable[..., subprocess.CompletedProcess[str]], words: str
) -> None:
    done = shell(f"{words} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "tagbox: error [cannot-write]: standard output: No space left on device; "
    )


def test_a_closed_output_is_said(shell: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = shell("tagbox check c.json --json >&-")
    assert done.returncode == 1
    assert "error [cannot-write]: standard output: it is closed; " in done.stderr


def test_files_are_written_whatever_the_streams_are(
    shell: Callable[..., subprocess.CompletedProcess[str]], folder: Path
) -> None:
    for number, streams in enumerate((">&-", "2>&-", ">&- 2>&-", "2>/dev/full")):
        done = shell(f"tagbox split c.json --to csv --out o{number} {streams}")
        # A closed output loses the list of what was written, and nothing else.
        assert done.returncode == int(streams.startswith(">&-")), (streams, done.stderr)
        assert (folder / f"o{number}" / "train.csv").exists()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_encodings_without_the_characters(
    shell: Callable[..., subprocess.CompletedProcess[str]], encoding: str
) -> None:
    table = shell("tagbox check c.json", PYTHONIOENCODING=encoding)
    assert "\\u03c0" in table.stdout and "[/b]" in table.stdout
    done = shell("tagbox check c.json --json", PYTHONIOENCODING=encoding)
    assert NAMES[1] in json.dumps(json.loads(done.stdout), ensure_ascii=False)


def test_a_working_folder_that_is_gone_is_said(
    shell: Callable[..., subprocess.CompletedProcess[str]], folder: Path
) -> None:
    done = shell(f"mkdir gone; cd gone; rmdir ../gone; tagbox check {folder / 'c.json'}")
    assert done.returncode == 1
    assert "error [working-folder-missing]: the working folder does not exist" in done.stderr


def test_a_full_disk_is_said_and_old_files_are_kept(
    shell: Callable[..., subprocess.CompletedProcess[str]], folder: Path
) -> None:
    document = json.loads((folder / "c.json").read_text())
    document["images"] = [
        dict(document["images"][0], id=n, file_name=f"{n}.jpg") for n in range(1, 400)
    ]
    (folder / "long.json").write_text(json.dumps(document))
    assert shell("tagbox split c.json --to coco --out full").returncode == 0
    before = hashes(folder / "full")
    # No file may grow over 1 kB: the system refuses to write as it does where a disk is full.
    for options in ("--to coco", "--to csv"):
        done = shell(f"ulimit -f 1; tagbox split long.json {options} --out full --overwrite")
        assert done.returncode == 1, done.stderr
        said = done.stderr.splitlines()[-1]
        assert said.startswith("tagbox: error [cannot-write]: ")
        assert "File too large; check that" in said
        assert hashes(folder / "full") == before
        assert not [path.name for path in folder.iterdir() if "tmp" in path.name]


LIMITED = """
import pathlib, re, resource, sys
import tagbox.cli.check
from tagbox.cli.app import main
from tagbox.files import read_file
status = pathlib.Path("/proc/self/status").read_text()
used = int(re.search(r"VmSize:\\s+(\\d+)", status)[1]) << 10
resource.setrlimit(resource.RLIMIT_AS, (used + (128 << 20), resource.RLIM_INFINITY))
assert len(read_file("c.json", 64 << 30)) < 1000
main()
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_file_larger_than_the_memory_that_is_left(folder: Path) -> None:
    """Memory is asked for by the size of a file, not by the largest that is read; and its lack is said."""
    with open(folder / "large.json", "wb") as opened:
        opened.write(b"{")
        opened.truncate(1 << 29)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "check", "large.json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    (folder / "large.json").unlink()
    assert done.returncode == 1, done.stderr
    assert "tagbox: error [memory-full]: there was not enough memory" in done.stderr
    assert "Traceback" not in done.stderr
