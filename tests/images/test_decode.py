"""One decoder: upright RGB whatever the file holds, and an error for whatever is not whole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageOps

from tagbox.errors import TagboxError
from tagbox.images.decode import decode_bytes, read_image

RAMP = np.linspace(0, 255, 48 * 64).reshape(48, 64)


def picture() -> Image.Image:
    """A smooth RGB picture without symmetry, so that every turn shows."""
    x, y = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 48))
    colours = np.stack([255 * x, 255 * y, 255 * x * y], axis=-1)
    return Image.fromarray(colours.astype(np.uint8))


def saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)  # type: ignore[arg-type]
    return stream.getvalue()


def close(a: np.ndarray, b: np.ndarray, tolerance: float = 4) -> bool:
    return a.shape == b.shape and float(np.abs(a.astype(int) - b.astype(int)).mean()) < tolerance


def test_jpeg_is_what_pillow_reads() -> None:
    data = saved(picture(), "JPEG", quality=95)
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert close(decode_bytes(data, file=None), theirs, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(), kind, exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        theirs = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    assert close(decode_bytes(data, file=None), theirs)


def test_broken_exif_does_not_spoil_a_sound_picture() -> None:
    data = saved(picture(), "JPEG")
    block = b"Exif\0\0" + b"\xff\x13garbage"
    marker = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    assert decode_bytes(data[:2] + marker + data[2:], file=None).shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_grayscale_gets_three_equal_channels(kind: str) -> None:
    image = decode_bytes(saved(picture().convert("L"), kind), file=None)
    assert image.shape == (48, 64, 3)
    assert np.array_equal(image[..., 0], image[..., 1])
    assert np.array_equal(image[..., 0], image[..., 2])


def test_bilevel() -> None:
    image = decode_bytes(saved(picture().convert("1"), "PNG"), file=None)
    assert set(np.unique(image)) == {0, 255}


def test_palette() -> None:
    image = decode_bytes(saved(picture().quantize(256), "PNG"), file=None)
    assert close(image, np.asarray(picture()), 12)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_on_white(mode: str) -> None:
    layer = Image.new("RGBA", (4, 2), (200, 0, 0, 255))
    layer.putpixel((0, 0), (200, 0, 0, 0))
    layer.putpixel((1, 0), (200, 0, 0, 128))
    source = layer.convert(mode)
    image = decode_bytes(saved(source, "PNG"), file=None)
    assert image[0, 0].tolist() == [255, 255, 255]
    solid = np.asarray(source.convert("RGB"))[1, 3].astype(int)
    assert np.array_equal(image[1, 3], solid)
    half = (solid * 128 + 255 * 127) // 255
    assert np.abs(image[0, 1].astype(int) - half).max() <= 2


def test_transparent_palette_entry_is_white() -> None:
    flat = Image.new("P", (2, 1))
    flat.putpalette([10, 20, 30, 200, 100, 50])
    flat.putpixel((1, 0), 1)
    image = decode_bytes(saved(flat, "PNG", transparency=0), file=None)
    assert image[0].tolist() == [[255, 255, 255], [200, 100, 50]]


def test_cmyk_jpeg() -> None:
    data = saved(picture().convert("CMYK"), "JPEG", quality=95)
    assert close(decode_bytes(data, file=None), np.asarray(picture()), 8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_keeps_the_upper_8(kind: str) -> None:
    levels = (RAMP * 257).astype(np.uint16)
    image = decode_bytes(saved(Image.fromarray(levels), kind), file=None)
    assert np.array_equal(image[..., 0], levels >> 8)


def test_32_bit_integers_of_8_bit_range_stay() -> None:
    image = decode_bytes(saved(Image.fromarray(RAMP.astype(np.int32)), "TIFF"), file=None)
    assert np.array_equal(image[..., 1], RAMP.astype(np.uint8))


@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_floats_of_either_range(scale: float) -> None:
    image = decode_bytes(
        saved(Image.fromarray((RAMP * scale).astype(np.float32)), "TIFF"), file="x"
    )
    assert np.abs(image[..., 2].astype(int) - RAMP.astype(int)).max() <= 1


def test_the_first_frame_of_a_gif() -> None:
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    data = saved(red, "GIF", save_all=True, append_images=[blue])
    assert decode_bytes(data, file=None)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [224, 384, 100, 61])
@pytest.mark.parametrize("shape", [(480, 640), (1200, 801), (100, 900), (231, 77)])
def test_min_size_never_goes_below(size: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    data = simplejpeg.encode_jpeg(rng.integers(0, 255, (*shape, 3), dtype=np.uint8))
    small = decode_bytes(data, file=None, min_size=size)
    assert min(small.shape[:2]) >= min(size, *shape)
    assert abs(small.shape[0] / small.shape[1] - shape[0] / shape[1]) < 0.1 * shape[0] / shape[1]
    if min(shape) >= 2 * size:
        assert small.shape[0] <= (shape[0] + 1) // 2


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("min_size", [None, 8])
def test_a_truncated_picture_is_an_error_not_a_grey_half(
    cut: float, kind: str, min_size: int | None
) -> None:
    rng = np.random.default_rng(1)
    noisy = Image.fromarray(rng.integers(0, 255, (120, 160, 3), dtype=np.uint8))
    data = saved(noisy, kind)
    with pytest.raises(TagboxError) as raised:
        decode_bytes(data[: int(len(data) * cut)], file="cut.img", min_size=min_size)
    assert raised.value.code in ("image-truncated", "image-corrupt")
    assert raised.value.file == "cut.img"
    if kind == "JPEG":
        assert raised.value.code == "image-truncated"


def test_a_damaged_scan_is_an_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    data = bytearray(saved(Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(TagboxError) as raised:
        decode_bytes(bytes(data), file="bad.png")
    assert raised.value.code in ("image-truncated", "image-corrupt")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("missing.jpg", None, "image-missing"),
        ("empty.jpg", b"", "image-empty"),
        ("text.jpg", b"<html>Not found</html>", "image-corrupt"),
        ("soi.jpg", b"\xff\xd8\xff", "image-corrupt"),
        ("zeros.png", bytes(1000), "image-corrupt"),
    ],
)
def test_what_is_no_picture_is_named(
    tmp_path: Path, name: str, content: bytes | None, code: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TagboxError) as raised:
        read_image(path)
    assert raised.value.code == code
    assert raised.value.file == str(path)


def test_a_folder_is_not_a_picture(tmp_path: Path) -> None:
    with pytest.raises(TagboxError) as raised:
        read_image(tmp_path)
    assert raised.value.code == "image-unreadable"


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAGBOX_MAX_PIXELS", "100")
    with pytest.raises(TagboxError) as raised:
        decode_bytes(saved(picture(), "PNG"), file="bomb.png")
    assert raised.value.code == "image-too-large"


def test_real_pictures_are_what_pillow_reads(shared_data: Path) -> None:
    for path in sorted((shared_data / "coco-sample" / "val2017").glob("*.jpg"))[:12]:
        with Image.open(path) as opened:
            theirs = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
        assert close(read_image(path), theirs, 1), path
