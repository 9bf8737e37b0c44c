"""Zips from strangers: what is refused, and that nothing is left of it."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagbox.data import unzip as module
from tagbox.data.unzip import human, unzip
from tagbox.errors import TagboxError


def zip_of(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def entry_zip(info: zipfile.ZipInfo, content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("good.txt", "good")
        archive.writestr(info, content)
    return buffer.getvalue()


def link_zip() -> bytes:
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry_zip(info, b"/etc/passwd")


def with_flag(content: bytes, flag: int) -> bytes:
    """Set a general-purpose flag in every local and central header."""
    data = bytearray(content)
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(magic)
        while at >= 0:
            data[at + offset] |= flag
            at = data.find(magic, at + 4)
    return bytes(data)


def with_declared_size(content: bytes, size: int) -> bytes:
    """Let the table of contents lie about the first entry's unpacked size."""
    data = bytearray(content)
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", size)
    return bytes(data)


def with_method(content: bytes, method: int) -> bytes:
    data = bytearray(content)
    for magic, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.find(magic)
        data[at + offset : at + offset + 2] = struct.pack("<H", method)
    return bytes(data)


def overlapping() -> bytes:
    """Two names in the table of contents for the same bytes."""
    data = zip_of({"a": b"0123456789" * 50, "b": b"9876543210" * 50})
    second = data.rfind(b"PK\x01\x02")
    return data[: second + 42] + struct.pack("<I", 0) + data[second + 46 :]


def damaged() -> bytes:
    data = bytearray(zip_of({"a.bin": bytes(range(256)) * 40}, zipfile.ZIP_STORED))
    data[1000] ^= 0xFF
    return bytes(data)


GOOD = zip_of({"a/one.txt": b"1", "a/b/two.txt": b"22", "top.txt": b"333"})

