"""Predict with a saved ensemble: the weighted mean over members of the mean over each member's views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.encoder import Encoder, Precision
from tagbox.backends.feature_cache import FeatureCache
from tagbox.backends.features import encode_parts
from tagbox.config import LabelKind
from tagbox.device import Device, Engine
from tagbox.errors import TagboxError
from tagbox.images.decode import ImageInput
from tagbox.inference.classifier import PART_BYTES, Classifier
from tagbox.inference.predictor import ClassifierOutput, LabelPredictor
from tagbox.models.bundle import ClassifierBundle
from tagbox.models.ensembles import Ensemble, Member, load_ensemble
from tagbox.predictions.predictions import weighted_mean
from tagbox.predictions.thresholds import Thresholds
from tagbox.sharing import shared_property

BLOCK = 32
"""Images that a head is given at once. Always the same, since a matrix product's last bits may depend on the
number of rows: an image's position decides them, and not what else is computed."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ViewOutput:
    """Probabilities of N images by each member in each of its views.

    Attributes
    ----------
    tables
        For each member a list with an (N, K) float32 table for each view; columns in the ensemble's order. Rows of
        images that could not be read are zero.
    ok
        (N,) bool: which could be read.
    errors
        Why the others could not, in order.
    """

    tables: list[list[NDArray[np.float32]]]
    ok: NDArray[np.bool_]
    errors: list[TagboxError]


@dataclass(frozen=True, eq=False)
class _Part:
    """A member's classifier at one size, and the views at it."""

    member: int
    views: dict[int, bool]
    """Position among the member's views -> whether it is mirrored."""
    classifier: Classifier
    columns: NDArray[np.intp]
    """The classifier's column of each of the ensemble's categories."""


