"""Read mutants with every reader: no error but `TagboxError`, no hang, bounded memory, nothing on disk changed.

``python tests/fuzz/run.py 20000`` reads so many mutants in workers and prints their number, and each fault with
the reader and the seed it is made from again: ``python tests/fuzz/run.py --again READER SEED``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import os
import random
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mutants import mutant
from readers import Reader, readers, write_valid_files

from tagbox.errors import TagboxError

SECONDS = 20
MOST_MEMORY = 1 << 30
BATCH = 1000
"""Mutants of one worker, which is then replaced by a new one."""
COMMAND_EVERY = 50
"""One of so many mutants is also read by the command line."""


class TooLongError(BaseException):
    """A mutant took longer than `SECONDS`."""


@contextlib.contextmanager
def alarm(seconds: int = SECONDS) -> Iterator[None]:
    """Raise `TooLongError` after so many seconds."""

    def ring(*_: Any) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Fuzzer:
    """Valid files in `folder`, of which one at a time is replaced by a mutant."""

    folder: Path
    readers: dict[str, Reader] = field(default_factory=readers)

    def __post_init__(self) -> None:
        write_valid_files(self.folder)
        self.valid = {
            reader.file: (self.folder / reader.file).read_bytes()
            for reader in self.readers.values()
        }
        for name, reader in self.readers.items():
            # What is valid is read: a reader that refuses everything would find nothing.
            with (
                contextlib.suppress(TagboxError) if name == "detector" else contextlib.nullcontext()
            ):
                reader.read(self.folder / reader.file)

    def try_one(self, name: str, seed: int) -> str | None:
        """Read one mutant; the fault, or None."""
        reader = self.readers[name]
        path = self.folder / reader.file
        path.write_bytes(mutant(self.valid[reader.file], random.Random(f"{name} {seed}")))
        before = self.state()
        try:
            with alarm(), warnings.catch_warnings(), silent():
                warnings.simplefilter("ignore")
                self._read(reader, path)
                if seed % COMMAND_EVERY == 0 and reader.command:
                    self._run(reader.command, path)
            fault = None
        except TooLongError:
            fault = f"took more than {SECONDS} seconds"
        except MemoryError:
            fault = "MemoryError"
        except Exception:
            fault = traceback.format_exc()
        if self.state() != before:
            fault = fault or "files were changed"
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if used > MOST_MEMORY:
            fault = fault or f"{used >> 20} MiB of memory"
        path.write_bytes(self.valid[reader.file])
        return fault

    @staticmethod
    def _read(reader: Reader, path: Path) -> None:
        with contextlib.suppress(TagboxError):
            reader.read(path)

    def _run(self, command: str, path: Path) -> None:
        """Run the command line on `path` in this process; only `SystemExit` may come of it."""
        from tagbox.cli.app import main

        with tempfile.TemporaryDirectory() as out:
            words = command.format(shlex.quote(str(path)), folder=self.folder, out=f"{out}/out")
            saved = sys.argv
            sys.argv = ["tagbox", *shlex.split(words)]
            try:
                main()
            except SystemExit:
                pass
            finally:
                sys.argv = saved

    def state(self) -> dict[str, bytes]:
        """The digest of every file in the folder."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).digest()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Standard output and error go nowhere."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def work(start: int, count: int) -> int:
    """Read the mutants from `start` on, print the faults, and return their number."""
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(Path(folder))
        names = list(fuzzer.readers)
        for number in range(start, start + count):
            name, seed = names[number % len(names)], number // len(names)
            fault = fuzzer.try_one(name, seed)
            if fault is not None:
                faults += 1
                print(f"fault: {name!r} {seed}\n{fault}", flush=True)
    return faults


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=20_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--again", nargs=2, metavar=("READER", "SEED"))
    options = parser.parse_args()
    os.environ.setdefault("TAGBOX_CACHE", tempfile.mkdtemp(prefix="tagbox-fuzz-"))
    if options.again:
        with tempfile.TemporaryDirectory() as folder:
            print(Fuzzer(Path(folder)).try_one(options.again[0], int(options.again[1])))
        return
    if options.worker:
        sys.exit(work(options.start, options.count) > 0)
    failed = 0
    end = options.start + options.count
    for start in range(options.start, end, BATCH):
        count = min(BATCH, end - start)
        command = [sys.executable, __file__, str(count), "--start", str(start), "--worker"]
        code = subprocess.run(command, check=False).returncode
        failed += code != 0
        if code not in (0, 1):
            print(f"the worker from {start} on ended with {code}", flush=True)
    print(f"{options.count:,} mutants of {len(readers())} readers; {failed} batches with faults")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
