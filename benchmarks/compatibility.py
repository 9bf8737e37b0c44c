"""Whether the present code does what an earlier commit did, and uses what that saved, to the byte.

    python benchmarks/compatibility.py --before REV [--only PART,...] [--keep FOLDER] [--repo FOLDER]

In a worktree of REV, on generated scenes: a classifier with a frozen backbone, a fine-tuned one with averaged weights, a
detector, an ensemble and a search, each used for predictions; and a fine-tuning, a detector's training and a search that
were broken off. Then, with the code as it is now, three questions of each part:

- used: do the saved models, settings, features and predictions give the same predictions, figures and pictures?
- gone on with: does what was broken off end as REV's undisturbed run did: weights, history, predictions, trials?
- from nothing: does the same command write the same files and say the same?

Everything goes through the command line and files, so that nothing here depends on how the code is arranged. Left out of the
comparison are times, versions of libraries, the command as typed, a study's database and the cache of features (but how many it
holds). TensorBoard's events of what went on are held to those of REV going on from the same checkpoint. Prints a table, and for
each difference its place; exit code 1 where there is one. `--keep` makes REV's part once, in that folder, and takes it from
there the next time. Four minutes on two cores, two with what was kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from code_shape import REPOSITORY, checked_out
from timing import say

TRAIN, VAL, TEST = (
    f"../scenes/annotations/instances_{side}.json" for side in ("train", "val", "test")
)
PICTURES = "../scenes/test"
SCENES = (
    *("synth", "scenes", "--images", "36", "--val", "12", "--test", "8"),
    *("--width", "96", "--height", "96", "--workers", "1"),
)
# A clock decides neither the layout nor the arithmetic.
CLASSIFIER = (
    *("train", "classifier", TRAIN, "--val", VAL, "--name", "run", "--epochs", "3"),
    *("--backbone", "efficientnet_lite0@64"),
)
FINETUNE = (
    *("train", "classifier", TRAIN, "--val", VAL, "--name", "run", "--epochs", "1"),
    *("--backbone", "efficientnet_lite0@64", "--recipe", "finetune", "--finetune.epochs", "2"),
    *("--finetune.batch-size", "9", "--finetune.ema", "0.9", "--augment.mixup", "0.2"),
    *("--finetune.channels-last", "no", "--finetune.precision", "fp32"),
    *("--finetune.checkpoint-seconds", "0", "--finetune.keep-checkpoints", "1"),
)
DETECTOR = (
    *("train", "detector", TRAIN, "--val", VAL, "--name", "run", "--epochs", "2", "--size", "64"),
    *("--batch-size", "9", "--augment.mosaic", "0.3", "--augment.scale-jitter", "0.3"),
    *("--precision", "fp32", "--channels-last", "no"),
    *("--checkpoint-seconds", "0", "--keep-checkpoints", "1"),
)
ENSEMBLE = (
    *("ensemble", "../classifier/runs/run", "../finetune/runs/run"),
    *("--val", VAL, "--name", "run", "--flip"),
)
TUNE = (
    *("tune", "classifier", TRAIN, "--val", VAL, "--name", "run", "--epochs", "3"),
    *("--backbone", "efficientnet_lite0@64", "--recipe", "frozen", "--repeats", "1"),
)
CUT, RESUME = ("--runs", "cut"), ("--resume",)
COMMANDS = (
    *(
        "",
        "cache",
        "cache clear",
        "cache info",
        "check",
        "demo",
        "download",
        "ensemble",
        "evaluate",
    ),
    *("predict", "recipes", "show", "split", "synth", "train", "train classifier"),
    *("train detector", "tune", "tune classifier", "tune detector"),
)

GO_ON = "go on"
RECIPES = ("frozen", "finetune", "asl-mldecoder", "challenge", "dense", "fasterrcnn")

Words = tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Commands of one kind of work, each by a name; all run in the part's own folder."""

    made: dict[str, Words]
    """What trains: run by REV, and by the present code from nothing."""
    used: dict[str, Words]
    """What takes the results of `made`: run by REV, and by the present code on REV's results."""
    broken_off: Words | None = None
    """What is killed, or stops early, and writes into the folder `cut` in place of `runs` or `studies`."""
    gone_on: Words | None = None
    needs: tuple[str, ...] = ()
    """Parts whose results it takes."""


