"""`tagbox compare`: runs, or anybody's predictions, against each other on the same images."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tagbox.cli.console import TerminalProgress, print_json, say
from tagbox.cli.named_runs import find_run, require_packages
from tagbox.config import CompareSettings, DataConfig
from tagbox.device import Device
from tagbox.errors import TagboxError
from tagbox.paths import is_run


def compare(
    inputs: list[Path],
    /,
    *,
    group: tuple[str, ...] = (),
    metric: str | None = None,
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    settings: Annotated[CompareSettings, Parameter(name="*")] = CompareSettings(),
    held_out: bool = False,
    runs: Path = Path("runs"),
    device: Device = "auto",
    report: Path | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Compare runs or files of predictions: which differences are real.

    All are scored on the same images. Each pair gets the difference of every metric with its 95 % interval, the
    probability that the first is better, and a verdict that is corrected for the number of pairs. Models that share a
    letter cannot be told apart. Files need no torch.

    With --group recipes are compared instead: the spread between the runs of a recipe counts, too.

    Parameters
    ----------
    inputs
        Names or folders of at least two runs, or files of predictions as tagbox evaluate takes them; the dataset comes
        last.
    group
        A recipe and its runs: recipe=runs/a-*, with quotes where the shell expands the star; once for each recipe, and
        instead of single runs.
    metric
        Metric that models are ranked by, such as map or challenge_f1; when not given, the first that all have of AP,
        accuracy, mAP and the challenge F1.
    held_out
        Compare runs only on images that none of them was trained on.
    runs
        Folder in which a run's name is looked for.
    device
        Where a run computes.
    report
        Write an HTML page to this file.
    out
        Write the JSON to this file.
    json
        Print the result as one JSON object.
    """
    from tagbox.api.compare import compare_entries
    from tagbox.api.compared_entries import named_entries, require_entries
    from tagbox.api.comparison import Comparison
    from tagbox.data.load import adapt, describe, read

    *given, data = inputs
    if given and group:
        raise TagboxError(
            "option-excludes",
            "runs and recipes are given, and they answer different questions",
            where="--group",
            hint="give single runs, or only --group and the dataset",
        )
    recipes = _recipes(group, runs)
    single = [find_run(path, runs, files=True) for path in given]
    entries = recipes if group else named_entries(single)
    require_entries(entries, recipes=bool(group))
    paths = [path for each in entries.values() for path in each]
    if any(is_run(path) for path in paths):
        require_packages("comparing runs", device)
    original = read(data, source)
    whole = adapt(original, source)
    say(describe(whole))
    for path, flag in ((out, "--out"), (report, "--report")):
        if path is not None:
            from tagbox.output_folder import run_inputs
            from tagbox.paths import paths_in, refuse_input

            files = [file for p in paths for file in (run_inputs(p) if p.is_dir() else [p])]
            files += [data, *paths_in(source, settings)]
            refuse_input(path, [*files, *original.input_files()], flag=flag)
    result = compare_entries(
        entries,
        original,
        whole,
        source,
        settings,
        metric=metric,
        held_out=held_out,
        device=device,
        progress=TerminalProgress(),
    )
    result = {"data": str(data), **result}
    if report is not None:
        Comparison(result, whole).write_page(report)
    if out is not None:
        import msgspec

        from tagbox.atomic_io import atomic_write
        from tagbox.text_output import encode_json

        atomic_write(out, msgspec.json.format(encode_json(result), indent=2) + b"\n")
    if json:
        print_json(result)
    else:
        from tagbox.cli.comparison_tables import show_comparison

        show_comparison(result)
    if report is not None:
        say(f"report: {report}")


def _recipes(groups: tuple[str, ...], runs: Path) -> dict[str, list[Path]]:
    """Name to runs of each ``--group``, whose patterns are also looked for among the runs by name."""
    found: dict[str, list[Path]] = {}
    for text in groups:
        name, equals, pattern = text.partition("=")
        if not (name and equals and pattern):
            raise TagboxError(
                "option-value",
                f"{text!r} is not NAME=RUNS",
                where="--group",
                hint="write --group 'recipe=runs/recipe-*'",
            )
        places = [pattern] if os.path.dirname(pattern) else [str(runs / pattern), pattern]
        paths: list[Path] = []
        for place in places:
            matched = [place] if os.path.lexists(place) else sorted(glob.glob(place))
            paths = [Path(each) for each in matched if is_run(Path(each)) or os.path.isfile(each)]
            if paths:
                break
        if not paths:
            raise TagboxError(
                "bundle-missing",
                f"no finished run and no file matches {pattern!r}",
                where="--group",
                hint="tagbox runs lists the runs",
            )
        found.setdefault(name, []).extend(paths)
    return found
