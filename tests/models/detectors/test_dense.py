"""The default detector: what it learns, that parts add up, that engines agree."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")

from tagbox.config import DetectorConfig  # noqa: E402
from tagbox.errors import TagboxError  # noqa: E402
from tagbox.models.detectors.base import Detector, Target  # noqa: E402
from tagbox.models.detectors.create import build_detector, create_detector  # noqa: E402

SIZE = (64, 96)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return create_detector(DetectorConfig(size=96), "abc")


def pictures(count: int) -> tuple[torch.Tensor, list[Target]]:
    """Grey noise with one bright square of category 1 each."""
    dice = np.random.default_rng(3)
    made = dice.integers(90, 120, (count, *SIZE, 3)).astype(np.uint8)
    targets = []
    for row in range(count):
        x, y = int(dice.integers(0, 64)), int(dice.integers(0, 32))
        made[row, y : y + 30, x : x + 30] = 250
        box = torch.tensor([[x, y, x + 30.0, y + 30.0]])
        targets.append(Target(box, torch.tensor([1]), torch.zeros(0, 4)))
    return torch.from_numpy(made), targets


def test_a_few_steps_find_a_square() -> None:
    detector = create_detector(DetectorConfig(size=96, seed=1), "abc")
    detector.freeze("none", train_norms=False)
    detector.train()
    shown, targets = pictures(8)
    own = [p for p in detector.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=4e-3)
    for _ in range(40):
        losses, found = detector(shown, [SIZE] * 8, targets)
        assert found is None
        optimizer.zero_grad()
        (sum(losses.values()) / detector.loss_count(targets)).backward()
        optimizer.step()
    detector.eval()
    losses, found = detector(shown, [SIZE] * 8, targets)
    assert set(losses) == {"score", "box"}
    assert found is not None
    for each, there in zip(found, targets, strict=True):
        assert each.labels[0] == 1
        low, high = (
            torch.maximum(each.boxes[0, :2], there.boxes[0, :2]),
            torch.minimum(each.boxes[0, 2:], there.boxes[0, 2:]),
        )
        assert (high - low).clamp(min=0).prod() > 0.5 * 900


def test_losses_of_parts_add_up_to_those_of_the_batch(detector: Detector) -> None:
    detector.eval()
    shown, targets = pictures(5)
    targets[2] = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4))
    with torch.no_grad():
        whole, _ = detector(shown, [SIZE] * 5, targets)
        parts = [
            detector(shown[rows], [SIZE] * len(rows), [targets[row] for row in rows])[0]
            for rows in ([0, 1], [2], [3, 4])
        ]
    for name, value in whole.items():
        assert float(sum(part[name] for part in parts)) == pytest.approx(float(value), rel=1e-4)
    counts = [detector.loss_count(t) for t in (targets, targets[:2], targets[2:])]
    assert counts[0] == counts[1] + counts[2] == 4


def test_a_picture_without_objects_has_a_loss_and_a_gradient(detector: Detector) -> None:
    detector.train()
    shown, _ = pictures(1)
    empty = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4))
    losses, _ = detector(shown, [SIZE], [empty])
    assert float(losses["box"].detach()) == 0.0
    assert float(losses["score"].detach()) > 0.0
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)
    detector.zero_grad()


def test_what_fills_a_picture_up_and_what_is_ignored_cost_nothing(detector: Detector) -> None:
    detector.eval()
    shown, _ = pictures(1)
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    everywhere = Target(*none, torch.tensor([[0.0, 0.0, 96.0, 64.0]]))
    with torch.no_grad():
        ignored, _ = detector(shown, [SIZE], [everywhere])
        _, found = detector(shown, [(40, 50)])
    assert all(float(value) == 0.0 for value in ignored.values())
    assert found is not None
    assert (found[0].boxes <= torch.tensor([50.0, 40.0, 50.0, 40.0])).all()


def test_saved_and_built_again_it_is_the_same(detector: Detector) -> None:
    again = build_detector(detector.spec)
    again.load_state_dict(detector.state_dict())
    shown, _ = pictures(2)
    with torch.no_grad():
        (_, ours), (_, theirs) = (each.eval()(shown, [SIZE] * 2) for each in (detector, again))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.boxes, b.boxes)
        assert torch.equal(a.scores, b.scores)


def test_openvino_gives_the_bodys_outputs(detector: Detector) -> None:
    from tagbox.backends.openvino_backend import compile_on_cpu
    from tagbox.models.backbones.torch_backbones import convert_module

    detector.eval()
    shown, _ = pictures(1)
    pixels = detector.normalise(shown).contiguous()
    with torch.no_grad():
        expected = detector.body(pixels)
    compiled = compile_on_cpu(convert_module(detector.body, list(pixels.shape)), "fp32")
    found = compiled(pixels.numpy())
    for place, value in enumerate(expected):
        np.testing.assert_allclose(found[place], value.numpy(), rtol=1e-3, atol=1e-3)


def test_frozen_stages_neither_learn_nor_move_their_statistics() -> None:
    detector = create_detector(DetectorConfig(size=96), "abc")
    detector.freeze("2", train_norms=True)
    trained = {name for stage in detector.trained for name in stage}
    assert trained
    detector.train()
    for name, module in detector.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.training == (f"{name}.weight" in trained), name


def test_more_stages_than_there_are_is_one_sentence() -> None:
    detector = create_detector(DetectorConfig(size=96), "abc")
    with pytest.raises(TagboxError, match="40 stages are to be trained") as raised:
        detector.freeze("40", train_norms=False)
    assert (raised.value.code, raised.value.where) == ("config-value", "trainable_layers")
