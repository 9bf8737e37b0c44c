"""The cache: found again, bounded, shared, and never in the way of a run."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tagbox.backends import feature_cache as module
from tagbox.backends.feature_cache import FILE_NAME, FeatureCache, feature_key


def key(number: int) -> bytes:
    return feature_key("encoder", 0, number.to_bytes(32, "big"))


def value(number: int, length: int = 300) -> np.ndarray:
    return np.random.default_rng(number).normal(size=length).astype(np.float32)


def filled(folder: Path, count: int) -> FeatureCache:
    cache = FeatureCache(folder)
    for number in range(count):
        cache.put(key(number), value(number))
    cache.flush()
    return cache


def test_what_was_put_is_found_before_and_after_reopening(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "new" / "folder")
    cache.put(key(1), value(1))
    found = cache.get(key(1), 300)
    assert found is not None
    assert np.array_equal(found, value(1))
    cache.close()
    again = FeatureCache(tmp_path / "new" / "folder").get(key(1), 300)
    assert again is not None
    assert np.array_equal(again, value(1))


def test_misses(tmp_path: Path) -> None:
    cache = filled(tmp_path, 1)
    assert cache.get(key(2), 300) is None
    # Another length than the encoder's is not its feature.
    assert cache.get(key(0), 299) is None


def test_keys_differ_by_every_part() -> None:
    keys = {
        feature_key("a", 0, b"x" * 32),
        feature_key("b", 0, b"x" * 32),
        feature_key("a", 1, b"x" * 32),
        feature_key("a", 0, b"y" * 32),
    }
    assert len(keys) == 4


def test_size_and_clear(tmp_path: Path) -> None:
    cache = filled(tmp_path, 500)
    assert cache.count() == 500
    full, on_disk = cache.size(), (tmp_path / FILE_NAME).stat().st_size
    assert full > 500 * 1200
    cache.clear()
    assert cache.count() == 0
    assert cache.size() < full / 10
    cache.close()
    assert (tmp_path / FILE_NAME).stat().st_size < max(on_disk, full) / 10


def test_the_longest_unused_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr(module.time, "time", lambda: now)
    cache = FeatureCache(tmp_path, limit_bytes=400_000)
    for number in range(100):
        cache.put(key(number), value(number))
    cache.flush()
    now += 10_000
    # The first ten are used again; then more comes than fits.
    for number in range(10):
        assert cache.get(key(number), 300) is not None
    cache.flush()
    now += 10_000
    for number in range(100, 400):
        cache.put(key(number), value(number))
        if number % 50 == 0:
            cache.flush()
    cache.flush()
    assert cache.size() <= 400_000
    assert cache.get(key(399), 300) is not None
    gone = [number for number in range(10, 100) if cache.get(key(number), 300) is None]
    assert len(gone) > 50
    assert gone == list(range(10, 10 + len(gone)))


def test_a_flipped_byte_in_a_stored_feature_is_a_miss(tmp_path: Path) -> None:
    filled(tmp_path, 1).close()
    database = sqlite3.connect(tmp_path / FILE_NAME)
    stored = bytearray(database.execute("SELECT value FROM features").fetchone()[0])
    stored[100] ^= 1
    database.execute("UPDATE features SET value = ?", (bytes(stored),))
    database.commit()
    database.close()
    assert FeatureCache(tmp_path).get(key(0), 300) is None


@pytest.mark.parametrize("kind", ["text", "half", "zeros", "foreign", "version"])
def test_a_file_that_is_no_cache_is_set_aside(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / FILE_NAME
    if kind == "text":
        path.write_text("This is not a database. " * 100)
    elif kind == "zeros":
        path.write_bytes(bytes(8192))
    elif kind == "foreign":
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE photos (id INTEGER)")
        database.commit()
        database.close()
    else:
        filled(tmp_path, 50).close()
        if kind == "half":
            content = bytearray(path.read_bytes())
            content[:64] = b"x" * 64
            path.write_bytes(bytes(content))
        else:
            database = sqlite3.connect(path)
            database.execute("PRAGMA user_version = 99")
            database.commit()
            database.close()
    before = path.read_bytes()
    cache = FeatureCache(tmp_path)
    cache.put(key(1), value(1))
    cache.close()
    assert FeatureCache(tmp_path).get(key(1), 300) is not None
    said = capsys.readouterr().err
    assert FILE_NAME in said
    assert "moved to" in said
    aside = [p for p in tmp_path.iterdir() if ".damaged-" in p.name]
    assert before in [p.read_bytes() for p in aside]


def test_damage_in_the_middle_is_found_in_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path, 400).close()
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    content[4096:-4096] = os.urandom(len(content) - 8192)
    path.write_bytes(bytes(content))
    cache = FeatureCache(tmp_path)
    found = [cache.get(key(number), 300) for number in range(400)]
    for number, feature in enumerate(found):
        assert feature is None or np.array_equal(feature, value(number))
    cache.put(key(1), value(1))
    cache.flush()
    assert cache.active
    assert cache.get(key(1), 300) is not None
    assert "moved to" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(12))
def test_a_file_damaged_anywhere_stops_nothing(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path, 120).close()
    path, random = tmp_path / FILE_NAME, np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    at = int(random.integers(len(content) - 500))
    match seed % 4:
        case 0:  # Cut anywhere, as a full disk leaves it.
            del content[at:]
        case 1:
            content[at : at + 400] = random.bytes(400)
        case 2:  # The header and the schema.
            at = int(random.integers(20, 4096))
            content[at : at + 20] = random.bytes(20)
        case 3:
            content[at // 4096 * 4096 :][:4096] = bytes(4096)
            content[4096:8192] = bytes(4096)
    path.write_bytes(bytes(content))
    cache = FeatureCache(tmp_path)
    assert cache.count() >= 0 <= cache.size()
    for number in range(120):
        found = cache.get(key(number), 300)
        assert found is None or np.array_equal(found, value(number))
    for number in range(100, 140):
        cache.put(key(number), value(number))
    cache.flush()
    assert cache.active
    found = cache.get(key(139), 300)
    assert found is not None and np.array_equal(found, value(139))
    cache.clear()
    assert cache.count() == 0
    cache.close()
    # Nothing is thrown away: what was damaged is beside the new file, with a word about it.
    said = capsys.readouterr().err
    assert ("moved to" in said) == any(".damaged-" in file.name for file in tmp_path.iterdir())


def test_a_table_of_other_columns_is_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(tmp_path, 1).close()
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.executescript("DROP TABLE features; CREATE TABLE features (key, other)")
    database.close()
    assert FeatureCache(tmp_path).count() == 0
    assert "moved to" in capsys.readouterr().err


def test_a_value_of_another_type_is_a_miss(tmp_path: Path) -> None:
    filled(tmp_path, 1).close()
    database = sqlite3.connect(tmp_path / FILE_NAME)
    for stored in ("99999999999999", "'text'"):
        database.execute(f"UPDATE features SET value = {stored}")
        database.commit()
        assert FeatureCache(tmp_path).get(key(0), 300) is None
    database.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_leaves_the_file_alone(tmp_path: Path) -> None:
    cache = filled(tmp_path, 3)
    cache.put(key(3), value(3))
    child = os.fork()
    if not child:
        silent = cache.get(key(1), 300) is None and not cache.active
        cache.put(key(4), value(4))
        cache.close()
        os._exit(0 if silent else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.count() == 4
    cache.close()


def test_an_unusable_folder_means_no_cache_and_a_word_about_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file")
    assert not cache.active
    cache.put(key(1), value(1))
    assert cache.get(key(1), 300) is None
    cache.flush()
    cache.clear()
    cache.close()
    assert cache.size() == cache.count() == 0
    assert "going on without it" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_means_no_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)
    cache = FeatureCache(tmp_path)
    assert not cache.active
    assert "going on without it" in capsys.readouterr().err


def test_a_failure_while_writing_ends_the_caching_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = filled(tmp_path, 1)
    assert cache._database is not None
    cache._database.execute("PRAGMA query_only = 1")
    cache.put(key(2), value(2))
    cache.flush()
    assert not cache.active
    assert "going on without it" in capsys.readouterr().err


WRITER = """
import sys
from pathlib import Path
import numpy as np
from tagbox.backends.feature_cache import FeatureCache, feature_key
folder, start, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
cache = FeatureCache(folder)
print("ready", flush=True)
for n in range(start, start + count):
    cache.put(feature_key("encoder", 0, n.to_bytes(32, "big")),
              np.random.default_rng(n).normal(size=300).astype(np.float32))
