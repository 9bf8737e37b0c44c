"""Answers to a command line that cannot be read: the nearest names, and this tool's words for those of others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from cyclopts import CycloptsError

_DATA = "the dataset is the first argument: tagbox {command} DATA"
_RUN = "the run is the first argument: tagbox predict RUN IMAGES"
_IMAGES = "the images come after the run: tagbox predict RUN IMAGES"
_BOTH = "the run and the dataset are the first two arguments: tagbox evaluate RUN DATA"
_SIZE = "a classifier's input size is part of --backbone: NAME@SIZE"
_MODEL_SIZE = "the input size is the model's; --tiles PIXELS finds small objects in large images"
_FIXED = "overlapping boxes are suppressed inside the detector, at a fixed IoU: leave it out"
_CUTS = (
    "score thresholds are tuned in training, and tagbox predict --score takes another: leave it out"
)
_NO_BATCH = "batches and threads are chosen for the machine: leave it out"

OTHER_NAMES: Mapping[str, Sequence[str]] = {
    "lr": ("learning-rate",),
    "lr0": ("learning-rate",),
    "base-lr": ("learning-rate",),
    "learning-rate-init": ("learning-rate",),
    "batch": ("batch-size", _NO_BATCH),
    "batchsize": ("batch-size", _NO_BATCH),
    "bs": ("batch-size", _NO_BATCH),
    "batch-size": ("batch-size", _NO_BATCH),
    "per-device-train-batch-size": ("batch-size", _NO_BATCH),
    "num-epochs": ("epochs",),
    "n-epochs": ("epochs",),
    "nepochs": ("epochs",),
    "max-epochs": ("epochs",),
    "num-train-epochs": ("epochs",),
    "epoch": ("epochs",),
    "wd": ("weight-decay",),
    "opt": ("optimizer", "finetune.optimizer"),
    "optim": ("optimizer", "finetune.optimizer"),
    "cos-lr": ("schedule", "finetune.schedule"),
    "scheduler": ("schedule", "finetune.schedule"),
    "lr-scheduler": ("schedule", "finetune.schedule"),
    "warmup-epochs": ("warmup", "finetune.warmup"),
    "warmup-ratio": ("warmup", "finetune.warmup"),
    "freeze": ("trainable-layers", "finetune.unfreeze"),
    "unfreeze": ("trainable-layers", "finetune.unfreeze"),
    "imgsz": ("size", _SIZE, _MODEL_SIZE),
    "img": ("size", _SIZE, _MODEL_SIZE),
    "img-size": ("size", _SIZE, _MODEL_SIZE),
    "image-size": ("size", _SIZE, _MODEL_SIZE),
    "input-size": ("size", _SIZE, _MODEL_SIZE),
    "resolution": ("size", _SIZE, _MODEL_SIZE),
    "size": (_SIZE, _MODEL_SIZE),
    "weights": ("weights", _RUN, _BOTH),
    "pretrained": ("weights", _RUN, _BOTH),
    "checkpoint": ("weights", _RUN, _BOTH),
    "ckpt": ("weights", _RUN, _BOTH),
    "load-from": ("weights", _RUN, _BOTH),
    "model": ("detector", "backbone", _RUN, _BOTH),
    "model-name": ("detector", "backbone", _RUN, _BOTH),
    "arch": ("detector", "backbone", _RUN, _BOTH),
    "architecture": ("detector", "backbone", _RUN, _BOTH),
    "project": ("runs", "out"),
    "output-dir": ("runs", "out"),
    "out-dir": ("runs", "out"),
    "output": ("runs", "out"),
    "save-dir": ("runs", "save-images", "out"),
    "work-dir": ("runs", "out"),
    "logdir": ("runs",),
    "run-name": ("name",),
    "exp-name": ("name",),
    "experiment-name": ("name",),
    "exist-ok": ("overwrite",),
    "force": ("overwrite",),
    "cfg": ("config",),
    "hyp": ("config",),
    "config-file": ("config",),
    "data": (_DATA, _BOTH, _IMAGES),
    "dataset": (_DATA, _BOTH),
    "data-dir": (_DATA, _BOTH),
    "data-path": (_DATA, _BOTH),
    "train-data": (_DATA,),
    "image-dir": ("images",),
    "image-folder": ("images",),
    "img-dir": ("images",),
    "img-folder": ("images",),
    "source": (_IMAGES,),
    "input": (_IMAGES,),
    "val-data": ("val",),
    "val-dir": ("val",),
    "valid": ("val",),
    "validation": ("val",),
    "validation-data": ("val",),
    "val-split": ("val-fraction",),
    "validation-split": ("val-fraction",),
    "test-size": ("val-fraction",),
    "classes": ("categories",),
    "class": ("categories",),
    "labels": ("categories",),
    "class-names": ("names",),
    "random-seed": ("seed",),
    "random-state": ("seed",),
    "manual-seed": ("seed",),
    "workers": ("workers", "finetune.workers", _NO_BATCH),
    "num-workers": ("workers", "finetune.workers", _NO_BATCH),
    "n-workers": ("workers", "finetune.workers", _NO_BATCH),
    "gpu": ("device",),
    "gpus": ("device",),
    "cuda": ("device",),
    "accelerator": ("device",),
    "amp": ("precision",),
    "half": ("precision",),
    "fp16": ("precision",),
    "bf16": ("precision",),
    "conf": ("score", "thresholds", "threshold", _CUTS),
    "conf-thres": ("score", "thresholds", "threshold", _CUTS),
    "conf-threshold": ("score", "thresholds", "threshold", _CUTS),
    "confidence": ("score", "thresholds", "threshold", _CUTS),
    "score-thr": ("score", "thresholds", "threshold", _CUTS),
    "score-threshold": ("score", "thresholds", "threshold", _CUTS),
    "threshold": ("threshold", "thresholds"),
    "thresholds": ("threshold", "thresholds"),
    "iou": (_FIXED,),
    "iou-thres": (_FIXED,),
    "iou-threshold": (_FIXED,),
    "nms": (_FIXED,),
    "topk": ("top-k",),
    "save": ("save-images", "out"),
    "save-img": ("save-images",),
    "save-txt": ("out",),
    "save-json": ("json",),
    "save-csv": ("out",),
    "show": ("save-images",),
    "early-stopping": ("patience",),
    "early-stopping-patience": ("patience",),
    "early-stop": ("patience",),
    "monitor": ("best-by",),
    "metric": ("best-by",),
    "label-smooth": ("label-smoothing",),
    "grad-clip": ("clip", "finetune.clip"),
    "clip-grad": ("clip", "finetune.clip"),
    "gradient-accumulation-steps": ("accumulate", "finetune.accumulate"),
    "accumulation-steps": ("accumulate", "finetune.accumulate"),
    "mosaic": ("augment.mosaic",),
    "mixup": ("augment.mixup",),
    "cutmix": ("augment.cutmix",),
    "fliplr": ("augment.flip",),
    "hflip": ("augment.flip",),
    "flipud": ("augment.vertical-flip",),
    "degrees": ("augment.rotate",),
}
"""Names that other tools have: to the options here that mean the same, or else a sentence, of which the first that a
command can use is the answer."""

_SENTENCES = {
    _DATA: ("train", "check", "show", "split", "tune"),
    _RUN: ("predict",),
    _IMAGES: ("predict",),
    _CUTS: ("train detector", "tune detector"),
    _NO_BATCH: ("predict", "evaluate"),
    _BOTH: ("evaluate",),
    _SIZE: ("train classifier", "tune", "tune classifier"),
    _MODEL_SIZE: ("predict", "evaluate"),
    _FIXED: ("predict", "evaluate", "train detector", "tune detector"),
}
"""The commands, or the first word of them, that a sentence is true of."""
_GPU = re.compile(r"(cuda:)?\d+|gpu", re.IGNORECASE)
"""A graphics card as other tools call it."""
_EXAMPLES = {
    "device": " (--device cuda)",
    "detector": " (or --backbone for its backbone)",
    "score": " for a detector's boxes, --threshold for labels",
}


def usage_error(error: CycloptsError, words: Sequence[str]) -> TagboxError:
    """The error for a command line that cannot be read, in one sentence.

    Parameters
    ----------
    words
        The command line without the program's name.
    """
    from cyclopts import MissingArgumentError, UnknownOptionError

    command = " ".join(error.command_chain or ())
    options = _options(error)
    for word in words:
        answer = _other_name(word.partition("=")[0], command, options)
        if answer is not None:
            return answer
    sees = f"see: tagbox {command} --help".replace("  ", " ")
    name = None
    if isinstance(error, UnknownOptionError):
        name = error.token.keyword or error.token.value
    elif isinstance(error, MissingArgumentError):
        # What is missing may have been given under a name that there is not.
        unused = [word.partition("=")[0] for word in error.unused_tokens or ()]
        name = next((w for w in unused if w.startswith("--") and w not in options), None)
    if name is not None:
        near = get_close_matches(name, options, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}" if near else sees
        if name.replace("--augment.", "--box-augment.") in options:
            hint = "it is a detector's; add --task detector"
        return TagboxError(
            "option-unknown", f"tagbox {command} has no such option", where=name, hint=hint
        )
    found, meant = _described(error)
    return TagboxError("command-line", found, hint=meant or sees)


def _described(error: CycloptsError) -> tuple[str, str | None]:
    """What is wrong, and what was probably meant."""
    from cyclopts import MissingArgumentError, UnusedCliTokensError

    argument = error.argument
    if isinstance(error, UnusedCliTokensError):
        (first, *more) = error.unused_tokens or [""]
        rest = f" and {len(more)} more" if more else ""
        return f"there is no place for {first!r}{rest}", "put quotes around a name with spaces"
    if isinstance(error, MissingArgumentError) and argument is not None:
        if not argument.tokens and error.keyword is None:
            label = (
                argument.name.lstrip("-").upper() if argument.index is not None else argument.name
            )
            return f"{label} is missing", None
        return f"{error.keyword or argument.name} needs a value", None
    error.verbose = False
    token = getattr(error, "token", None)
    if token is not None and token.keyword == "--device" and _GPU.match(token.value):
        return f"{token.value!r} is no value of --device", "did you mean cuda"
    text, _, meant = str(error).strip().partition(" Did you mean ")
    near = meant.partition("?")[0]
    return text.rstrip("., "), f"did you mean {near}" if near else None


def _options(error: CycloptsError) -> list[str]:
    """The names of the options that the command of `error` has."""
    app = error.app
    if app is None or app.default_command is None:
        return []
    arguments = app.assemble_argument_collection()
    return [name for argument in arguments if argument.show for name in argument.names]


def _other_name(word: str, command: str, options: Sequence[str]) -> TagboxError | None:
    """The answer to an option as another tool calls it; None for options that there are, and for any other word."""
    if not word.startswith("--") or word in options:
        return None
    for answer in OTHER_NAMES.get(word[2:].lower().replace("_", "-"), ()):
        if f"--{answer}" in options:
            more = _EXAMPLES.get(answer, "")
            if answer == "score" and "--threshold" not in options:
                more = ""
            hint = f"here it is --{answer}{more}"
        elif " " in answer and any(
            command == known or command.startswith(f"{known} ") for known in _SENTENCES[answer]
        ):
            hint = answer.format(command=command)
        else:
            continue
        return TagboxError(
            "option-unknown", "that is another tool's name for it", where=word, hint=hint
        )
    return None
