"""Our EfficientNet-Lite against timm's, weight for weight and bit for bit."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the train extra")
timm = pytest.importorskip("timm", reason="needs the train extra")

from tagbox.errors import TagboxError  # noqa: E402
from tagbox.models.backbones import (  # noqa: E402
    BackboneRequest,
    create_backbone,
    packaged,
)
from tagbox.models.backbones.efficientnet_lite import (  # noqa: E402
    MULTIPLIERS,
    fold_norms,
    state_shapes,
)
from tagbox.models.backbones.packaged import (  # noqa: E402
    PACKAGES,
    load_packaged,
    package_file,
    read_legacy_checkpoint,
    with_timm_names,
)


@pytest.mark.parametrize("variant", MULTIPLIERS)
def test_names_and_shapes_are_timms(variant: str) -> None:
    theirs = timm.create_model(f"tf_{variant}", num_classes=0).state_dict()
    shapes = {k: tuple(v.shape) for k, v in theirs.items() if "num_batches" not in k}
    assert state_shapes(variant) == shapes


@pytest.mark.parametrize("variant", MULTIPLIERS)
def test_outputs_are_timms_with_the_packaged_weights(variant: str) -> None:
    torch.set_num_threads(1)
    backbone = create_backbone(BackboneRequest(variant))
    theirs = timm.create_model(f"tf_{variant}", num_classes=0).eval()
    theirs.load_state_dict(backbone.module.state_dict(), strict=True)
    # Odd sizes too: TensorFlow's padding depends on them.
    x = torch.randn(2, 3, 97, 130, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(backbone.module(x), theirs.forward_features(x))
        assert backbone.module(x).std() > 0.1
    assert backbone.parameters == sum(p.numel() for p in theirs.parameters())
    config = theirs.default_cfg
    assert backbone.spec.mean == config["mean"]
    assert backbone.spec.std == config["std"]
    assert backbone.spec.size == config["input_size"][-1]


@pytest.mark.parametrize("variant", MULTIPLIERS)
def test_our_reader_reads_what_torch_reads(variant: str) -> None:
    path = package_file(variant)
    ours = read_legacy_checkpoint(path.read_bytes())
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    assert list(ours) == list(theirs)
    assert all(np.array_equal(ours[name], value.numpy()) for name, value in theirs.items())


def test_the_pinned_digests_are_those_of_the_installed_files() -> None:
    for variant, package in PACKAGES.items():
        assert hashlib.sha256(package_file(variant).read_bytes()).hexdigest() == package.sha256


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = bytearray(package_file("efficientnet_lite0").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "x.pth").write_bytes(bytes(damaged))
    monkeypatch.setattr(packaged, "package_file", lambda _: tmp_path / "x.pth")
    with pytest.raises(TagboxError) as raised:
        load_packaged("efficientnet_lite0")
    assert raised.value.code == "weights-corrupt"
    assert raised.value.file == str(tmp_path / "x.pth")


def test_the_reader_runs_no_code() -> None:
    content = pickle.dumps(0) * 3 + pickle.dumps(print)
    with pytest.raises(pickle.UnpicklingError):
        read_legacy_checkpoint(content)


def test_names_that_are_timms_already_stay() -> None:
    shapes = state_shapes("efficientnet_lite0")
    state = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    assert list(with_timm_names("efficientnet_lite0", state)) == list(shapes)


def test_a_training_step_in_one_pass_has_the_gradients_of_two() -> None:
    """With standing statistics the normalisation is folded; torch's own two layers are the oracle."""
    module = create_backbone(BackboneRequest("efficientnet_lite0", 64), "packaged").module.double()
    module.requires_grad_(True)
    fold_norms(module)
    pictures = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(3)).double()

    def outcome() -> dict[str, torch.Tensor]:
        module.zero_grad()
        found = module(pictures)
        found.square().mean().backward()
        named = {
            name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None
        }
        return {"": found.detach(), **named}

    one_pass = outcome()
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        # Training mode takes two passes; with these settings it normalises by the same statistics.
        norm.register_forward_pre_hook(lambda norm, _: norm.eval() and None)
        norm.register_forward_hook(lambda norm, *_: norm.train() and None)
        norm.train()
    two_passes = outcome()
    assert one_pass.keys() == two_passes.keys()
    for name, value in one_pass.items():
        torch.testing.assert_close(value, two_passes[name], rtol=1e-8, atol=1e-10, msg=name)
