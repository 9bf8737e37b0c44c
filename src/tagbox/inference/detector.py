"""Predict with a saved detector: images to boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tagbox.backends.detector_backend import (
    DetectorEngine,
    DetectorQueue,
    create_detector_engine,
)
from tagbox.backends.pipeline import AHEAD, in_order
from tagbox.config.arguments import checked_arguments
from tagbox.data.dataset import Dataset
from tagbox.data.image_files import require_images
from tagbox.data.record_pixels import RecordPixels, record_pixels
from tagbox.device import Device, Engine
from tagbox.errors import TagboxError
from tagbox.images.decode import ImageInput, image_name
from tagbox.images.geometry import Letterbox
from tagbox.inference.box_results import BoxResults
from tagbox.inference.box_results import DetectorOutput as DetectorOutput
from tagbox.inference.predictor import Predictor
from tagbox.inference.results import ImageInputs, Images
from tagbox.inference.views import ImageBoxes, Prepared, Tiles, boxes_of, read_prepared
from tagbox.models.bundle import DetectorBundle
from tagbox.models.bundle_files import building
from tagbox.predictions.predictions import Detections
from tagbox.predictions.thresholds import ScoreThresholds
from tagbox.sharing import shared_property

if TYPE_CHECKING:
    from tagbox.models.detectors.base import Detector, Found


class DetectorModel(Predictor[ImageBoxes]):
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
        self._engine = (engine, device)
        self._detector = detector
        spec = bundle.spec
        self.fit = Letterbox(size=spec.size, fixed=spec.fixed, multiple=spec.multiple)

    @classmethod
    @checked_arguments
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
        """See `Predictor.categories`."""
        return self.bundle.categories.names

    @property
    def cuts(self) -> ScoreThresholds:
        """The score thresholds it was saved with."""
        return self.bundle.cuts

    @shared_property
    def engine(self) -> DetectorEngine:
        """What runs it; made when first needed.

        Raises
        ------
        TagboxError
            ``bundle-mismatch`` where the weights are not those of the detector that is named.
        """
        engine, device = self._engine
        detector = self._detector or restore_detector(self.bundle)
        return create_detector_engine(detector, engine=engine, device=device)

    def results(
        self,
        images: Iterable[ImageInput],
        *,
        tiles: Tiles | None = None,
        min_score: float = 0.0,
    ) -> Iterator[ImageBoxes | TagboxError]:
        """The boxes in each image, in order; in the place of one that cannot be read its error.

        Parameters
        ----------
        tiles
            Also detect in overlapping tiles of images that are larger than one.
        min_score
            Leave out boxes below it; the detector has a lowest score of its own.
        """
        # Whole images wait in memory where tiles are cut from them.
        return self._results(images, tiles, min_score, 1 if tiles else AHEAD)

    @checked_arguments
    def predict(
        self,
        paths: Images,
        *,
        skip_errors: bool = False,
        progress: Callable[[int], object] | None = None,
        tiles: Tiles | None = None,
        min_score: float = 0.0,
    ) -> BoxResults:
        """The objects in images.

        Parameters
        ----------
        paths
            A path, a folder (with those below it) or a pattern such as ``photos/*.jpg``; bytes, a PIL image, an array;
            any number of these in a list or an iterable; or a dataset.
        skip_errors
            Go on after an image that cannot be read; otherwise the first one is raised.
        progress
            Called with 1 for each image that is done.
        tiles, min_score
            See `results`.

        Returns
        -------
        BoxResults
            A result for each image, in order, with the boxes that reach the model's score thresholds; `detections` holds
            those of any score from `min_score`.

        Raises
        ------
        TagboxError
            The codes of `data.image_files.collect_images`; those of `images.decode.image_source` and `decode_bytes`,
            unless `skip_errors`.
        """
        images = ImageInputs(paths)
        boxes: list[ImageBoxes | None] = []
        errors: list[TagboxError] = []
        for result in self.results(images, tiles=tiles, min_score=min_score):
            if isinstance(result, TagboxError):
                if not skip_errors:
                    raise result
                errors.append(result)
                boxes.append(None)
            else:
                boxes.append(result)
            if progress is not None:
                progress(1)
        sizes = [(0, 0) if each is None else (each.width, each.height) for each in boxes]
        detections = _detections(boxes, tuple(images.names), self.categories)
        return BoxResults(
            detections=detections,
            thresholds=self.cuts,
            sizes=np.array(sizes, np.int32).reshape(-1, 2),
            ok=np.array([each is not None for each in boxes], np.bool_),
            errors=errors,
            sources=tuple(images.sources),
        )

    def detect(
        self,
        paths: Iterable[ImageInput],
        *,
        skip_errors: bool = False,
        progress: Callable[[int], object] | None = None,
        tiles: Tiles | None = None,
        min_score: float = 0.0,
    ) -> BoxResults:
        """Another name of `predict`."""
        return self.predict(
            paths, skip_errors=skip_errors, progress=progress, tiles=tiles, min_score=min_score
        )

    @checked_arguments
    def network(self) -> Detector:
        """The trained network as a plain `torch.nn.Module`: a copy in eval mode, on the CPU, whose weights can be trained.

        Its forward takes images (B, H, W, 3) uint8 RGB, each in the upper left corner of the same shape and filled up with
        grey, and their own (height, width), as `prepare` makes both. It returns losses (empty without targets) and in
        eval mode a list of `models.detectors.base.Found`: ``boxes`` (D, 4) float32 xyxy in pixels of the prepared image,
        ``scores`` (D,) and ``labels`` (D,) rows of `categories`. `predict` scales these boxes to the image.

        Raises
        ------
        TagboxError
            ``bundle-mismatch``.
        """
        import copy

        detector = copy.deepcopy(self._detector or restore_detector(self.bundle))
        return detector.requires_grad_(True).eval()

    def prepare(self, image: ImageInput) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """(H, W, 3) uint8, and the (height, width) of the image in it: one image as `network` takes it.

        Raises
        ------
        TagboxError
            The codes of `images.decode.image_source` and `decode_bytes`.
        """
        view = read_prepared(image, image_name(image, 0), self.fit).overview
        return view.letterbox, (view.inner[1], view.inner[0])

    def stream(
        self,
        images: Iterable[ImageInput],
        *,
        tiles: Tiles | None = None,
        min_score: float = 0.0,
    ) -> Iterator[ImageBoxes]:
        """`results` of frames: only one a thread is drawn ahead, and one that cannot be read is raised."""
        for result in self._results(images, tiles, min_score, 1):
            if isinstance(result, TagboxError):
                raise result
            yield result

    def _results(
        self, images: Iterable[ImageInput], tiles: Tiles | None, min_score: float, ahead: int
    ) -> Iterator[ImageBoxes | TagboxError]:
        def prepare(numbered: tuple[int, ImageInput]) -> Prepared:
            number, image = numbered
            return read_prepared(image, image_name(image, number), self.fit, tiles)

        queue: DetectorQueue | None = None

        def submit(image: Prepared, number: int, put: Callable[[Found], None]) -> None:
            nonlocal queue
            view = image.view(number, self.fit)
            if queue is None:
                queue = self.engine.queue()
            queue.submit(view.letterbox, (view.inner[1], view.inner[0]), put)

        def finish() -> None:
            if queue is not None:
                queue.finish()

        for outcome in in_order(
            enumerate(images),
            prepare,
            lambda image: 1 + len(image.windows),
            submit,
            finish,
            ahead=ahead,
        ):
            if isinstance(outcome, TagboxError):
                yield outcome
            else:
                boxes = boxes_of(*outcome, self.fit)
                yield boxes.take(boxes.scores >= min_score)


def detect_dataset(
    run: Path | str,
    dataset: Dataset,
    *,
    device: Device = "auto",
    progress: Callable[[int], object] | None = None,
    say: Callable[[str], object] | None = None,
) -> tuple[Detections, ScoreThresholds]:
    """Detections in every image of a dataset, keyed by its files, and the score thresholds of the run.

    Boxes are in pixels of the dataset's records, with which they are compared. `say` is told of records whose
    size is not that of their file.

    Raises
    ------
    TagboxError
        The codes of `DetectorModel.load` and `images.decode.read_image`; ``images-not-found``;
        ``size-mismatch`` where a record contradicts its file.
    """
    model = DetectorModel.load(run, device=device)
    require_images(dataset)
    pixels = record_pixels(dataset)
    pixels.require()
    if say is not None:
        for note in pixels.notes:
            say(note)
    paths = [dataset.images.path(row) for row in range(len(dataset))]
    outputs = model.detect(paths, progress=progress)
    return replace(in_records(outputs.detections, pixels), source=str(run)), model.cuts


def in_records(detections: Detections, pixels: RecordPixels) -> Detections:
    """Detections in all images of a dataset, in their order, in pixels of its records and keyed by its files."""
    return replace(
        detections,
        images=tuple(pixels.dataset.images.files.tolist()),
        boxes=pixels.to_record(detections.boxes, detections.image_rows),
    )


def restore_detector(bundle: DetectorBundle) -> Detector:
    """The network of a saved detector.

    Raises
    ------
    TagboxError
        ``bundle-mismatch`` where the weights are not those of the detector that is named.
    """
    import torch

    from tagbox.models.detectors.create import build_detector

    with building(Path("model.json")):
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


def _detections(
    boxes: list[ImageBoxes | None], images: tuple[str, ...], categories: tuple[str, ...]
) -> Detections:
    """The boxes of all images in one table."""
    found = [(row, each) for row, each in enumerate(boxes) if each is not None]
    rows = np.array([row for row, _ in found], np.int32)
    empty = np.zeros((0, 4))
    labels = np.concatenate([empty[:, 0], *(each.labels for _, each in found)])
    return Detections(
        images=images,
        categories=categories,
        image_rows=np.repeat(rows, [len(each.scores) for _, each in found]),
        category_rows=labels.astype(np.int32),
        boxes=np.concatenate([empty, *(each.boxes for _, each in found)]),
        scores=np.concatenate([empty[:, 0], *(each.scores for _, each in found)]),
    )