def _predictions(*more: str) -> dict[str, Words]:
    predict = ("predict", "runs/run", PICTURES)
    return {
        "predict csv": (*predict, "--format", "csv", "--out", "out/predictions.csv"),
        "predict json": (*predict, "--out", "out/predictions.json", *more),
        "evaluate": ("evaluate", "runs/run", TEST, "--json"),
        "evaluate csv": ("evaluate", "out/predictions.csv", TEST),
    }


FEATURES = {"features": ("cache", "info", "--json")}
"""Their number shows whether what REV had cached was found again."""
DRAWN = ("--save-images", "out/pictures", "--truth", TEST)
PARTS = {
    "help": Part({}, {f"{words} --help".strip(): (*words.split(), "--help") for words in COMMANDS}),
    "data": Part(
        {
            "synth": ("synth", "drawn", *SCENES[2:]),
            "split": ("split", TRAIN, "--out", "split"),
        },
        {
            "check": ("check", TRAIN, "--json"),
            "check, said": ("check", VAL),
            "show": ("show", VAL, "--out", "out/shown.png"),
            "show augmented": ("show", TRAIN, "--augmented", "--out", "out/augmented.png"),
            "show network": ("show", TRAIN, "--network", "--out", "out/network.png"),
            "recipes": ("recipes",),
            **{f"recipe {name}": ("recipes", name) for name in RECIPES},
        },
    ),
    "errors": Part(
        {},
        {
            "no run": ("predict", "runs/none", PICTURES),
            "no pictures": ("predict", "runs/none"),
            "no dataset": ("train", "classifier", "none.json", "--name", "run"),
            "no such flag": ("train", "detector", TRAIN, "--name", "run", "--colour", "red"),
            "value": ("train", "classifier", TRAIN, "--name", "run", "--epochs", "-1"),
            "backbone": ("train", "classifier", TRAIN, "--name", "run", "--backbone", "none"),
            "detector": ("train", "detector", TRAIN, "--name", "run", "--detector", "none"),
            "recipe": ("train", "detector", TRAIN, "--name", "run", "--recipe", "frozen"),
            "name": ("tune", "classifier", TRAIN, "--name", "a/b"),
            "range": ("tune", "classifier", TRAIN, "--name", "run", "--search", "epochs=2..1"),
            "predictions": ("evaluate", TRAIN, TEST),
            "ensemble": ("ensemble", "runs/none", "--val", VAL, "--name", "run"),
        },
    ),
    "classifier": Part(
        {"train": CLASSIFIER},
        {
            **_predictions("--evidence", *DRAWN),
            "predict": ("predict", "runs/run", PICTURES),
            "predict challenge": (
                *("predict", "runs/run", PICTURES),
                *("--format", "challenge", "--out", "out/challenge.json"),
            ),
            "train by its settings": (
                *("train", "classifier", TRAIN, "--val", VAL, "--name", "again"),
                *("--config", "runs/run/config.yaml"),
            ),
            **FEATURES,
        },
    ),
    "finetune": Part(
        {"train": FINETUNE},
        {**_predictions(), **FEATURES},
        (*FINETUNE, *CUT),
        (*FINETUNE, *CUT, *RESUME),
    ),
    "detector": Part(
        {"train": DETECTOR},
        {
            **_predictions(*DRAWN),
            # What it takes are detections.
            "evaluate csv": ("evaluate", "runs/run", TEST),
            "predict coco": (
                *("predict", "runs/run", PICTURES, "--format", "coco", "--truth", TEST),
                *("--engine", "torch", "--out", "out/results.json"),
            ),
            "evaluate coco": ("evaluate", "out/results.json", TEST, "--json"),
        },
        (*DETECTOR, *CUT),
        (*DETECTOR, *CUT, *RESUME),
    ),
    "ensemble": Part(
        {"ensemble": ENSEMBLE},
        {**_predictions(), **FEATURES},
        needs=("classifier", "finetune"),
    ),
    "tune": Part(
        {"tune": (*TUNE, "--trials", "4")},
        {
            "train by the best": (
                *("train", "classifier", TRAIN, "--val", VAL, "--name", "again"),
                *("--config", "studies/run/best.yaml"),
            ),
            **FEATURES,
        },
        (*TUNE, "--studies", "cut", "--trials", "2"),
        (*TUNE, "--studies", "cut", "--trials", "4"),
    ),
}


