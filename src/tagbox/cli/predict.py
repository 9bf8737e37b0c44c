"""`tagbox predict`: the categories in images, and with a detector's run the boxes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tagbox.atomic_io import atomic_write
from tagbox.cli.console import progress_bar, say, say_error
from tagbox.cli.named_runs import (
    category_rows,
    find_run,
    pretrained_detector,
    require_packages,
)
from tagbox.cli.tables import print_table
from tagbox.device import Device, Engine
from tagbox.errors import TagboxError, bad_value
from tagbox.output_folder import run_inputs
from tagbox.paths import refuse_input

if TYPE_CHECKING:
    from tagbox.data.dataset import Dataset
    from tagbox.inference.classifier_outputs import LabelPredictions
    from tagbox.inference.detector_outputs import BoxPredictions

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
    categories: tuple[str, ...] = (),
    truth: Path | None = None,
    runs: Path = Path("runs"),
    engine: Engine = "auto",
    device: Device = "auto",
    precision: Literal["fp32", "bf16"] = "fp32",
    cache: bool = False,
) -> int:
    """Predict the categories in images, and with a detector also the boxes.

    Without a run, `tagbox predict photo.jpg` finds COCO's 80 categories by nanodet_g, and draws what it found into
    the new folder drawn. An image that cannot be read is reported, the others are predicted, and the exit code is 1.

    Parameters
    ----------
    run
        Name or folder of a finished run; nanodet_g where there are only images.
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
        Folder for the images, drawn with their labels and probabilities, or with a detector's boxes. Without a run, a
        table comes with drawn images anyway.
    save_video
        File for the video with its boxes, such as out.mp4; without sound.
    evidence
        Draw on the saved images where the evidence for each label is.
    categories
        Report only these of the predicted categories.
    truth
        Dataset whose labels or boxes are drawn beside the predictions on the saved images, and whose
        image ids COCO results have.
    runs
        Folder in which a run's name is looked for.
    engine
        Inference engine; auto is OpenVINO on a CPU, torch elsewhere.
    device
        Device to compute on.
    precision
        Floating-point format of a classifier's encoder.
    cache
        Keep the features of the images for later predictions.
    """
    import numpy as np

    from tagbox.cli.default_model import names_no_run, new_folder, photos
    from tagbox.data.image_files import collect_images, passed_over
    from tagbox.inference.load import load_classifier, load_detector
    from tagbox.models.bundle import is_detector

    no_run = names_no_run(run, images, runs)
    if no_run:
        images = (str(run), *images)
    elif not images:
        raise TagboxError("no-images", "no images given", hint="name images or folders of them")
    require_packages("predicting", device, engine)
    run = pretrained_detector() if no_run else find_run(run, runs)
    format = _format(format, out, json=json)
    if no_run and format == "table" and save_images is None:
        save_images = new_folder()
    skipped = passed_over(Path(name) for name in images if Path(name).is_dir())
    if skipped:
        say(skipped)
    detector = is_detector(run)
    video = _video(images) if detector else None
    kind = "a video" if video else "a detector" if detector else "a classifier"
    for kinds, flag, given, hint in (
        ("a detector, a video", "--format challenge", format == "challenge", "pass --format json"),
        ("a detector, a video", "--threshold", threshold is not None, "pass --score"),
        ("a detector, a video", "--top-k", top_k is not None, "pass --score"),
        ("a detector, a video", "--evidence", evidence, "leave it out: the boxes show where"),
        ("a detector, a video", "--precision", precision != "fp32", "leave it out"),
        ("a detector, a video", "--cache", cache, "leave it out"),
        ("a video", "--format coco", format == "coco", "pass --format json or csv"),
        ("a video", "--save-images", save_images is not None, "pass --save-video FILE"),
        ("a classifier", "--format coco", format == "coco", "pass --format json, csv or challenge"),
        ("a classifier", "--score", score is not None, "pass --threshold"),
        ("a classifier", "--tiles", tiles is not None, "leave it out"),
        ("a classifier", "--tile-overlap", tile_overlap is not None, "leave it out"),
        ("a classifier", "--round", round is not None, "leave it out"),
        ("a classifier", "--save-video", save_video is not None, "leave it out"),
    ):
        if given and kind in kinds:
            found = f"it has no meaning for {kind}"
            raise TagboxError("option-kind", found, where=flag, hint=hint)
    if score is not None and not 0 <= score <= 1:
        raise bad_value(score, "a number from 0 to 1", "--score", code="option-value")
    if round is not None and not 0 <= round <= 15:
        raise bad_value(round, "a number of decimals from 0 to 15", "--round", code="option-value")
    undrawn = save_images is None
    for flag, alone, found, hint in (
        ("--evidence", evidence and undrawn, "no image is drawn", "add --save-images FOLDER"),
        (
            "--truth",
            detector and truth is not None and undrawn and format != "coco",
            "no image is drawn",
            "add --save-images FOLDER or --format coco",
        ),
        (
            "--round",
            round is not None and format == "table",
            "a table has no decimals",
            "add --format json, csv or coco",
        ),
        (
            "--tile-overlap",
            tile_overlap is not None and tiles is None,
            "there are no tiles to overlap",
            "add --tiles PIXELS",
        ),
        (
            "--save-video",
            save_video is not None and video is None,
            "no video was named",
            "name one, or pass --save-images FOLDER",
        ),
    ):
        if alone:
            raise TagboxError("option-alone", found, where=flag, hint=hint)
    read_files = [*run_inputs(run), *([] if truth is None else [truth])]
    predictions: LabelPredictions | BoxPredictions
    described: str | None = None
    if detector:
        from tagbox.inference.detector_outputs import BoxPredictions, coco_target, truth_pixels
        from tagbox.inference.views import Tiles
        from tagbox.models.detectors.nanodet_weights import description_of
        from tagbox.predictions.thresholds import ScoreThresholds

        overlap = 0.25 if tile_overlap is None else tile_overlap
        windows = None if tiles is None else Tiles(side=tiles, overlap=overlap)
        if video is not None:
            from tagbox.cli.predict_video import predict_frames

            for flag, written in (("--out", out), ("--save-video", save_video)):
                if written is not None:
                    refuse_input(written, [*read_files, video], flag=flag)
            return predict_frames(
                run,
                video,
                None if score is None else ScoreThresholds(value=score),
                tiles=windows,
                format=format,  # type: ignore[arg-type]
                decimals=round,
                categories=categories,
                out=out,
                save_video=save_video,
                engine=engine,
                device=device,
            )
        paths, own = photos(images) if no_run else (collect_images(images), 0)
        if own:
            say(f"left out: {own:,} images that tagbox drew")
        _refuse_outputs(out, save_images, paths, read_files)
        model = load_detector(run, engine=engine, device=device)
        shown = category_rows(categories, model.categories, run)
        cuts = model.cuts if score is None else ScoreThresholds(value=score)
        dataset = None if truth is None else _dataset(truth)
        pixels = None if dataset is None else truth_pixels(paths, dataset)
        for note in pixels.notes if pixels else ():
            say(note)
        target = None
        if format == "coco":
            # Ids that cannot be found are reported before anything is computed.
            target = coco_target(paths, model.bundle.categories, dataset)
        lowest = float(cuts.levels(len(model.categories)).min())
        if format == "coco" and score is None:
            lowest = 0.0
        with progress_bar("predicting", len(paths)) as advance:
            boxes = model.detect(
                paths, skip_errors=True, progress=advance, tiles=windows, min_score=lowest
            )
        if shown is not None:
            every = boxes.detections
            boxes = replace(boxes, detections=every.take(np.isin(every.category_rows, shown)))
        described = description_of(run)
        predictions = BoxPredictions(
            paths=paths,
            outputs=boxes,
            thresholds=cuts,
            decimals=round,
            target=target,
            truth=pixels,
            model=described,
        )
    else:
        from tagbox.backends.feature_cache import FeatureCache
        from tagbox.inference.classifier_outputs import LabelPredictions, check_choice, decide
        from tagbox.predictions.predictions import same_labels

        check_choice(threshold, top_k)
        paths = collect_images(images)
        _refuse_outputs(out, save_images, paths, read_files)
        classifier = load_classifier(run, engine=engine, device=device, precision=precision)
        shown = category_rows(categories, classifier.categories, run)
        if format == "challenge" and classifier.transfer is not None:
            say(
                f"{classifier.transfer}: the challenge forbids other data of COCO, so this is no entry for it"
            )
        if evidence:
            classifier.require_evidence()
        dataset = None if truth is None else _dataset(truth)
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
        same = same_labels(decisions[outputs.ok], classifier.categories)
        if same is not None:
            say(
                f"warning: {same}; if they show different things, measure the model with tagbox evaluate"
            )
        if shown is not None:
            decisions &= np.isin(np.arange(decisions.shape[1]), shown)
        predictions = LabelPredictions(
            paths=paths,
            model=classifier,
            outputs=outputs,
            decisions=decisions,
            truth=dataset,
            evidence=evidence,
            shown=shown,
        )
    if format == "table":
        rows = predictions.table()
        title = f"{len(rows)} image{'s' * (len(rows) != 1)}"
        if described is not None:
            title += f": {described}"
        print_table(title, ["image", "found" if detector else "labels"], rows)
    elif out is None:
        sys.stdout.buffer.write(predictions.encode(format))
    else:
        atomic_write(out, predictions.encode(format))
        say(f"predictions: {out}")
    if save_images is not None and predictions.outputs.ok.any():
        with progress_bar("drawing", len(paths)) as advance:
            predictions.save_images(save_images, advance)
        say(f"images: {save_images}")
    errors = predictions.outputs.errors
    for error in errors:
        say_error(error)
    if errors:
        say(f"{len(errors)} of {len(paths)} images could not be read")
    return 1 if errors else 0


def _refuse_outputs(
    out: Path | None, save_images: Path | None, paths: Sequence[Path], others: Sequence[Path]
) -> None:
    """Refuse to replace what is read, before anything is computed."""
    if out is not None:
        refuse_input(out, [*paths, *others], flag="--out")
    if save_images is not None:
        from tagbox.images.drawn_files import refuse_drawn

        refuse_drawn(save_images, paths)


def _dataset(truth: Path) -> Dataset:
    """The dataset of ``--truth``; the readers of its formats are imported for nothing else."""
    from tagbox.data.load import load_dataset

    try:
        return load_dataset(truth)
    except TagboxError as error:
        if error.code != "format-ambiguous":
            raise
        # Its hint may name --split, which is an option of commands that read one dataset and no images.
        hint = "name the annotations of these images, or the folder of one split"
        raise error.replace(where="--truth", hint=hint) from error


def _video(images: Sequence[str]) -> Path | None:
    """The video that was named; None for images."""
    from tagbox.inference.video import SUFFIXES

    videos = [name for name in images if Path(name).suffix.lower() in SUFFIXES]
    if videos and len(images) > 1:
        raise TagboxError(
            "video-alone",
            f"a video is predicted alone, and {len(images)} files or folders were named",
            file=videos[0],
            hint="predict one video at a time",
        )
    return Path(videos[0]) if videos else None


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
