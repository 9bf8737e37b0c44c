"""Commands replace only folders that tagbox made, and never what they read; the user's files stay as they were."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tagbox.atomic_io import locked_folder
from tagbox.config import DataConfig, SynthConfig
from tagbox.data.load import load_dataset
from tagbox.data.split import made_by_split
from tagbox.data.synthetic.generate import generate
from tagbox.errors import TagboxError
from tagbox.output_folder import (
    MARK,
    _replace_entries,
    atomic_folder,
    foreign_files,
    made_by_run,
    marked_files,
    replace_folder,
    require_made,
    restore_folder,
)
from tagbox.paths import paths_in, refuse_input, refuse_inputs_below
from tagbox.training.run_dir import run_folder
from user_files import hashes

Cli = Callable[..., subprocess.CompletedProcess[str]]


def write(out: Path, name: str = "a", **options: bool) -> None:
    with atomic_folder(out, command="test", **options) as folder:
        (folder / "below").mkdir()
        (folder / "below" / name).write_text(name)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(TagboxError) as caught:
        call()
    return caught.value.code


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A CSV of ten labelled pictures, beside them."""
    folder = tmp_path / "user/photos"
    folder.mkdir(parents=True)
    rows = ["image,labels"]
    for number in range(10):
        Image.new("RGB", (8, 6)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{'cat' if number % 2 else 'dog'}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_marked_folder_is_replaced_and_its_mark_names_every_file(tmp_path: Path) -> None:
    write(tmp_path / "out")
    assert marked_files(tmp_path / "out") == {"below/a"}
    assert json.loads((tmp_path / "out" / MARK).read_text())["command"] == "test"
    assert code_of(lambda: write(tmp_path / "out")) == "exists"
    write(tmp_path / "out", "b", overwrite=True)
    assert sorted(p.name for p in (tmp_path / "out/below").iterdir()) == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["mine.txt", "below/mine.jpg", "below/deeper/mine", ".hidden"])