OMITTED = (".db", ".db-wal", ".db-shm", ".lock", ".sqlite")
"""Ends of the names of files that are not compared."""
VOLATILE = {"seconds", "versions", "command"}
"""Keys of JSON and YAML, and columns of CSV, that no two runs have in common."""
TIMES = re.compile(r"\b\d+(\.\d+)? ?(s|ms|seconds?|minutes?|min)\b|\b\d+:\d\d(:\d\d)?\b")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", metavar="REV", required=True, help="the earlier commit")
    parser.add_argument("--only", help=f"parts, with commas between: {','.join(PARTS)}")
    parser.add_argument("--keep", type=Path, help="folder for what REV makes; used if it is there")
    parser.add_argument("--repo", type=Path, default=REPOSITORY, help="where the present code is")
    options = parser.parse_args()
    parts = options.only.split(",") if options.only else list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        before = (options.keep or scratch / "before").resolve()
        make_before(options.repo, options.before, before, parts)
        source = options.repo.resolve() / "src"
        rows = [row for part in parts for row in compare(part, source, before, scratch)]
    print(f"| what | equal to {options.before} |\n|---|---|")
    for what, place in rows:
        print(f"| {what} | {'yes' if place is None else f'NO: {place}'} |")
    different = sum(place is not None for _, place in rows)
    print(f"\n{different} of {len(rows)} differ" if different else f"\nall {len(rows)} equal")
    sys.exit(1 if different else 0)


