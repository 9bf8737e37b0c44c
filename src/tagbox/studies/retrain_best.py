"""Unbiased estimates of the best trial: trained again with other seeds, and compared on a test dataset.

The maximum over trials is biased upwards: the best trial was chosen by its metric, and part of that metric is
due to its seed. The mean over seeds that had no part in the choice is free of this bias. The bias towards the
validation images remains, and only a third dataset shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError, no_readable_images
from tagbox.progress import Progress
from tagbox.studies.search import RECORDED
from tagbox.studies.storage import StudyStorage
from tagbox.studies.trainer import Trainer
from tagbox.training.history import metric_column
from tagbox.training.resolve_config import Training

SCRATCH = "again"
"""Run directory of a training of which only the metric is needed."""


def train_again(
    trainer: Trainer[Training],
    trial_storage: StudyStorage,
    configs: Mapping[str, Training],
    runs: Mapping[str, str],
    *,
    metric: str,
    repeats: int,
    progress: Progress,
) -> dict[str, Any]:
    """Train each configuration with `repeats` seeds that no trial had, unless their metrics are stored.

    Parameters
    ----------
    configs
        By name; all have the study's seed.
    runs
        By the same names, the name of each in the storage.

    Returns
    -------
    dict
        ``seeds``, and by name ``values`` (None where a training failed) and ``mean``.
    """
    kept: dict[str, dict[str, float | None]] = trial_storage.get("again") or {}
    seed = next(iter(configs.values())).seed
    seeds = [seed + number for number in range(1, repeats + 1)]
    with progress.bar("training again", repeats * len(configs), "trainings") as advance:
        for name, config in configs.items():
            have = kept.setdefault(runs[name], {})
            for other in seeds:
                if str(other) not in have:
                    have[str(other)] = _value(trainer, replace(config, seed=other), metric)
                    trial_storage.set("again", kept)
                advance(1)
    found: dict[str, Any] = {"seeds": seeds}
    for name in configs:
        values = [kept[runs[name]][str(other)] for other in seeds]
        defined = [value for value in values if value is not None]
        found[name] = {"values": values, "mean": fmean(defined) if defined else None}
    return found


def _value(trainer: Trainer[Training], config: Training, metric: str) -> float | None:
    """The metric of one training, whose run directory is removed; None where it failed or is undefined."""
    kept = trainer.kept()
    try:
        value = trainer.run(config, SCRATCH).row.get(metric_column(metric))
    except TagboxError as error:
        if error.code not in RECORDED:
            raise
        return None
    finally:
        trainer.keep_only(kept)
    return None if value is None or np.isnan(value) else float(value)


def compare_on(
    test: Dataset,
    trainer: Trainer[Training],
    trial_storage: StudyStorage,
    configs: Mapping[str, Training],
    runs: Mapping[str, str],
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Metrics of the first and of the second configuration on a test dataset, and the paired differences.

    A stored result is not computed again.

    Parameters
    ----------
    test
        Images with the categories of the training data.
    configs
        Two: of the start of the search, and the best one.
    runs
        Name of each one's run directory in ``trials``, where a network is trained.

    Returns
    -------
    dict
        ``data``, ``images``, the headline metrics by name, and ``differences``: second minus first.

    Raises
    ------
    TagboxError
        The codes of `Trainer.compare`.
    """
    key = f"test:{test.fingerprint}:{','.join(f'{k}={v}' for k, v in runs.items())}"
    kept: dict[str, Any] | None = trial_storage.get(key)
    if kept is not None:
        return kept
    found = {"data": str(test.source.path), **trainer.compare(test, configs, runs, progress)}
    trial_storage.set(key, found)
    return found


def require_readable(test: Dataset, readable: NDArray[np.bool_]) -> None:
    """Refuse to evaluate without a readable image.

    Parameters
    ----------
    readable
        (N,) bool: which images could be read.

    Raises
    ------
    TagboxError
        ``no-readable-images``.
    """
    if not readable.any():
        raise no_readable_images(f"{len(test)} test pictures could be read", test.source.path)