def test_what_the_user_put_into_a_marked_folder_is_kept(tmp_path: Path, name: str) -> None:
    write(tmp_path / "out")
    mine = tmp_path / "out" / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    before = hashes(tmp_path)
    with pytest.raises(TagboxError, match=name) as caught:
        write(tmp_path / "out", overwrite=True)
    assert caught.value.code == "not-made-by-tagbox"
    assert hashes(tmp_path) == before
    mine.unlink()
    (tmp_path / "out/.DS_Store").write_text("a file manager's")
    write(tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("mark", ["{", "[]", '{"format": "tagbox-output", "files": 3}', "{}"])
def test_a_broken_mark_is_none(tmp_path: Path, mark: str) -> None:
    write(tmp_path / "out")
    (tmp_path / "out" / MARK).write_text(mark)
    assert code_of(lambda: write(tmp_path / "out", overwrite=True)) == "not-made-by-tagbox"


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for overwrite in (False, True):
        expected = "not-made-by-tagbox" if overwrite else "exists"
        assert code_of(lambda o=overwrite: write(tmp_path / "out", overwrite=o)) == expected
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("format", ["coco", "cls"])
def test_scenes_of_earlier_versions_are_replaced(tmp_path: Path, format: str) -> None:
    config = SynthConfig(images=2, val=1, test=1, width=32, height=32, format=format)
    out = tmp_path / "out"
    generate(out, config)
    (out / MARK).unlink()
    (out / "annotations").mkdir(exist_ok=True)
    (out / "annotations/mine.json").write_text("{}")
    assert code_of(lambda: generate(out, config, overwrite=True)) == "not-made-by-tagbox"
    (out / "annotations/mine.json").unlink()
    generate(out, config, overwrite=True)
    assert marked_files(out)


@pytest.mark.parametrize("to", ["csv", "yolo", "folders"])
def test_splits_of_earlier_versions_are_replaced(
    cli: Cli, pictures: Path, tmp_path: Path, to: str
) -> None:
    out = tmp_path / "out"
    words = ["split", pictures / "labels.csv", "--out", out, "--to", to]
    assert cli(*words).returncode == 0
    (out / MARK).unlink()
    assert foreign_files(out, made_by_split) == []
    assert len(foreign_files(out)) > 2
    if to == "csv":
        done = cli(*words, "--overwrite")
        assert done.returncode == 0, done.stderr
        assert marked_files(out)


def test_runs_of_earlier_versions_are_recognised(tmp_path: Path) -> None:
    for name in ("config.yaml", "metrics.json", "model.json", "tensorboard/train/events"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).touch()
    require_made(tmp_path / "run", "run", made_by_run)
    (tmp_path / "run/notes.md").touch()
    assert (
        code_of(lambda: require_made(tmp_path / "run", "run", made_by_run)) == "not-made-by-tagbox"
    )


def test_a_folder_of_another_command_is_not_replaced(tmp_path: Path) -> None:
    """A split does not replace a run or a study, whose files are all tagbox's."""
    write(tmp_path / "out")
    before = hashes(tmp_path)
    with (
        pytest.raises(TagboxError, match="written as a test, not as a split") as caught,
        atomic_folder(tmp_path / "out", command="split", overwrite=True),
    ):
        pass
    assert caught.value.code == "not-made-by-tagbox"
    assert hashes(tmp_path) == before


def test_a_folder_that_is_no_run_is_not_replaced(pictures: Path) -> None:
    before = hashes(pictures.parent)

    def train() -> None:
        with run_folder(pictures.parent, "photos", overwrite=True):
            pass

    assert code_of(train) == "not-made-by-tagbox"
    assert hashes(pictures.parent) == before
    assert [p.name for p in pictures.parent.iterdir()] == ["photos"]


@pytest.mark.parametrize("way", ["itself", "above", "link", "relative", "marked"])
def test_split_does_not_erase_its_pictures(
    cli: Cli, pictures: Path, tmp_path: Path, way: str
) -> None:
    """The parts would refer to pictures in the folder that is replaced."""
    out = {
        "itself": pictures,
        "above": pictures.parent,
        "link": tmp_path / "link",
        "relative": pictures / "../photos",
        "marked": pictures,
    }[way]
    (tmp_path / "link").symlink_to(pictures)
    if way == "marked":
        files = {"": [p.name for p in pictures.iterdir()]}
        mark = {"format": "tagbox-output", "version": 1, "command": "split", "files": files}
        (pictures / MARK).write_text(json.dumps(mark))
    before = hashes(tmp_path)
    done = cli("split", pictures / "labels.csv", "--out", out, "--overwrite")
    assert done.returncode == 1
    assert "[output-is-input]" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2  # What was read, and the error.
    assert hashes(tmp_path) == before


def test_pictures_that_are_links_into_the_folder(pictures: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in pictures.glob("*.png"):
        (linked / path.name).symlink_to(path)
    shutil.copy(pictures / "labels.csv", linked)
    inputs = load_dataset(linked / "labels.csv").input_files()
    assert code_of(lambda: refuse_inputs_below(pictures, inputs, flag="--out")) == "output-is-input"
    refuse_inputs_below(tmp_path / "other", inputs, flag="--out")


@pytest.mark.parametrize("way", ["name", "spelling", "symbolic link", "hard link", "link above"])
def test_files_are_told_apart_by_what_they_are(tmp_path: Path, way: str) -> None:
    file = tmp_path / "folder/a.json"
    file.parent.mkdir()
    file.write_text("mine")
    other = tmp_path / "other.json"
    match way:
        case "name":
            other = file
        case "spelling":
            other = tmp_path / "folder/../folder/./a.json"
        case "symbolic link":
            other.symlink_to(file)
        case "hard link":
            os.link(file, other)
        case "link above":
            (tmp_path / "also").symlink_to(file.parent)
            other = tmp_path / "also/a.json"
    assert code_of(lambda: refuse_input(other, [file], flag="--out")) == "output-is-input"
    refuse_input(tmp_path / "new.json", [file], flag="--out")
    assert code_of(lambda: refuse_input(tmp_path, [file], flag="--out")) == "output-is-folder"


def test_paths_among_settings() -> None:
    assert [*paths_in(DataConfig(images=Path("a"), mapping=Path("b")))] == [Path("a"), Path("b")]


@pytest.mark.parametrize("option", ["dataset", "picture", "mapping", "link"])
def test_show_does_not_replace_what_it_reads(
    cli: Cli, pictures: Path, tmp_path: Path, option: str
) -> None:
    mapping = pictures / "mapping.png"  # Its name says nothing.
    mapping.write_text("cat: animal\ndog: animal\n")
    (tmp_path / "sheet.png").symlink_to(pictures / "3.png")
    out = {
        "dataset": pictures / "labels.png",
        "picture": pictures / "0.png",
        "mapping": mapping,
        "link": tmp_path / "sheet.png",
    }[option]
    if option == "dataset":
        os.link(pictures / "labels.csv", out)
    before = hashes(tmp_path)
    done = cli("show", pictures / "labels.csv", "--mapping", mapping, "--out", out)
    assert done.returncode == 1
    assert "[output-is-input]" in done.stderr
    assert hashes(tmp_path) == before


def test_evaluate_does_not_replace_what_it_reads(cli: Cli, pictures: Path, tmp_path: Path) -> None:
    rows = [f"{n},{n % 2},{1 - n % 2}" for n in range(10)]
    scores = tmp_path / "scores.csv"
    scores.write_text("image,cat,dog\n" + "\n".join(rows) + "\n")
    before = hashes(tmp_path)
    for out in (scores, pictures / "labels.csv", pictures / "1.png", pictures / "../photos/2.png"):
        done = cli("evaluate", scores, pictures / "labels.csv", "--out", out)
        assert done.returncode == 1, out
        assert "[output-is-input]" in done.stderr
        assert hashes(tmp_path) == before
    out = pictures / "evaluation.json"  # New, and then its own: neither is an input.
    for _ in range(2):
        assert cli("evaluate", scores, pictures / "labels.csv", "--out", out).returncode == 0


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk/real").mkdir(parents=True)
    (tmp_path / "out").symlink_to("disk/real")
    write(tmp_path / "out")
    write(tmp_path / "out", "b", overwrite=True)
    assert os.readlink(tmp_path / "out") == "disk/real"
    assert (tmp_path / "disk/real/below/b").is_file()
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["real"]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "mounted"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False)
    if done.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_mount_point_keeps_its_place(mount: Path) -> None:
    (mount / "lost+found").mkdir()
    device = mount.stat().st_dev
    write(mount)
    write(mount, "b", overwrite=True)
    assert mount.stat().st_dev == device
    assert sorted(p.name for p in mount.iterdir()) == [MARK, "below", "lost+found"]
    assert [p.name for p in (mount / "below").iterdir()] == ["b"]
    assert [p.name for p in mount.parent.iterdir()] == ["mounted"]
    (mount / "mine").touch()
    assert code_of(lambda: write(mount, overwrite=True)) == "not-made-by-tagbox"


def test_a_run_on_another_disk(mount: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/a").symlink_to(mount)
    new = tmp_path / "runs/.a.partial"
    new.mkdir()
    (new / "model.json").write_text("new")
    replace_folder(new, tmp_path / "runs/a")
    assert (mount / "model.json").read_text() == "new"
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["a"]


class Killed(BaseException):
    """What a kill is within one process."""


@pytest.mark.parametrize("renames", range(7))
def test_killed_while_entries_are_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """At each rename: the folder is then the old one whole, or the new one whole."""
    out = tmp_path / "out"
    for place, content in ((out, "old"), (out / ".tagbox-new", "new")):
        place.mkdir()
        for name in ("a", "b", "c" if content == "new" else "d"):
            (place / name).write_text(content)
    rename, done = os.rename, 0

    def counting(source: Path, target: Path) -> None:
        nonlocal done
        if done == renames:
            raise Killed
        done += 1
        rename(source, target)

    monkeypatch.setattr(os, "rename", counting)
    with pytest.raises(Killed):
        _replace_entries(out)
    monkeypatch.undo()
    restore_folder(out)
    shutil.rmtree(out / ".tagbox-new", ignore_errors=True)
    found = {path.name: path.read_text() for path in out.iterdir()}
    old, new = dict.fromkeys("abd", "old"), dict.fromkeys("abc", "new")
    assert found == (old if renames <= 3 else new)


def test_two_writers_of_one_folder(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out", command="test") as folder:
        (folder / "a").touch()
        code = (
            "from pathlib import Path; from tagbox.output_folder import atomic_folder\n"
            f"with atomic_folder(Path({str(tmp_path / 'out')!r}), command='test'): pass"
        )
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "another command is writing this folder" in other.stderr
        write(tmp_path / "another")
    assert (tmp_path / "out/a").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["another", "out"]


def test_only_leftovers_of_dead_processes_are_swept(tmp_path: Path) -> None:
    for name in (".a.tagbox-tmp", ".b.x1y2z3.tagbox-tmp", "c.tagbox-tmp", ".d.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / ".e.json.abc.tagbox-tmp").touch()
    code = (
        "from pathlib import Path; from tagbox.atomic_io import atomic_write\n"
        f"atomic_write(Path({str(tmp_path / 'new')!r}), b'')"
    )
    with locked_folder(tmp_path / ".a.tagbox-tmp"):
        subprocess.run([sys.executable, "-c", code], check=True)
        found = sorted(p.name for p in tmp_path.iterdir())
    assert found == [".a.tagbox-tmp", ".d.tmp", "c.tagbox-tmp", "new"]
