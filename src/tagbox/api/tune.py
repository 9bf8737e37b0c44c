"""`tune_classifier` and `tune_detector`: searches over the ranges of a recipe."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagbox.api.study import Asked, Kind, Study, run_study
from tagbox.config import ClassifierConfig, DataConfig, DetectionMetric, DetectorConfig, Metric
from tagbox.data.dataset import Dataset
from tagbox.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tagbox.studies.trainer import Trainer
    from tagbox.training.train_val import TrainVal


def tune_classifier(
    data: Path | str | Dataset,
    config: ClassifierConfig | None = None,
    *,
    name: str,
    search: Mapping[str, Mapping[str, Any]],
    typed: Sequence[str] = (),
    fixed: Collection[str] = (),
    trials: int = 100,
    minutes: float | None = None,
    metric: Metric | None = None,
    repeats: int = 3,
    test: Path | str | None = None,
    test_images: Path | None = None,
    studies: Path | str = Path("studies"),
    storage: str | None = None,
    source: DataConfig | None = None,
    cache: bool = True,
    command: str = "",
    progress: Progress | None = None,
) -> Study[ClassifierConfig]:
    """Search for the settings with the best validation figure.

    The same call again goes on until there are `trials` in all. Pictures are encoded once for all trials that
    have the same backbone, pooling and geometry.

    Parameters
    ----------
    data
        A dataset of any format `load_dataset` knows, or one in memory.
    config
        Settings that are not searched, and where the search begins.
    name, studies
        The study becomes the folder ``studies/name``.
    search
        Dotted setting -> ``{low, high, log}`` or ``{choices}``, such as `Recipe.search`.
    typed
        More ranges, as ``NAME=LOW..HIGH``, ``NAME=LOW..HIGH:log`` or ``NAME=A,B,C``; they come before `search`.
    fixed
        Dotted settings that keep the value they have in `config`.
    trials
        How many there shall be in all, pruned and failed ones too.
    minutes
        After which no trial is begun.
    metric
        The validation figure of the best epoch that trials are compared by; ``config.best_by`` when not given.
    repeats
        Seeds that the best settings, and those that the search began with, are trained with once more.
    test, test_images
        A third dataset, on which both are compared at the end, and the folder of its pictures.
    storage
        An Optuna storage address in place of the folder's ``study.db``; one process at a time.
    source
        How `data` is read, where it is a path.
    cache
        Look features up on disk and keep them there.
    command
        What reproduces the study, for ``best.yaml``.
    progress
        What to tell whoever waits.

    Raises
    ------
    TagboxError
        What reading, encoding and training raise; the codes of `studies.search_space.read_ranges` and
        `studies.storage.StudyStorage`; ``study-busy``, ``study-name``, ``study-empty``, ``extra-missing``.
    """
    asked = Asked(
        data=data,
        name=name,
        search=search,
        typed=typed,
        fixed=fixed,
        trials=trials,
        minutes=minutes,
        metric=metric,
        repeats=repeats,
        test=test,
        test_images=test_images,
        studies=studies,
        storage=storage,
        source=source,
        command=command,
        progress=progress,
    )
    return run_study(config or ClassifierConfig(), asked, _Classifiers(cache))


def tune_detector(
    data: Path | str | Dataset,
    config: DetectorConfig | None = None,
    *,
    name: str,
    search: Mapping[str, Mapping[str, Any]],
    typed: Sequence[str] = (),
    fixed: Collection[str] = (),
    trials: int = 20,
    minutes: float | None = None,
    metric: DetectionMetric | None = None,
    repeats: int = 3,
    test: Path | str | None = None,
    test_images: Path | None = None,
    studies: Path | str = Path("studies"),
    storage: str | None = None,
    source: DataConfig | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Study[DetectorConfig]:
    """Search for the settings of a detector with the best validation figure.

    The same call again goes on until there are `trials` in all. Every trial is a whole training; the run
    folder of the best one stays in ``studies/name/trials``.

    Parameters
    ----------
    data
        A dataset with boxes, of any format `load_dataset` knows, or one in memory.
    test, test_images
        A third dataset with boxes, and the folder of its pictures. AP of two detectors is compared on it without
        an interval of the difference.

    The others are those of `tune_classifier`.

    Raises
    ------
    TagboxError
        What reading and training raise; the codes of `studies.search_space.read_ranges` and
        `studies.storage.StudyStorage`; ``study-busy``, ``study-name``, ``study-empty``, ``extra-missing``.
    """
    asked = Asked(
        data=data,
        name=name,
        search=search,
        typed=typed,
        fixed=fixed,
        trials=trials,
        minutes=minutes,
        metric=metric,
        repeats=repeats,
        test=test,
        test_images=test_images,
        studies=studies,
        storage=storage,
        source=source,
        command=command,
        progress=progress,
    )
    return run_study(config or DetectorConfig(), asked, _Detectors())


class _Classifiers(Kind[ClassifierConfig]):
    """Classifiers, whose features may be looked up on disk."""

    of = ClassifierConfig

    def __init__(self, cache: bool) -> None:
        self._cache = cache

    def resolve(self, config: ClassifierConfig, train_val: TrainVal) -> ClassifierConfig:
        from tagbox.training.resolve_config import resolve

        return resolve(config, train_val)

    def require_test(self, test: Dataset, base: ClassifierConfig) -> None:
        from tagbox.data.single_label import require_single_label

        if base.labels == "exclusive":
            require_single_label(test)

    @contextmanager
    def trainer(
        self,
        base: ClassifierConfig,
        train_val: TrainVal,
        source: DataConfig,
        folder: Path,
        machine: Mapping[str, str] | None,
        progress: Progress,
    ) -> Iterator[Trainer[ClassifierConfig]]:
        from tagbox.backends.feature_cache import FeatureCache
        from tagbox.studies.classifier_trainer import ClassifierTrainer

        with closing(FeatureCache()) if self._cache else nullcontext() as features:
            yield ClassifierTrainer(
                train_val,
                source,
                cache=features,
                teacher=_teacher(base, train_val, progress),
                folder=folder,
                machine=machine,
                progress=progress,
            )


class _Detectors(Kind[DetectorConfig]):
    """Detectors; each network that the ranges reach is made once before the first trial."""

    of = DetectorConfig

    def __init__(self) -> None:
        self._sound: set[tuple[Any, ...]] = set()

    def resolve(self, config: DetectorConfig, train_val: TrainVal) -> DetectorConfig:
        from tagbox.studies.detector_trainer import DECIDE_NETWORK, require_network

        key = tuple(getattr(config, name) for name in DECIDE_NETWORK)
        if key not in self._sound:
            require_network(config, train_val)
            self._sound.add(key)
        return config

    def require_test(self, test: Dataset, base: DetectorConfig) -> None:
        from tagbox.studies.comparison import require_boxes

        require_boxes(test)

    @contextmanager
    def trainer(
        self,
        base: DetectorConfig,
        train_val: TrainVal,
        source: DataConfig,
        folder: Path,
        machine: Mapping[str, str] | None,
        progress: Progress,
    ) -> Iterator[Trainer[DetectorConfig]]:
        from tagbox.studies.detector_trainer import DetectorTrainer

        yield DetectorTrainer(train_val, source, folder=folder, machine=machine, progress=progress)


def _teacher(
    base: ClassifierConfig, train_val: TrainVal, progress: Progress
) -> NDArray[np.float32] | None:
    if base.teacher is None:
        return None
    from tagbox.training.teacher import teacher_probabilities

    return teacher_probabilities(base.teacher, train_val.train, progress)
