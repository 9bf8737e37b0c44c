"""Predict with a saved classifier: images to probabilities and evidence maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.create import create_encoder
from tagbox.backends.encoder import Encoder, Precision
from tagbox.backends.features import as_head_takes, encode_parts
from tagbox.config import LabelKind
from tagbox.config.arguments import checked_arguments
from tagbox.device import Device, Engine
from tagbox.errors import TagboxError
from tagbox.images.decode import ImageInput, decode_source, image_source
from tagbox.images.geometry import placement, to_square
from tagbox.inference.predictor import ClassifierOutput, LabelPredictor
from tagbox.inference.results import ImageInputs, Images
from tagbox.models.backbones import Backbone, BackboneSpec, load_backbone
from tagbox.models.bundle import ClassifierBundle, is_ensemble
from tagbox.models.bundle_files import Arrays, building
from tagbox.models.heads import activate, head_logits, wants_map
from tagbox.predictions.thresholds import Thresholds
from tagbox.sharing import shared_property

if TYPE_CHECKING:
    from tagbox.backends.feature_cache import FeatureCache
    from tagbox.models.classifier_network import Network

PART_BYTES = 256 << 20
"""Features in memory at once; more images are predicted in parts."""


class Classifier(LabelPredictor):
    """A saved classifier on an engine.

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
        self._engine = (engine, device, precision)
        if encoders is not None:
            self.encoders = tuple(encoders)

    @classmethod
    @checked_arguments
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
        """See `Predictor.categories`."""
        return self.bundle.categories.names

    @property
    def labels(self) -> LabelKind:
        """See `LabelPredictor.labels`."""
        return self.bundle.labels

    @property
    def thresholds(self) -> Thresholds:
        """See `LabelPredictor.thresholds`."""
        return self.bundle.thresholds

    @property
    def transfer(self) -> str | None:
        """See `LabelPredictor.transfer`."""
        return self.bundle.transfer

    @shared_property
    def encoders(self) -> tuple[Encoder, ...]:
        """One for each backbone; made when first needed.

        Raises
        ------
        TagboxError
            ``bundle-mismatch`` where the weights are not those of the backbone that is named.
        """
        engine, device, precision = self._engine
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

    @checked_arguments
    def network(self) -> Network:
        """The trained network as a plain `torch.nn.Module`: a copy in eval mode, on the CPU, whose weights can be trained.

        Its forward takes (B, S, S, 3) RGB squares of 0..255, uint8 or float32, as `prepare` makes them, and returns
        (B, K) float32 logits. Their sigmoid, or softmax where labels are exclusive, is what `predict` computes, up to
        the rounding of the engine.

        Raises
        ------
        TagboxError
            ``network-kind`` where there are several backbones side by side; ``bundle-mismatch``.
        """
        import copy

        from tagbox.models.classifier_network import Network
        from tagbox.models.heads import restore_head

        if len(self.bundle.backbones) > 1:
            raise TagboxError(
                "network-kind",
                f"its {len(self.bundle.backbones)} backbones side by side are no single network",
                where="backbone",
                hint="train on one backbone",
            )
        network = Network(
            _backbone(*self.bundle.backbones[0]),
            restore_head(self.bundle.head),
            head_kind=self.bundle.head_kind,
            pooling=self.bundle.pooling,
            unfreeze="all",
            train_norms=True,
        )
        # Its weights may be those of the saved model.
        return copy.deepcopy(network).eval()

    def prepare(self, images: Images) -> NDArray[np.uint8]:
        """(N, S, S, 3) uint8: images as `network` takes them, those that `predict` would compute with.

        Raises
        ------
        TagboxError
            Those of `predict`.
        """
        size = self.bundle.backbones[0][0].size
        given = ImageInputs(images)
        squares = [
            to_square(
                decode_source(
                    image_source(image, given.names[-1]), file=given.names[-1], min_size=size
                ),
                size,
                self.bundle.geometry,
            )
            for image in given
        ]
        return np.stack(squares) if squares else np.zeros((0, size, size, 3), np.uint8)

    def require_evidence(self) -> None:
        """See `LabelPredictor.require_evidence`."""
        from tagbox.inference.evidence import require_linear

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
        """See `LabelPredictor.has_evidence`: with a linear head on pooled feature maps."""
        pooled = all(spec.mean_pooled for spec, _ in self.bundle.backbones)
        return self.bundle.head_kind == "linear" and pooled

    def _outputs(
        self,
        images: Iterable[ImageInput],
        cache: FeatureCache | None,
        skip_errors: bool,
        progress: Callable[[int], object] | None,
    ) -> Iterator[ClassifierOutput]:
        rows = max(1, PART_BYTES // (4 * sum(encoder.dim for encoder in self.encoders)))
        for encoding in encode_parts(
            images, self.encoders, rows, cache=cache, skip_errors=skip_errors, progress=progress
        ):
            probabilities = self.probabilities(encoding.features[:, 0])
            probabilities[~encoding.ok] = 0.0
            yield ClassifierOutput(
                probabilities=probabilities, ok=encoding.ok, errors=encoding.errors
            )

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, K) float32 of (N, dim) float32 features, those of `encoders` side by side."""
        taken = as_head_takes(features, self.encoders, self.bundle.head_kind)
        return activate(head_logits(self.bundle.head, taken), self.labels)

    def evidence(
        self, image: NDArray[np.uint8], categories: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """See `LabelPredictor.evidence`."""
        from tagbox.inference.evidence import combined, evidence, over_image

        self.require_evidence()
        maps = []
        for encoder in self.encoders:
            square = to_square(image, encoder.spec.size, self.bundle.geometry)
            maps.append(encoder.maps(square[None])[0])
        poolings = [encoder.pooling for encoder in self.encoders]
        height, width = image.shape[:2]
        # Every square shows the same part of the image, whatever its size.
        size = self.encoders[0].spec.size
        placed = placement(width, height, size, self.bundle.geometry)
        return [
            over_image(
                combined(evidence(self.bundle.head, maps, poolings, k)[0]),
                placed,
                width,
                height,
                size,
            )
            for k in categories
        ]


def _backbone(spec: BackboneSpec, arrays: Arrays) -> Backbone:
    try:
        with building(Path("model.json")):
            if spec.source == "detector":
                from tagbox.models.detectors.scores import load_scores

                return load_scores(spec, arrays)
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
