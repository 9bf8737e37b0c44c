"""One saved model under eight threads: the same bytes as in one thread, and pictures a second against one thread's.

    python benchmarks/shared_model.py [--threads 8] [--predictions 200] [--engines openvino torch]

A classifier and an ensemble of two views (EfficientNet-Lite0 at 96) and a detector (dense at 128, three shapes of
letterbox) with random heads predict generated pictures one a call. Each thread makes all predictions, beginning at
another picture; every answer is compared with the single thread's, byte for byte, and nothing is reported where one
differs. Which predicts first, one thread or eight, alternates by kind of model.
"""

from __future__ import annotations

import argparse
import threading
import time
from typing import Any

import numpy as np

# Before openvino itself, whose statistics this module keeps from being sent.
from tagbox.backends import openvino_backend  # noqa: F401
from tagbox.config.detector import DetectorConfig
from tagbox.data.dataset import Categories
from tagbox.inference.classifier import Classifier
from tagbox.inference.detector import DetectorModel
from tagbox.inference.ensemble import EnsembleClassifier
from tagbox.models.backbones import BackboneRequest, create_backbone
from tagbox.models.bundle import ClassifierBundle, DetectorBundle
from tagbox.models.ensembles import Ensemble, Member, View
from tagbox.predictions.thresholds import ScoreThresholds, Thresholds
from timing import machine, report, say

CATEGORIES = Categories.from_names(("elk", "yak", "gnu"))


def classifier_bundle() -> ClassifierBundle:
    backbone = create_backbone(BackboneRequest("efficientnet_lite0", 96))
    random = np.random.default_rng(0)
    return ClassifierBundle(
        backbones=((backbone.spec, backbone.arrays()),),
        head={
            "mean": np.zeros(1280, np.float32),
            "scale": np.ones(1280, np.float32),
            "output.weight": random.normal(0, 0.05, (3, 1280)).astype(np.float32),
            "output.bias": np.zeros(3, np.float32),
        },
        head_kind="linear",
        categories=CATEGORIES,
        geometry="squash",
        pooling="mean",
        thresholds=Thresholds(),
    )


def model(kind: str, engine: Any) -> Any:
    if kind == "classifier":
        return Classifier(classifier_bundle(), engine=engine)
    if kind == "ensemble":
        views = (View(), View(mirror=True))
        members = (Member(bundle=classifier_bundle(), run="a", weight=1.0, views=views),)
        ensemble = Ensemble(members=members, thresholds=Thresholds())
        return EnsembleClassifier(ensemble, engine=engine)
    from tagbox.models.detectors.create import create_detector

    detector = create_detector(DetectorConfig(weights="none", size=128), "abc")
    bundle = DetectorBundle(
        spec=detector.spec,
        weights={name: value.numpy() for name, value in detector.state_dict().items()},
        categories=CATEGORIES,
        cuts=ScoreThresholds(value=0.5),
    )
    return DetectorModel(bundle, engine=engine)


def pictures(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shapes = ((100, 150), (150, 100), (120, 120))
    return [
        random.integers(0, 255, (*shapes[n % 3], 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
        for n in range(count)
    ]


def answer(predictor: Any, picture: np.ndarray) -> bytes:
    (result,) = predictor.results([picture])
    parts = (
        [result] if isinstance(result, np.ndarray) else [result.boxes, result.scores, result.labels]
    )
    return b"".join(np.asarray(part).tobytes() for part in parts)


def in_threads(predictor: Any, images: list[np.ndarray], threads: int) -> tuple[float, list[Any]]:
    """Seconds, and each thread's answers in the order of the pictures."""
    found: list[list[bytes]] = [[b""] * len(images) for _ in range(threads)]

    def work(number: int) -> None:
        for step in range(len(images)):
            row = (step + number * len(images) // threads) % len(images)
            found[number][row] = answer(predictor, images[row])

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--predictions", type=int, default=200)
    parser.add_argument("--engines", nargs="+", default=["openvino", "torch"])
    options = parser.parse_args()
    images = pictures(options.predictions)
    rates: dict[str, Any] = {}
    for engine in options.engines:
        for number, kind in enumerate(("classifier", "ensemble", "detector")):
            predictor = model(kind, engine)
            say(f"{kind} on {engine}")
            for image in images[:3]:
                answer(predictor, image)
            orders = (1, options.threads) if number % 2 == 0 else (options.threads, 1)
            done = {threads: in_threads(predictor, images, threads) for threads in orders}
            (alone, (wanted,)), (shared, found) = done[1], done[options.threads]
            differ = sum(a != b for each in found for a, b in zip(each, wanted, strict=True))
            assert not differ, f"{differ} answers of {kind} on {engine} differ"
            assert len(set(wanted)) > len(images) // 2, "the pictures all look the same to it"
            one = len(images) / alone
            many = options.threads * len(images) / shared
            rates[f"{kind}, {engine}"] = {
                "images_per_second_of_one_thread": round(one, 1),
                "images_per_second_of_all_threads": round(many, 1),
                "ratio": round(many / one, 2),
            }
    report(
        {
            "machine": machine(["tagbox", "torch", "openvino"]),
            "threads": options.threads,
            "predictions_a_thread": options.predictions,
            "answers_that_differ": 0,
            "rates": rates,
        }
    )


if __name__ == "__main__":
    main()