BAD = [
    # what, bytes, code, what the sentence names
    ("empty", b"", "zip-corrupt", "not a zip"),
    ("web page", b"<!DOCTYPE html><html>", "zip-corrupt", "web page"),
    ("other format", b"\x1f\x8b\x08\x00 gzip", "zip-corrupt", "begins with"),
    ("truncated", GOOD[:-30], "zip-corrupt", "truncated"),
    ("first half", GOOD[: len(GOOD) // 2], "zip-corrupt", "truncated"),
    ("failed CRC", damaged(), "zip-corrupt", "a.bin"),
    ("climbs out", zip_of({"../evil.txt": b"x"}), "zip-path", "../evil.txt"),
    ("climbs out later", zip_of({"a/../../evil.txt": b"x"}), "zip-path", "evil"),
    ("absolute", zip_of({"/tmp/evil.txt": b"x"}), "zip-path", "/tmp/evil.txt"),
    ("drive letter", zip_of({"C:/evil.txt": b"x"}), "zip-path", "C:/evil"),
    ("backslashes", zip_of({"..\\evil.txt": b"x"}), "zip-path", "evil"),
    ("control character", zip_of({"a\nb.txt": b"x"}), "zip-path", "b.txt"),
    ("symbolic link", link_zip(), "zip-link", "link"),
    ("encrypted", with_flag(zip_of({"a.txt": b"x"}), 1), "zip-encrypted", "a.txt"),
    ("same name in capitals", zip_of({"a.txt": b"1", "A.txt": b"2"}), "zip-duplicate", "A.txt"),
    ("file and folder", zip_of({"a": b"1", "a/b": b"2"}), "zip-duplicate", ": a:"),
    ("bomb", zip_of({"zeros": bytes(80 << 20)}), "zip-bomb", "unpack to"),
    ("overlap", overlapping(), "zip-bomb", "overlaps"),
    ("longer than declared", with_declared_size(zip_of({"a": b"x" * 99}), 9), "zip-", "a"),
    ("shorter than declared", with_declared_size(zip_of({"a": b"x" * 99}), 999), "zip-", "a"),
    ("unknown compression", with_method(zip_of({"a": b"x" * 99}), 97), "zip-method", "a"),
]


@pytest.mark.parametrize(
    ("content", "code", "named"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_refused_and_nothing_left(tmp_path: Path, content: bytes, code: str, named: str) -> None:
    path = tmp_path / "archive.zip"
    path.write_bytes(content)
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    (out / "mine.txt").write_text("keep")
    with pytest.raises(TagboxError) as caught:
        unzip(path, out)
    assert caught.value.code.startswith(code)
    assert named in str(caught.value)
    assert str(path) in str(caught.value)
    everything = sorted(str(found.relative_to(tmp_path)) for found in tmp_path.rglob("*"))
    assert everything == ["archive.zip", "deep", "deep/out", "deep/out/mine.txt"]


def test_unpacks_beside_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "good.zip"
    path.write_bytes(GOOD)
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    (out / "a" / "other.txt").write_text("other")
    told: list[tuple[int, int]] = []
    counts = unzip(path, out, progress=lambda held, total: told.append((held, total)))
    assert counts == {"a": 2, "top.txt": 1}
    assert told[-1] == (6, 6)
    assert {str(p.relative_to(out)): p.read_text() for p in out.rglob("*") if p.is_file()} == {
        "a/one.txt": "1",
        "a/b/two.txt": "22",
        "a/other.txt": "other",
        "top.txt": "333",
    }
    assert unzip(path, out) == counts  # Equal files are no conflict.


def test_a_file_in_the_way_stops_it_before_anything_moves(tmp_path: Path) -> None:
    path = tmp_path / "good.zip"
    path.write_bytes(GOOD)
    out = tmp_path / "out"
    (out / "a" / "b").mkdir(parents=True)
    (out / "a" / "b" / "two.txt").write_text("mine")
    with pytest.raises(TagboxError) as caught:
        unzip(path, out)
    assert caught.value.code == "exists"
    assert [p.name for p in out.rglob("*") if p.is_file()] == ["two.txt"]
    unzip(path, out, overwrite=True)
    assert (out / "a" / "b" / "two.txt").read_text() == "22"


def test_a_link_that_is_there_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "good.zip"
    path.write_bytes(GOOD)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TagboxError) as caught:
        unzip(path, tmp_path / "out", overwrite=True)
    assert caught.value.code == "exists"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_full_disk_is_known_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "good.zip"
    path.write_bytes(GOOD)
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=5))
    with pytest.raises(TagboxError, match="5 bytes are free") as caught:
        unzip(path, tmp_path / "out")
    assert caught.value.code == "disk-full"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_name_that_says_it_is_utf_8_and_is_not(tmp_path: Path) -> None:
    content = bytearray(GOOD)
    second = content.index(b"PK\x03\x04", 1)
    # Bit 11 of the local header's flags, and a byte that begins no character.
    content[second + 7] |= 0x08
    content[second + 30] = 0x80
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(TagboxError, match="damaged") as caught:
        unzip(tmp_path / "x.zip", tmp_path / "out")
    assert caught.value.code == "zip-corrupt"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_ends_in_an_error_or_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    content = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "x.zip").write_bytes(content)
    try:
        unzip(folder / "x.zip", folder / "out")
    except TagboxError as error:
        assert error.code.startswith(("zip-", "cannot-write"))
        left = list((folder / "out").rglob("*")) if (folder / "out").exists() else []
        assert left == []
    else:
        contents = sorted(p.read_bytes() for p in (folder / "out").rglob("*") if p.is_file())
        assert set(contents) <= {b"1", b"22", b"333", b""}
    assert sorted(p.name for p in folder.iterdir()) in (["out", "x.zip"], ["x.zip"])


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (999_600, "1 MB"),
        (19_336_861_798, "19.3 GB"),
    ],
)
def test_sizes_as_people_say_them(size: int, said: str) -> None:
    assert human(size) == said
