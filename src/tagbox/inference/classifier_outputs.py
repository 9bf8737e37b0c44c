"""A classifier's predictions as JSON, CSV and submission files, and as images drawn with their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.data.dataset import PRESENT, Dataset
from tagbox.errors import TagboxError
from tagbox.images.decode import read_image
from tagbox.inference.label_results import ClassifierOutput
from tagbox.inference.label_results import check_choice as check_choice
from tagbox.inference.label_results import decide as decide
from tagbox.inference.predictor import LabelPredictor
from tagbox.predictions.files import encode_csv, encode_json
from tagbox.predictions.predictions import Predictions

if TYPE_CHECKING:
    from PIL.Image import Image

_PANELS = 4
"""Images in a row of a drawn image with its evidence maps."""
LEAST_WIDTH, EVIDENCE_WIDTH = 320, 960
"""Pixels of a drawn image for its labels, while the image itself keeps its size; and at most with evidence maps."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelPredictions:
    """The labels that a classifier predicts for N image files.

    Attributes
    ----------
    paths
        Of the images.
    model, outputs
        The classifier and its output.
    decisions
        (N, K) bool: the predicted labels; see `decide`.
    truth
        Whose labels are drawn beside the predicted ones, by file stem.
    evidence
        Whether the evidence maps of an image's labels are drawn beside it.
    shown
        Rows of the categories that JSON and CSV hold; all when None.
    """

    paths: Sequence[Path]
    model: LabelPredictor
    outputs: ClassifierOutput
    decisions: NDArray[np.bool_]
    truth: Dataset | None = None
    evidence: bool = False
    shown: Sequence[int] | None = None

    def labels(self, row: int) -> list[tuple[str, float]]:
        """(name, probability) of one image's labels, most probable first."""
        probabilities = self.outputs.probabilities[row]
        rows = sorted(np.flatnonzero(self.decisions[row]).tolist(), key=lambda k: -probabilities[k])
        return [(self.model.categories[k], float(probabilities[k])) for k in rows]

    def table(self) -> list[list[str]]:
        """Path and labels of each image that could be read."""
        return [
            [
                str(self.paths[row]),
                ", ".join(f"{name} {100 * value:.0f}%" for name, value in self.labels(row))
                or "nothing",
            ]
            for row in np.flatnonzero(self.outputs.ok).tolist()
        ]

    def encode(self, format: str) -> bytes:
        """The predictions in a format that `tagbox evaluate` reads back: ``json``, ``csv`` or ``challenge``.

        JSON and CSV hold the probabilities of the images that could be read, CSV with their paths and with the
        predicted labels in a column (``a|b``); the challenge's form holds
        the label set of every image, empty where it could not be read.

        Raises
        ------
        TagboxError
            ``duplicate-stem`` where two images have the same name in the challenge's form.
        """
        stems = [path.stem for path in self.paths]
        if format == "challenge":
            from tagbox.data.submission import encode_submission

            twice = [stem for stem, n in Counter(stems).items() if n > 1]
            if twice:
                raise TagboxError(
                    "duplicate-stem",
                    f"{len(twice)} names, such as {twice[0]!r}, stand for several images",
                    hint="predict one folder at a time: the challenge names images by stem",
                )
            rows = zip(stems, self.decisions, strict=True)
            return encode_submission({stem: np.flatnonzero(row) for stem, row in rows})
        paths = list(map(str, self.paths))
        # JSON: whole paths where two images share a stem.
        keys = stems if format == "json" and len(set(stems)) == len(stems) else paths
        readable = np.flatnonzero(self.outputs.ok)
        names = self.model.categories
        kept = np.arange(len(names)) if self.shown is None else np.array(self.shown, np.intp)
        cells = np.ix_(readable, kept)
        predictions = Predictions(
            images=tuple(keys[row] for row in readable),
            categories=tuple(names[k] for k in kept.tolist()),
            probabilities=self.outputs.probabilities[cells],
        )
        if format == "csv":
            return encode_csv(predictions, self.decisions[cells])
        thresholds = self.model.thresholds.reordered(names, predictions.categories)
        return encode_json(predictions, thresholds, self.decisions[cells])

    def save_images(self, folder: Path, progress: Callable[[int], object]) -> None:
        """Write each image that could be read, in its size, with its labels below as a JPEG into `folder`.

        Raises
        ------
        TagboxError
            ``cannot-write``; the ``evidence-...`` codes where there are no exact maps.
        """
        from tagbox.images.draw import annotate, grid
        from tagbox.images.drawn_files import save_jpegs

        truth = None if self.truth is None else _true_labels(self.truth)

        def draw(row: int) -> Image:
            path, labels = self.paths[row], self.labels(row)
            image = read_image(path)
            known = None if truth is None else truth.get(path.stem)
            height, width = image.shape[:2]
            if self.evidence and width > EVIDENCE_WIDTH:
                height, width = round(height * EVIDENCE_WIDTH / width), EVIDENCE_WIDTH
            size = {"width": max(width, LEAST_WIDTH), "max_height": height}
            panels = [annotate(image, truth=known, predicted=labels, title=path.name, **size)]
            if self.evidence:
                names = self.model.categories
                shown = [names.index(name) for name, _ in labels]
                for k, heat in zip(shown, self.model.evidence(image, shown), strict=True):
                    panels.append(annotate(image, evidence=heat, title=names[k], **size))
            return panels[0] if len(panels) == 1 else grid(panels, _PANELS)

        save_jpegs(folder, self.paths, self.outputs.ok, draw, progress)


def _true_labels(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """File stem -> the categories in the image, of the labelled images."""
    names = dataset.categories.names
    return {
        str(stem): tuple(names[k] for k in np.flatnonzero(row == PRESENT))
        for stem, row, labelled in zip(
            dataset.images.stems, dataset.labels, dataset.images.labelled, strict=True
        )
        if labelled
    }