cache.close()
"""


def writer(folder: Path, start: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(start), str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_share_it(tmp_path: Path) -> None:
    processes = [writer(tmp_path, start, 800) for start in (0, 400, 4000)]
    assert [p.wait() for p in processes] == [0, 0, 0]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    cache = FeatureCache(tmp_path)
    assert cache.count() == 1200 + 800
    found = cache.get(key(4799), 300)
    assert found is not None
    assert np.array_equal(found, value(4799))


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_kill_loses_the_last_moments_only(tmp_path: Path) -> None:
    process = writer(tmp_path, 0, 1_000_000)
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 60
    reader = FeatureCache(tmp_path)
    while reader.count() < 600 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    survivors = FeatureCache(tmp_path)
    count = survivors.count()
    assert count >= 600
    for number in (0, count // 2, count - 1):
        found = survivors.get(key(number), 300)
        assert found is not None
        assert np.array_equal(found, value(number))


def test_the_folder_is_the_environments_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAGBOX_CACHE", str(tmp_path / "mine"))
    assert FeatureCache().folder == tmp_path / "mine" / "features"
    monkeypatch.delenv("TAGBOX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert FeatureCache().folder == tmp_path / "xdg" / "tagbox" / "features"


@pytest.mark.skipif(os.name == "nt", reason="needs limits on files")
def test_a_full_disk_is_said_and_what_was_kept_is_read(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
import numpy as np
from tagbox.backends.feature_cache import FeatureCache, feature_key
cache = FeatureCache(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
for number in range(100):
    cache.put(feature_key("new", 0, bytes([number]) * 32), np.ones(1000, np.float32))
cache.close()
"""
    key = feature_key("old", 0, bytes(32))
    with closing(FeatureCache(tmp_path)) as cache:
        cache.put(key, np.arange(8, dtype=np.float32))
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    [said] = done.stderr.splitlines()
    assert said.startswith(f"tagbox: the feature cache in {tmp_path} failed (")
    assert said.endswith("; going on without it")
    with closing(FeatureCache(tmp_path)) as cache:
        found = cache.get(key, 8)
    assert found is not None and found.tolist() == list(range(8))
    assert not list(tmp_path.glob("*.damaged*"))
