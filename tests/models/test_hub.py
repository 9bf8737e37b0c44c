"""Weights over HTTP, from a server on loopback that has real checkpoints and behaves badly on request."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopback_server import Site, closed_port_url, serve

torch = pytest.importorskip("torch", reason="needs the train extra")
torchvision = pytest.importorskip("torchvision", reason="needs the train extra")
timm = pytest.importorskip("timm", reason="needs the train extra")

from safetensors.torch import save  # noqa: E402

from tagbox.config import ClassifierConfig, DataConfig, DetectorConfig  # noqa: E402
from tagbox.errors import TagboxError  # noqa: E402
from tagbox.models.backbones import BackboneRequest, create_backbone  # noqa: E402
from tagbox.models.backbones.architectures import TorchvisionArchitecture  # noqa: E402
from tagbox.models.weights import download_weights, mirrored  # noqa: E402

OFFICIAL = "/models/resnet18-f37072fd.pth"


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    """A resnet18's state dict with random weights, as torchvision publishes them."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stream = io.BytesIO()
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), stream)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGBOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tagbox.data.http_download.time.sleep", lambda _: None)


def named(content: bytes) -> str:
    return f"/models/resnet18-{hashlib.sha256(content).hexdigest()[:8]}.pth"


def resnet(weights: str = "default") -> Any:
    return create_backbone(BackboneRequest("resnet18", 64), weights)


def test_a_checkpoint_by_url(checkpoint: bytes) -> None:
    path = named(checkpoint)
    with serve(Site({path: checkpoint})) as site:
        backbone = resnet(site.url + path)
        assert resnet(site.url + path).spec == backbone.spec
    # The second time it came from the cache folder.
    assert len(site.requests) == 1
    assert backbone.spec.weights_sha256 == hashlib.sha256(checkpoint).hexdigest()
    state = torch.load(io.BytesIO(checkpoint), weights_only=True)
    assert torch.equal(backbone.module.network.conv1.weight, state["conv1.weight"])


def test_addresses_that_differ_in_their_query_are_two_files() -> None:
    with serve(Site({"/get/w.pth?id=s3cret": b"one", "/get/w.pth?id=2": b"two"})) as site:
        url = f"{site.url}/get/w.pth"
        kept = [download_weights(f"{url}?id={number}") for number in ("s3cret", "2", "s3cret")]
    assert [path.read_bytes() for path in kept] == [b"one", b"two", b"one"]
    assert len(site.requests) == 2 and kept[0] == kept[2]
    assert {path.name for path in kept} == {"w.pth"} and "s3cret" not in str(kept[0])


def test_torchvisions_weights_from_a_mirror(
    checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Random weights cannot have the official digest; the published address is the one thing replaced.
    published = torchvision.models.ResNet18_Weights.DEFAULT
    address = f"https://download.pytorch.org{named(checkpoint)}"
    ours = SimpleNamespace(DEFAULT=SimpleNamespace(url=address, transforms=published.transforms))
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda _: ours)
    with serve(Site({named(checkpoint): checkpoint})) as site:
        monkeypatch.setenv("TAGBOX_WEIGHTS_URL", f"{site.url}/")
        backbone = resnet()
    assert backbone.spec.weights == address
    assert TorchvisionArchitecture("resnet18").url() == address


def test_timms_weights_from_a_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    whole = timm.create_model("mobilenetv3_small_050", pretrained=False)
    path = "/timm/mobilenetv3_small_050.lamb_in1k/resolve/main/model.safetensors"
    with serve(Site({path: save(whole.state_dict())})) as site:
        monkeypatch.setenv("TAGBOX_WEIGHTS_URL", site.url)
        backbone = create_backbone(BackboneRequest("mobilenetv3_small_050", 64))
    assert [asked for asked, _ in site.requests] == [path]
    ours: Any = backbone.module
    assert torch.equal(ours.network.conv_stem.weight, whole.conv_stem.weight)


