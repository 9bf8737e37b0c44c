"""Both sides of a dataset as features of a frozen backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.config import HeadKind
from tagbox.data.dataset import Dataset
from tagbox.data.locate import require_images
from tagbox.engines.cache import FeatureCache
from tagbox.engines.encoder import Encoder
from tagbox.engines.features import as_head_takes, encode_images
from tagbox.errors import TagboxError
from tagbox.progress import Progress
from tagbox.training.sides import Sides

if TYPE_CHECKING:
    from tagbox.training.runtime import Runtime


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoded:
    """Features of the pictures that could be read, and their datasets.

    Attributes
    ----------
    train_features, validation_features
        (N, V, D) float32, or (N, V, D, h, w) where the encoder gives maps; V is 1 for validation.
    train, validation
        The images of those features.
    train_rows, validation_rows
        Which rows of their sides they are.
    unreadable
        Pictures that were left out, with the reason.
    sampled
        Whether these are images of a sample of the two sides, because not all fitted into memory.
    """

    encoders: Sequence[Encoder]
    train_features: NDArray[np.float32]
    train: Dataset
    train_rows: NDArray[np.intp]
    validation_features: NDArray[np.float32]
    validation: Dataset
    validation_rows: NDArray[np.intp]
    unreadable: list[TagboxError]
    sampled: bool = False


def encode_sides(
    sides: Sides,
    encoders: Sequence[Encoder],
    *,
    head: HeadKind,
    mirror: bool,
    cache: FeatureCache | None,
    progress: Progress,
    runtime: Runtime | None = None,
) -> Encoded:
    """Encode every picture of both sides once, and the training pictures' mirror images with `mirror`.

    Features have the shape that `head` takes. With a `runtime` of several processes each of them encodes its share, and all get everything.

    Raises
    ------
    TagboxError
        ``no-readable-images``; ``images-not-found``.
    """
    train, train_rows, unreadable = _encode(
        sides.train, "training", encoders, mirror, cache, progress, runtime
    )
    validation, validation_rows, more = _encode(
        sides.validation, "validation", encoders, False, cache, progress, runtime
    )
    for error in (*unreadable, *more):
        progress.say(f"left out: {error}")
    return Encoded(
        encoders=encoders,
        train_features=as_head_takes(train, encoders, head),
        train=sides.train.take(train_rows),
        train_rows=train_rows,
        validation_features=as_head_takes(validation, encoders, head),
        validation=sides.validation.take(validation_rows),
        validation_rows=validation_rows,
        unreadable=[*unreadable, *more],
    )


def _encode(
    data: Dataset,
    name: str,
    encoders: Sequence[Encoder],
    mirror: bool,
    cache: FeatureCache | None,
    progress: Progress,
    runtime: Runtime | None,
) -> tuple[NDArray[np.float32], NDArray[np.intp], list[TagboxError]]:
    """Features of the readable pictures, their rows, and why the others are not."""
    require_images(data)
    rows = np.arange(len(data))
    if runtime is not None:
        rows = rows[runtime.rank :: runtime.processes]
    paths = [data.images.path(row) for row in rows.tolist()]
    with progress.bar(f"encoding {name} pictures", len(paths), "images") as advance:
        encoding = encode_images(
            paths, encoders, mirror=mirror, cache=cache, skip_errors=True, progress=advance
        )
    features, kept, errors = encoding.features, rows[encoding.ok], encoding.errors
    features = features[encoding.ok] if not encoding.ok.all() else features
    if runtime is not None and runtime.processes > 1:
        shares = runtime.gather((features, kept, errors))
        features = np.concatenate([share[0] for share in shares])
        kept = np.concatenate([share[1] for share in shares])
        errors = [error for share in shares for error in share[2]]
        order = np.argsort(kept)
        features, kept = features[order], kept[order]
    if not len(kept):
        raise TagboxError(
            "no-readable-images",
            f"none of the {len(data)} {name} pictures could be read",
            file=data.source.path,
            hint="run tagbox check on the dataset",
        )
    return features, kept, errors
