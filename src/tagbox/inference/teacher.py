"""What another model says of the training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import Dataset
from tagbox.errors import TagboxError
from tagbox.evaluation.alignment import align, index_names
from tagbox.evaluation.files import read_predictions
from tagbox.inference.load import predict_dataset
from tagbox.progress import Progress


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
        ``teacher-probabilities`` for a file of bare label sets; the codes of `evaluation.alignment.align`
        and of reading either.
    """
    if teacher.is_dir():
        with progress.bar("asking the teacher", len(dataset), "images") as advance:
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
