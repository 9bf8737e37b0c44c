"""How a dataset is read, and how a generated one is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tagbox.config.base import Config, require


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """How a dataset is read."""

    images: Path | None = None
    """Folder of the pictures; without it they are searched beside the labels."""
    format: Literal["auto", "coco", "cls", "labels", "csv", "yolo", "labelme", "folders"] = "auto"
    """Format of the dataset; recognised when not given."""
    names: Path | None = None
    """File of category names, one a line, for formats that only hold indices."""
    categories: tuple[str, ...] = ()
    """Keep only these categories."""
    group_by: Literal["supercategory"] | None = None
    """Merge categories into their supercategories."""
    mapping: Path | None = None
    """YAML file `old name: new name` that renames and merges categories; `null` drops one."""
    max_images: int | None = None
    """A seeded, stratified sample of this many images."""
    sample_seed: int = 0
    """Seed of that sample."""
    crowd_is_present: bool = True
    """Whether a crowd region counts as its category being in the image."""

    def __post_init__(self) -> None:
        require(
            self.max_images is None or self.max_images > 0, "max_images", self.max_images, "above 0"
        )


@dataclass(frozen=True, kw_only=True)
class SynthConfig(Config):
    """A generated dataset."""

    images: int = 1000
    """Training images."""
    val: int = 0
    """Validation images, in a part of their own."""
    test: int = 0
    """Test images, in a part of their own."""
    width: int = 640
    """Width of the pictures in pixels."""
    height: int = 480
    """Height of the pictures in pixels."""
    seed: int = 0
    """Seed; the same seed gives the same bytes."""
    format: Literal["coco", "cls"] = "coco"
    """COCO JSON files with pictures beside them, or a challenge folder with `.cls` labels."""

    def __post_init__(self) -> None:
        require(1 <= self.images <= 10**8, "images", self.images, "from 1 to 100000000")
        for name in ("val", "test"):
            value = getattr(self, name)
            require(0 <= value <= 10**8, name, value, "from 0 to 100000000")
        for name in ("width", "height"):
            require(32 <= getattr(self, name) <= 8192, name, getattr(self, name), "from 32 to 8192")
        require(self.seed >= 0, "seed", self.seed, "at least 0")