def test_the_mirror_takes_the_place_of_scheme_and_host(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"https://download.pytorch.org{OFFICIAL}"
    assert mirrored(url) == url
    monkeypatch.setenv("TAGBOX_WEIGHTS_URL", "http://mirror.example/weights/")
    assert mirrored(url) == f"http://mirror.example/weights{OFFICIAL}"


@pytest.mark.parametrize(
    ("code", "misbehaviour"),
    [
        ("download-truncated", {"break_after": [1000, 1000, 1000]}),
        ("download-hash", {}),
        ("download-status", {"files": {}}),
        ("download-status", {"statuses": [500] * 3}),
    ],
)
def test_every_failure_is_one_sentence_with_the_offline_way_out(
    code: str, misbehaviour: dict[str, Any], checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # These random weights do not have the digest in the official name.
    with serve(Site(**{"files": {OFFICIAL: checkpoint}, **misbehaviour})) as site:
        monkeypatch.setenv("TAGBOX_WEIGHTS_URL", site.url)
        with pytest.raises(TagboxError) as raised:
            resnet()
    _check(raised.value, code)


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGBOX_WEIGHTS_URL", closed_port_url())
    with pytest.raises(TagboxError) as raised:
        resnet()
    _check(raised.value, "download-network")


def _check(error: TagboxError, code: str) -> None:
    assert error.code == code
    sentence = str(error)
    assert "\n" not in sentence
    assert f"download https://download.pytorch.org{OFFICIAL} on another computer" in sentence
    assert "--weights PATH" in sentence


def test_a_broken_download_goes_on_where_it_stopped(checkpoint: bytes) -> None:
    path = named(checkpoint)
    with serve(Site({path: checkpoint}, break_after=[1_000_000])) as site:
        resnet(site.url + path)
    assert [asked for _, asked in site.requests] == [None, "bytes=1000000-"]


def test_a_kept_file_that_was_damaged_is_fetched_again(checkpoint: bytes, tmp_path: Path) -> None:
    path = named(checkpoint)
    with serve(Site({path: checkpoint})) as site:
        resnet(site.url + path)
        (kept,) = (tmp_path / "cache").rglob("*.pth")
        kept.write_bytes(b"damaged")
        resnet(site.url + path)
    assert kept.read_bytes() == checkpoint


def test_a_page_instead_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    with serve(Site({path: b"<html>Please log in</html>"})) as site:
        monkeypatch.setenv("TAGBOX_WEIGHTS_URL", site.url)
        with pytest.raises(TagboxError) as raised:
            create_backbone(BackboneRequest("timm/resnet18", 64))
    assert raised.value.code == "weights-corrupt"


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:swordfish@host/a.pth",
        "HTTPS://swordfish@host/a.pth",
        "https://ann:sword/swordfish@host:80/a.pth",
        "ftp://ann:swordfish@host/a.pth",
        "http:/ann:swordfish@host/a.pth",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    for use in (
        lambda: ClassifierConfig(weights=url),
        lambda: DetectorConfig(weights=url),
        lambda: ClassifierConfig.from_dict({"weights": url}),
        lambda: resnet(url),
        lambda: DataConfig(images=url),
    ):
        with pytest.raises(TagboxError, match="TAGBOX_WEIGHTS_URL") as raised:
            use()
        assert raised.value.code == "config-value"
        assert "swordfish" not in str(raised.value) and "ann" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://host/pkg@1.0/a.pth",
        "http://host:8080/a@b.pth",
        "http://[::1]:80/a@b",
        "C:/a@b",
        "a@b",
    ],
)
def test_other_at_signs_are_no_password(url: str) -> None:
    assert ClassifierConfig(weights=url).weights == url


def test_the_password_of_a_mirror_is_sent_and_not_kept(
    checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = named(checkpoint)
    with serve(Site({path: checkpoint})) as site:
        monkeypatch.setenv("TAGBOX_WEIGHTS_URL", site.url.replace("://", "://ann:swordfish@"))
        backbone = resnet(f"https://host{path}")
    assert site.headers[0][1] == f"Basic {base64.b64encode(b'ann:swordfish').decode()}"
    assert "swordfish" not in repr(backbone.spec)
