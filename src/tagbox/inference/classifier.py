"""A saved classifier in use: pictures to probabilities, labels and evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.create import create_encoder
from tagbox.backends.encoder import Encoder, Precision
from tagbox.backends.feature_cache import FeatureCache
from tagbox.backends.features import as_head_takes, encode_images
from tagbox.config import LabelKind
from tagbox.device import Device, Engine
from tagbox.errors import TagboxError
from tagbox.images.geometry import placement, to_square
from tagbox.inference.evidence import combined, evidence, over_picture, require_linear
from tagbox.models.backbones import Backbone, BackboneSpec, load_backbone
from tagbox.models.bundle import Arrays, ClassifierBundle
from tagbox.models.ensembles import is_ensemble
from tagbox.models.heads import activate, head_logits, wants_map
from tagbox.predictions.thresholds import Thresholds

PART_BYTES = 256 << 20
"""Features held at once; more pictures are predicted in parts."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassifierOutput:
    """What a classifier says of N pictures.

    Attributes
    ----------
    probabilities
        (N, K) float32; rows of pictures that could not be read are zero.
    ok
        (N,) bool: which could be read.
    errors
        Why the others could not, in order.
    """

    probabilities: NDArray[np.float32]
    ok: NDArray[np.bool_]
    errors: list[TagboxError]


class Classifier:
    """A bundle on an engine.

    Parameters
    ----------
    bundle
        The saved model.
    engine, device, precision
        See `backends.create.create_encoder`.
    encoders
        The backbones' encoders, where they already run.
    """

    def __init__(
        self,
        bundle: ClassifierBundle,
        *,
        engine: Engine = "auto",
        device: Device = "auto",
        precision: Precision = "fp32",
        encoders: Sequence[Encoder] | None = None,
    ) -> None:
        self.bundle = bundle
        self._how = (engine, device, precision)
        if encoders is not None:
            self.encoders = tuple(encoders)

    @classmethod
    def load(
        cls,
        run: Path | str,
        *,
        engine: Engine = "auto",
        device: Device = "auto",
        precision: Precision = "fp32",
    ) -> Classifier:
        """The classifier of a run folder; no pickle, no network.

        Raises
        ------
        TagboxError
            The ``bundle-…`` codes of `models.bundle.Bundle.load`; ``run-ensemble``.
        """
        if is_ensemble(Path(run)):
            raise TagboxError(
                "run-ensemble",
                "an ensemble, not a single classifier",
                file=run,
                hint="load it with tagbox.load_model",
            )
        return cls(
            ClassifierBundle.load(Path(run)), engine=engine, device=device, precision=precision
        )

    @property
    def categories(self) -> tuple[str, ...]:
        """K names, in the order of the columns of probabilities."""
        return self.bundle.categories.names

    @property
    def labels(self) -> LabelKind:
        """Whether a picture has any number of categories, or exactly one."""
        return self.bundle.labels

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds it was saved with."""
        return self.bundle.thresholds

    @cached_property
    def encoders(self) -> tuple[Encoder, ...]:
        """One for each backbone; made when first needed.

        Raises
        ------
        TagboxError
            ``bundle-mismatch`` where the weights are not those of the backbone that is named.
        """
        engine, device, precision = self._how
        return tuple(
            create_encoder(
                _backbone(spec, arrays),
                geometry=self.bundle.geometry,
                pooling="map" if wants_map(self.bundle.head_kind) else self.bundle.pooling,
                engine=engine,
                device=device,
                precision=precision,
            )
            for spec, arrays in self.bundle.backbones
        )

    def require_evidence(self) -> None:
        """Refuse models without exact evidence maps.

        Raises
        ------
        TagboxError
            ``evidence-head`` for a head that is not linear; ``evidence-backbone`` for a backbone without a map.
        """
        require_linear(self.bundle.head)
        for spec, _ in self.bundle.backbones:
            if not spec.mean_pooled:
                raise TagboxError(
                    "evidence-backbone",
                    f"{spec.name} has no feature map that is pooled",
                    hint="train on a convolutional backbone, or leave --evidence out",
                )

    @property
    def has_evidence(self) -> bool:
        """Whether exact evidence maps exist: a linear head on pooled feature maps."""
        pooled = all(spec.mean_pooled for spec, _ in self.bundle.backbones)
        return self.bundle.head_kind == "linear" and pooled

    def predict(
        self,
        paths: Sequence[Path | str],
        *,
        cache: FeatureCache | None = None,
        skip_errors: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> ClassifierOutput:
        """Probabilities of pictures.

        Raises
        ------
        TagboxError
            The codes of `images.decode.read_image` for the first unreadable picture, unless
            `skip_errors`.
        """
        step = max(1, PART_BYTES // (4 * sum(encoder.dim for encoder in self.encoders)))
        parts = [
            self._predict_part(paths[start : start + step], cache, skip_errors, progress)
            for start in range(0, max(1, len(paths)), step)
        ]
        return ClassifierOutput(
            probabilities=np.concatenate([part.probabilities for part in parts]),
            ok=np.concatenate([part.ok for part in parts]),
            errors=[error for part in parts for error in part.errors],
        )

    def _predict_part(
        self,
        paths: Sequence[Path | str],
        cache: FeatureCache | None,
        skip_errors: bool,
        progress: Callable[[int], object] | None,
    ) -> ClassifierOutput:
        encoding = encode_images(
            [Path(path) for path in paths],
            self.encoders,
            cache=cache,
            skip_errors=skip_errors,
            progress=progress,
        )
        probabilities = self.probabilities(encoding.features[:, 0])
        probabilities[~encoding.ok] = 0.0
        return ClassifierOutput(probabilities=probabilities, ok=encoding.ok, errors=encoding.errors)

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, K) float32 of (N, dim) float32 features, those of `encoders` side by side."""
        taken = as_head_takes(features, self.encoders, self.bundle.head_kind)
        return activate(head_logits(self.bundle.head, taken), self.labels)

    def evidence(
        self, image: NDArray[np.uint8], categories: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """Where each of `categories` (rows) was seen in a picture (H, W, 3) uint8 RGB.

        Returns
        -------
        list
            An (h, w) float32 map over the whole picture for each category; see
            `inference.evidence`.

        Raises
        ------
        TagboxError
            ``evidence-head`` for a head that is not linear; ``evidence-backbone`` for a backbone without a map.
        """
        self.require_evidence()
        maps = []
        for encoder in self.encoders:
            square = to_square(image, encoder.spec.size, self.bundle.geometry)
            maps.append(encoder.maps(square[None])[0])
        height, width = image.shape[:2]
        # Every square shows the same part of the picture, whatever its size.
        size = self.encoders[0].spec.size
        place = placement(width, height, size, self.bundle.geometry)
        return [
            over_picture(
                combined(evidence(self.bundle.head, maps, self.bundle.pooling, k)[0]),
                place,
                width,
                height,
                size,
            )
            for k in categories
        ]


def _backbone(spec: BackboneSpec, arrays: Arrays) -> Backbone:
    try:
        return load_backbone(spec, arrays)
    except TagboxError as error:
        if error.code != "weights-mismatch":
            raise
        raise error.replace(
            code="bundle-mismatch",
            file="model.safetensors",
            where=f"backbone {spec.name}",
            hint="restore both files from the same run",
        ) from error
