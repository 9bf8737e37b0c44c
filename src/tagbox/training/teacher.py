"""Knowledge distillation: targets mixed of labels and another model's probabilities.

References
----------
Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, mixes the losses on labels and on the
teacher's probabilities. All losses here are linear in the target, so mixing the targets is the same.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import UNKNOWN, Dataset
from tagbox.errors import TagboxError
from tagbox.inference.load import predict_dataset
from tagbox.predictions.alignment import align, index_names
from tagbox.predictions.files import read_predictions
from tagbox.progress import Progress


def mixed_targets(
    labels: NDArray[np.int8], teacher: NDArray[np.float32], weight: float
) -> NDArray[np.float32]:
    """(N, K) float32 in 0..1: ``(1 - weight) label + weight teacher``; the teacher's alone where unknown.

    Parameters
    ----------
    labels
        (N, K) int8: 1 present, 0 absent, -1 unknown.
    teacher
        (N, K) float32 probabilities; images without any have rows of NaN and keep their labels.
    """
    mixed = np.where(labels == UNKNOWN, teacher, (1 - weight) * labels + weight * teacher)
    return np.where(np.isnan(teacher), labels, mixed).astype(np.float32)


def teacher_probabilities(
    teacher: Path, dataset: Dataset, progress: Progress
) -> NDArray[np.float32]:
    """(N, K) float32 of the dataset's images, categories by name; NaN for images without known labels.

    Parameters
    ----------
    teacher
        A run folder, which predicts the images now, or a file of its predictions.

    Raises
    ------
    TagboxError
        ``teacher-probabilities`` for a file of bare label sets; the codes of `predictions.alignment.align`
        and of reading either.
    """
    if os.path.isdir(teacher):
        with progress.bar("predicting with the teacher", len(dataset), "images") as advance:
            predictions, _ = predict_dataset(teacher, dataset, progress=advance)
    else:
        predictions = read_predictions(teacher, index_names(dataset))
    aligned = align(predictions, dataset, extra="ignore")
    if aligned.probabilities is None:
        raise TagboxError(
            "teacher-probabilities",
            "holds label sets without probabilities",
            file=teacher,
            hint="give a run, or predictions written by tagbox predict --format csv",
        )
    table = np.full((len(dataset), len(dataset.categories)), np.nan, np.float32)
    table[aligned.rows] = aligned.probabilities
    return table