class EnsembleClassifier(LabelPredictor):
    """An ensemble on an engine; used as a `Classifier` is.

    Parameters
    ----------
    ensemble
        Members, weights, views and thresholds.
    engine, device, precision
        See `backends.create.create_encoder`.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        *,
        engine: Engine = "auto",
        device: Device = "auto",
        precision: Precision = "fp32",
    ) -> None:
        self.ensemble = ensemble
        self._engine = (engine, device, precision)

    @classmethod
    def load(
        cls,
        run: Path | str,
        *,
        engine: Engine = "auto",
        device: Device = "auto",
        precision: Precision = "fp32",
    ) -> EnsembleClassifier:
        """The ensemble of a run folder; no pickle, no network.

        Raises
        ------
        TagboxError
            The codes of `models.ensembles.load_ensemble`.
        """
        return cls(load_ensemble(Path(run)), engine=engine, device=device, precision=precision)

    @property
    def categories(self) -> tuple[str, ...]:
        """See `Predictor.categories`."""
        return self.ensemble.categories

    @property
    def labels(self) -> LabelKind:
        """See `LabelPredictor.labels`."""
        return self.ensemble.labels

    @property
    def thresholds(self) -> Thresholds:
        """See `LabelPredictor.thresholds`."""
        return self.ensemble.thresholds

    @property
    def transfer(self) -> str | None:
        """See `LabelPredictor.transfer`: that of its members."""
        return self.ensemble.transfer

    @property
    def has_evidence(self) -> bool:
        """Never; see `require_evidence`."""
        return False

    def require_evidence(self) -> NoReturn:
        """Refuse: a mean of probabilities is no sum over positions, so no map of it is exact.

        Raises
        ------
        TagboxError
            ``evidence-ensemble``, always.
        """
        raise TagboxError(
            "evidence-ensemble",
            "an ensemble's mean of probabilities has no exact evidence map",
            hint="ask one of its members, such as the run folder members/0 inside it, or leave --evidence out",
        )

    def evidence(
        self, image: NDArray[np.uint8], categories: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """Refused; see `require_evidence`."""
        self.require_evidence()

    def network(self) -> NoReturn:
        """Refuse: an ensemble is several networks.

        Raises
        ------
        TagboxError
            ``run-ensemble``, always.
        """
        raise TagboxError(
            "run-ensemble",
            "an ensemble is several networks",
            hint="ask one of its members, such as the run folder members/0 inside it",
        )

    def require_views(self) -> None:
        """Try every backbone at every size of its views, before images are decoded for it.

        Raises
        ------
        TagboxError
            ``backbone-size`` for a backbone that does not take a size; ``bundle-mismatch``.
        """
        for part in self._classifiers:
            member = self.ensemble.members[part.member]
            for encoder, (spec, _) in zip(
                part.classifier.encoders, member.bundle.backbones, strict=True
            ):
                # Ours takes every size; of the others only trying tells.
                if spec.source == "packaged" or encoder.spec.size == spec.size:
                    continue
                size = encoder.spec.size
                try:
                    self._encoders[encoder.key].encode(np.zeros((1, size, size, 3), np.uint8))
                except TagboxError:
                    raise
                except Exception as error:  # Networks refuse sizes each in its own way.
                    raise _refused(spec.name, member.run, size) from error

    def _outputs(
        self,
        images: Iterable[ImageInput],
        cache: FeatureCache | None,
        skip_errors: bool,
        progress: Callable[[int], object] | None,
    ) -> Iterator[ClassifierOutput]:
        weights = [member.weight for member in self.ensemble.members]
        for views in self._view_outputs(images, cache, skip_errors, progress):
            means = [weighted_mean(tables) for tables in views.tables]
            yield ClassifierOutput(
                probabilities=weighted_mean(means, weights), ok=views.ok, errors=views.errors
            )

    def predict_views(
        self,
        paths: Iterable[ImageInput],
        *,
        cache: FeatureCache | None = None,
        skip_errors: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> ViewOutput:
        """The probabilities that `predict` takes the means of.

        Raises
        ------
        TagboxError
            See `LabelPredictor.predict`.
        """
        parts = list(self._view_outputs(paths, cache, skip_errors, progress))
        return ViewOutput(
            tables=[
                [
                    np.concatenate([part.tables[member][view] for part in parts])
                    for view in range(len(tables))
                ]
                for member, tables in enumerate(parts[0].tables)
            ],
            ok=np.concatenate([part.ok for part in parts]),
            errors=[error for part in parts for error in part.errors],
        )

    def _view_outputs(
        self,
        images: Iterable[ImageInput],
        cache: FeatureCache | None,
        skip_errors: bool,
        progress: Callable[[int], object] | None,
    ) -> Iterator[ViewOutput]:
        """Blocks of images, as many at a time as memory allows; an encoder runs once, however many members share it."""
        encoders = self._encoders
        ends = np.cumsum([encoder.dim for encoder in encoders.values()]).tolist()
        spans = dict(zip(encoders, pairwise([0, *ends]), strict=True))
        mirror = any(mirrored for part in self._classifiers for mirrored in part.views.values())
        each = 4 * (2 if mirror else 1) * sum(encoder.dim for encoder in encoders.values())
        for encoding in encode_parts(
            images,
            list(encoders.values()),
            BLOCK * max(1, PART_BYTES // (BLOCK * max(each, 1))),
            mirror=mirror,
            cache=cache,
            skip_errors=skip_errors,
            progress=progress,
        ):
            shape = (len(encoding.ok), len(self.categories))
            tables = [[np.zeros(shape, np.float32) for _ in m.views] for m in self.ensemble.members]
            for part in self._classifiers:
                own = [spans[encoder.key] for encoder in part.classifier.encoders]
                for position, mirrored in part.views.items():
                    view = encoding.features[:, int(mirrored)]
                    features = np.concatenate([view[:, a:b] for a, b in own], axis=1)
                    blocks = [
                        part.classifier.probabilities(features[first : first + BLOCK])
                        for first in range(0, max(1, len(features)), BLOCK)
                    ]
                    table = np.concatenate(blocks)[:, part.columns]
                    table[~encoding.ok] = 0.0
                    tables[part.member][position] = table
            yield ViewOutput(tables=tables, ok=encoding.ok, errors=encoding.errors)

    @shared_property
    def _classifiers(self) -> list[_Part]:
        """The classifiers with a weight, one for each member and size."""
        parts = []
        for index, member in enumerate(self.ensemble.members):
            names = member.bundle.categories.names
            columns = np.array([names.index(name) for name in self.categories], np.intp)
            # A member without weight changes nothing and is not computed.
            for size in dict.fromkeys(view.size for view in member.views if member.weight > 0):
                views = {i: v.mirror for i, v in enumerate(member.views) if v.size == size}
                parts.append(_Part(index, views, self._classifier(member, size), columns))
        return parts

    @shared_property
    def _encoders(self) -> dict[str, Encoder]:
        """By key: an encoder that several members share runs once."""
        encoders: dict[str, Encoder] = {}
        for part in self._classifiers:
            for encoder in part.classifier.encoders:
                encoders.setdefault(encoder.key, encoder)
        return encoders

    def _classifier(self, member: Member, size: int | None) -> Classifier:
        engine, device, precision = self._engine
        classifier = Classifier(
            resized(member.bundle, size), engine=engine, device=device, precision=precision
        )
        try:
            _ = classifier.encoders
        except TagboxError as error:
            # Embeddings of positions belong to one size: to another the same weights are no match.
            if size is None or error.code not in ("bundle-mismatch", "backbone-size"):
                raise
            names = " + ".join(spec.name for spec, _ in member.bundle.backbones)
            raise _refused(names, member.run, size) from error
        return classifier


def resized(bundle: ClassifierBundle, size: int | None) -> ClassifierBundle:
    """The same model with every backbone looking at squares of `size` pixels; None leaves it as it is."""
    if size is None:
        return bundle
    backbones = tuple((replace(spec, size=size), arrays) for spec, arrays in bundle.backbones)
    return replace(bundle, backbones=backbones)


def _refused(backbone: str, run: str, size: int) -> TagboxError:
    return TagboxError(
        "backbone-size",
        f"{backbone} of {run} does not take {size}x{size} pixels",
        where="scales",
        hint="leave --scales out, or give only runs whose backbones take any size",
    )
