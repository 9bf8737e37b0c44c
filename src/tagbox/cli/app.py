"""The `tagbox` command: one function a subcommand, and the one place where errors meet a user."""

from __future__ import annotations

import os
import sys

from cyclopts import App, CycloptsError

import tagbox
from tagbox.cli.cache import cache
from tagbox.cli.check import check
from tagbox.cli.console import say_error
from tagbox.cli.demo import demo
from tagbox.cli.download import download
from tagbox.cli.ensemble import ensemble
from tagbox.cli.evaluate import evaluate
from tagbox.cli.predict import predict
from tagbox.cli.recipes import recipes
from tagbox.cli.show import show
from tagbox.cli.split import split
from tagbox.cli.synth import synth
from tagbox.cli.train import train
from tagbox.cli.tune import tune
from tagbox.errors import TagboxError

# Nothing opens a socket for statistics, whatever library a command loads later.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

TRAIN_EXTRA = {
    *("torch", "torchvision", "timm", "accelerate", "psutil"),
    *("openvino", "safetensors", "tensorboard"),
}
"""Modules that only `pip install "tagbox[train]"` brings; the first one missing is what a command meets."""

app = App(
    name="tagbox",
    help="Recognise what is in pictures: check data, train, evaluate and use classifiers and detectors.",
    version=tagbox.__version__,
    # This page's few words have no markup, and reading them as such costs a sixth of its time.
    help_format="plaintext",
)

for group in (cache, demo, train, tune):
    app.command(group)
for command in (check, download, ensemble, evaluate, predict, recipes, show, split, synth):
    app.command(command, help_format="markdown")


def main() -> None:
    """Run the command line; every expected failure ends in one sentence and a non-zero exit code."""
    try:
        result = app(result_action="return_value", exit_on_error=False)
    except CycloptsError:
        sys.exit(2)
    except TagboxError as error:
        say_error(error)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAIN_EXTRA:
            raise
        say_error(
            TagboxError(
                "extra-missing",
                f"this command needs {error.name}, which is not installed",
                hint='run: pip install "tagbox[train]"',
            )
        )
        sys.exit(1)
    except BrokenPipeError:
        # The reader of a pipe (`tagbox ... | head`) has gone; that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(result if isinstance(result, int) else 0)
