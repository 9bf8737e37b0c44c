"""One model in several threads gives what one thread gets; a process forked after a prediction is told so."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

# Before openvino itself, whose statistics this module keeps from being sent.
pytest.importorskip("tagbox.backends.openvino_backend", reason="needs the train extra")
pytest.importorskip("openvino", reason="needs the train extra")
pytest.importorskip("torch", reason="needs the train extra")

from test_predictor import KINDS, predictor, values

from tagbox.backends import detector_backend, openvino_backend
from tagbox.backends.feature_cache import FeatureCache
from tagbox.inference import classifier as classifier_module
from tagbox.sharing import shared_property
from toy_detectors import scene

THREADS = 8
EACH = 4


def picture(number: int) -> NDArray[np.uint8]:
    """Every picture differs, and shapes do, so that a detector compiles for several letterboxes."""
    width, height = ((150, 100), (100, 150), (90, 90))[number % 3]
    return scene(width, height, [("red", (5 + number % 40, 7, 30, 30))])


def answers(model: Any, images: list[NDArray[np.uint8]], **settings: Any) -> bytes:
    return b"".join(values(each).tobytes() for each in model.results(images, **settings))


def together(work: Callable[[int], object]) -> list[object]:
    """What `work` returned or raised in each of the threads, which start at the same moment."""
    found: list[object] = [None] * THREADS
    start = threading.Barrier(THREADS)

    def run(number: int) -> None:
        start.wait()
        try:
            found[number] = work(number)
        except BaseException as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads), "a thread never came back"
    return found


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("kind", KINDS)
def test_threads_get_what_one_thread_gets(kind: str, engine: str) -> None:
    parts = [[picture(7 * part + n) for n in range(part % 4 + 1)] for part in range(THREADS)]
    wanted = [answers(predictor(kind, engine), part) for part in parts]
    assert len(set(wanted)) == THREADS
    # Nobody has used this one: the threads also race for what is made with the first image.
    model = predictor(kind, engine)
    found = together(lambda n: [answers(model, parts[n]) for _ in range(EACH)])
    assert found == [[each] * EACH for each in wanted]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_made_with_the_first_image_is_made_once(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def counting(module: Any, name: str) -> None:
        original = getattr(module, name)

        def counted(*arguments: Any, **settings: Any) -> Any:
            made.append(name)
            return original(*arguments, **settings)

        monkeypatch.setattr(module, name, counted)

    counting(openvino_backend, "compile_on_cpu")
    counting(detector_backend, "compile_on_cpu")
    counting(classifier_module, "create_encoder")
    model = predictor(kind)
    together(lambda n: answers(model, [picture(0)]))
    once = ["compile_on_cpu"] if kind == "detector" else ["create_encoder", "compile_on_cpu"]
    assert made == once


def test_a_result_that_nobody_fetches_stops_no_other_caller() -> None:
    model = predictor("classifier")
    images = [picture(n) for n in range(40)]
    wanted = answers(model, images)
    waiting = [model.results(images) for _ in range(4)]
    firsts = [next(each) for each in waiting]
    # The pictures of four callers are under way and none of them goes on.
    assert together(lambda n: answers(model, images)) == [wanted] * THREADS
    for first, rest in zip(firsts, waiting, strict=True):
        assert b"".join([values(first).tobytes(), *(values(r).tobytes() for r in rest)]) == wanted


def test_an_inference_that_fails_is_its_callers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = predictor("classifier")
    images = [picture(n) for n in range(6)]
    wanted = answers(model, images)
    (encoder,) = model.encoders  # type: ignore[attr-defined]
    queue = encoder.queue()
    with pytest.raises(RuntimeError):
        queue.submit(np.zeros((3, 3, 3), np.uint8), lambda _: None)
    assert answers(model, images) == wanted
    queue.finish()
    assert answers(model, images) == wanted


def test_threads_share_a_feature_cache(tmp_path: Any) -> None:
    model = predictor("classifier")
    images = [picture(n) for n in range(12)]
    wanted = [answers(model, images[: n + 5]) for n in range(THREADS)]
    cache = FeatureCache(tmp_path)
    found = together(lambda n: [answers(model, images[: n + 5], cache=cache) for _ in range(3)])
    assert found == [[each] * 3 for each in wanted]
    assert cache.count() == 12
    cache.close()


def test_a_shared_property_is_computed_once() -> None:
    class Slow:
        made = 0

        @shared_property
        def value(self) -> int:
            Slow.made += 1
            threading.Event().wait(0.05)
            return Slow.made

    slow = Slow()
    assert together(lambda n: slow.value) == [1] * THREADS


FORKED = """
import os, sys
sys.path[:0] = {path!r}
import numpy as np
from test_predictor import predictor
from test_shared_model import answers, picture
from tagbox.errors import TagboxError

model = predictor({kind!r}, {engine!r})
images = [picture(n) for n in range(3)]
if {before}:
    model = predictor({kind!r}, {engine!r})
    answers(model, images)
    suspended = model.results([picture(n) for n in range(90)])
    next(suspended)
child = os.fork()
if not child:
    try:
        print("predicted", len(answers(model, images)))
    except TagboxError as error:
        print(error.code, error)
    if {before}:
        suspended.close()
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
print("parent", len(answers(model, images)))
"""


@pytest.mark.parametrize(
    ("kind", "engine", "before"),
    [
        ("classifier", "openvino", True),
        ("detector", "torch", True),
        ("ensemble", "openvino", False),
    ],
)
def test_a_forked_process_predicts_or_says_why_not(kind: str, engine: str, before: bool) -> None:
    script = FORKED.format(path=sys.path, kind=kind, engine=engine, before=before)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    child, parent = done.stdout.splitlines()
    assert parent.startswith("parent ")
    if before:
        assert child.startswith("forked this process was forked from one that had already pred")
        assert 'multiprocessing.get_context("spawn")' in child
    else:
        assert child == parent.replace("parent", "predicted")
