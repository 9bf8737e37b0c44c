"""A saved detector in use: pictures to boxes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.detector_backend import DetectorEngine, Put, create_detector_engine
from tagbox.backends.features import in_threads
from tagbox.data.dataset import Dataset
from tagbox.data.image_files import require_images
from tagbox.device import Device, Engine
from tagbox.errors import TagboxError
from tagbox.images.geometry import Letterbox
from tagbox.inference.views import PictureBoxes, Prepared, Tiles, boxes_of, prepare, read_prepared
from tagbox.models.bundle import DetectorBundle
from tagbox.predictions.predictions import Detections
from tagbox.predictions.thresholds import ScoreThresholds

if TYPE_CHECKING:
    from tagbox.models.detectors.base import Detector, Found

UNDER_WAY = 64
"""Pictures that may wait for one before them; bounds memory."""


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectorOutput:
    """What a detector says of N pictures.

    Attributes
    ----------
    detections
        Of all pictures, in their order, each picture's best first; keyed by path.
    sizes
        (N, 2) int32 width and height of the upright pictures; 0 where one could not be read.
    ok
        (N,) bool: which could be read.
    errors
        Why the others could not, in order.
    """

    detections: Detections
    sizes: NDArray[np.int32]
    ok: NDArray[np.bool_]
    errors: list[TagboxError]


class DetectorModel:
    """A saved detector on an engine.

    Parameters
    ----------
    bundle
        The saved detector.
    engine, device
        See `backends.detector_backend.create_detector_engine`.
    detector
        The network, where it is already made.
    """

    def __init__(
        self,
        bundle: DetectorBundle,
        *,
        engine: Engine = "auto",
        device: Device = "auto",
        detector: Detector | None = None,
    ) -> None:
        self.bundle = bundle
        self._how = (engine, device)
        self._detector = detector
        spec = bundle.spec
        self.fit = Letterbox(size=spec.size, fixed=spec.fixed, multiple=spec.multiple)

    @classmethod
    def load(
        cls, run: Path | str, *, engine: Engine = "auto", device: Device = "auto"
    ) -> DetectorModel:
        """The detector of a run folder; no pickle, no network.

        Raises
        ------
        TagboxError
            The codes of `models.bundle.Bundle.load`.
        """
        return cls(DetectorBundle.load(Path(run)), engine=engine, device=device)

    @property
    def categories(self) -> tuple[str, ...]:
        """K names; a detection's category row is one of them."""
        return self.bundle.categories.names

    @property
    def cuts(self) -> ScoreThresholds:
        """The score cuts it was saved with."""
        return self.bundle.cuts

    @cached_property
    def engine(self) -> DetectorEngine:
        """What runs it; made when first needed.

        Raises
        ------
        TagboxError
            ``bundle-mismatch`` where the weights are not those of the detector that is named.
        """
        engine, device = self._how
        detector = self._detector or restore_detector(self.bundle)
        return create_detector_engine(detector, engine=engine, device=device)

    def detect(
        self,
        paths: Sequence[Path | str],
        *,
        skip_errors: bool = False,
        progress: Callable[[int], object] | None = None,
        tiles: Tiles | None = None,
        min_score: float = 0.0,
    ) -> DetectorOutput:
        """Boxes in pictures.

        Parameters
        ----------
        skip_errors
            Go on after a picture that cannot be read; otherwise the first one is raised.
        progress
            Called with 1 for each picture that is done.
        tiles
            Look at windows of pictures that are larger than one.
        min_score
            Leave out boxes below it; the detector has a lowest score of its own.

        Raises
        ------
        TagboxError
            The codes of `images.decode.read_image` for the first unreadable picture, unless `skip_errors`.
        """
        columns = _Columns(len(paths))
        errors: list[TagboxError] = []
        # Whole pictures wait in memory where windows are cut from them.
        ready = in_threads(
            lambda path: _prepared(Path(path), self.fit, tiles), paths, *([1] if tiles else [])
        )
        for row, outcome in enumerate(self._run(ready)):
            if isinstance(outcome, TagboxError):
                if not skip_errors:
                    raise outcome
                errors.append(outcome)
            else:
                columns.add(row, outcome, min_score)
            if progress is not None:
                progress(1)
        return DetectorOutput(
            detections=columns.detections(tuple(map(str, paths)), self.categories),
            sizes=columns.sizes,
            ok=columns.sizes[:, 0] > 0,
            errors=errors,
        )

    def stream(
        self,
        images: Iterable[NDArray[np.uint8]],
        *,
        tiles: Tiles | None = None,
        min_score: float = 0.0,
    ) -> Iterator[PictureBoxes]:
        """Boxes of decoded (H, W, 3) uint8 RGB pictures, in order; only a few are drawn ahead."""
        ready = in_threads(lambda image: prepare(image, self.fit, tiles), images, 1)
        for found in self._run(ready):
            assert not isinstance(found, TagboxError)
            yield found.take(found.scores >= min_score)

    def _run(
        self, pictures: Iterable[Prepared | TagboxError]
    ) -> Iterator[PictureBoxes | TagboxError]:
        """Each picture's boxes, in order."""
        waiting: deque[_Waiting | TagboxError] = deque()
        try:
            for picture in pictures:
                if isinstance(picture, TagboxError):
                    waiting.append(picture)
                else:
                    asked = _Waiting(picture, [None] * (1 + len(picture.windows)))
                    waiting.append(asked)
                    for number in range(len(asked.found)):
                        view = picture.view(number, self.fit)
                        size = (view.inner[1], view.inner[0])
                        self.engine.submit(view.canvas, size, _into(asked, number))
                if len(waiting) > UNDER_WAY:
                    self._finish()
                yield from self._done(waiting)
            self._finish()
            yield from self._done(waiting)
        finally:
            # Also when the caller stops early: nothing of it reaches the next call.
            self._finish()

    def _finish(self) -> None:
        if "engine" in self.__dict__:
            self.engine.finish()

    def _done(self, waiting: deque[_Waiting | TagboxError]) -> Iterator[PictureBoxes | TagboxError]:
        while waiting:
            first = waiting[0]
            if isinstance(first, TagboxError):
                yield first
            else:
                found = [each for each in first.found if each is not None]
                if len(found) < len(first.found):
                    return
                yield boxes_of(first.picture, found, self.fit)
            waiting.popleft()


