"""Images of more than 8 bits a channel: scaled by the range that is stated or found, which is said."""

from __future__ import annotations

import io
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from tagbox.checks.check import check_dataset
from tagbox.images.decode import decode_bytes
from tagbox.images.depth import scaled

RAMP = np.tile(np.linspace(5, 250, 64).astype(np.uint8), (48, 1))


def saved(values: NDArray[Any], format: str, tags: dict[int, Any] | None = None) -> bytes:
    out = io.BytesIO()
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in (tags or {}).items():
        info[tag] = value
    more = {"tiffinfo": info} if tags else {}
    Image.fromarray(values).save(out, format, **more)
    return out.getvalue()


def png16(values: NDArray[np.uint16]) -> bytes:
    """A PNG of (H, W, 2, 3 or 4) 16-bit samples, which Pillow cannot write."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def decoded(content: bytes) -> tuple[NDArray[np.uint8], list[str]]:
    told: list[str] = []
    return decode_bytes(content, file="x", tell=told.append), told


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_in_16_are_scaled_and_said(format: str, bits: int) -> None:
    image, told = decoded(saved(RAMP.astype(np.uint16) << (bits - 8), format))
    assert np.array_equal(image, np.repeat(RAMP[..., None], 3, axis=2))
    assert len(told) == 1 and f"{bits} bit" in told[0]


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_all_of_16_bits_keep_the_upper_8_in_silence(format: str) -> None:
    image, told = decoded(saved(RAMP.astype(np.uint16) * 257, format))
    assert np.array_equal(image[..., 0], RAMP) and not told


@pytest.mark.parametrize(
    ("tags", "values", "expected"),
    [
        ({281: 4095}, RAMP.astype(np.uint16) * 16, RAMP * (255 * 16 / 4095)),
        ({280: 1000, 281: 3550}, RAMP.astype(np.uint16) * 10 + 1000, RAMP),
        ({340: -1.0, 341: 1.0}, (RAMP / 127.5 - 1).astype(np.float32), RAMP),
        ({341: 25500.0}, (RAMP * 100.0).astype(np.float32), RAMP),
        ({340: 100.0, 341: 355.0}, (RAMP + 100.0).astype(np.float32), RAMP),
        # 0 is white.
        ({262: 0}, 65535 - RAMP.astype(np.uint16) * 257, RAMP),
        ({262: 0}, (1 - RAMP / 255).astype(np.float32), RAMP),
    ],
)
def test_a_stated_range_is_taken_without_a_word(
    tags: dict[int, Any], values: NDArray[Any], expected: NDArray[Any]
) -> None:
    image, told = decoded(saved(values, "TIFF", tags))
    assert np.abs(image[..., 0] - np.asarray(expected, float)).max() <= 1 and not told


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((RAMP * 100.0).astype(np.float32), RAMP * (100 / 256)),
        (RAMP.astype(np.int32) * 100, RAMP * (100 / 256)),
        (RAMP.astype(np.int32) << 16, RAMP),
        ((RAMP * 1e-4).astype(np.float32), RAMP * (255 / 250)),
        (RAMP.astype(np.float32) - 100, (RAMP - 5.0) * (255 / 245)),
        (RAMP.astype(np.int32) - 100, (RAMP - 5.0) * (255 / 245)),
    ],
)
def test_other_ranges_are_found_and_said(values: NDArray[Any], expected: NDArray[Any]) -> None:
    image, told = decoded(saved(values, "TIFF"))
    assert np.abs(image[..., 0] - expected).max() <= 1
    assert len(told) == 1 and "guessed" in told[0]


@pytest.mark.parametrize("channels", [3, 4])
def test_colors_of_12_bits_in_16_keep_all_8_levels(channels: int) -> None:
    """Pillow reads only the upper bytes: 16 levels of 12 bits."""
    values = np.repeat(RAMP[..., None], channels, axis=2).astype(np.uint16) << 4
    values[..., 1] >>= 1
    if channels == 4:
        values[..., 3] = 65535
    image, told = decoded(png16(values))
    assert np.array_equal(image[..., 0], RAMP) and np.array_equal(image[..., 1], RAMP >> 1)
    assert len(told) == 1
    image, told = decoded(png16(np.repeat(RAMP[..., None], 3, axis=2).astype(np.uint16) * 257))
    assert np.array_equal(image[..., 2], RAMP) and not told


@pytest.mark.parametrize("channels", [2, 4])
def test_an_alpha_of_12_bits_is_opaque(channels: int) -> None:
    values = np.repeat(RAMP[..., None], channels, axis=2).astype(np.uint16) << 4
    values[..., -1] = 4095
    image, told = decoded(png16(values))
    # Of gray and alpha Pillow gives the upper 4 of the 12 bits.
    assert np.abs(image[..., 0] - RAMP.astype(int)).max() <= (0 if channels == 4 else 15)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("none", "kind", "tags"),
    [
        (-9999, np.float32, {42113: "-9999"}),
        (65535, np.uint16, {42113: "65535"}),
        (float(np.finfo(np.float32).max), np.float32, {}),
        (-float(np.finfo(np.float32).max), np.float32, {}),
        (np.nan, np.float32, {}),
    ],
)
def test_values_that_stand_for_none_do_not_count(none: float, kind: Any, tags: Any) -> None:
    values = (RAMP * 10.0).astype(kind)
    values[:, :3] = none
    image, told = decoded(saved(values, "TIFF", tags))
    assert np.abs(image[:, 3:, 0] - RAMP[:, 3:] * (10 / 16)).max() <= 1
    assert len(told) == 1 and "12 bit" in told[0]


def test_one_bright_pixel_does_not_hide_that_the_rest_is_black() -> None:
    values = RAMP.astype(np.uint16) << 4
    values[7, 7] = 65535
    image, told = decoded(saved(values, "PNG"))
    assert image[7, 7, 0] == 255
    assert len(told) == 1 and "nearly black" in told[0]


def test_a_portable_float_map_is_no_whole_number_of_16_bits() -> None:
    content = b"Pf\n64 48\n-1.0\n" + (RAMP[::-1] / 255).astype("<f4").tobytes()
    image, told = decoded(content)
    assert np.abs(image[..., 0] - RAMP.astype(int)).max() <= 1 and not told


def test_a_stated_range_that_leaves_the_image_black_is_said() -> None:
    image, told = decoded(saved(RAMP.astype(np.uint16) * 4, "TIFF", {281: 65535}))
    assert image.max() < 16 and len(told) == 1 and "nearly black" in told[0]


def test_values_that_are_no_numbers() -> None:
    values = (RAMP / 255).astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    image, told = decoded(saved(values, "TIFF"))
    assert np.abs(image[1:, :, 0] - RAMP[1:].astype(int)).max() <= 1 and not told


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=9),
    st.sampled_from([np.int32, np.uint16, np.float32]),
)
def test_brighter_stays_brighter_and_black_is_never_unsaid(numbers: list[int], kind: Any) -> None:
    values = np.abs(np.array([numbers], np.int64)) if kind is np.uint16 else np.array([numbers])
    values = np.minimum(values, 65535).astype(kind) if kind is np.uint16 else values.astype(kind)
    told: list[str] = []
    levels = scaled(values, None, told.append)
    order = np.argsort(values[0], kind="stable")
    assert (np.diff(levels[0][order].astype(int)) >= 0).all()
    if not told and values.max() > 0 and not (kind is np.float32 and values.max() <= 255):
        assert levels.max() >= 16


def test_check_lists_them_and_predict_says_it_once(
    tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(2):
            content = saved(np.roll(RAMP, 9 * number).astype(np.uint16) * 16, "PNG")
            (tmp_path / "data" / name / f"{number}.png").write_bytes(content)
    found = [f for f in check_dataset(tmp_path / "data") if f.code == "image-range-guessed"]
    assert len(found) == 4 and found[0].severity == "warning" and "12 bit" in found[0].found
    said = cli("show", tmp_path / "data", "--out", tmp_path / "sheet.png")
    assert said.returncode == 0
    assert said.stderr.count("tagbox: warning: ") == 1 and "12 bit" in said.stderr
    assert "ImageRangeWarning" not in said.stderr
