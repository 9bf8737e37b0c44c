"""Two processes that fill one feature cache at once: the journal of this SQLite against a write-ahead log.

    python benchmarks/cache_writers.py [--repeats 7] [--features 8000] [--rate 0]

Each of two processes looks up and puts that many features of 1,280 values into one new cache; the slower one counts.
`log` is a write-ahead log with transactions of 256 features, which versions before 0.2 had; where this SQLite's log is
sound, both sides use one. With `--rate` each process puts so many features a second, as an encoder does.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile

from timing import alternated, machine, ratio, report, summary

WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from tagbox import sqlite
from tagbox.backends import feature_cache
way, folder, start, count, rate = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
if way == "log":
    sqlite.wal_is_sound = lambda: True
    feature_cache.BATCH_ROWS = 256
cache = feature_cache.FeatureCache(folder)
feature = np.random.default_rng(0).normal(size=1280).astype(np.float32)
begin = time.perf_counter()
for number in range(start, start + count):
    key = feature_cache.feature_key("encoder", 0, number.to_bytes(32, "big"))
    if cache.get(key, 1280) is None:
        cache.put(key, feature)
    if rate:
        time.sleep(1 / rate)
cache.close()
print(time.perf_counter() - begin)
"""


def seconds(way: str, features: int, rate: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, way, folder, *map(str, (start, features, rate))],
                stdout=subprocess.PIPE,
                text=True,
            )
            for start in (0, 10**9)
        ]
        return max(float(json.loads(process.communicate()[0])) for process in processes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--features", type=int, default=8000)
    parser.add_argument(
        "--rate", type=int, default=0, help="features a second; 0: as many as can be"
    )
    options = parser.parse_args()
    ways = {w: (lambda w=w: seconds(w, options.features, options.rate)) for w in ("log", "ours")}
    found = alternated(ways, options.repeats)
    report(
        {
            "machine": machine(["tagbox"]),
            "sqlite": sqlite3.sqlite_version,
            "seconds": {way: summary(each) for way, each in found.items()},
            "times_as_long_as_the_log": round(1 / ratio(found["log"], found["ours"]), 2),
        }
    )


if __name__ == "__main__":
    main()
