"""The run directory: built aside under a lock, moved into place when complete, resumed from its checkpoints."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tagbox.atomic_io import atomic_write, cannot_write, locked_folder, remove_unlocked
from tagbox.config import ClassifierConfig, DataConfig, DetectorConfig
from tagbox.config.base import as_flags, described, read_yaml
from tagbox.config.detector_training import with_own_settings
from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.output_folder import (
    made_by_run,
    replace_folder,
    require_made,
    restore_folder,
    write_mark,
)
from tagbox.paths import LONGEST_NAME, is_plain_name
from tagbox.progress import Progress
from tagbox.training.checkpoint import CHECKPOINTS, Checkpoints
from tagbox.training.resolve_config import Training, differences, steps, with_free_settings
from tagbox.training.train_val import TrainVal

if TYPE_CHECKING:
    from tagbox.training.distributed import Runtime

CONFIG = "config.yaml"
MOST_CHECKPOINTS = 2
"""Checkpoints that stay while a run is trained, where no number is given."""
RANDAUGMENT = "torchvision"
"""The implementation of RandAugment, which checkpoints of runs that use it name."""


@contextmanager
def run_folder(
    runs: Path,
    name: str,
    *,
    overwrite: bool,
    resume: bool = False,
    keep_checkpoints: bool = False,
) -> Iterator[Path]:
    """Yield the partial directory ``runs/.NAME.partial``; on a clean exit it becomes ``runs/NAME``.

    The finished run has no checkpoints, unless they are kept.

    Files of killed runs are removed first, unless they hold checkpoints or are resumed. On an exception
    ``runs/NAME`` is left as it was, and the partial directory is removed unless it holds checkpoints.

    Raises
    ------
    TagboxError
        ``run-name`` for a name that is no plain file name; ``run-exists`` when the run is finished and
        `overwrite` is false; ``not-made-by-tagbox`` for a folder that is no run; ``run-unfinished`` when
        there are checkpoints, and neither `overwrite` nor `resume`; ``run-busy`` while another process
        writes it; ``cannot-write``.
    """
    final, run_dir = run_paths(runs, name)
    _refuse_finished(final, overwrite)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked_folder(run_dir))
        except BlockingIOError as error:
            raise TagboxError(
                "run-busy",
                "another process is writing this run",
                file=final,
                hint="wait for it, or choose another --name",
            ) from error
        except OSError as error:
            raise cannot_write(run_dir, error) from error
        try:
            restore_folder(final)
            # The previous owner of the lock may have moved the directory into place meanwhile.
            _refuse_finished(final, overwrite)
            _remove_dead(runs)
            if not resume:
                if _has_checkpoints(run_dir) and not overwrite:
                    raise TagboxError(
                        "run-unfinished",
                        "there is an unfinished run of this name, with checkpoints",
                        file=final,
                        hint="go on with it by --resume, or start anew with --overwrite",
                    )
                empty_folder(run_dir)
            yield run_dir
            write_mark(run_dir, "run")
            replace_folder(run_dir, final)
            if not keep_checkpoints:
                # The run is complete: a command that is killed here leaves it so, with its checkpoints.
                shutil.rmtree(final / CHECKPOINTS, ignore_errors=True)
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(_what_is_kept(run_dir, final))
            raise
        finally:
            if not _has_checkpoints(run_dir):
                shutil.rmtree(run_dir, ignore_errors=True)


def _what_is_kept(run_dir: Path, final: Path) -> str:
    """What an interrupted training leaves, and how it goes on."""
    if not run_dir.exists():
        return f"{final} is finished"
    if _has_checkpoints(run_dir):
        return f"the checkpoints of {final} are kept; go on with the same command and --resume"
    was = "is as it was" if final.exists() else "was not made"
    return f"{final} {was}; the same command begins anew"


def _remove_dead(runs: Path) -> None:
    """Remove partial directories that no process writes and that hold no checkpoints."""
    for path in runs.glob(".*.partial"):
        if path.is_dir() and not _has_checkpoints(path):
            remove_unlocked(path)


def run_paths(runs: Path, name: str) -> tuple[Path, Path]:
    """The directory of the finished run, and the partial one that it is written in.

    Raises
    ------
    TagboxError
        ``run-name``.
    """
    if not is_plain_name(name):
        raise TagboxError(
            "run-name",
            f"{name[:80]!r} is not a plain name",
            where="--name",
            hint=f"use letters, digits, dots, dashes and underscores, at most {LONGEST_NAME}",
        )
    return runs / name, runs / f".{name}.partial"


def unused_name(runs: Path, kind: str) -> str:
    """A name for a new run: `kind`, or ``kind-2``, ``kind-3`` and so on, the first that no run has."""
    names = (kind if number == 1 else f"{kind}-{number}" for number in count(1))
    return next(n for n in names if not any(path.exists() for path in run_paths(runs, n)))


def unfinished_runs(runs: Path, kind: str) -> list[str]:
    """The names of the runs of a kind in a folder that have checkpoints and are not finished, sorted."""
    found = []
    for path in sorted(runs.glob(".*.partial")):
        begun = _has_checkpoints(path) and (path / CONFIG).is_file()
        if begun and kind in read_yaml(path / CONFIG):
            found.append(path.name.removeprefix(".").removesuffix(".partial"))
    return found


def made_name(runs: Path, kind: str, *, resume: bool) -> str:
    """The name of a run to which none is given: an unused one, or to `resume` that of the only unfinished run.

    Raises
    ------
    TagboxError
        ``run-name`` where none or several could be resumed.
    """
    if not resume:
        return unused_name(runs, kind)
    unfinished = unfinished_runs(runs, kind)
    if len(unfinished) == 1:
        return unfinished[0]
    found = f"{runs} holds {len(unfinished) or 'no'} unfinished run{'s' * (len(unfinished) != 1)} of a {kind}"
    raise TagboxError(
        "run-name",
        f"{found} ({', '.join(unfinished)})" if unfinished else found,
        where="--resume",
        hint="name the one to resume with --name" if unfinished else "leave --resume out",
    )


def _has_checkpoints(run_dir: Path) -> bool:
    folder = run_dir / CHECKPOINTS
    return folder.is_dir() and any(path.name.isdecimal() for path in folder.iterdir())


def _refuse_finished(final: Path, overwrite: bool) -> None:
    if overwrite:
        require_made(final, "run", made_by_run)
    elif final.exists():
        raise TagboxError(
            "run-exists",
            "there is a run of this name",
            file=final,
            hint="choose another --name, or pass --overwrite",
        )


def empty_folder(folder: Path) -> None:
    """Remove the files of a killed run, but not the directory itself, whose lock is held."""
    for inside in folder.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside)
        else:
            inside.unlink()


@dataclass(frozen=True, eq=False, kw_only=True)
class RunDir:
    """A run directory that is being written.

    Attributes
    ----------
    folder
        The partial directory; only the main process writes there.
    source, command
        How the data is read; the command line.
    checkpoints
        Its checkpoints.
    state
        The newest checkpoint of a run that is resumed, on every process; None for a new one.
    """

    folder: Path
    source: DataConfig
    command: str
    checkpoints: Checkpoints
    state: Mapping[str, Any] | None = None

    def begin(self, config: ClassifierConfig | DetectorConfig) -> None:
        """Write ``config.yaml`` before the first step: the resolved configuration."""
        write_config(self.folder / CONFIG, config, self.source, command=self.command)


@contextmanager
def open_run_dir(
    runs: Path,
    name: str,
    config: Training,
    source: DataConfig,
    *,
    command: str,
    overwrite: bool,
    resume: bool,
    runtime: Runtime | None,
    progress: Progress,
) -> Iterator[tuple[RunDir, Training]]:
    """The run directory and the configuration to train with; with `resume`, the saved one.

    With several processes the main one opens the directory and broadcasts its state.

    Raises
    ------
    TagboxError
        The codes of `training.run_dir.run_folder`; ``resume-changed``.
    """

    def run_dir_in(folder: Path, state: Mapping[str, Any] | None) -> RunDir:
        kept = steps(config).keep_checkpoints
        number = MOST_CHECKPOINTS if isinstance(kept, bool) else kept
        checkpoints = Checkpoints(folder, keep=number, say=progress.say)
        return RunDir(
            folder=folder, source=source, command=command, checkpoints=checkpoints, state=state
        )

    if runtime is not None and not runtime.main:
        state, saved = runtime.from_main(None)
        yield run_dir_in(run_paths(runs, name)[1], state), saved
        return
    kept = bool(steps(config).keep_checkpoints)
    with run_folder(
        runs, name, overwrite=overwrite, resume=resume, keep_checkpoints=kept
    ) as folder:
        saved, state = config, None
        if resume:
            saved = saved_config(folder, config, source) or config
            state = run_dir_in(folder, None).checkpoints.latest()
            if state is None:
                progress.say("there is no checkpoint to resume from: starting from the beginning")
                empty_folder(folder)
        if runtime is not None:
            runtime.from_main((state, saved))
        yield run_dir_in(folder, state), saved


def write_config(
    path: Path, config: ClassifierConfig | DetectorConfig, source: DataConfig, *, command: str
) -> None:
    """Write the YAML file of a run's settings: every value, nothing implied."""
    settings = {"command": command, "data": source.to_dict(), kind_of(config): config.to_dict()}
    atomic_write(path, yaml.safe_dump(settings, sort_keys=False))


