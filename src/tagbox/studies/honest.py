"""What the best of many trials is worth: the maximum overstates, other seeds and other images do not.

The best trial was chosen for its figure, and a part of that figure is the luck of its seed. Trained again with
seeds that had no part in the choice, its mean is free of that part. What the validation images themselves
were lucky for stays in, and only a third dataset shows it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.config import ClassifierConfig, DataConfig
from tagbox.data.dataset import Dataset
from tagbox.data.exclusive import require_exclusive
from tagbox.data.load import describe, load_dataset
from tagbox.data.locate import require_images
from tagbox.engines.cache import FeatureCache
from tagbox.errors import TagboxError
from tagbox.evaluation.comparison import paired_label_differences, paired_map_difference
from tagbox.evaluation.evaluate import evaluate_labels, headline
from tagbox.evaluation.thresholds import Thresholds
from tagbox.progress import Progress
from tagbox.studies.figures import column
from tagbox.studies.ledger import Ledger
from tagbox.studies.search import RECORDED
from tagbox.studies.trainer import Trainer
from tagbox.training.head import label_kind
from tagbox.training.sides import same_categories

Claim = tuple[NDArray[np.float32], Thresholds]
"""(N, K) probabilities, and where they become labels."""
SCRATCH = "again"
"""Run folder of a whole training that is only needed for its figure."""


def train_again(
    trainer: Trainer,
    ledger: Ledger,
    configs: Mapping[str, ClassifierConfig],
    runs: Mapping[str, str],
    *,
    metric: str,
    repeats: int,
    progress: Progress,
) -> dict[str, Any]:
    """Each configuration with `repeats` seeds that no trial had; what the ledger has of it is not trained again.

    Parameters
    ----------
    configs
        By name; all have the study's seed.
    runs
        By the same names, what each is called in the ledger.

    Returns
    -------
    dict
        ``seeds``, and by name ``values`` (None where a training failed) and ``mean``.
    """
    kept: dict[str, dict[str, float | None]] = ledger.get("again") or {}
    seed = next(iter(configs.values())).seed
    seeds = [seed + number for number in range(1, repeats + 1)]
    with progress.bar("training again", repeats * len(configs), "trainings") as advance:
        for name, config in configs.items():
            have = kept.setdefault(runs[name], {})
            for other in seeds:
                if str(other) not in have:
                    have[str(other)] = _value(trainer, replace(config, seed=other), metric)
                    ledger.note("again", kept)
                advance(1)
    found: dict[str, Any] = {"seeds": seeds}
    for name in configs:
        values = [kept[runs[name]][str(other)] for other in seeds]
        there = [value for value in values if value is not None]
        found[name] = {"values": values, "mean": fmean(there) if there else None}
    return found


def _value(trainer: Trainer, config: ClassifierConfig, metric: str) -> float | None:
    """The figure of one training, whose run folder is not kept; None where it failed or has none."""
    kept = trainer.kept()
    try:
        value = trainer.run(config, SCRATCH).row.get(column(metric))
    except TagboxError as error:
        if error.code not in RECORDED:
            raise
        return None
    finally:
        trainer.keep_only(kept)
    return None if value is None or np.isnan(value) else float(value)


def load_third(
    path: Path, source: DataConfig, like: Dataset, labels: str, progress: Progress
) -> Dataset:
    """The labelled images of a dataset that decided nothing so far, its categories in the order of `like`.

    Parameters
    ----------
    labels
        ``exclusive`` where every image must have one category.

    Raises
    ------
    TagboxError
        What reading it raises; ``categories-differ``, ``no-labels``, ``labels-not-exclusive``,
        ``images-not-found``.
    """
    whole = load_dataset(path, source)
    progress.say(f"test: {describe(whole)}")
    rows = np.flatnonzero(whole.images.labelled)
    if not len(rows):
        raise TagboxError(
            "no-labels",
            f"none of its {len(whole)} images has labels",
            file=path,
            hint="give labelled images to --test",
        )
    dataset = same_categories(whole, like, path).take(rows)
    if labels == "exclusive":
        require_exclusive(dataset)
    require_images(dataset)
    return dataset


def compare_on(
    test: Dataset,
    trainer: Trainer,
    ledger: Ledger,
    configs: Mapping[str, ClassifierConfig],
    runs: Mapping[str, str],
    *,
    cache: FeatureCache | None,
    progress: Progress,
) -> dict[str, Any]:
    """Figures of the first and of the second configuration on a third dataset, and the paired differences.

    Parameters
    ----------
    test
        Made by `load_third`.
    configs
        Two of them: where the search began, and where it ended.
    runs
        The run folder in ``trials`` that each one's model is in, where it is trained whole.

    Returns
    -------
    dict
        ``data``, ``images``, the headline figures by name, and ``differences``: second minus first.

    Raises
    ------
    TagboxError
        What training raises; ``no-readable-images``.
    """
    key = f"test:{test.fingerprint}:{','.join(f'{k}={v}' for k, v in runs.items())}"
    kept: dict[str, Any] | None = ledger.get(key)
    if kept is not None:
        return kept
    found: dict[str, Any] = {"data": str(test.source.path)}
    claims: list[Claim] = []
    seen = np.ones(len(test), bool)
    for name, config in configs.items():
        classifier = trainer.classifier(config, runs[name])
        paths = [test.images.path(row) for row in range(len(test))]
        with progress.bar("predicting test pictures", len(paths), "images") as advance:
            said = classifier.predict(paths, cache=cache, skip_errors=True, progress=advance)
        for error in said.errors:
            progress.say(f"left out: {error}")
        seen &= said.ok
        claims.append((said.probabilities, classifier.thresholds))
    if not seen.any():
        raise TagboxError(
            "no-readable-images",
            f"none of the {len(test)} test pictures could be read",
            file=test.source.path,
            hint="run tagbox check on the dataset",
        )
    truth = test.labels[seen]
    found["images"] = len(truth)
    claims = [(probabilities[seen], thresholds) for probabilities, thresholds in claims]
    for name, (probabilities, thresholds) in zip(configs, claims, strict=True):
        result = evaluate_labels(
            truth,
            categories=test.categories.names,
            probabilities=probabilities,
            thresholds=thresholds,
            intervals=False,
            labels=label_kind(configs[name]),
        )
        found[name] = headline(result)
    found["differences"] = _differences(truth, claims, found[name])
    ledger.note(key, found)
    return found


def _differences(
    truth: NDArray[np.int8], claims: Sequence[Claim], named: Collection[str]
) -> dict[str, dict[str, float]]:
    """``difference``, ``low`` and ``high`` of the figures in `named`: the second claim minus the first."""
    (before, _), (after, _) = claims
    first, second = (thresholds.decide(probabilities) for probabilities, thresholds in claims)
    found = paired_label_differences(truth, first, second)
    # Where one category is said of every picture, these are one figure.
    found["accuracy"] = found["micro_f1"]
    if "map" in named:
        found["map"] = paired_map_difference(truth, [before], [after])
    return {
        name: {"difference": each.difference, "low": each.low, "high": each.high}
        for name, each in found.items()
        if name in named
    }
