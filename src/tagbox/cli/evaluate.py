"""`tagbox evaluate`: metrics of runs, or of anybody's predictions or detections, on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tagbox.cli.console import TerminalProgress, print_json, say
from tagbox.cli.named_runs import find_run, require_packages
from tagbox.cli.result_tables import show_boxes, show_compared, show_labels
from tagbox.config import DataConfig, ScoreSettings
from tagbox.device import Device
from tagbox.errors import TagboxError
from tagbox.paths import is_run


def evaluate(
    predictions: list[Path],
    data: Path,
    /,
    *,
    source: Annotated[DataConfig, Parameter(name="*")] = DataConfig(),
    settings: Annotated[ScoreSettings, Parameter(name="*")] = ScoreSettings(),
    held_out: bool = False,
    per_category: bool = True,
    runs: Path = Path("runs"),
    device: Device = "auto",
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Evaluate a run, or any file of predictions or detections, on a dataset.

    Labels: categories are matched by name and images by path, file name or id, never by position. The
    headline metrics are at the run's saved thresholds, or at 0.5 for probabilities that come without.

    Detections: COCO's twelve numbers, errors, and precision, recall and F1 at the detector's score thresholds, or
    at the best ones for results that come without. A results file uses the dataset's original ids.

    Parameters
    ----------
    predictions
        Name or folder of a run; or a file: the challenge's JSON ({"000000000139": [56, 60]}), a CSV of
        probabilities (image,person,bicycle,...), what `tagbox predict --json` wrote, or COCO results
        ([{"image_id": 139, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}]). Several with
        --as-labels.
    data
        Any dataset, or a labels file in the challenge's JSON form.
    held_out
        Evaluate a run only on images that it was not trained on.
    per_category
        Show the table of categories.
    runs
        Folder in which a run's name is looked for.
    device
        Where a run computes.
    out
        Write the JSON to this file.
    json
        Print the result as one JSON object.
    """
    from tagbox.api.evaluate import evaluate_path
    from tagbox.data.load import adapt, describe, read

    if len(predictions) > 1 and not settings.as_labels:
        raise TagboxError(
            "several-predictions",
            f"{len(predictions)} predictions are given, and only --as-labels compares several",
            file=predictions[1],
            hint="pass --as-labels, or evaluate them one by one",
        )
    predictions = [find_run(path, runs, files=True) for path in predictions]
    if any(is_run(path) for path in predictions):
        require_packages("evaluating a run", device)
    original = read(data, source)
    whole = adapt(original, source)
    say(describe(whole))
    if out is not None:
        from tagbox.output_folder import run_inputs
        from tagbox.paths import paths_in, refuse_input

        read_files = [file for p in predictions for file in (run_inputs(p) if p.is_dir() else [p])]
        read_files += [data, *paths_in(source, settings)]
        refuse_input(out, [*read_files, *original.input_files()], flag="--out")
    results = []
    for path in predictions:
        result = evaluate_path(
            path,
            original,
            whole,
            source,
            settings,
            held_out=held_out,
            device=device,
            progress=TerminalProgress(),
        )
        results.append({"predictions": str(path), "data": str(data), **result})
    printed = results[0] if len(results) == 1 else {"data": str(data), "compared": results}
    if out is not None:
        import msgspec

        from tagbox.atomic_io import atomic_write
        from tagbox.text_output import encode_json

        atomic_write(out, msgspec.json.format(encode_json(printed), indent=2) + b"\n")
    if json:
        print_json(printed)
    elif len(results) > 1:
        show_compared(results)
    elif printed.get("task") == "detection":
        show_boxes(printed, per_category=per_category)
    else:
        show_labels(printed, per_category=per_category)