def kind_of(config: ClassifierConfig | DetectorConfig) -> str:
    """The section of ``config.yaml``: ``classifier`` or ``detector``."""
    return "classifier" if isinstance(config, ClassifierConfig) else "detector"


def saved_config(folder: Path, config: Training, source: DataConfig) -> Training | None:
    """The resolved configuration of an unfinished run; None where it was not written yet.

    Raises
    ------
    TagboxError
        ``resume-changed``, with every difference, where `config` or `source` is another.
    """
    path = folder / CONFIG
    if not path.exists():
        return None
    sections = read_yaml(path)
    kind = kind_of(config)
    if kind not in sections:
        raise TagboxError(
            "resume-changed",
            f"the unfinished run of this name is no {kind}",
            file=path,
            hint="choose another --name, or start anew with --overwrite",
        )
    saved = type(config).from_dict(sections[kind] or {}, file=path)
    given = with_own_settings(config) if isinstance(config, DetectorConfig) else config
    changed = differences(saved.to_dict(), given.to_dict())
    changed |= differences(sections.get("data") or {}, source.to_dict())
    if changed:
        raise TagboxError(
            "resume-changed",
            f"the run was begun with other settings ({described(changed)})",
            file=path,
            hint=f"resume with those it was begun with{as_flags(changed)}, or start anew with --overwrite",
        )
    return with_free_settings(saved, config)


