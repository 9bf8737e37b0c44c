"""What `tagbox predict` hands over: files that programs read, and pictures that people look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.data.dataset import PRESENT, Dataset
from tagbox.data.submission import encode_submission
from tagbox.errors import TagboxError, bad_value
from tagbox.inference.predictor import ClassifierOutput, LabelPredictor
from tagbox.predictions.files import encode_csv, encode_json
from tagbox.predictions.predictions import Predictions
from tagbox.predictions.thresholds import Thresholds

Format = Literal["json", "csv", "challenge"]
EVIDENCE_LABELS = 3


def decide(
    thresholds: Thresholds,
    probabilities: NDArray[np.float32],
    *,
    threshold: float | None = None,
    top_k: int | None = None,
    labels: LabelKind = "multi",
) -> NDArray[np.bool_]:
    """(N, K) bool; the labels said.

    Parameters
    ----------
    thresholds
        The model's; used unless one of the others is given.
    threshold
        One number for all categories.
    top_k
        The K most probable categories of each image; with `threshold`, those of them at or above it.
    labels
        Of exclusive ones `threshold` says at most the most probable, unless `top_k` asks for more.

    Raises
    ------
    TagboxError
        See `check_choice`.
    """
    check_choice(threshold, top_k)
    if top_k is None and threshold is not None and labels == "exclusive":
        top_k = 1
    if top_k is None:
        return thresholds.decide(probabilities, "saved" if threshold is None else threshold)
    ranks = np.argsort(np.argsort(-probabilities, axis=1, kind="stable"), axis=1)
    return (ranks < top_k) & (probabilities >= np.float32(threshold or 0.0))


def check_choice(threshold: float | None, top_k: int | None) -> None:
    """Refuse what `decide` cannot use, before anything is encoded.

    Raises
    ------
    TagboxError
        ``option-value`` for a threshold outside [0, 1] or a `top_k` below 1.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise bad_value(threshold, "a number from 0 to 1", "--threshold", code="option-value")
    if top_k is not None and top_k < 1:
        raise bad_value(top_k, "a whole number from 1", "--top-k", code="option-value")


def image_keys(paths: Sequence[Path]) -> tuple[str, ...]:
    """File stems, as submissions call images; whole paths where two pictures share a stem."""
    stems = [path.stem for path in paths]
    return tuple(stems) if len(set(stems)) == len(stems) else tuple(map(str, paths))


def render(
    format: Format,
    paths: Sequence[Path],
    classifier: LabelPredictor,
    outputs: ClassifierOutput,
    decisions: NDArray[np.bool_],
) -> bytes:
    """The predictions in a format that `tagbox evaluate` reads back.

    JSON and CSV hold the probabilities of the pictures that could be read; the challenge's form holds
    the label set of every picture, empty where it could not be read.

    Raises
    ------
    TagboxError
        ``duplicate-stem`` where the challenge's form cannot tell two pictures apart.
    """
    if format == "challenge":
        twice = [stem for stem, n in Counter(path.stem for path in paths).items() if n > 1]
        if twice:
            raise TagboxError(
                "duplicate-stem",
                f"{len(twice)} names, such as {twice[0]!r}, stand for several pictures",
                hint="predict one folder at a time: the challenge names pictures by stem",
            )
        said = {path.stem: np.flatnonzero(row) for path, row in zip(paths, decisions, strict=True)}
        return encode_submission(said)
    readable = np.flatnonzero(outputs.ok)
    predictions = Predictions(
        images=tuple(image_keys(paths)[row] for row in readable),
        categories=classifier.categories,
        probabilities=outputs.probabilities[readable],
    )
    if format == "csv":
        return encode_csv(predictions)
    return encode_json(predictions, classifier.thresholds, decisions[readable])


def spoken(
    categories: Sequence[str], probabilities: NDArray[np.float32], said: NDArray[np.bool_]
) -> list[tuple[str, float]]:
    """(name, probability) of one picture's labels, surest first."""
    rows = sorted(np.flatnonzero(said).tolist(), key=lambda k: -probabilities[k])
    return [(categories[k], float(probabilities[k])) for k in rows]


def truth_of(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    """File stem -> the categories in the picture, of the labelled images."""
    names = dataset.categories.names
    return {
        str(stem): tuple(names[k] for k in np.flatnonzero(row == PRESENT))
        for stem, row, labelled in zip(
            dataset.images.stems, dataset.labels, dataset.images.labelled, strict=True
        )
        if labelled
    }


def save_pictures(
    folder: Path,
    paths: Sequence[Path],
    classifier: LabelPredictor,
    outputs: ClassifierOutput,
    decisions: NDArray[np.bool_],
    *,
    evidence: bool = False,
    truth: dict[str, tuple[str, ...]] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> None:
    """Write each readable picture with its labels as a JPEG into `folder`.

    With `evidence`, the surest labels' evidence maps stand beside it.

    Raises
    ------
    TagboxError
        ``cannot-write``; ``evidence-head``, ``evidence-backbone``, ``evidence-ensemble`` where there are no exact maps.
    """
    from tagbox.atomic_io import atomic_path
    from tagbox.images.decode import read_image
    from tagbox.images.draw import annotate, grid

    names = jpeg_names(paths)
    for row, path in enumerate(paths):
        progress(1)
        if not outputs.ok[row]:
            continue
        image = read_image(path)
        labels = spoken(classifier.categories, outputs.probabilities[row], decisions[row])
        known = None if truth is None else truth.get(path.stem)
        sheet = [annotate(image, truth=known, predicted=labels, title=path.name)]
        if evidence:
            shown = [classifier.categories.index(name) for name, _ in labels[:EVIDENCE_LABELS]]
            for k, heat in zip(shown, classifier.evidence(image, shown), strict=True):
                sheet.append(annotate(image, evidence=heat, title=classifier.categories[k]))
        drawn = sheet[0] if len(sheet) == 1 else grid(sheet, len(sheet))
        with atomic_path(folder / names[row]) as temporary:
            drawn.save(temporary, format="JPEG", quality=90)


def jpeg_names(paths: Sequence[Path]) -> list[str]:
    """A JPEG name for each picture; numbered where two would share one."""
    used: Counter[str] = Counter()
    names = []
    for path in paths:
        used[path.stem] += 1
        number = f"-{used[path.stem]}" if used[path.stem] > 1 else ""
        names.append(f"{path.stem}{number}.jpg")
    return names
