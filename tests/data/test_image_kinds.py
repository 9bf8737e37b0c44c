"""Kinds of image files: those that Pillow reads are read, others are counted, and large ones are limited by us."""

from __future__ import annotations

import io
import subprocess
import warnings
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tagbox.checks.check import check_dataset
from tagbox.data.image_files import collect_images, passed_over
from tagbox.data.load import load_dataset
from tagbox.errors import TagboxError
from tagbox.images.decode import decode_bytes, read_image
from tagbox.images.header import read_header

KINDS = {
    ".jfif": "JPEG",
    ".mpo": "MPO",
    ".tga": "TGA",
    ".jp2": "JPEG2000",
    ".j2k": "JPEG2000",
    ".avif": "AVIF",
    ".webp": "WEBP",
    ".JFIF": "JPEG",
}


def bilevel_png(width: int, height: int) -> bytes:
    """A PNG of 1 bit a pixel, black with a white upper half, made without its pixels in memory."""
    row = (width + 7) // 8
    packer, parts = zlib.compressobj(), []
    for number in range(height):
        parts.append(packer.compress(b"\0" + (b"\xff" if number < height // 2 else b"\0") * row))
    parts.append(packer.flush())

    def chunk(name: bytes, content: bytes) -> bytes:
        ends = len(content).to_bytes(4, "big"), zlib.crc32(name + content).to_bytes(4, "big")
        return ends[0] + name + content + ends[1]

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    body = chunk(b"IHDR", head) + chunk(b"IDAT", b"".join(parts)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("suffix", KINDS)
def test_a_class_of_any_kind_that_pillow_reads(tmp_path: Path, suffix: str) -> None:
    for name, kind in (("disc/1.png", "PNG"), (f"bar/1{suffix}", KINDS[suffix])):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (32, 24), (200, 30, 30)).save(tmp_path / name, kind)
    dataset = load_dataset(tmp_path)
    assert dataset.labels.sum(axis=0).tolist() == [1, 1]
    image = read_image(tmp_path / f"bar/1{suffix}")
    assert image.shape == (24, 32, 3) and np.abs(image.astype(int) - (200, 30, 30)).max() < 12
    assert read_header(tmp_path / f"bar/1{suffix}").upright == (32, 24)
    assert len(collect_images([tmp_path])) == 2 and passed_over([tmp_path]) is None


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic_is_read_where_the_package_for_it_is_installed(
    tmp_path: Path, orientation: int
) -> None:
    """How the pixels are turned is said by the file itself; the orientation in its EXIF means nothing."""
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :32] = 200, 30, 30
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("disc/1.png", "bar/1.heic"):
        (tmp_path / name).parent.mkdir()
    Image.fromarray(pixels).save(tmp_path / "disc/1.png")
    try:
        Image.fromarray(pixels).save(tmp_path / "bar/1.heic", "HEIF", quality=95, exif=exif)
    except (OSError, ValueError, KeyError) as error:
        pytest.skip(f"it cannot encode: {error}")
    image = read_image(tmp_path / "bar/1.heic")
    assert image.shape == pixels.shape
    assert np.abs(image.astype(int) - pixels).mean() < 8
    assert read_header(tmp_path / "bar/1.heic").upright == (64, 48)
    dataset = load_dataset(tmp_path)
    assert dataset.labels.sum(axis=0).tolist() == [1, 1]
    assert len(collect_images([tmp_path])) == 2 and passed_over([tmp_path]) is None
    assert not [f for f in check_dataset(tmp_path) if f.severity == "error"]
    cut = tmp_path / "bar/1.heic"
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(TagboxError) as caught:
        read_image(cut)
    assert caught.value.file == str(cut)


@pytest.mark.skipif(find_spec("pillow_heif") is not None, reason="HEIC is read here")
def test_other_kinds_are_counted_with_the_way_out(
    tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for name in ("disc/1.png", "disc/2.png", "bar/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 24), (len(name), int(name[-5]), 30)).save(tmp_path / name)
    for name in ("bar/2.HEIC", "bar/3.heic", "disc/4.dng", "bar/.hidden.heic", "bar/notes.txt"):
        (tmp_path / name).write_bytes(b"anything")
    said = passed_over([tmp_path])
    assert said is not None and "1 .dng, 2 .heic" in said and "pillow-heif" in said
    shown = cli("show", tmp_path, "--out", tmp_path / "sheet.jpg")
    assert shown.returncode == 0 and "2 .heic" in shown.stderr
    assert "images-passed-over" in {f.code for f in check_dataset(tmp_path)}
    (tmp_path / "bar/2.HEIC").unlink()
    (tmp_path / "bar/3.heic").unlink()
    only = passed_over([tmp_path])
    assert only is not None and "pillow" not in only


def test_large_images_are_limited_by_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither Pillow's limit nor its warning, at a ninth of it, concerns a decoded image."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    content = bilevel_png(300, 200)
    jpeg = io.BytesIO()
    Image.new("RGB", (300, 200)).save(jpeg, "JPEG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode_bytes(content, file="x").mean(axis=(1, 2))[[0, 199]].tolist() == [255, 0]
        assert read_header(io.BytesIO(content)).upright == (300, 200)
    assert Image.MAX_IMAGE_PIXELS == 1000
    for data in (content, jpeg.getvalue()):
        monkeypatch.setenv("TAGBOX_MAX_PIXELS", "60000")
        assert decode_bytes(data, file="x").shape == (200, 300, 3)
        monkeypatch.setenv("TAGBOX_MAX_PIXELS", "59999")
        with pytest.raises(TagboxError, match=r"300×200 are 60,000 pixels") as raised:
            decode_bytes(data, file="x")
        assert raised.value.code == "image-too-large" and "TAGBOX_MAX_PIXELS" in str(raised.value)
    monkeypatch.setenv("TAGBOX_MAX_PIXELS", "many")
    with pytest.raises(TagboxError, match="TAGBOX_MAX_PIXELS: 'many' is not a number of pixels"):
        decode_bytes(content, file="x")


def test_an_image_above_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(TagboxError, match="400,000,000 pixels, and at most 250,000,000"):
        decode_bytes(bilevel_png(20000, 20000), file="x")
