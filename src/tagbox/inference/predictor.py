"""What classifiers, ensembles and detectors have in common: images of any kind in, one result an image out, in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tagbox.config import LabelKind
from tagbox.config.arguments import checked_arguments
from tagbox.errors import TagboxError, visible
from tagbox.images.decode import ImageInput
from tagbox.inference.label_results import ClassifierOutput as ClassifierOutput
from tagbox.inference.label_results import LabelResults
from tagbox.inference.results import ImageInputs, Images
from tagbox.predictions.thresholds import Thresholds

if TYPE_CHECKING:
    from torch import nn

    from tagbox.backends.feature_cache import FeatureCache

Result = TypeVar("Result", covariant=True)


class Predictor(ABC, Generic[Result]):
    """A saved model in use.

    Images are paths, encoded bytes, PIL images or (H, W, 3) uint8 RGB arrays, in any iterable. They are decoded a few
    ahead of the network, so a generator may yield any number of them; an array must not be written to before its
    result came. EXIF orientation is applied to all but arrays.

    Any number of threads may share a model. A process that is forked from one that has predicted is refused
    with ``forked``.
    """

    @property
    @abstractmethod
    def categories(self) -> tuple[str, ...]:
        """K names, in the order of the columns of probabilities and of category rows."""

    @abstractmethod
    def results(self, images: Iterable[ImageInput]) -> Iterator[Result | TagboxError]:
        """One result for each image, in order; in the place of one that cannot be read its error."""

    def __repr__(self) -> str:
        names = self.categories
        some = ", ".join(visible(name) for name in names[:6]) + (", …" if len(names) > 6 else "")
        return f"<{type(self).__name__} of {len(names)} categories: {some}>"

    @abstractmethod
    def network(self) -> nn.Module:
        """The trained network as a plain `torch.nn.Module`, a copy in eval mode whose weights can be trained."""


class LabelPredictor(Predictor[NDArray[np.float32]]):
    """A single classifier or an ensemble of classifiers."""

    @property
    @abstractmethod
    def labels(self) -> LabelKind:
        """Whether an image has any number of categories, or exactly one."""

    @property
    @abstractmethod
    def thresholds(self) -> Thresholds:
        """The thresholds it was saved with."""

    @property
    @abstractmethod
    def transfer(self) -> str | None:
        """``COCO transfer (…)`` where it uses what was trained on COCO; else None."""

    @property
    @abstractmethod
    def has_evidence(self) -> bool:
        """Whether exact evidence maps exist."""

    @abstractmethod
    def require_evidence(self) -> None:
        """Refuse models without exact evidence maps.

        Raises
        ------
        TagboxError
            ``evidence-head`` for a head that is not linear; ``evidence-backbone`` for a backbone without a feature
            map; ``evidence-ensemble``.
        """

    @abstractmethod
    def evidence(
        self, image: NDArray[np.uint8], categories: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """Evidence maps of `categories` (rows) in an (H, W, 3) uint8 RGB image.

        Returns
        -------
        list
            An (h, w) float32 map over the whole image for each category; see `inference.evidence`.

        Raises
        ------
        TagboxError
            See `require_evidence`.
        """

    @abstractmethod
    def _outputs(
        self,
        images: Iterable[ImageInput],
        cache: FeatureCache | None,
        skip_errors: bool,
        progress: Callable[[int], object] | None,
    ) -> Iterator[ClassifierOutput]:
        """The output of as many images at a time as their features may take memory; at least one part."""

    def results(
        self, images: Iterable[ImageInput], *, cache: FeatureCache | None = None
    ) -> Iterator[NDArray[np.float32] | TagboxError]:
        """The (K,) float32 probabilities of each image, in order; in the place of one that cannot be read its error.

        They come in parts of as many images as `classifier.PART_BYTES` of features hold.
        """
        for part in self._outputs(images, cache, True, None):
            errors = iter(part.errors)
            for probabilities, ok in zip(part.probabilities, part.ok, strict=True):
                yield probabilities if ok else next(errors)

    @checked_arguments
    def predict(
        self,
        paths: Images,
        *,
        cache: FeatureCache | None = None,
        skip_errors: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> LabelResults:
        """The categories in images.

        Parameters
        ----------
        paths
            A path, a folder (with those below it) or a pattern such as ``photos/*.jpg``; bytes, a PIL image, an array;
            any number of these in a list or an iterable; or a dataset.
        cache
            Where features are looked up and kept.
        skip_errors
            Go on after an image that cannot be read; otherwise the first one is raised.
        progress
            Called with 1 for each image that is done.

        Returns
        -------
        LabelResults
            A result for each image, in order; ``results.at(threshold=0.5)`` or ``results.at(top_k=3)`` decides anew.

        Raises
        ------
        TagboxError
            The codes of `data.image_files.collect_images`; those of `images.decode.image_source` and `decode_bytes`,
            unless `skip_errors`.
        """
        images = ImageInputs(paths)
        parts = list(self._outputs(images, cache, skip_errors, progress))
        probabilities = np.concatenate([part.probabilities for part in parts])
        ok = np.concatenate([part.ok for part in parts])
        return LabelResults(
            probabilities=probabilities,
            ok=ok,
            errors=[error for part in parts for error in part.errors],
            names=tuple(images.names),
            sources=tuple(images.sources),
            categories=self.categories,
            thresholds=self.thresholds,
            label_kind=self.labels,
        )
