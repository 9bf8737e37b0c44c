"""What `tagbox check` takes for the same picture: false alarms, and altered copies that it finds.

    python benchmarks/near_duplicates.py FOLDER...

FOLDERs hold different real pictures. Every pair of them is a chance of a false alarm; every picture is also
altered in the ways pictures are altered on their way into two datasets, and compared with itself.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tagbox.checks.perceptual_hash import CORRELATION, THRESHOLD, Fingerprint, fingerprint
from tagbox.data.image_files import list_images
from tagbox.images.decode import read_image
from timing import machine, report


def jpeg(quality: int) -> Callable[[Image.Image], Image.Image]:
    def saved(picture: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)

    return saved


def cropped(part: float) -> Callable[[Image.Image], Image.Image]:
    def cut(picture: Image.Image) -> Image.Image:
        w, h = picture.size
        return picture.crop(
            (int(w * part), int(h * part), int(w * (1 - part)), int(h * (1 - part)))
        )

    return cut


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG quality 90": jpeg(90),
    "JPEG quality 50": jpeg(50),
    "JPEG quality 20": jpeg(20),
    "half size": lambda p: p.resize((p.width // 2, p.height // 2), Image.Resampling.BILINEAR),
    "128 pixels wide": lambda p: p.resize((128, max(1, 128 * p.height // p.width))),
    "grey": lambda p: p.convert("L").convert("RGB"),
    "1.2 times brighter": lambda p: p.point(lambda v: min(255, int(v * 1.2))),
    "2 % cropped at every side": cropped(0.02),
    "5 % cropped at every side": cropped(0.05),
    "mirrored": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def compare(one: Fingerprint, other: Fingerprint) -> tuple[int, float]:
    """Bits that differ, and the correlation of the grids."""
    distance = int(np.bitwise_count(one.bits ^ other.bits).sum())
    return distance, float(one.grid.astype(np.float64) @ other.grid.astype(np.float64))


def is_near(one: Fingerprint, other: Fingerprint) -> bool:
    distance, correlation = compare(one, other)
    return distance <= THRESHOLD and correlation >= CORRELATION


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    options = parser.parse_args()
    originals: list[Fingerprint] = []
    found = dict.fromkeys(ALTERED, 0)
    for folder in options.folders:
        for name in list_images(folder):
            image = read_image(folder / name)
            own = fingerprint(image)
            originals.append(own)
            for way, alter in ALTERED.items():
                altered = np.asarray(alter(Image.fromarray(image)))
                found[way] += is_near(own, fingerprint(altered))
    pairs = [(i, j) for i in range(len(originals)) for j in range(i + 1, len(originals))]
    bits = np.array([own.bits for own in originals])
    distances = np.concatenate(
        [np.bitwise_count(bits[i] ^ bits[i + 1 :]).sum(axis=1) for i in range(len(bits))]
    )
    close = [pair for pair, d in zip(pairs, distances.tolist(), strict=True) if d <= THRESHOLD]
    report(
        {
            "machine": machine(["tagbox", "numpy", "pillow"]),
            "pictures": len(originals),
            "pairs": len(pairs),
            "near_pairs": sum(is_near(originals[i], originals[j]) for i, j in close),
            "fewest_bits_between_two_pictures": int(distances.min()),
            "threshold": THRESHOLD,
            "share_of_altered_copies_found": {
                way: round(count / len(originals), 4) for way, count in found.items()
            },
        }
    )


if __name__ == "__main__":
    main()
