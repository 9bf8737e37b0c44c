"""Output of the commands: messages and progress on stderr, results on stdout."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from tagbox.errors import TagboxError, visible
from tagbox.progress import Advance, PlainProgress, rate

if TYPE_CHECKING:
    from rich.console import Console


ERRORS_OF_ONE_PROCESS = frozenset({"worker-killed", "memory-full"})
"""Codes of errors that concern one process of a distributed run and not the others."""


def console(*, stderr: bool = True) -> Console:
    """Return a rich console on stderr or stdout, which takes every text as it is: names are no markup."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def is_main_process() -> bool:
    """Whether this is the process of rank 0, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """Print lines on stderr, without control characters."""
    if is_main_process():
        _to_stderr(_visible_lines(message))


def _visible_lines(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


def say_error(error: TagboxError) -> None:
    """Print the error with its code on stderr; of a distributed run, once if it concerns all processes."""
    if is_main_process() or error.code in ERRORS_OF_ONE_PROCESS:
        _to_stderr(f"tagbox: error [{error.code}]: {error}")


def _to_stderr(text: str) -> None:
    # What is said beside the results must not cost them: standard error may be full or closed.
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class ClosedOutput(io.TextIOBase):
    """Stands for a standard output that was closed before the program began: whoever writes is told so."""

    def write(self, text: str) -> NoReturn:
        """Refuse."""
        raise OSError(errno.EBADF, "it is closed")


def prepare_output() -> None:
    """Make standard output and error take every character, and tell when output is lost."""
    while (unused := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # Otherwise the next file that is opened would be taken for a standard stream.
    os.close(unused)
    if sys.stdout is None:
        sys.stdout = ClosedOutput()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def system_error(error: OSError) -> TagboxError:
    """The error for what the operating system refuses and no command foresaw."""
    what = error.strerror or str(error)
    try:
        os.getcwd()
    except OSError:
        return TagboxError(
            "working-folder-missing",
            "the working folder does not exist any more",
            hint="change to a folder that exists",
        )
    if error.filename is None:
        return TagboxError(
            "cannot-write",
            what,
            file="standard output",
            hint="what was written to files is kept; send the output to a place with room",
        )
    return TagboxError(
        "file-unreadable",
        what,
        file=os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else None,
        hint="check the path, the rights and the room on the disk",
    )


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """`warnings.showwarning` of the command line: tagbox's own warnings in one line, others as Python has them."""
    if category.__module__.partition(".")[0] == "tagbox":
        say(f"tagbox: warning: {message}")
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        print(_visible_lines(text), end="", file=file or sys.stderr)


def print_line(text: str) -> None:
    """Print one line on stdout, without control characters."""
    print(visible(text))


def print_json(value: Any) -> None:
    """Print one JSON value on stdout; NaN and infinities become null."""
    import msgspec

    from tagbox.text_output import encode_json

    if not is_main_process():
        return
    text = msgspec.json.format(encode_json(value), indent=2).decode()
    encoding = sys.stdout.encoding or "utf-8"
    if encoding.lower().replace("-", "") != "utf8":
        text = re.sub(r"[^\x00-\x7f]", lambda c: json.dumps(c[0])[1:-1], text)
    sys.stdout.write(text + "\n")


@contextmanager
def progress_bar(description: str, total: int, unit: str = "images") -> Iterator[Any]:
    """Show a bar with rate and time left on a terminal, else lines of text, and yield its `Advance`."""
    screen, description = console(), visible(description)
    if not screen.is_terminal:
        yield PlainProgress(description, total, unit, say)
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn() if unit == "bytes" else MofNCompleteColumn(),
        TransferSpeedColumn()
        if unit == "bytes"
        else TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        console=screen,
        disable=not is_main_process(),
    ) as progress:
        task = progress.add_task(description, total=total, rate="")

        def advance(count: int = 1, /, *, note: str | None = None) -> None:
            progress.advance(task, count)
            if note is not None:
                progress.update(task, description=f"{description}, {visible(note)}")
            done = progress.tasks[0]
            # In the end the mean: of a few images that come at once rich's is that of an instant.
            speed = done.completed / done.elapsed if done.finished and done.elapsed else done.speed
            if speed:
                progress.update(task, rate=rate(speed, unit))

        yield advance


class TerminalProgress:
    """A `tagbox.progress.Progress` on stderr."""

    def say(self, message: str) -> None:
        """See `say`."""
        say(message)

    def bar(self, description: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """See `progress_bar`."""
        return progress_bar(description, total, unit)