def detect_dataset(
    run: Path | str,
    dataset: Dataset,
    *,
    device: Device = "auto",
    progress: Callable[[int], object] | None = None,
) -> tuple[Detections, ScoreThresholds]:
    """What a detector's run finds in every picture of a dataset, keyed by its files, and the run's cuts.

    Raises
    ------
    TagboxError
        The codes of `DetectorModel.load` and `images.decode.read_image`; ``images-not-found``.
    """
    model = DetectorModel.load(run, device=device)
    require_images(dataset)
    paths = [dataset.images.path(row) for row in range(len(dataset))]
    outputs = model.detect(paths, progress=progress)
    files = tuple(dataset.images.files.tolist())
    return replace(outputs.detections, images=files, source=str(run)), model.cuts


def restore_detector(bundle: DetectorBundle) -> Detector:
    """The network of a saved detector.

    Raises
    ------
    TagboxError
        ``bundle-mismatch`` where the weights are not those of the detector that is named.
    """
    import torch

    from tagbox.models.detectors.create import build_detector

    detector = build_detector(bundle.spec)
    state = {name: torch.from_numpy(value.copy()) for name, value in bundle.weights.items()}
    try:
        detector.load_state_dict(state)
    except RuntimeError as error:
        raise TagboxError(
            "bundle-mismatch",
            " ".join(str(error).split())[:200].rstrip("."),
            file="model.safetensors",
            where=f"detector {bundle.spec.detector}",
            hint="restore both files from the same run",
        ) from error
    return detector


@dataclass(eq=False)
class _Waiting:
    """A picture and what was found in each of its views, None where that is still under way."""

    picture: Prepared
    found: list[Found | None]


@dataclass(eq=False)
class _Columns:
    """Detections of `count` pictures as they come."""

    count: int
    parts: list[tuple[int, PictureBoxes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sizes = np.zeros((self.count, 2), np.int32)

    def add(self, row: int, found: PictureBoxes, min_score: float) -> None:
        self.sizes[row] = found.width, found.height
        self.parts.append((row, found.take(found.scores >= min_score)))

    def detections(self, images: tuple[str, ...], categories: tuple[str, ...]) -> Detections:
        counts = [len(part.scores) for _, part in self.parts]
        rows = np.array([row for row, _ in self.parts], np.int32)
        none = np.zeros((0, 4))
        return Detections(
            images=images,
            categories=categories,
            image_rows=np.repeat(rows, counts),
            category_rows=np.concatenate([none[:, 0], *(p.labels for _, p in self.parts)]).astype(
                np.int32
            ),
            boxes=np.concatenate([none, *(part.boxes for _, part in self.parts)]),
            scores=np.concatenate([none[:, 0], *(part.scores for _, part in self.parts)]),
        )


def _into(asked: _Waiting, number: int) -> Put:
    def put(found: Found) -> None:
        asked.found[number] = found

    return put


def _prepared(path: Path, fit: Letterbox, tiles: Tiles | None) -> Prepared | TagboxError:
    try:
        return read_prepared(path, fit, tiles)
    except TagboxError as error:
        return error