def make_before(repository: Path, rev: str, folder: Path, parts: Iterable[str]) -> None:
    """Make what is not in `folder` yet of what REV makes for `parts`."""
    git = ["git", "-C", str(repository), "rev-parse", f"{rev}^{{commit}}"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    notes = folder / "made.json"
    made: dict[str, Any] = {"commit": commit, "parts": {}}
    if notes.exists():
        made = json.loads(notes.read_text())
        if made["commit"] != commit:
            sys.exit(f"{folder} holds what {made['commit']} made; choose another --keep")
    wanted = dict.fromkeys(name for part in parts for name in (*PARTS[part].needs, part))
    missing = [part for part in wanted if made["parts"].get(part) != _commands(PARTS[part])]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with checked_out(repository, rev) as tree:
        source = tree / "src"
        if not (folder / "scenes").exists():
            tagbox(source, folder, SCENES)
        for name in missing:
            part, place = PARTS[name], folder / name
            shutil.rmtree(place, ignore_errors=True)
            (place / "out").mkdir(parents=True)
            for step, words in part.made.items():
                made_step(source, place, step, words)
            if part.broken_off is not None:
                if "--trials" in part.broken_off:
                    tagbox(source, place, part.broken_off)
                else:
                    break_off(source, place, part.broken_off)
            if part.gone_on is not None:
                # What REV says, and its events, show from where it went on; then all is as it was broken off.
                shutil.copytree(place / "cut", place / "kept")
                made_step(source, place, GO_ON, part.gone_on)
                shutil.rmtree(place / "cut" / "run" / "checkpoints", ignore_errors=True)
                (place / "cut").rename(place / "gone")
                (place / "kept").rename(place / "cut")
            for step, words in part.used.items():
                made_step(source, place, step, words)
            made["parts"][name] = _commands(part)
            notes.write_text(json.dumps(made, indent=2))


def _commands(part: Part) -> dict[str, list[str]]:
    """All commands of a part, as they are written down beside what they made."""
    steps = {
        **part.made,
        **part.used,
        "broken off": part.broken_off or (),
        GO_ON: part.gone_on or (),
    }
    return {step: list(words) for step, words in steps.items()}


def compare(
    name: str, source: Path, before: Path, scratch: Path
) -> Iterator[tuple[str, str | None]]:
    """Run a part with the present code; yields what was compared, and the place of the difference or None."""
    part, expected = PARTS[name], before / name
    used, new = scratch / "used", scratch / "new"
    for folder in (used, new):
        if not (folder / "scenes").exists():
            shutil.copytree(before / "scenes", folder / "scenes")
        for needed in part.needs:
            if not (folder / needed).exists():
                shutil.copytree(before / needed / "runs", folder / needed / "runs")
    if part.made:
        place = new / name
        shutil.rmtree(place, ignore_errors=True)
        (place / "out").mkdir(parents=True)
        for step, words in part.made.items():
            run_step(source, place, step, words)
            what = f"{name}, from nothing: {step}, what it says"
            yield what, said_differently(expected, place, step)
        for top in ("runs", "studies", "drawn", "split"):
            what = f"{name}, from nothing: {top}"
            yield from compare_folders(what, expected / top, place / top, {"again"})
    place = used / name
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(expected, place, ignore=shutil.ignore_patterns("out", "said", "again", "gone"))
    (place / "out").mkdir()
    if part.gone_on is not None:
        what = f"{name}, gone on with"
        code = run_step(source, place, GO_ON, part.gone_on)
        yield f"{what}, what it says", said_differently(expected, place, GO_ON)
        if code == 0:
            whole = "studies" if "--studies" in part.gone_on else "runs"
            folders = (expected / whole / "run", place / "cut" / "run")
            yield from compare_folders(what, *folders, {"tensorboard"})
            # The process that was killed had not written all its events: REV went on from the same.
            events = [each / "run" / "tensorboard" for each in (expected / "gone", place / "cut")]
            yield from compare_folders(f"{what}, TensorBoard", events[0], events[1])
    for step, words in part.used.items():
        run_step(source, place, step, words)
        yield f"{name}, used: {step}, what it says", said_differently(expected, place, step)
    yield from compare_folders(f"{name}, used: files", expected / "out", place / "out")
    if (expected / "runs" / "again").exists():
        what = f"{name}, used: run by its saved settings"
        yield from compare_folders(what, expected / "runs" / "again", place / "runs" / "again")


def environment(source: Path, folder: Path) -> dict[str, str]:
    """Of every command: that code, one thread, a cache of the folder's own, and one width of tables."""
    return {
        **os.environ,
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "TAGBOX_CACHE": str(folder / "cache"),
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }


def tagbox(source: Path, folder: Path, words: Words) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; exits where it fails."""
    say(f"{folder.name}: tagbox {' '.join(words)}")
    done = subprocess.run(
        [sys.executable, "-m", "tagbox", *words],
        cwd=folder,
        env=environment(source, folder),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"tagbox {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    return done


def run_step(source: Path, folder: Path, step: str, words: Words) -> int:
    """Run a command, keep what it says and its exit code under `said`; returns the code."""
    say(f"{folder.parent.name}/{folder.name}: {step}")
    logs = folder / "said"
    logs.mkdir(exist_ok=True)
    with (logs / f"{step}.out").open("w") as out, (logs / f"{step}.err").open("w") as err:
        done = subprocess.run(
            [sys.executable, "-m", "tagbox", *words],
            cwd=folder,
            env=environment(source, folder),
            stdout=out,
            stderr=err,
        )
    (logs / f"{step}.code").write_text(f"{done.returncode}\n")
    return done.returncode


def made_step(source: Path, folder: Path, step: str, words: Words) -> None:
    """Run a command of REV's, which succeeds but among the errors; exits where it is otherwise."""
    code = run_step(source, folder, step, words)
    if (code != 0) != (folder.name == "errors"):
        error = (folder / "said" / f"{step}.err").read_text()
        sys.exit(f"tagbox {' '.join(words)}: exit code {code}\n{error}")


def break_off(source: Path, folder: Path, words: Words) -> None:
    """Kill a training of 8 steps, each with a checkpoint, once it has done three.

    Which step it is killed in makes no difference to the run that goes on: that is what is compared.
    """
    say(f"{folder.name}: killed on its way: tagbox {' '.join(words)}")
    checkpoints = folder / "cut" / ".run.partial" / "checkpoints"
    process = subprocess.Popen(
        [sys.executable, "-m", "tagbox", *words],
        cwd=folder,
        env=environment(source, folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while max((int(path.name) for path in checkpoints.glob("0*")), default=0) < 3:
        if process.poll() is not None:
            sys.exit(f"ended before it was killed: tagbox {' '.join(words)}")
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def said_differently(expected: Path, found: Path, step: str) -> str | None:
    """Another exit code and its last line, or what differs on stdout or stderr but for times and places."""
    was, code = (int((each / "said" / f"{step}.code").read_text()) for each in (expected, found))
    if code != was:
        return f"exit code {code}, was {was}: {last_line(found / 'said' / f'{step}.err')}"
    for stream in ("out", "err"):
        name = f"{step}.{stream}"
        texts = []
        for folder in (expected, found):
            text = (folder / "said" / name).read_text().replace(str(folder), "FOLDER")
            texts.append(text)
        if step == "features":
            texts = [str(json.loads(text)["features"]) if text else "" for text in texts]
        elif all(text.startswith("{") for text in texts):
            place = json_difference(*(_lasting(json.loads(text)) for text in texts))
            if place is not None:
                return f"std{stream} {place}"
            continue
        place = line_difference(*(TIMES.sub("TIME", text) for text in texts))
        if place is not None:
            return f"std{stream} {place}"
    return None


def last_line(path: Path) -> str:
    """The last line of a file that says anything."""
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no word"


def compare_folders(
    what: str, expected: Path, found: Path, left_out: Iterable[str] = ()
) -> Iterator[tuple[str, str | None]]:
    """A row for all files that are equal, and a row for each that is not; nothing where both folders are absent."""
    if not expected.exists() and not found.exists():
        return
    ours, theirs = (_files(folder, set(left_out)) for folder in (found, expected))
    for name in sorted(theirs.keys() - ours.keys()):
        yield f"{what}: {name}", "missing"
    for name in sorted(ours.keys() - theirs.keys()):
        yield f"{what}: {name}", "new"
    equal = []
    for name in sorted(ours.keys() & theirs.keys()):
        place = file_difference(theirs[name], ours[name])
        if place is None:
            equal.append(name)
        else:
            yield f"{what}: {name}", place
    if equal:
        yield f"{what}: {len(equal)} files ({', '.join(_summed(equal))})", None


def _files(folder: Path, left_out: set[str]) -> dict[str, Path]:
    """Files below a folder by their names, those of TensorBoard without the time and process in them."""
    found = {}
    for path in sorted(folder.rglob("*")):
        words = path.relative_to(folder).parts
        if path.is_file() and path.suffix not in OMITTED and not left_out & set(words):
            name = re.sub(r"(tfevents)\..*", r"\1", "/".join(words))
            found[f"{name}, again" if name in found else name] = path
    return found


def _summed(names: list[str]) -> list[str]:
    """Many names of one ending in one folder as a pattern."""
    groups: dict[str, list[str]] = {}
    for name in names:
        above, _, last = name.rpartition("/")
        groups.setdefault(f"{above + '/' if above else ''}*{Path(last).suffix}", []).append(name)
    return [
        text
        for pattern, group in groups.items()
        for text in (group if len(group) < 4 else [pattern])
    ]


def file_difference(expected: Path, found: Path) -> str | None:
    """Where two files differ: the tensor, the key, the line or the byte; None where they do not."""
    theirs, ours = expected.read_bytes(), found.read_bytes()
    if theirs == ours:
        return None
    if "tfevents" in expected.name:
        return line_difference(*(_events(path) for path in (expected, found)))
    if expected.suffix == ".safetensors":
        return tensor_difference(theirs, ours)
    if expected.suffix == ".json":
        return json_difference(*(_lasting(json.loads(content)) for content in (theirs, ours)))
    if expected.suffix in {".yaml", ".html", ".txt", ".csv"}:
        texts = [_without_volatile(expected.suffix, each.decode()) for each in (theirs, ours)]
        return line_difference(*texts)
    at = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), None)
    return f"byte {min(len(theirs), len(ours)) if at is None else at}"


def _without_volatile(suffix: str, text: str) -> str:
    if suffix == ".csv":
        rows = list(csv.reader(text.splitlines()))
        kept = [column for column, name in enumerate(rows[0]) if name not in VOLATILE]
        return "\n".join(",".join(row[column] for column in kept) for row in rows)
    if suffix == ".yaml":  # a key's value goes on in the lines that are indented
        return re.sub(rf"(?m)^({'|'.join(VOLATILE)}):.*\n(?:[ \t]+.*\n)*", "", text)
    return TIMES.sub("TIME", text.replace(f" {' '.join((*CUT, *RESUME))}<", "<"))


def _events(path: Path) -> str:
    """The events of TensorBoard's file as lines, without their time."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    lines = []
    for event in EventFileLoader(str(path)).Load():
        event.wall_time = 0
        lines.append(str(event).replace("\n", " "))
    return "\n".join(lines)


def _lasting(value: Any) -> Any:
    """JSON without the keys of `VOLATILE`."""
    if isinstance(value, dict):
        return {key: _lasting(each) for key, each in value.items() if key not in VOLATILE}
    return [_lasting(each) for each in value] if isinstance(value, list) else value


def json_difference(theirs: Any, ours: Any, at: str = "") -> str | None:
    """The first key, or place in a list, with another value; the order of keys counts."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if list(theirs) != list(ours):
            return f"keys of {at or 'the whole'}: {list(ours)}, were {list(theirs)}"
        pairs = [(f"{at}.{key}".lstrip("."), theirs[key], ours[key]) for key in theirs]
    elif isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) != len(ours):
            return f"length of {at or 'the whole'}: {len(ours)}, was {len(theirs)}"
        pairs = [(f"{at}[{i}]", *both) for i, both in enumerate(zip(theirs, ours, strict=True))]
    else:
        same = type(theirs) is type(ours) and repr(theirs) == repr(ours)
        return None if same else f"{at}: {ours!r}, was {theirs!r}"
    return next((place for key, a, b in pairs if (place := json_difference(a, b, key))), None)


