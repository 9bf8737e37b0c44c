"""`ensemble`: saved runs and test-time views combined, evaluated and saved as a run of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from tagbox.api.report_examples import classifier_examples
from tagbox.api.run import Run
from tagbox.config import DataConfig, EnsembleConfig, EnsembleSettings, with_settings
from tagbox.config.arguments import checked_arguments
from tagbox.data.dataset import UNKNOWN, Dataset
from tagbox.errors import TagboxError, no_labels, require_extra
from tagbox.progress import Progress, default_progress

if TYPE_CHECKING:
    from tagbox.training.ensemble import EnsembleEvaluation


@checked_arguments
def ensemble(
    members: Sequence[Path | str | Run],
    val: Path | str | Dataset,
    config: EnsembleConfig | None = None,
    *,
    name: str,
    runs: Path | str = Path("runs"),
    source: DataConfig | None = None,
    overwrite: bool = False,
    cache: bool = True,
    command: str = "",
    progress: Progress | None = None,
    **settings: Unpack[EnsembleSettings],
) -> Run:
    """Combine saved runs, with test-time views, and write the run directory of the ensemble.

    Each run's probabilities are the mean over its views, the ensemble's the weighted mean over runs. Weights
    are fitted and thresholds tuned on `val`; where that is the data of runs that were trained in folds, on their
    out-of-fold predictions. One run with views is test-time augmentation of that run.

    Parameters
    ----------
    members
        Finished runs with the same categories, their folders, or their names in `runs`; an ensemble stands for its members.
    val
        The validation data, of any format that `load_dataset` reads, or in memory.
    config
        Views, weights and the objective of the thresholds.
    name, runs
        The ensemble becomes the folder ``runs/name``.
    source
        How `val` is read if it is a path.
    overwrite
        Replace a finished run of that name once the new one is complete.
    cache
        Use and fill the feature cache.
    command
        The command line, for the report.
    progress
        Receives messages and progress bars; when not given, bars in a notebook and nothing elsewhere.
    **settings
        Fields of `EnsembleConfig`, in place of those of `config`: ``flip=True, scales=(384, 448)``.

    Raises
    ------
    TagboxError
        What reading data and runs raises; ``categories-differ``; ``backbone-size`` for a size that a backbone
        does not take; ``no-labels``, ``no-readable-images``; ``run-exists``, ``run-busy``.
    """
    from contextlib import closing, nullcontext

    from tagbox.backends.feature_cache import FeatureCache
    from tagbox.data.image_files import require_images
    from tagbox.data.load import describe, load_dataset
    from tagbox.data.seen_images import digests_of, merge_seen
    from tagbox.device import choose_engine
    from tagbox.inference.ensemble import EnsembleClassifier
    from tagbox.models.ensembles import combine_runs, views_of
    from tagbox.paths import named_run, paths_in, refuse_inputs_below
    from tagbox.training.ensemble import evaluate_ensemble, out_of_fold_outputs, with_plain
    from tagbox.training.run_dir import run_folder

    own = ("name", "runs", "source", "overwrite", "cache", "command", "progress")
    config = with_settings(config or EnsembleConfig(), settings, own)
    source = source or DataConfig()
    engine, _ = choose_engine("auto", config.device)
    require_extra("an ensemble", engine, "safetensors")
    folders = [
        member.folder if isinstance(member, Run) else named_run(member, Path(runs))
        for member in members
    ]
    progress = progress or default_progress()
    runs = Path(runs)
    views = views_of(config.scales, mirrored=config.flip)
    candidates = combine_runs(folders, views)
    dataset = val if isinstance(val, Dataset) else load_dataset(val, _validation(val, source))
    progress.say(describe(dataset))
    _require_same_categories(dataset, candidates.categories)
    require_images(dataset)
    inputs = [*folders, *dataset.input_files(), *paths_in(source)]
    refuse_inputs_below(runs / name, inputs, flag="--name")
    with run_folder(runs, name, overwrite=overwrite) as run_dir:
        classifier = EnsembleClassifier(with_plain(candidates), device=config.device)
        classifier.require_views()
        outputs = out_of_fold_outputs(candidates, dataset)
        in_folds = outputs is not None
        _say_seen(folders, dataset, outputs, progress)
        # All images, also unlabelled ones, as in `tagbox evaluate`: the probabilities are bit-equal.
        paths = [dataset.images.path(row) for row in range(len(dataset))]
        if outputs is None:
            with (
                closing(FeatureCache()) if cache else nullcontext() as features,
                progress.bar("encoding validation pictures", len(paths), "images") as advance,
            ):
                outputs = classifier.predict_views(
                    paths, cache=features, skip_errors=True, progress=advance
                )
        for error in outputs.errors:
            progress.say(f"left out: {error}")
        evaluation = evaluate_ensemble(
            candidates, outputs, dataset, weights=config.weights, objective=config.objective
        )
        for reason in evaluation.metrics["reasons"]:
            progress.say(f"warning: {reason}")
        used: dict[str, Any] = {
            "command": command,
            "data": source.to_dict(),
            "ensemble": {
                "members": [str(folder) for folder in folders],
                "val": str(dataset.source.path),
                **config.to_dict(),
            },
        }
        metrics = _write(run_dir, name, evaluation, outputs.errors, used, out_of_fold=in_folds)
        merge_seen(folders, run_dir, digests_of(dataset))
    return Run(folder=runs / name, metrics=metrics)


def _say_seen(
    members: Sequence[Path], dataset: Dataset, outputs: object, progress: Progress
) -> None:
    """Say what weights and thresholds are fitted on, where a run was trained on the validation images."""
    from tagbox.data.seen_images import seen_images

    if outputs is not None:
        progress.say(
            "the runs were trained on these images, in folds: weights and thresholds are fitted on their "
            "out-of-fold predictions"
        )
        return
    for member in members:
        seen = seen_images(member, dataset)
        count = 0 if seen is None else int(seen.training.sum())
        if count:
            progress.say(
                f"warning: {member} was trained on {count:,} of these {len(dataset):,} images, so weights, thresholds "
                "and metrics are too good"
            )


def _validation(val: Path | str, source: DataConfig) -> DataConfig:
    """How the validation data is read: the split ``val`` where it states several and none is chosen."""
    from tagbox.data.load import stated_names

    names = stated_names(Path(val), source)
    chosen = source.split is None and len(names) > 1 and "val" in names
    return replace(source, split="val") if chosen else source


def _require_same_categories(dataset: Dataset, categories: Sequence[str]) -> None:
    """Refuse validation data with other categories than the runs, or without labels."""
    from tagbox.models.ensembles import differing_name

    other = differing_name(categories, dataset.categories.names)
    if other is not None:
        known = other in dataset.categories.names
        raise TagboxError(
            "categories-differ",
            f"it {'has' if known else 'lacks'} the category {other!r}, which the runs "
            f"{'lack' if known else 'have'}",
            file=dataset.source.path,
            where="categories",
            hint="give data with the runs' categories, for example with --categories or --mapping",
        )
    if not (dataset.labels != UNKNOWN).any():
        raise no_labels(len(dataset), dataset.source.path, "give labelled validation images")


def _write(
    run_dir: Path,
    name: str,
    evaluation: EnsembleEvaluation,
    left_out: Sequence[TagboxError],
    settings: dict[str, Any],
    *,
    out_of_fold: bool,
) -> dict[str, Any]:
    """Write the run directory; return the content of ``metrics.json``."""
    import yaml

    from tagbox.atomic_io import atomic_write
    from tagbox.inference.ensemble import EnsembleClassifier
    from tagbox.models.ensembles import save_ensemble
    from tagbox.predictions.files import write_in_run
    from tagbox.predictions.predictions import Predictions
    from tagbox.reports.classifier_sections import ClassifierReport
    from tagbox.reports.report import write_report
    from tagbox.training.saved_run import versions, write_metrics

    saved = replace(evaluation.ensemble, versions=versions())
    atomic_write(run_dir / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
    save_ensemble(saved, run_dir)
    categories = evaluation.images.categories.names
    write_in_run(
        run_dir,
        Predictions(
            images=tuple(evaluation.images.images.stems.tolist()),
            categories=categories,
            probabilities=evaluation.probabilities,
        ),
    )
    metrics = {
        "validation": evaluation.metrics,
        "tuning": evaluation.tuned.report,
        "weights": evaluation.weights,
        "members": evaluation.members,
        "images": {"validation": len(evaluation.images)},
        "left_out": [str(error) for error in left_out],
        **({} if saved.transfer is None else {"transfer": saved.transfer}),
    }
    write_metrics(run_dir, metrics)
    thresholds = evaluation.tuned.thresholds
    report = ClassifierReport(
        title=name,
        categories=categories,
        truth=evaluation.images.labels,
        probabilities=evaluation.probabilities,
        metrics=evaluation.metrics,
        out_of_fold=out_of_fold,
        thresholds=thresholds.to_dict(),
        tuning=evaluation.tuned.report,
        images=classifier_examples(
            EnsembleClassifier(saved), evaluation.images, evaluation.probabilities, thresholds
        ),
        config={**settings["data"], **settings["ensemble"]},
        defaults={**DataConfig().to_dict(), **EnsembleConfig().to_dict()},
        baselines={
            row["run"]: {key: row[key] for key in ("map", "challenge_f1") if row[key] is not None}
            for row in evaluation.members
        },
        notes=[
            f"Weights of the runs: {evaluation.weights['kept']} ({evaluation.weights['reason']}).",
            *(f"Left out: {error}" for error in left_out),
        ],
        versions=saved.versions,
        command=settings["command"],
        transfer=saved.transfer,
    )
    write_report(report, run_dir / "report.html")
    return metrics
