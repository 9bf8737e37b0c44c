"""`tagbox predict`: which categories appear in pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tagbox.cli.console import print_table, progress_bar, say, say_error
from tagbox.errors import TagboxError
from tagbox.files import atomic_write

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset

Format = Literal["table", "json", "csv", "challenge"]


def predict(
    run: Path,
    /,
    *images: str,
    format: Format = "table",
    json: bool = False,
    out: Path | None = None,
    threshold: float | None = None,
    top_k: int | None = None,
    save_images: Path | None = None,
    evidence: bool = False,
    truth: Path | None = None,
    engine: Literal["auto", "openvino", "torch"] = "auto",
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    cache: bool = False,
) -> int:
    """Name the categories in pictures.

    A picture that cannot be read is named, the others go on, and the exit code is 1.

    Parameters
    ----------
    run
        Folder of a finished run.
    images
        Pictures, folders of pictures, or patterns such as 'photos/*.jpg'.
    format
        A table for people; probabilities as JSON or CSV; or the challenge's label sets, every
        picture present.
    json
        Short for --format json.
    out
        Write there instead of to the screen.
    threshold
        Say a category from this probability on, instead of the run's saved thresholds; where labels are
        exclusive, the most probable one only if it reaches this.
    top_k
        Say the K most probable categories of each picture, whatever their probability (with
        --threshold, those of them above it).
    save_images
        Folder for each picture with its labels and probabilities.
    evidence
        Show on the saved pictures where each label came from.
    truth
        A dataset whose labels are shown beside the predictions on the saved pictures.
    cache
        Keep features, for pictures that will be asked about again.
    """
    from contextlib import closing, nullcontext

    from tagbox.engines.cache import FeatureCache
    from tagbox.inference.inputs import collect_images
    from tagbox.inference.load import load_model
    from tagbox.inference.outputs import (
        check_choice,
        decide,
        render,
        save_pictures,
        spoken,
        truth_of,
    )

    if not images:
        raise TagboxError("no-images", "no pictures given", hint="name pictures or folders of them")
    if evidence and save_images is None:
        raise TagboxError(
            "option-alone",
            "there is no picture to draw it on",
            where="--evidence",
            hint="add --save-images FOLDER",
        )
    check_choice(threshold, top_k)
    format = _format(format, out, json=json)
    paths = collect_images(images)
    classifier = load_model(run, engine=engine, device=device, precision=precision)
    if evidence:
        classifier.require_evidence()
    known = None if truth is None else truth_of(_load(truth))
    with (
        closing(FeatureCache()) if cache else nullcontext() as features,
        progress_bar("predicting", len(paths)) as advance,
    ):
        claims = classifier.predict(paths, cache=features, skip_errors=True, progress=advance)
    decisions = decide(
        classifier.thresholds,
        claims.probabilities,
        threshold=threshold,
        top_k=top_k,
        labels=classifier.labels,
    )
    decisions[~claims.ok] = False
    if format == "table":
        rows = []
        for row in claims.ok.nonzero()[0].tolist():
            said = spoken(classifier.categories, claims.probabilities[row], decisions[row])
            labels = ", ".join(f"{name} {100 * value:.0f}%" for name, value in said)
            rows.append([str(paths[row]), labels or "nothing"])
        print_table(f"{len(rows)} pictures", ["picture", "labels"], rows)
    else:
        content = render(format, paths, classifier, claims, decisions)
        if out is None:
            sys.stdout.buffer.write(content)
        else:
            atomic_write(out, content)
            say(f"predictions: {out}")
    if save_images is not None:
        with progress_bar("drawing", len(paths)) as advance:
            save_pictures(
                save_images,
                paths,
                classifier,
                claims,
                decisions,
                evidence=evidence,
                truth=known,
                progress=advance,
            )
        say(f"pictures: {save_images}")
    for error in claims.errors:
        say_error(error)
    if claims.errors:
        say(f"{len(claims.errors)} of {len(paths)} pictures could not be read")
    return 1 if claims.errors else 0


def _format(format: Format, out: Path | None, *, json: bool) -> Format:
    """The format asked for; of a file without one, what its name ends in."""
    if json:
        return "json"
    if format != "table" or out is None:
        return format
    if out.suffix.lower() not in (".json", ".csv"):
        raise TagboxError(
            "option-value",
            "its name does not say which format to write",
            file=out,
            where="--out",
            hint="end it in .json or .csv, or pass --format",
        )
    return "csv" if out.suffix.lower() == ".csv" else "json"


def _load(data: Path) -> Dataset:
    from tagbox.data.load import load_dataset

    return load_dataset(data)
