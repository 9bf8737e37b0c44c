"""`tagbox predict`: which categories appear in pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tagbox.atomic_io import atomic_write
from tagbox.cli.console import print_table, progress_bar, say, say_error
from tagbox.errors import TagboxError

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset

Format = Literal["table", "json", "csv", "challenge", "coco"]


def predict(
    run: Path,
    /,
    *images: str,
    format: Format = "table",
    json: bool = False,
    out: Path | None = None,
    threshold: float | None = None,
    top_k: int | None = None,
    score: float | None = None,
    tiles: int | None = None,
    tile_overlap: float | None = None,
    round: int | None = None,
    save_images: Path | None = None,
    save_video: Path | None = None,
    evidence: bool = False,
    truth: Path | None = None,
    engine: Literal["auto", "openvino", "torch"] = "auto",
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    cache: bool = False,
) -> int:
    """Predict the categories in images, and with a detector also the boxes.

    An image that cannot be read is reported, the others are predicted, and the exit code is 1.

    Parameters
    ----------
    run
        Folder of a finished run.
    images
        Images, folders of images, or patterns such as 'photos/*.jpg'; for a detector also one video.
    format
        table: for people; json or csv: probabilities, or a detector's boxes; challenge: the label sets of all
        images; coco: a detector's boxes of any score as COCO results.
    json
        Same as --format json.
    out
        File to write to, instead of stdout.
    threshold
        Probability threshold, instead of the run's saved thresholds; where labels are exclusive, the most
        probable category is predicted only if it reaches this.
    top_k
        Predict the K most probable categories of each image, whatever their probability (with
        --threshold, those of them above it).
    score
        Score threshold of the boxes, instead of the detector's saved thresholds.
    tiles
        Predict an image larger than this many pixels in tiles of that size, for objects that are small in it.
    tile_overlap
        Share of a tile that its neighbour covers too; 0.25 when not given. Objects smaller than that are
        complete in a tile.
    round
        Decimals of boxes and scores in files; all digits when not given.
    save_images
        Folder for the images, drawn with their labels and probabilities, or with a detector's boxes.
    save_video
        File for the video with its boxes, such as out.mp4; without sound.
    evidence
        Draw on the saved images where the evidence for each label is.
    truth
        Dataset whose labels or boxes are drawn beside the predictions on the saved images, and whose
        image ids COCO results have.
    engine
        Inference engine; auto is OpenVINO on a CPU, torch elsewhere.
    device
        Device to compute on.
    precision
        Floating-point format of a classifier's encoder.
    cache
        Keep the features of the images for later predictions.
    """
    from contextlib import closing, nullcontext

    from tagbox.models.bundle import is_detector

    if not images:
        raise TagboxError("no-images", "no pictures given", hint="name pictures or folders of them")
    format = _format(format, out, json=json)
    if is_detector(run):
        if format == "challenge":
            raise _senseless("--format challenge", "a detector", "pass --format json, csv or coco")
        _refuse_for_detectors(threshold, top_k, evidence, precision, cache)
        from tagbox.cli.predict_detector import Request, say_boxes

        return say_boxes(
            run,
            images,
            Request(
                format=format,
                out=out,
                score=score,
                tiles=tiles,
                overlap=tile_overlap,
                decimals=round,
                pictures=save_images,
                video=save_video,
                truth=truth,
                engine=engine,
                device=device,
            ),
        )
    if format == "coco":
        raise _senseless("--format coco", "a classifier", "pass --format json, csv or challenge")
    _refuse_for_classifiers(score, tiles, tile_overlap, round, save_video)

    from tagbox.backends.feature_cache import FeatureCache
    from tagbox.inference.classifier_outputs import (
        check_choice,
        decide,
        render,
        save_pictures,
        spoken,
        truth_of,
    )
    from tagbox.inference.inputs import collect_images
    from tagbox.inference.load import load_classifier

    if evidence and save_images is None:
        raise TagboxError(
            "option-alone",
            "there is no picture to draw it on",
            where="--evidence",
            hint="add --save-images FOLDER",
        )
    check_choice(threshold, top_k)
    paths = collect_images(images)
    classifier = load_classifier(run, engine=engine, device=device, precision=precision)
    if evidence:
        classifier.require_evidence()
    known = None if truth is None else truth_of(_load(truth))
    with (
        closing(FeatureCache()) if cache else nullcontext() as features,
        progress_bar("predicting", len(paths)) as advance,
    ):
        outputs = classifier.predict(paths, cache=features, skip_errors=True, progress=advance)
    decisions = decide(
        classifier.thresholds,
        outputs.probabilities,
        threshold=threshold,
        top_k=top_k,
        labels=classifier.labels,
    )
    decisions[~outputs.ok] = False
    if format == "table":
        rows = []
        for row in outputs.ok.nonzero()[0].tolist():
            said = spoken(classifier.categories, outputs.probabilities[row], decisions[row])
            labels = ", ".join(f"{name} {100 * value:.0f}%" for name, value in said)
            rows.append([str(paths[row]), labels or "nothing"])
        print_table(f"{len(rows)} pictures", ["picture", "labels"], rows)
    else:
        content = render(format, paths, classifier, outputs, decisions)
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
                outputs,
                decisions,
                evidence=evidence,
                truth=known,
                progress=advance,
            )
        say(f"pictures: {save_images}")
    for error in outputs.errors:
        say_error(error)
    if outputs.errors:
        say(f"{len(outputs.errors)} of {len(paths)} pictures could not be read")
    return 1 if outputs.errors else 0


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


def _refuse_for_detectors(
    threshold: float | None, top_k: int | None, evidence: bool, precision: str, cache: bool
) -> None:
    for flag, given, hint in (
        ("--threshold", threshold is not None, "pass --score"),
        ("--top-k", top_k is not None, "pass --score"),
        ("--evidence", evidence, "leave it out: the boxes say where"),
        ("--precision", precision != "fp32", "leave it out: detectors compute in fp32"),
        ("--cache", cache, "leave it out: no features of a detector are kept"),
    ):
        if given:
            raise _senseless(flag, "a detector", hint)


def _refuse_for_classifiers(
    score: float | None,
    tiles: int | None,
    overlap: float | None,
    decimals: int | None,
    video: Path | None,
) -> None:
    for flag, given, hint in (
        ("--score", score is not None, "pass --threshold"),
        ("--tiles", tiles is not None, "leave it out"),
        ("--tile-overlap", overlap is not None, "leave it out"),
        ("--round", decimals is not None, "leave it out"),
        ("--save-video", video is not None, "leave it out"),
    ):
        if given:
            raise _senseless(flag, "a classifier", hint)


def _senseless(flag: str, kind: str, hint: str) -> TagboxError:
    return TagboxError("option-kind", f"it has no meaning for {kind}", where=flag, hint=hint)


def _load(data: Path) -> Dataset:
    from tagbox.data.load import load_dataset

    return load_dataset(data)
