"""Run every benchmark that needs no data of yours, one after the other, and keep what each printed.

    python benchmarks/run_all.py --out benchmarks/results

Each runs in a process of its own with its default settings; one that fails is named at the end and the
others still run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from timing import say

HERE = Path(__file__).resolve().parent
BENCHMARKS = (
    "help_time",
    "average_precision",
    "interval_coverage",
    "false_verdicts",
    "box_interval_coverage",
    "evaluation_speed",
    "open_annotations",
    "encoder_startup",
    "predict_speed",
    "shared_model",
    "cache_writers",
    "train_speed",
    "memory_layout",
    "digits",
    "detector_speed",
    "detector_scenes",
    "fasterrcnn_tutorial",
    "proposals",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=BENCHMARKS, help="only these")
    parser.add_argument("--out", type=Path, help="folder for each one's output")
    options = parser.parse_args()

    failed = []
    for name in options.names:
        say(f"== {name}")
        done = subprocess.run(
            [sys.executable, HERE / f"{name}.py"], stdout=subprocess.PIPE, text=True
        )
        print(done.stdout, end="", flush=True)
        if done.returncode != 0:
            failed.append(name)
        elif options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            suffix = "json" if done.stdout.startswith("{") else "txt"
            (options.out / f"{name}.{suffix}").write_text(done.stdout)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
