"""The `tagbox` command line: imports the command that was typed, and turns errors into messages and exit codes."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Collection
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import tagbox
from tagbox.cli.console import prepare_output, say, say_error, show_warning, system_error
from tagbox.errors import EXTRAS, TagboxError, extra_missing
from tagbox.interrupts import ignore_signals, raise_on_signals, received_signal

if TYPE_CHECKING:
    from cyclopts import App

# Nothing opens a socket for statistics, whatever library a command loads later.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

COMMANDS = {
    "demo": "Run all steps on generated scenes.",
    "check": "Report what is wrong with a dataset and how to fix it, and what is in it.",
    "show": "Draw a grid of images with their labels and boxes, and print the file's path.",
    "split": "Split a dataset into parts or folds, stratified by category.",
    "train": "Train a classifier or a detector on a dataset.",
    "evaluate": "Evaluate a run, or any file of predictions or detections, on a dataset.",
    "compare": "Compare runs or files of predictions: which differences are real.",
    "predict": "Predict the categories in images, and with a detector also the boxes.",
    "tune": "Search for the best settings of a recipe.",
    "ensemble": "Combine runs, or average the predictions of test-time views of the images.",
    "runs": "List the runs of a folder: kind, headline metric, images, date and data.",
    "recipes": "List the training recipes, or show one in full.",
    "download": "Download datasets: official COCO archives, other zip files, or a sample.",
    "synth": "Generate a dataset of drawn objects with exact boxes.",
    "cache": "Show or clear the cache of features that runs share.",
}
"""First line of each command's help, with which the root help and a misspelt name import no command."""

INSTALL = {
    "tagbox": "check, show, split, synth, evaluate, compare",
    "tagbox[train]": "train, predict, evaluate runs, ensemble, demo",
    "tagbox[train,tune]": "tune",
    "tagbox[train,transformers]": "detectors huggingface/OWNER/NAME",
    "tagbox[train,video]": "predict videos",
    "tagbox[pandas]": "tables as DataFrames in Python",
}
"""What to install for what: all that `EXTRAS` names."""


_INTERRUPTED = "what was written whole is kept; the same command begins the rest anew"


def command_line(imported: Collection[str] = tuple(COMMANDS)) -> App:
    """The application, with the commands in `imported`; of the others only names and summaries."""
    from cyclopts import App

    app = App(
        name="tagbox",
        help="Recognise what is in images: check data, train, evaluate and use classifiers and detectors.",
        help_epilogue='What to install for what (pip install "NAME"):\n\n'
        + "\n".join(f"  {name:<26}  {purpose}" for name, purpose in INSTALL.items()),
        version=tagbox.__version__,
        # This page's few words have no markup, and reading them as such costs a sixth of its time.
        help_format="plaintext",
        # `main` says what is kept.
        suppress_keyboard_interrupt=False,
    )
    for name, summary in COMMANDS.items():
        if name not in imported:
            app.command(App(name=name, help=summary))
            continue
        command = getattr(import_module(f"tagbox.cli.{name}"), name)
        if not isinstance(command, App):
            from tagbox.cli.option_groups import grouped_app

            command = grouped_app(command, name)
        # What to install stands on the first page; the markdown of the others would make a paragraph of its table.
        command.help_epilogue = ""
        app.command(command)
    return app


def end_interrupted(error: BaseException, number: int) -> NoReturn:
    """Say what is kept and how to go on, and end the process with the exit code of the signal."""
    ignore_signals()
    what = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
    # The last note is that of the command; those before it are of its steps.
    notes: list[str] = getattr(error, "__notes__", None) or [_INTERRUPTED]
    with suppress(OSError, ValueError):
        say(f"tagbox: {what}: {notes[-1]}")
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(128 + number)


def main() -> None:
    """Run the command line; Ctrl-C and SIGTERM end it with one line that says what is kept, also while it is imported."""
    raise_on_signals()
    try:
        _main()
    except BaseException as error:
        # Compiled code, and imports above all, may turn the interruption into another exception.
        number = received_signal()
        finished = isinstance(error, SystemExit) and not error.code
        if finished:
            ignore_signals()  # While Python ends.
        if finished or (number is None and not isinstance(error, KeyboardInterrupt)):
            raise
        end_interrupted(error, number or signal.SIGINT)


def _called(app: App) -> Any:
    """The result of the command that was typed.

    An option of several values takes all words up to the next option (``--categories a b``), unless an argument
    is missing then: in ``--categories a DATA`` it takes one.
    """
    from cyclopts import MissingArgumentError, Parameter

    words = sys.argv[1:]
    if words[:1] == ["show"]:
        from tagbox.cli.show import as_in_training

        words = as_in_training(words)
    how: dict[str, Any] = {
        "tokens": words,
        "result_action": "return_value",
        "exit_on_error": False,
        "print_error": False,
    }
    app.default_parameter = Parameter(consume_multiple=True)
    try:
        return app(**how)
    except MissingArgumentError as error:
        if error.argument is None or error.argument.index is None:
            raise
        app.default_parameter = None
        return app(**how)


def _main() -> None:
    """Run the command line; every expected failure ends in one sentence and a non-zero exit code."""
    from cyclopts import CycloptsError

    warnings.showwarning = show_warning
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    prepare_output()
    try:
        app = command_line(words[:1])
        result = _called(app)
        sys.stdout.flush()
    except CycloptsError as error:
        from tagbox.cli.usage_errors import usage_error

        say_error(usage_error(error, sys.argv[1:]))
        sys.exit(2)
    except TagboxError as error:
        say_error(error)
        sys.exit(1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        say_error(extra_missing("this command", package, EXTRAS[package]))
        sys.exit(1)
    except MemoryError:
        say_error(
            TagboxError(
                "memory-full",
                "there was not enough memory for this command",
                hint="give smaller or fewer files, or close other programs",
            )
        )
        sys.exit(1)
    except BrokenPipeError:
        # The reader of a pipe (`tagbox ... | head`) has gone; that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if received_signal() is not None:
            raise
        say_error(system_error(error))
        # What is left in the buffer cannot be written either; the interpreter is not to try again.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)