def line_difference(theirs: str, ours: str) -> str | None:
    """The first line that differs, with the words around the difference."""
    if theirs == ours:
        return None
    a, b = theirs.splitlines(), ours.splitlines()
    for number, (was, now) in enumerate(zip(a, b, strict=False), 1):
        if was != now:
            at = next(
                (i for i, pair in enumerate(zip(was, now, strict=False)) if len(set(pair)) > 1), 0
            )
            cut = slice(max(0, at - 30), at + 50)
            return f"line {number}: {now[cut]!r}, was {was[cut]!r}"
    return f"{len(b)} lines, were {len(a)}"


def tensor_difference(theirs: bytes, ours: bytes) -> str:
    """The first tensor, in the file's order, whose type, shape or bytes differ, and how many do."""
    was, now = (_tensors(content) for content in (theirs, ours))
    if was.keys() != now.keys():
        return f"names of tensors: {sorted(was.keys() ^ now.keys())[:5]}"
    names = [name for name in was if was[name] != now[name]]
    return f"{len(names)} of {len(was)} tensors, the first {names[0]}" if names else "the header"


def _tensors(content: bytes) -> dict[str, tuple[str, list[int], bytes]]:
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    return {
        name: (
            about["dtype"],
            about["shape"],
            content[8 + size + about["data_offsets"][0] : 8 + size + about["data_offsets"][1]],
        )
        for name, about in header.items()
        if name != "__metadata__"
    }


if __name__ == "__main__":
    main()