def fingerprints(train_val: TrainVal) -> dict[str, str]:
    """SHA-256 of the training and the validation data, which a resumed run compares."""
    return {
        "training images": _fingerprint(train_val.train),
        "validation images": _fingerprint(train_val.validation),
    }


def require_same_data(state: Mapping[str, Any], train_val: TrainVal) -> None:
    """Refuse to resume on other data.

    Raises
    ------
    TagboxError
        ``resume-data``.
    """
    saved: Mapping[str, str] = state["about"]["fingerprints"]
    for name, found in fingerprints(train_val).items():
        if saved[name] != found:
            raise TagboxError(
                "resume-data",
                f"the {name} or their annotations are not those the run was begun with "
                f"({saved[name][:12]} then, {found[:12]} now)",
                file=train_val.train.source.path,
                hint="restore the data, or start anew with --overwrite",
            )


def require_same_randaugment(state: Mapping[str, Any], config: ClassifierConfig) -> None:
    """Refuse to resume a run that was begun with the RandAugment before torchvision's.

    Raises
    ------
    TagboxError
        ``resume-changed``.
    """
    if config.augment.randaugment and state["about"].get("randaugment") != RANDAUGMENT:
        raise TagboxError(
            "resume-changed",
            "the run was begun with an earlier RandAugment, which augments images differently",
            where="augment.randaugment",
            hint="resume with the tagbox that it was begun with, or start anew with --overwrite",
        )


def say_other_machine(state: Mapping[str, Any], now: Mapping[str, Any], progress: Progress) -> None:
    """Report changed versions, threads and processes, with which results differ in their last bits."""
    saved = state["about"]["machine"]
    changed = [
        f"{name} {saved.get(name)} -> {value}"
        for name, value in now.items()
        if saved.get(name) != value
    ]
    if changed:
        progress.say(f"resumed, but not bit for bit: {', '.join(changed)}")


def _fingerprint(dataset: Dataset) -> str:
    digest = hashlib.sha256(dataset.fingerprint.encode())
    # Box-aware crops depend on the boxes, so these are part of the data.
    for column in ("image_rows", "category_rows", "boxes", "crowd"):
        digest.update(getattr(dataset.annotations, column).tobytes())
    return digest.hexdigest()
